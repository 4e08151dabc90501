import { randomBytes } from 'node:crypto'
import t from 'tap'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { parseEnvelope } from '../../src/envelope/envelope.ts'
import { ask, Bucket, customer, customerHeaders, sse, startEncryptionRig, type EncryptionRig, type Headers } from './encryption-rig.ts'
import { callsForObjects } from './kms-calls.ts'
import { presigned } from './presigned.ts'

await t.test('forty PUTs and GETs with bucket keys ask KMS hardly ever', async (t) => {
  const rig = await startEncryptionRig(t, { key: 'cloud', etag: 'opaque' })
  const calls = await callsForObjects(rig, 40)
  t.ok(calls < 10, `${calls} calls`)
})

await t.test('objects under one bucket key have object keys of their own, and metadata that moves opens nothing', async (t) => {
  const { s3, store } = await startEncryptionRig(t, { key: 'cloud' })
  const Body = randomBytes(1000)
  for (const Key of ['a', 'b']) await ask(s3, new PutObjectCommand({ Bucket, Key, Body }))
  const [a, b] = ['a', 'b'].map((key) => store.object(Bucket, key))
  const [first, second] = [a!, b!].map(({ metadata }) => parseEnvelope(metadata['sealgate'] ?? ''))
  t.ok(first!.blob.equals(second!.blob), 'one bucket key')
  t.notOk(first!.commitment.equals(second!.commitment), 'two object keys')
  t.notOk((await a!.body()).equals(await b!.body()))
  const moved = [['b\'s metadata on a', { metadata: b!.metadata }], ['b\'s body on a', { body: await b!.body() }], ['all of b as a', {
    metadata: b!.metadata,
    body: await b!.body()
  }]] as const
  const before = { metadata: a!.metadata, body: await a!.body() }
  for (const [name, change] of moved) {
    await a!.set(change)
    t.match(await ask(s3, new GetObjectCommand({ Bucket, Key: 'a' })), { status: 500, code: 'SealgateIntegrityError', body: Buffer.alloc(0) }, name)
    await a!.set(before)
    t.ok(Body.equals((await ask(s3, new GetObjectCommand({ Bucket, Key: 'a' }))).body))
  }
})

await t.test('a policy that demands a mode refuses writes without it, including presigned ones', async (t) => {
  for (
    const [demanded, fitting, others] of [
      ['aws:kms', { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: 'cloud' }, [{}, { [sse]: 'AES256' }, customerHeaders(customer)]],
      ['AES256', { [sse]: 'AES256' }, [{}, { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: 'cloud' }, customerHeaders(customer)]],
      ['SSE-C', customerHeaders(customer), [{}, { [sse]: 'AES256' }]]
    ] as readonly (readonly [string, Headers, readonly Headers[]])[]
  ) {
    const rig = await startEncryptionRig(t, { requireSse: [demanded] })
    const { store } = rig
    for (const headers of others) {
      t.match(await ask(rig.s3, new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' }), headers), { status: 403, code: 'AccessDenied' })
      t.equal(await presignedPut(rig, headers), 403)
    }
    t.notOk(store.object(Bucket, 'o').exists)
    t.match(await ask(rig.s3, new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' }), fitting), { status: 200 })
    t.equal(await presignedPut(rig, fitting), 200)
  }
})

async function presignedPut({ gateway }: EncryptionRig, headers: Headers): Promise<number> {
  return (await presigned(gateway, { method: 'PUT', path: `/${Bucket}/o`, headers, body: 'o' })).status
}
