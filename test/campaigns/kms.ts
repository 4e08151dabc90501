// 10,000 PUTs and GETs with bucket keys, then 60 seconds without a key service: node test/campaigns/kms.ts
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { ask, Bucket, startEncryptionRig } from '../gateway/encryption.ts'
import { callsForObjects } from '../gateway/kms-calls.ts'

const OUTAGE_MS = 60_000

await t.test('campaign', { timeout: 600_000 }, async (t) => {
  const rig = await startEncryptionRig(t, { key: 'cloud', etag: 'opaque' }, { keyCache: { maxAgeSeconds: 60 } })
  const calls = await callsForObjects(rig, 10_000)
  console.log(`10,000 PUTs and 10,000 GETs: ${calls} KMS calls`)
  const { s3, kms } = rig
  kms.misbehave = () => true
  const until = performance.now() + OUTAGE_MS + 60_000
  const counts = { read: 0, refusedRead: 0, written: 0, refusedWrite: 0, longest: 0 }
  for (let i = 0; performance.now() < until; i += 1) {
    if (kms.misbehave !== null && performance.now() > until - 60_000 + 10_000) kms.misbehave = null
    const started = performance.now()
    const [read, write] = await Promise.all([
      ask(s3, new GetObjectCommand({ Bucket, Key: `object/${i % 10_000}` })), ask(s3, new PutObjectCommand({ Bucket, Key: `outage/${i}`, Body: 'x' }))
    ])
    counts.longest = Math.max(counts.longest, performance.now() - started)
    if (![200, 503].includes(read.status) || ![200, 503].includes(write.status)) t.fail(`${read.status} ${read.code}, ${write.status} ${write.code}`)
    counts[read.status === 200 ? 'read' : 'refusedRead'] += 1
    counts[write.status === 200 ? 'written' : 'refusedWrite'] += 1
    await sleep(100)
  }
  t.equal((await ask(s3, new GetObjectCommand({ Bucket, Key: 'object/1' }))).status, 200, 'recovered')
  console.log(`outage: ${JSON.stringify({ ...counts, longest: `${(counts.longest / 1000).toFixed(1)} s` })}`)
  t.ok(calls < 20 && counts.refusedRead > 0 && counts.longest < 6000)
})
process.exitCode = t.passing() ? 0 : 1
