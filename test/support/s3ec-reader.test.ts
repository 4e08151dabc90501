import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readS3ec, s3ecVectors, type S3ecVector } from './s3ec-reader.ts'

const files = readdirSync(s3ecVectors).filter((name) => name !== 'keys.json' && name.endsWith('.json'))
t.same(files.toSorted(), ['go.json', 'hadoop.json', 'java1.json', 'java4.json', 'python.json'])

const decode = (text: string): Buffer => Buffer.from(text, 'base64')

for (const file of files) {
  await t.test(`the reader opens what ${file.replace('.json', '')} wrote, and nothing that was changed`, async (t) => {
    const { objects } = JSON.parse(readFileSync(join(s3ecVectors, file), 'utf8')) as { objects: S3ecVector[] }
    t.ok(objects.length > 0)
    for (const { key, metadata, body, instructions, plaintext, sha256, size } of objects) {
      const stored = Object.values(instructions).map(({ body: text }) => JSON.parse(decode(text).toString()) as Record<string, string>)
      for (const instruction of stored.length === 0 ? [null] : stored) {
        const object = { metadata, body: decode(body), instruction }
        const read = readS3ec(object)
        t.ok(read.equals(decode(plaintext)) && read.length === size && createHash('sha256').update(read).digest('hex') === sha256, key)
        // One bit of the body: the padding of CBC notices only some.
        const flipped = Buffer.from(object.body)
        flipped[0]! ^= 1
        if (object.body.length === size + 16 && metadata['x-amz-cek-alg'] !== 'AES/CBC/PKCS5Padding' && !key.includes('-cbc-')) {
          t.throws(() => readS3ec({ ...object, body: flipped }), key)
        }
      }
    }
  })
}
