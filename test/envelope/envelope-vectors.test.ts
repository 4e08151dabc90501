import { createHash, createSecretKey, type KeyObject } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { openWithCustomerKey, bucketKeyContext, unwrap } from '../../src/envelope/data-key.ts'
import { openEnvelope, parseEnvelope, type Envelope } from '../../src/envelope/envelope.ts'
import { EnvelopeError } from '../../src/envelope/encoding.ts'
import { openTail } from '../../src/envelope/manifest.ts'
import { planMultipart, RangeOpener } from '../../src/envelope/range.ts'
import { SingleOpener } from '../../src/envelope/body.ts'
import { plaintextSize } from '../../src/envelope/sizes.ts'
import { kindOf, run, splits, type Outcome } from './fixtures.ts'

interface Vector {
  readonly description: string
  readonly expect: string
  readonly realm: string
  readonly bucket: string
  readonly object: string
  readonly metadata: Readonly<Record<string, string>>
  readonly keyring?: { readonly name: string; readonly keys: readonly { readonly id: string; readonly key: string }[] }
  readonly bucketKey?: string
  readonly customerKey?: string
  readonly body: string
  readonly plaintextSize: number
  readonly sha256: string
  readonly released?: number
  readonly releasedSha256?: string
}

const directory = new URL('../vectors/', import.meta.url)
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex')

function keyOf(vector: Vector, envelope: Envelope): KeyObject {
  if (vector.bucketKey !== undefined) return createSecretKey(vector.bucketKey, 'hex')
  if (vector.customerKey !== undefined) return openWithCustomerKey(createSecretKey(vector.customerKey, 'hex'), envelope.blob)
  const version = vector.keyring?.keys.find(
    ({ id }) => `local:${vector.keyring?.name ?? ''}:${id}` === vector.metadata['x-amz-meta-sealgate-key']
  )
  if (version === undefined) throw new Error('A vector without a key.')
  const text = vector.metadata['x-amz-meta-sealgate-context']
  const pairs = text === undefined ? {} : JSON.parse(Buffer.from(text, 'base64').toString()) as Record<string, string>
  const aad = bucketKeyContext(vector.realm, vector.bucket, envelope.scope === 'object' ? vector.object : null, pairs)
  return createSecretKey(unwrap(createSecretKey(version.key, 'base64'), envelope.blob, aad))
}

/** A whole read in the order of docs/FORMAT.md, Reading. */
function read(vector: Vector, body: Buffer, split: (left: number) => number): Outcome {
  const place = { realm: vector.realm, bucket: vector.bucket, objectKey: vector.object }
  const envelope = parseEnvelope(vector.metadata['x-amz-meta-sealgate'] ?? '')
  if (envelope.bucket !== place.bucket) throw new EnvelopeError('place')
  const { dataKey, attributes } = openEnvelope(envelope, keyOf(vector, envelope), place)
  const size = plaintextSize(body.length)
  if (size === null || (attributes.plaintextSize ?? size) !== size) throw new EnvelopeError('length')
  const header = envelope.streamHeader
  if (header !== null) return run(() => new SingleOpener({ dataKey, header, plaintextSize: size }), body, split)
  const manifest = openTail(body, body.length, dataKey, 'multipart')
  if ('need' in manifest) throw new EnvelopeError('footer')
  const plan = planMultipart(manifest, 0, size - 1)
  return run(() => new RangeOpener({ dataKey, plan }), body.subarray(0, plan.storedLast + 1), split)
}

await t.test('every vector opens, or fails as it says', async (t) => {
  const names = readdirSync(directory).filter((name) => name.endsWith('.json'))
  for (const name of names) {
    const vector = JSON.parse(readFileSync(new URL(name, directory), 'utf8')) as Vector
    const body = readFileSync(new URL(vector.body, directory))
    for (
      const [how, split] of Object.entries({ whole: splits.whole, pieces: (left: number) => Math.min(left, 4099), bytes: splits.bytes })
    ) {
      if (how === 'bytes' && body.length > 70_000) continue
      const outcome = kindOf(() => read(vector, body, split)) as Outcome | string
      const { failure, released } = typeof outcome === 'string' ? { failure: outcome, released: Buffer.alloc(0) } : outcome
      t.equal(failure ?? 'success', vector.expect, `${name}, ${how}: ${vector.description}`)
      if (failure === null) t.equal(sha256(released), vector.sha256)
      else if (released.length > 0) {
        t.match(
          vector,
          { released: released.length, releasedSha256: sha256(released) },
          'only right bytes were released'
        )
      }
    }
  }
  const faulty = names.filter((name) => name.startsWith('bad-')).length
  t.ok(faulty >= 35 && names.length - faulty >= 35)
  t.comment(`${names.length} vectors, ${faulty} of them faulty`)
})
