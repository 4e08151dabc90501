// Every row of the authentication product, over HTTP. Takes minutes: node test/campaigns/authentication.ts
import process from 'node:process'
import { allRows, productRows, sendRow } from '../gateway/authentication-rows.ts'
import { forEach, Wire } from '../gateway/wire.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

const store = await startTestStore({ buckets: ['mine', 'theirs'] })
const gateway = await startTestGateway(store, { sections: { auth: { v2Header: true, v2Query: true } } })
const wire = new Wire(gateway.endpoint)
for (const bucket of ['mine', 'theirs']) await store.object(bucket, 'keep').set({ body: Buffer.from('stored') })
const accepted: string[] = []
let sent = 0
let upstream = 0
await forEach(allRows('mine', 'key'), 16, async (row) => {
  if (row.valid) return
  const { status } = await sendRow(wire, gateway, row)
  if (status < 400) accepted.push(`${row.name}: ${status}`)
  sent += 1
  upstream += store.requests.splice(0).filter((r) => !(r.bucket === 'sealgate-state' && (r.method === 'HEAD' || r.query.has('versioning')))).length
  if (sent % 10_000 === 0) console.log(`${sent.toLocaleString('en')} of ${productRows().toLocaleString('en')} rows`)
})
console.log(accepted.join('\n'))
console.log(`${sent.toLocaleString('en')} invalid rows, ${accepted.length} accepted, ${upstream} requests upstream`)
wire.close()
await gateway.close()
await store.close()
process.exitCode = accepted.length + upstream === 0 ? 0 : 1
