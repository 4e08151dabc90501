// Objects that the real S3 Encryption Clients wrote, tampered with in every field and every kind of byte, and read through the gateway. Nothing but what
// was written may come out: of an object that is held until it has verified not one byte. CBC authenticates nothing: its bodies are left as they are, and other
// bytes after a change of its entries (the IV) are counted by themselves.
//   node test/campaigns/s3ec.ts [TAMPERINGS [SEED]]     default 10,000; takes a minute
import { createHash } from 'node:crypto'
import process from 'node:process'
import { GetObjectCommand, S3ServiceException } from '@aws-sdk/client-s3'
import { FakeKms } from '../support/fake-kms.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { vectorKeys, vectors, type Vector } from '../support/s3ec-vectors.ts'

const [wanted = '10000', seed = '1'] = process.argv.slice(2)
const Bucket = 'tampered'

/** Numbers below a bound that the seed alone decides. */
let drawn = 0
function random(below: number): number {
  drawn += 1
  return createHash('sha256').update(`${seed} ${drawn}`).digest().readUInt32BE() % below
}
const oneOf = <T>(items: readonly T[]): T => items[random(items.length)]!

const ends: (() => Promise<void>)[] = []
const kms = await FakeKms.start({ teardown: (work) => void ends.push(work) })
kms.addKnownKey(vectorKeys.kms.arn, vectorKeys.kms.secret)
const store = await startTestStore({ buckets: [Bucket], keepBodies: false })
const second = { description: { name: 'second' } }
const gateway = await startTestGateway(store, {
  sections: {
    keys: {
      'unused': { type: 'aws-kms', arn: vectorKeys.kms.arn, endpoint: kms.endpoint, accessKeyId: 'ID', secretAccessKey: 'SECRET' },
      'aes': { type: 's3ec-aes', masterKey: vectorKeys.aes.toString('base64') },
      'aes-second': { type: 's3ec-aes', masterKey: vectorKeys.aesSecond.toString('base64'), ...second },
      'rsa': { type: 's3ec-rsa', privateKey: vectorKeys.rsaPem }
    },
    buckets: {
      '*': {
        encryption: 'on',
        key: 'unused',
        s3ec: { read: ['v3', 'v2', 'v2-legacy', 'v2-cbc', 'v1', 'v1-rsa'], commitment: 'allow', keys: ['unused', 'aes', 'aes-second', 'rsa'] }
      }
    }
  }
})
const s3 = gateway.client()

interface Stored {
  readonly metadata: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly file: Buffer | null
}

const storedOf = ({ metadata, body, files }: Vector): Stored => ({ metadata, body, file: files['.instruction'] ?? null })
const isCbc = ({ mode }: Vector): boolean => mode.startsWith('v1-cbc')

function changedText(text: string): string {
  const at = random(text.length + 1)
  switch (random(4)) {
    case 0:
      return text.slice(0, at) + text.slice(at + 1)
    case 1:
      return `${text.slice(0, at)}${'AZaz09+/={}":, '[random(15)]!}${text.slice(at)}`
    case 2: {
      const bytes = Buffer.from(text, 'base64')
      if (bytes.length > 0) bytes[random(bytes.length)]! ^= 1 << random(8)
      return bytes.toString('base64')
    }
    default:
      return text.length === 0 ? 'x' : text.slice(0, at) + String.fromCharCode(33 + random(90)) + text.slice(at + 1)
  }
}

/** One entry of the description is changed, removed, doubled by another version's, or taken from another object. */
function changedEntries(entries: Readonly<Record<string, string>>): [how: string, Record<string, string>] {
  const names = Object.keys(entries).filter((name) => name.startsWith('x-amz-'))
  const name = oneOf(names)
  const other = oneOf(vectors)
  const others = { ...other.metadata, ...JSON.parse((other.files['.instruction'] ?? Buffer.from('{}')).toString()) as Record<string, string> }
  switch (random(5)) {
    case 0:
      return [`without ${name}`, Object.fromEntries(Object.entries(entries).filter(([each]) => each !== name))]
    case 1:
      return [`${name} of another object`, { ...entries, [name]: others[name] ?? '' }]
    case 2: {
      const foreign = oneOf(Object.keys(others).filter((each) => each.startsWith('x-amz-')))
      return [`with ${foreign} of another object`, { ...entries, [foreign]: others[foreign] ?? '' }]
    }
    case 3:
      return ['everything of another object', { ...others }]
    default:
      return [`${name} changed`, { ...entries, [name]: changedText(entries[name] ?? '') }]
  }
}

function changedBody(body: Buffer, vector: Vector): [how: string, Buffer] {
  const bytes = Buffer.from(body)
  switch (random(6)) {
    case 0:
      bytes[random(bytes.length)]! ^= 1 << random(8)
      return ['a bit of the body', bytes]
    case 1:
      bytes[bytes.length - 1 - random(Math.min(16, bytes.length))]! ^= 1 << random(8)
      return ['a bit of the tag', bytes]
    case 2:
      return ['a shorter body', bytes.subarray(0, random(bytes.length))]
    case 3:
      return ['a longer body', Buffer.concat([bytes, Buffer.alloc(1 + random(40), random(256))])]
    case 4: {
      const at = random(bytes.length)
      return ['without a piece', Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(32))])]
    }
    default:
      return ['the body of another object', Buffer.from(oneOf(vectors.filter((one) => one !== vector && !isCbc(one))).body)]
  }
}

function tampered(vector: Vector): [how: string, Stored] {
  const stored = storedOf(vector)
  const places = [...isCbc(vector) ? [] : ['body'], ...stored.file === null ? [] : ['file', 'file bytes'], 'entries'] as const
  switch (oneOf(places)) {
    case 'body': {
      const [how, body] = changedBody(stored.body, vector)
      return [how, { ...stored, body }]
    }
    case 'file': {
      const [how, entries] = changedEntries(JSON.parse(stored.file!.toString()) as Record<string, string>)
      return [`file: ${how}`, { ...stored, file: Buffer.from(JSON.stringify(entries)) }]
    }
    case 'file bytes':
      return ['file: bytes', { ...stored, file: Buffer.from(changedText(stored.file!.toString('latin1')), 'latin1') }]
    default: {
      if (!Object.keys(stored.metadata).some((name) => name.startsWith('x-amz-'))) return ['without its file', { ...stored, file: null }]
      const [how, metadata] = changedEntries(stored.metadata)
      return [how, { ...stored, metadata }]
    }
  }
}

async function put({ metadata, body, file }: Stored): Promise<void> {
  await store.object(Bucket, 'o').set({ metadata, body })
  const beside = store.object(Bucket, 'o.instruction')
  if (file === null) await beside.remove()
  else await beside.set({ metadata: { 'x-amz-crypto-instr-file': '' }, body: file })
}

/** @returns the body, or the code of the error with what came out before it */
async function read(): Promise<{ readonly body: Buffer; readonly code: string | null }> {
  try {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: 'o' }))
    return { body: Buffer.from(await Body!.transformToByteArray()), code: null }
  } catch (error) {
    return { body: Buffer.alloc(0), code: error instanceof S3ServiceException ? error.name : `broken: ${String(error)}` }
  }
}

const counts = { refused: 0, unchanged: 0, cbc: 0, wrong: 0, broken: 0, untampered: 0 }
const codes = new Map<string, number>()
for (const vector of vectors) {
  await put(storedOf(vector))
  const { body, code } = await read()
  if (!body.equals(vector.plaintext)) {
    counts.untampered += 1
    console.log(`FAIL  ${vector.key} does not open as it was written: ${code ?? 'other bytes'}`)
  }
}
for (let i = 0; i < Number(wanted); i += 1) {
  const vector = oneOf(vectors)
  const [how, stored] = tampered(vector)
  await put(stored)
  const { body, code } = await read()
  if (code?.startsWith('broken') === true) counts.broken += 1
  else if (code !== null) counts.refused += 1
  // Such as a blank in JSON, a note of the length that is gone, or all of another object.
  else if (vectors.some((one) => body.equals(one.plaintext) && (one === vector || how.includes('of another object')))) counts.unchanged += 1
  else if (isCbc(vector)) counts.cbc += 1
  else {
    counts.wrong += 1
    console.log(`FAIL  ${vector.key}, ${how}: ${body.length} other bytes were accepted`)
  }
  if (code !== null) codes.set(code, (codes.get(code) ?? 0) + 1)
}
for (const [code, count] of [...codes].toSorted()) console.log(`${count} × ${code}`)
console.log(`${vectors.length - counts.untampered} of ${vectors.length} objects open as they were written`)
console.log(
  `${wanted} tamperings: ${counts.refused} refused, ${counts.unchanged} change nothing of what is read, ${counts.broken} broke on the way, ${counts.cbc} accepted in CBC, ${counts.wrong} accepted`
)
s3.destroy()
await gateway.close()
await store.close()
for (const end of ends) await end()
process.exitCode = counts.wrong + counts.broken + counts.untampered === 0 ? 0 : 1
