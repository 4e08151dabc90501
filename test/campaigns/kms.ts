// 10,000 PUTs and GETs with bucket keys, then 60 seconds without a key service: node test/campaigns/kms.ts
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { ask, Bucket, startEncryptionRig } from '../gateway/encryption-rig.ts'
import { callsForObjects } from '../gateway/kms-calls.ts'

const OUTAGE_MS = 60_000
/** Longer than the cache keeps anything: a failure for 5 seconds at most. */
const RECOVERY_MS = 10_000

const ends: (() => Promise<void>)[] = []
const rig = await startEncryptionRig(
  {
    teardown: (work) => {
      ends.unshift(work)
    }
  },
  { key: 'cloud', etag: 'opaque' },
  { keyCache: { maxAgeSeconds: 30 } }
)
const { s3, kms } = rig
const calls = await callsForObjects(rig, 10_000)
console.log(`10,000 PUTs and 10,000 GETs, keys kept for 30 s: ${calls} KMS calls`)

const counts = { reads: 0, readsRefused: 0, writes: 0, writesRefused: 0 }
const strange: string[] = []
let longest = 0
const began = performance.now()
kms.misbehave = () => true
for (let i = 0; performance.now() < began + OUTAGE_MS; i += 1) {
  const started = performance.now()
  const [read, write] = await Promise.all([
    ask(s3, new GetObjectCommand({ Bucket, Key: `object/${i}` })),
    ask(s3, new PutObjectCommand({ Bucket, Key: `outage/${i}`, Body: 'x' }))
  ])
  longest = Math.max(longest, performance.now() - started)
  for (const { status, code } of [read, write]) if (status !== 200 && status !== 503) strange.push(`${status} ${code}`)
  counts[read.status === 200 ? 'reads' : 'readsRefused'] += 1
  counts[write.status === 200 ? 'writes' : 'writesRefused'] += 1
  await sleep(100)
}
console.log(`outage of ${OUTAGE_MS / 1000} s: ${JSON.stringify(counts)}, longest wait ${(longest / 1000).toFixed(1)} s`)
kms.misbehave = null
await sleep(RECOVERY_MS)
const after = await ask(s3, new GetObjectCommand({ Bucket, Key: 'object/1' }))
console.log(`${RECOVERY_MS / 1000} s after it: ${after.status} ${after.body.toString()}`)
for (const end of ends) await end()
const good = calls < 20 && counts.readsRefused > 0 && counts.writesRefused > 0 && after.status === 200 && strange.length === 0
console.log(good ? 'as promised' : `NOT AS PROMISED ${strange.join(', ')}`)
process.exitCode = good ? 0 : 1
