// Uploads in parts that become objects of the S3 Encryption Client, at a store that drops every record that it can and enforces no condition: a client that
// completes one upload again and again with other lists must never make it see two bodies under one keystream.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { UploadPartCommand } from '@aws-sdk/client-s3'
import { around, begin, Bucket, complete, startRig, stateBucket, type Begun, type Rig } from '../../support/client-write-rig.ts'
import { codeOf } from '../../support/error-code.ts'
import { dataKeyOf, readS3ec } from '../../support/s3ec-reader.ts'

const done = { type: 'answer', status: 200, headers: [['ETag', '"0"']], body: '' } as const

/** From now on nothing is removed, nothing is added to what the store keeps for the gateway, and every condition of the gateway holds. */
function turnHostile({ store }: Rig): void {
  store.rules.add({ when: { method: 'PUT', bucket: stateBucket }, times: Infinity, fault: done })
  store.rules.add({
    when: { method: 'POST', bucket: stateBucket, query: { delete: true } },
    times: Infinity,
    fault: { type: 'answer', status: 200, body: '<DeleteResult></DeleteResult>' }
  })
  store.rules.add({ when: { method: 'DELETE' }, times: Infinity, fault: { type: 'answer', status: 204 } })
}

/** What the store has seen of one attempt to write the object. */
interface Attempt {
  readonly metadata: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** Every object whose bytes came to the store, also of uploads that were not completed there. */
function attempts({ store }: Rig, key: string): Attempt[] {
  const created = store.requests.filter(({ method, bucket, key: name, query }) =>
    method === 'POST' && bucket === Bucket && name === key && query.has('uploads')
  )
  const sent = store.requests.filter(({ method, bucket, key: name, query }) => method === 'PUT' && bucket === Bucket && name === key && query.has('partNumber'))
  // The first was begun by the client, and no part goes there.
  return created.slice(1).map(({ headers }, i) => ({
    metadata: Object.fromEntries(
      [...headers.names()].filter((name) => name.startsWith('x-amz-meta-')).map((name) => [name.slice(11), headers.get(name) ?? ''])
    ),
    body: sent[i]?.body ?? Buffer.alloc(0)
  }))
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.subarray(0, Math.min(a.length, b.length)).map((byte, i) => byte ^ (b[i] ?? 0)))
}

for (const version of ['v2', 'v3'] as const) {
  for (const key of ['cloud', 'aes', 'rsa'] as const) {
    await t.test(`${version} under ${key}`, async (t) => {
      const rig = await startRig(t, { version, key })
      const { s3, store } = rig
      const texts = Array.from({ length: 4 }, () => randomBytes(3000))
      const upload = await begin(s3, 'o', texts.slice(0, 2))
      const { Key, UploadId } = upload
      /** Other bytes for a part that has been sent. */
      const instead = async (PartNumber: number, Body: Buffer): Promise<Begun['list'][number]> => {
        const { ETag = '' } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
        return { PartNumber, ETag }
      }
      const parts = [...upload.list, await instead(1, texts[2]!), await instead(2, texts[3]!)]
      turnHostile(rig)
      // The first Complete fails at its end: its bytes are at the store all the same.
      store.rules.add({ when: { method: 'POST', key: 'o', query: { uploadId: true } }, fault: { type: 'error', status: 500, code: 'InternalError' } })
      // Each of the four, and the first once more.
      const tries = [...parts.keys(), 0]
      for (const [i, part] of tries.entries()) t.equal(await codeOf(complete(s3, { ...upload, list: [parts[part]!] })) === 'ok', i > 0, `list ${i}`)
      t.ok((await around(rig, 'o')).equals(texts[0]!), 'the last one')
      const seen = attempts(rig, 'o')
      t.equal(seen.length, tries.length)
      const [wrapped, nonce] = version === 'v2' ? ['x-amz-key-v2', 'x-amz-iv'] : ['x-amz-3', 'x-amz-i']
      for (const name of [wrapped, nonce, ...version === 'v3' ? ['x-amz-d'] : []]) {
        t.equal(new Set(seen.map(({ metadata }) => metadata[name])).size, tries.length, `each has another ${name}`)
      }
      t.equal(new Set(seen.map(({ metadata }) => dataKeyOf(metadata).toString('hex'))).size, tries.length, 'each has another data key')
      for (const [i, { metadata, body }] of seen.entries()) t.ok(readS3ec({ metadata, body, instruction: null }).equals(texts[tries[i]!]!))
      for (const [i, { body: a }] of seen.entries()) {
        t.equal(a.length, 3016)
        for (const [j, { body: b }] of seen.slice(0, i).entries()) {
          // Of every block of 16 bytes: a keystream that is used again anywhere would show the difference of the two texts there.
          const [difference, stored] = [xor(texts[tries[i]!]!, texts[tries[j]!]!), xor(a, b)]
          let alike = 0
          for (let at = 0; at + 16 <= difference.length; at += 16) if (difference.compare(stored, at, at + 16, at, at + 16) === 0) alike += 1
          t.equal(alike, 0, `blocks with one keystream, lists ${j} and ${i}`)
        }
      }
    })
  }
}
