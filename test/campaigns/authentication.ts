// Every row of the authentication product, and every operation with every x-amz header unsigned, over HTTP, in about a minute.
import process from 'node:process'
import { allRows, productRows, sendRow, sendUnsignedHeader, unsignedHeaderRows, type Row } from '../gateway/authentication-rows.ts'
import { forEach, Wire } from '../support/wire.ts'
import { startTestGateway } from '../support/gateway.ts'
import { isHealthCheck } from '../support/health-checks.ts'
import { startTestStore } from '../support/hostile.ts'

const store = await startTestStore({ buckets: ['mine', 'theirs'] })
const gateway = await startTestGateway(store, { sections: { auth: { v2Header: true, v2Query: true } } })
const wire = new Wire(gateway.endpoint)
for (const bucket of ['mine', 'theirs']) await store.object(bucket, 'keep').set({ body: Buffer.from('stored') })

/** The signature is right and the body is not, which shows when it has come: by then the gateway may have looked, not written. */
const mayLook = ({ payload, request }: Row): boolean => payload === 'wrong hash' && request.row.takesBody === 'data'
const accepted: string[] = []
const upstream: string[] = []
let sent = 0

async function pass(chosen: (row: Row) => boolean, allowed: (method: string) => boolean): Promise<void> {
  store.requests.length = 0
  await forEach(allRows('mine', 'key'), 16, async (row) => {
    if (row.valid || !chosen(row)) return
    const { status } = await sendRow(wire, gateway, row)
    if (status < 400) accepted.push(`${row.name}: ${status}`)
    const work = store.requests.splice(0).filter((r) => !isHealthCheck(r))
    upstream.push(...work.filter(({ method }) => !allowed(method)).map(({ method, path }) => `about ${row.name}: ${method} ${path}`))
    sent += 1
    if (sent % 10_000 === 0) console.log(`${sent.toLocaleString('en')} of ${productRows().toLocaleString('en')} rows`)
  })
}

await pass((row) => !mayLook(row), () => false)
await pass(mayLook, (method) => method === 'GET')
store.requests.length = 0
const unsigned = unsignedHeaderRows('mine', 'key', 1)
await forEach(unsigned, 16, async (row) => {
  const { status } = await sendUnsignedHeader(wire, gateway, row)
  if (status !== 403) accepted.push(`${row.name}: ${status}`)
})
upstream.push(...store.requests.filter((r) => !isHealthCheck(r)).map(({ method, path }) => `unsigned header: ${method} ${path}`))
console.log([...accepted, ...upstream].join('\n'))
console.log(
  `${sent.toLocaleString('en')} invalid rows and ${
    unsigned.length.toLocaleString('en')
  } requests with an unsigned header, ${accepted.length} accepted, ${upstream.length} requests upstream`
)
wire.close()
await gateway.close()
await store.close()
process.exitCode = accepted.length + upstream.length === 0 ? 0 : 1
