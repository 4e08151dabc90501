// The largest object of the S3 Encryption Client that an upload in parts can become, and one that goes to the store in more than one part.
import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3'
import { sealPartRecord, openUploadRecord, parseUploadRecord, uploadHash, attemptEtag } from '../../../src/envelope/upload-records.ts'
import { MAX_PART_PLAINTEXT } from '../../../src/envelope/sizes.ts'
import { partRecordName, uploadRecordName } from '../../../src/store-client/state-names.ts'
import { around, begin, Bucket, complete, startRig, stateBucket, type Rig } from '../../support/client-write-rig.ts'
import { codeOf } from '../../support/error-code.ts'

const MIB = 1024 * 1024
/** Of plaintext under one key and nonce of GCM: 2^39 - 256 bits (NIST SP 800-38D, 5.2.1.1). */
const MOST = (2n ** 39n - 256n) / 8n

/** Records parts that nobody has sent. @returns what a client would name them by */
async function recordParts({ store, kms }: Rig, Key: string, UploadId: string, sizes: readonly number[]): Promise<{ PartNumber: number; ETag: string }[]> {
  const place = { realm: 'test', bucket: Bucket, objectKey: Key }
  const hash = uploadHash(place, UploadId)
  const record = parseUploadRecord(await store.object(stateBucket, uploadRecordName(hash)).body())
  const { dataKey } = openUploadRecord(record, createSecretKey(kms.opened(record.blob)), place, UploadId)
  return Promise.all(sizes.map(async (plaintextSize, i) => {
    const header = Buffer.concat([Buffer.from([40]), randomBytes(39)])
    const sealed = sealPartRecord(dataKey, hash, { number: i + 1, plaintextSize, header, md5: null, checksum: null, upstreamEtag: '', inline: true })
    await store.object(stateBucket, partRecordName(hash, i + 1, 1, sealed)).set({ body: Buffer.alloc(0) })
    return { PartNumber: i + 1, ETag: `"${attemptEtag(header)}"` }
  }))
}

await t.test('2^36 - 32 bytes are begun to be written, and one more is refused before anything is asked for', async (t) => {
  const rig = await startRig(t, { version: 'v3', key: 'aes' })
  const { s3, store } = rig
  const whole = Math.floor(Number(MOST) / MAX_PART_PLAINTEXT)
  for (const over of [0, 1]) {
    const Key = `over ${over}`
    const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
    const rest = Number(MOST) - whole * MAX_PART_PLAINTEXT + over
    const list = await recordParts(rig, Key, UploadId, [...Array<number>(whole).fill(MAX_PART_PLAINTEXT), rest])
    const from = store.requests.length
    // Nobody has sent the bytes.
    const code = await codeOf(complete(s3, { Key, UploadId, list }))
    t.equal(code, over === 0 ? 'ServiceUnavailable' : 'EntityTooLarge')
    const begun = store.requests.slice(from).filter(({ method, bucket, query }) => method === 'POST' && bucket === Bucket && query.has('uploads')).length
    t.equal(begun > 0, over === 0)
  }
})

await t.test('a body of more than 64 MiB goes to the store in parts, cut elsewhere than those of the client', async (t) => {
  const rig = await startRig(t, { version: 'v3', key: 'aes', keepBodies: false })
  const { s3, store } = rig
  const parts = [randomBytes(60 * MIB + 3), randomBytes(5 * MIB)]
  await complete(s3, await begin(s3, 'o', parts))
  const sent = store.requests.filter(({ method, bucket, query }) => method === 'PUT' && bucket === Bucket && query.has('partNumber'))
  t.strictSame(sent.map(({ query, bodyLength }) => [query.get('partNumber'), bodyLength]), [['1', 64 * MIB], ['2', MIB + 3 + 16]])
  t.ok((await around(rig, 'o')).equals(Buffer.concat(parts)))
})
