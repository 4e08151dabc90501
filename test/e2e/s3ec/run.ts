// What s3ec.sh runs: every mode of every client that is built, read through the gateway by boto3, the aws CLI and curl.
//   S3EC_CACHE=… node test/e2e/s3ec/run.ts [--store ENDPOINT --access-key ID --secret-key SECRET] [--clients NAME,…] [--modes PATTERN] [--sizes small]
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { CreateBucketCommand, DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createKeyring } from '../../../src/keys/keyring-file.ts'
import { FakeKms } from '../../support/fake-kms.ts'
import { startTestGateway, type TestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import { s3ecKeys } from '../../support/s3ec-reader.ts'
import { Client, clientNames } from './clients.ts'
import { writePlaintext } from './plaintext.ts'
import { awsCopy, awsPut, Boto, curl, sha256Of } from './readers.ts'

const { values } = parseArgs({
  options: {
    'store': { type: 'string' },
    'access-key': { type: 'string', default: '' },
    'secret-key': { type: 'string', default: '' },
    'clients': { type: 'string' },
    'modes': { type: 'string', default: '' },
    'sizes': { type: 'string', default: 'all' }
  }
})
const MIB = 1024 * 1024
const small = [0, 1, 15, 16, 17, 1000]
const sizes = values.sizes === 'small' ? small : [...small, 64 * MIB - 1, 64 * MIB, 64 * MIB + 1, 200 * MIB]
const cache = process.env['S3EC_CACHE'] ?? ''
const python = process.env['PYTHON'] ?? join(cache, 'python/bin/python')
const folder = await mkdtemp(join(tmpdir(), 'sealgate-s3ec-'))
const Bucket = `s3ec-${randomBytes(4).toString('hex')}`

let [passed, failed] = [0, 0]
function expect(what: string, good: boolean, detail: unknown = ''): void {
  if (good) passed += 1
  else {
    failed += 1
    console.log(`FAIL  ${what}: ${typeof detail === 'string' ? detail : JSON.stringify(detail).slice(0, 300)}`)
  }
}

const ends: (() => Promise<void>)[] = []
const kms = await FakeKms.start({ teardown: (work) => void ends.push(work) })
kms.addKnownKey(s3ecKeys.kms.arn, Buffer.from(s3ecKeys.kms.secret, 'hex'))
const embedded = values.store === undefined ? await startTestStore({ keepBodies: false }) : null
const store = embedded ?? { endpoint: values.store ?? '', region: 'us-east-1', accessKeyId: values['access-key'], secretAccessKey: values['secret-key'] }
const { endpoint, accessKeyId, secretAccessKey } = store
const direct = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
await direct.send(new CreateBucketCommand({ Bucket }))

const keyring = join(folder, 'keyring.json')
await createKeyring(keyring, 'main', new Date())
const base64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64')
const second = { description: { name: 'second' } }
const keys = {
  'main': { type: 'local', keyring },
  'kms': { type: 'aws-kms', arn: s3ecKeys.kms.arn, endpoint: kms.endpoint, accessKeyId: 'ID', secretAccessKey: 'SECRET' },
  'aes': { type: 's3ec-aes', masterKey: base64(s3ecKeys.aes) },
  'aes-second': { type: 's3ec-aes', masterKey: base64(s3ecKeys.aesSecond), ...second },
  'rsa': { type: 's3ec-rsa', privateKey: s3ecKeys.rsa }
}
const reading = { keys: ['kms', 'aes', 'aes-second', 'rsa'], instructionSuffixes: ['.instruction', '.second'] }
const everything = { ...reading, read: ['v3', 'v2', 'v2-legacy', 'v2-cbc', 'v1', 'v1-rsa'], commitment: 'allow' }

async function gatewayWith(s3ec: Readonly<Record<string, unknown>>): Promise<TestGateway> {
  const gateway = await startTestGateway(store, { keyring, sections: { keys, buckets: { '*': { encryption: 'on', key: 'main', s3ec } } } })
  ends.push(() => gateway.close())
  return gateway
}
const gateway = await gatewayWith(everything)
const ranged = await gatewayWith({ ...everything, unauthenticatedRanges: true })
const strict = await gatewayWith({ ...reading, read: ['v3'] })
const boto = new Boto(python, gateway)
const botoRanged = new Boto(python, ranged)
const botoStrict = new Boto(python, strict)

/** Whether the metadata says a version that commits to its data key. */
const commits = (mode: string): boolean => mode.startsWith('v3')

interface Written {
  readonly key: string
  readonly name: string
  readonly size: number
  readonly sha256: string
  readonly file: string
}

/** Reads one object in every way. */
async function read(mode: string, { key, size, sha256, file }: Written): Promise<void> {
  const got = await boto.get(Bucket, key)
  const right = 'answer' in got && got.answer.sha256 === sha256 && got.answer.size === size && got.answer.announced === size
  expect(`boto3 reads ${key}`, right, got)
  if ('answer' in got) {
    const metadata = mode.includes('+parts') || mode === 'v2-kms' && key.startsWith('hadoop') ? {} : { of: 'the client' }
    expect(`its metadata is the writer's alone: ${key}`, JSON.stringify(got.answer.metadata) === JSON.stringify(metadata), got.answer.metadata)
  }
  const head = await boto.head(Bucket, key)
  expect(`HEAD says the size of ${key}`, 'answer' in head && head.answer.size === size, head)
  const url = await boto.url(Bucket, key)
  const down = join(folder, 'curl')
  expect(`curl reads the presigned URL of ${key}`, 'answer' in url && await curl(url.answer, down) === sha256)
  if (size > 16) await readRange(key, size, file)
  const strictly = await botoStrict.get(Bucket, key)
  if (commits(mode)) expect(`a bucket that lists v3 reads ${key}`, 'answer' in strictly && strictly.answer.sha256 === sha256, strictly)
  else expect(`a bucket that lists v3 alone refuses ${key}`, 'code' in strictly && strictly.status >= 400, strictly)
}

async function readRange(key: string, size: number, file: string): Promise<void> {
  const [first, last] = [Math.floor(size / 3), Math.min(size - 1, Math.floor(size / 3) + 100_000)]
  const range = `bytes=${first}-${last}`
  const handle = await open(file)
  const { buffer } = await handle.read(Buffer.alloc(last - first + 1), 0, last - first + 1, first)
  await handle.close()
  const sum = createHash('sha256').update(buffer).digest('hex')
  const verified = await boto.get(Bucket, key, range)
  if (size <= 64 * MIB) expect(`a range of ${key} is cut from the verified whole`, 'answer' in verified && verified.answer.sha256 === sum, verified)
  else expect(`a range of ${key} is refused`, 'code' in verified && verified.status === 501, verified)
  const other = await botoRanged.get(Bucket, key, range)
  // CBC has no ranges.
  if (size <= 64 * MIB || !key.includes('cbc')) {
    expect(`a range of ${key} is read where the bucket allows it`, 'answer' in other && other.answer.sha256 === sum, other)
  }
}

/** One bit of the stored object is changed: nothing may come out of one that is held, and a larger one must break. */
async function tamper(mode: string, { key, size, sha256 }: Written): Promise<void> {
  if (mode.includes('cbc') || size > 64 * MIB + 1) return
  const stored = await direct.send(new GetObjectCommand({ Bucket, Key: key }))
  const body = Buffer.from(await stored.Body!.transformToByteArray())
  body[Math.floor(body.length / 2)]! ^= 4
  const Key = `${key} tampered`
  await direct.send(new PutObjectCommand({ Bucket, Key, Body: body, Metadata: stored.Metadata }))
  const instruction = await direct.send(new GetObjectCommand({ Bucket, Key: `${key}.instruction` })).catch(() => null)
  if (instruction !== null) {
    await direct.send(
      new PutObjectCommand({ Bucket, Key: `${Key}.instruction`, Body: await instruction.Body!.transformToByteArray(), Metadata: instruction.Metadata })
    )
  }
  const got = await boto.get(Bucket, Key)
  expect(`${Key} is refused`, 'code' in got && (size <= 64 * MIB ? got.status === 500 : true), got)
  const url = await boto.url(Bucket, Key)
  const file = join(folder, 'tampered')
  await rm(file, { force: true })
  expect(`curl does not take ${Key}`, 'answer' in url && await curl(url.answer, file) === null)
  const left = await readFile(file).catch(() => Buffer.alloc(0))
  expect(
    `${Key}: not the whole comes out, and below the limit nothing`,
    size <= 64 * MIB ? left.length === 0 : left.length < size,
    `${left.length} bytes, ${sha256}`
  )
}

/** The modes that have what the gateway writes, where a client has them. */
const written = ['v3-kms', 'v3-aes', 'v3-rsa', 'v2-kms', 'v2-aes', 'v2-rsa']

/** What the gateway writes: by the aws CLI, which uploads in parts side by side, and read by the client round the gateway. */
async function write(client: Client, name: string, mode: string): Promise<void> {
  const [version = '', key = ''] = mode.split('-')
  const writing = await startTestGateway(store, {
    keyring,
    sections: {
      keys,
      buckets: {
        '*': { encryption: 'on', key: 'main', s3ec: { ...everything, keys: [key, ...everything.keys.filter((each) => each !== key)], write: version } }
      }
    }
  })
  for (const size of values.sizes === 'small' ? [...small, 20 * MIB + 1] : [...sizes, 20 * MIB + 1]) {
    const [Key, file, back] = [`written/${name}/${mode}/${size}`, join(folder, 'written'), join(folder, 'back')]
    const sha256 = await writePlaintext(file, Key, size)
    const fault = await awsPut(folder, writing, file, `s3://${Bucket}/${Key}`).then(() => null, (error: unknown) => String(error))
    expect(`aws writes ${Key}`, fault === null, fault)
    const reason = await client.job('get', mode, Bucket, Key, back)
    expect(`${name} reads what the gateway wrote: ${Key}`, reason === null && await sha256Of(back) === sha256, reason)
    const got = await boto.get(Bucket, Key)
    expect(`boto3 reads ${Key}`, 'answer' in got && got.answer.sha256 === sha256, got)
    await direct.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key }] } }))
  }
  await writing.close()
}

for (const name of values.clients?.split(',') ?? clientNames(cache)) {
  const client = new Client(cache, name, { endpoint, accessKeyId, secretAccessKey, kms: kms.endpoint })
  for (const mode of (await client.modes()).filter((each) => new RegExp(values.modes).test(each))) {
    const before = failed
    const written: Written[] = []
    for (const size of sizes) {
      const [key, file] = [`${name}/${mode}/${size} bytes ü`, join(folder, String(size))]
      const sha256 = await writePlaintext(file, key, size)
      const fault = await client.job('put', mode, Bucket, key, file)
      expect(`${name} writes ${key}`, fault === null, fault)
      if (fault === null) written.push({ key, name: `${size} bytes ü`, size, sha256, file })
    }
    for (const one of written) await read(mode, one)
    const listed = await boto.sizes(Bucket, `${name}/${mode}/`)
    const right = Object.fromEntries(written.map(({ key, size }) => [key, size]))
    expect(
      `the listing of ${name}/${mode} has the sizes, and no instruction file`,
      'answer' in listed && JSON.stringify(Object.entries(listed.answer).toSorted()) === JSON.stringify(Object.entries(right).toSorted()),
      listed
    )
    const copied = await awsCopy(folder, gateway, `s3://${Bucket}/${name}/${mode}/`).catch((error: unknown) => String(error))
    const all = typeof copied !== 'string' && copied.size === written.length && written.every(({ name: file, sha256 }) => copied.get(file) === sha256)
    expect(`aws copies ${name}/${mode}`, all, typeof copied === 'string' ? copied : [...copied])
    for (const one of written) await tamper(mode, one)
    console.log(`${failed === before ? 'ok  ' : 'FAIL'}  ${name} ${mode}`)
    const { Contents = [] } = await direct.send(new ListObjectsV2Command({ Bucket, Prefix: `${name}/${mode}/` }))
    await direct.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: Contents.map(({ Key }) => ({ Key })) } }))
  }
  for (const mode of (await client.modes()).filter((each) => written.includes(each) && new RegExp(values.modes).test(each))) {
    const before = failed
    await write(client, name, mode)
    console.log(`${failed === before ? 'ok  ' : 'FAIL'}  ${name} reads ${mode} of the gateway`)
  }
  client.stop()
}

for (const each of [boto, botoRanged, botoStrict]) each.stop()
for (const end of ends.toReversed()) await end()
await embedded?.close()
direct.destroy()
await rm(folder, { recursive: true })
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
