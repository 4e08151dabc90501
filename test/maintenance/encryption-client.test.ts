import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { deflateRawSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import { instructionFileState, looksRandom } from '../../src/maintenance/encryption-client.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'

await t.test('ciphertext looks random at every length; text, records and known formats do not', (t) => {
  for (const length of [16, 17, 31, 32, 64, 100, 256, 511, 512]) {
    let missed = 0
    for (let i = 0; i < 300; i += 1) if (!looksRandom(randomBytes(length))) missed += 1
    t.ok(missed <= 6, `${length} bytes: ${missed} of 300 missed`)
  }
  const text = 'All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act. '
  const json = JSON.stringify(Array.from({ length: 40 }, (_, i) => ({ id: i, name: `name ${i}`, at: '2026-11-29T12:00:00Z' })))
  for (const plain of [text.repeat(9), json, text.slice(0, 40), '\0'.repeat(512), 'a,b,c\n1,2,3\n'.repeat(50)]) {
    t.notOk(looksRandom(Buffer.from(plain).subarray(0, 512)), plain.slice(0, 20))
  }
  t.notOk(looksRandom(gzipSync(json.repeat(3)).subarray(0, 512)), 'gzip')
  t.ok(looksRandom(deflateRawSync(randomBytes(600)).subarray(8, 520)), 'compressed without a mark: one request is worth it')
  t.notOk(looksRandom(Buffer.alloc(0)))
  t.notOk(looksRandom(randomBytes(15)))
  t.end()
})

await t.test('an instruction file of each version, and what is none', async (t) => {
  const asked: (string | null)[] = []
  const bucketOf = (status: number, body: string) =>
    new BucketClient(
      {
        request: ({ key }) => {
          asked.push(key)
          return Promise.resolve({ status, headers: new HeaderList([]), body: Readable.from([Buffer.from(body)]) })
        },
        close: () => Promise.resolve()
      },
      'b',
      new AbortController().signal
    )
  const file = (entries: object) => bucketOf(206, JSON.stringify({ 'x-amz-iv': 'i', 'x-amz-matdesc': '{}', ...entries }))
  t.match(await instructionFileState(file({ 'x-amz-key': 'k' }), 'a/b'), { state: 's3ec-v1', detail: /hint/ })
  t.match(await instructionFileState(file({ 'x-amz-key-v2': 'k' }), 'a/b'), { state: 's3ec-v2' })
  t.strictSame(asked, ['a/b.instruction', 'a/b.instruction'])
  t.match(await instructionFileState(file({ 'x-amz-key': 'k' }), 'a/b', ['.second', '.x']), { state: 's3ec-v1' })
  t.strictSame(asked.splice(2), ['a/b.second'])
  t.equal(await instructionFileState(bucketOf(404, ''), 'a/b', ['.second', '.x']), null)
  t.strictSame(asked.splice(2), ['a/b.second', 'a/b.x'], 'each of them')
  const none = [
    file({}),
    file({ 'x-amz-key': 1 }),
    bucketOf(200, '{"x-amz-key":"k"}'),
    bucketOf(200, 'null'),
    bucketOf(200, '[]'),
    bucketOf(200, '{"x-amz-'),
    bucketOf(416, '')
  ]
  for (const bucket of [...none, bucketOf(404, ''), bucketOf(403, ''), bucketOf(404, '{"x-amz-iv":"i","x-amz-key":"k"}')]) {
    t.equal(await instructionFileState(bucket, 'k'), null)
  }
  const before = asked.length
  t.equal(await instructionFileState(file({ 'x-amz-key': 'k' }), 'ü'.repeat(510)), null, 'no name is that long')
  t.equal(asked.length, before)
  await t.rejects(instructionFileState(bucketOf(503, ''), 'k'), { code: 'ServiceUnavailable' }, 'tried again, and not taken for plaintext')
  await t.rejects(instructionFileState(bucketOf(200, 'x'.repeat(20_000)), 'k'), { code: 'SealgateBadUpstream' }, 'a store that does not know ranges')
})
