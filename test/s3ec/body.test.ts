import { createDecipheriv, createHash, createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { CounterOpener, counterRange } from '../../src/s3ec/body.ts'
import { bodyKey } from '../../src/s3ec/data-key.ts'
import { S3ecError } from '../../src/s3ec/fault.ts'
import { vectorKeys, vectors } from '../support/s3ec-vectors.ts'
import { recipes, withInstructionFile, write } from '../support/s3ec-writer.ts'
import { describeStored, faultOf, open, type ReaderKeys, type StoredForm, unwrap } from './open.ts'

const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const aes = randomBytes(32)
const kms = createSecretKey(randomBytes(32))
const keys: ReaderKeys = {
  aes: createSecretKey(aes),
  rsa: pair.privateKey,
  // A blob of this service: the hash of the context, and the data key.
  kms: (blob, context) => {
    if (!blob.subarray(0, 32).equals(contextHash(context))) throw new S3ecError('s3ec-wrap')
    return blob.subarray(32)
  }
}
const writerKeys = {
  aes,
  rsa: pair.publicKey,
  kms: (dataKey: Buffer, context: Readonly<Record<string, string>>) => Buffer.concat([contextHash(context), dataKey])
}

function contextHash(context: Readonly<Record<string, string>>): Buffer {
  return createHash('sha256').update(kms.export()).update(JSON.stringify(Object.entries(context).sort())).digest()
}

/** As test/support/fake-kms.ts seals, which was the key service of the real clients. */
function openAsFakeKms(blob: Buffer, context: Readonly<Record<string, string>>): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', vectorKeys.kms.secret, blob.subarray(4, 16), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(JSON.stringify(Object.entries(context).sort(([a], [b]) => a < b ? -1 : 1))))
  decipher.setAuthTag(blob.subarray(-16))
  return Buffer.concat([decipher.update(blob.subarray(16, -16)), decipher.final()])
}

await t.test('every object of the real clients opens, from metadata and from instruction files', (t) => {
  const opened = new Map<string, number>()
  for (const vector of vectors) {
    const files = Object.values(vector.files)
    for (const file of files.length === 0 ? [undefined] : files) {
      const stored: StoredForm = file === undefined ? vector : { ...vector, file }
      const material = JSON.stringify(describeStored(stored).material)
      const second = material.includes('second')
      const with_: ReaderKeys = { aes: createSecretKey(second ? vectorKeys.aesSecond : vectorKeys.aes), rsa: vectorKeys.rsa, kms: openAsFakeKms }
      t.strictSame(open(stored, with_), vector.plaintext, `${vector.key} ${material}`)
      t.strictSame(open(stored, with_, { hold: false, chunk: 3 }), vector.plaintext)
    }
    opened.set(vector.client, (opened.get(vector.client) ?? 0) + 1)
  }
  t.comment(`opened: ${[...opened].map(([client, count]) => `${client} ${count}`).join(', ')}`)
  t.ok(opened.size === 5 && vectors.length >= 390, String(vectors.length))
  t.end()
})

await t.test('what the writer of the tests writes opens, at every size around blocks and with every cut', async (t) => {
  for (const recipe of recipes) {
    for (const size of [0, 1, 15, 16, 17, 31, 32, 33, 100]) {
      const plaintext = randomBytes(size)
      const written = await write(plaintext, recipe, writerKeys)
      const { file, object } = withInstructionFile(written)
      for (const stored of [written, { ...object, file }]) {
        for (const hold of [true, false]) {
          for (const chunk of [1, 16, 1000]) t.ok(open(stored, keys, { hold, chunk }).equals(plaintext), `${recipe.version} ${recipe.wrap} ${size}`)
        }
      }
    }
  }
})

/** Every value with each of its bits changed where it is bytes, and with each character replaced where it is text. */
function* changesOf(value: string): Generator<string> {
  const bytes = Buffer.from(value, 'base64')
  if (bytes.length > 0 && bytes.toString('base64') === value && value.length > 6) {
    for (let i = 0; i < bytes.length; i += 1) {
      const changed = Buffer.from(bytes)
      changed[i] = (changed[i] ?? 0) ^ (1 << i % 8)
      yield changed.toString('base64')
    }
    yield bytes.subarray(1).toString('base64')
    yield Buffer.concat([bytes, Buffer.alloc(1)]).toString('base64')
  }
  for (let i = 0; i <= value.length; i += value.length > 200 ? 7 : 1) {
    for (const character of ['a', '1', '"', '\u0000']) if (value[i] !== character) yield value.slice(0, i) + character + value.slice(i + 1)
    yield value.slice(0, i)
  }
}

/** What an object without a tag cannot notice. */
const unbound = new Set(['x-amz-iv'])

await t.test('every entry, every bit of the body, every length: what was tampered with is not opened, and not a byte comes out', async (t) => {
  const plaintext = randomBytes(33)
  let [tried, refused, asBefore] = [0, 0, 0]
  for (const recipe of recipes) {
    const authenticated = recipe.cipher !== 'cbc' && recipe.version !== 1
    const written = await write(plaintext, recipe, writerKeys)
    const tryOpen = (stored: StoredForm, what: string): void => {
      tried += 1
      const released: Buffer[] = []
      try {
        const opened = open(stored, keys, { released, chunk: 16 })
        // Another spelling of the same, or an entry that decides nothing.
        if (opened.equals(plaintext)) asBefore += 1
        else t.notOk(authenticated, `${recipe.version} ${recipe.wrap} ${what} was accepted`)
      } catch (error) {
        if (!(error instanceof S3ecError)) throw error
        refused += 1
        if (released.length > 0) t.fail(`${what}: ${released.length} pieces came out`)
      }
    }
    for (const [name, value] of Object.entries(written.metadata)) {
      if (!authenticated && unbound.has(name)) continue
      for (const changed of changesOf(value)) if (changed !== value) tryOpen({ ...written, metadata: { ...written.metadata, [name]: changed } }, name)
    }
    const { body } = written
    for (let bit = 0; bit < body.length * 8; bit += 1) {
      const changed = Buffer.from(body)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << bit % 8)
      if (authenticated) tryOpen({ ...written, body: changed }, `bit ${bit}`)
    }
    for (let length = 0; length < body.length; length += 1) tryOpen({ ...written, body: body.subarray(0, length) }, `${length} bytes`)
    for (const more of [1, 15, 16, 17]) tryOpen({ ...written, body: Buffer.concat([body, randomBytes(more)]) }, `${more} bytes more`)
  }
  t.comment(`${tried} tried, ${refused} refused, ${asBefore} opened to what was written`)
  t.ok(refused > 8000 && asBefore < tried / 10, `${refused} of ${tried}`)
})

await t.test('a stream that is not held ends too early for everybody when its tag or padding is wrong', async (t) => {
  for (const recipe of recipes) {
    // In CBC a bit of the block before is that bit of the last one's padding. A bit of the last block itself would leave one padding of 256 well-formed.
    const [sizes, fromEnd] = recipe.cipher === 'cbc' ? [[16, 17, 100], 17] as const : [[1, 15, 16, 17, 100], 1] as const
    for (const size of sizes) {
      const written = await write(randomBytes(size), recipe, writerKeys)
      const body = Buffer.from(written.body)
      body[body.length - fromEnd] = (body[body.length - fromEnd] ?? 0) ^ 0x80
      for (const chunk of [1, 16, 17, 1000]) {
        const released: Buffer[] = []
        t.throws(() => open({ ...written, body }, keys, { hold: false, chunk, released }), { name: /S3ecError/ }, `${recipe.version} ${recipe.wrap}`)
        t.ok(Buffer.concat(released).length < size, `${size} in pieces of ${chunk}: ${Buffer.concat(released).length}`)
      }
    }
  }
})

await t.test('a data key that the object does not commit to opens nothing, though the tag would be right', async (t) => {
  const [one, other] = [
    await write(Buffer.from('one'), { version: 3, wrap: 'AES/GCM' }, writerKeys),
    await write(Buffer.from('two'), { version: 3, wrap: 'AES/GCM' }, writerKeys)
  ]
  for (const names of [['x-amz-3'], ['x-amz-3', 'x-amz-i'], ['x-amz-3', 'x-amz-d']]) {
    const metadata = { ...one.metadata, ...Object.fromEntries(names.map((name) => [name, other.metadata[name] ?? ''])) }
    t.equal(faultOf(() => open({ ...one, metadata }, keys)), 's3ec-commitment')
  }
  const all = { ...one.metadata, ...other.metadata }
  t.equal(faultOf(() => open({ ...one, metadata: all }, keys)), 's3ec-tag')
})

await t.test('parts of an object, in counter mode: every first and last byte', async (t) => {
  const plaintext = randomBytes(70)
  for (const recipe of [{ version: 2, wrap: 'AES/GCM' }, { version: 3, wrap: 'AES/GCM' }] as const) {
    const written = await write(plaintext, recipe, writerKeys)
    const description = describeStored(written)
    const key = bodyKey(unwrap(description, keys), description)
    let wrong = 0
    for (let first = 0; first < 70; first += 1) {
      for (let last = first; last < 70; last += 1) {
        const range = counterRange(first, last)
        const stage = new CounterOpener({ key, description }, range)
        const bytes = written.body.subarray(range.storedFirst, range.storedLast + 1)
        const out = Buffer.concat([...stage.update(Buffer.from(bytes.subarray(0, 7))), ...stage.update(Buffer.from(bytes.subarray(7)))])
        stage.final()
        if (!out.equals(plaintext.subarray(first, last + 1))) wrong += 1
      }
    }
    t.equal(wrong, 0)
    const range = counterRange(0, 15)
    t.equal(faultOf(() => new CounterOpener({ key, description }, range).update(Buffer.alloc(17))), 's3ec-length')
    t.equal(faultOf(() => new CounterOpener({ key, description }, range).final()), 's3ec-length')
  }
})
