// Writes objects of every kind through a gateway, opens the buckets with docs/break-glass/sealgate_bucket.py, and compares byte for byte:
//   node test/campaigns/break-glass.ts [--objects 10000] [--store ENDPOINT --access-key ID --secret-key SECRET] [--prefix glass]
// Singles, parts, empty ones, three keys (two keyrings, one of them rotated on the way, and a simulated KMS with contexts), SSE-C, versions,
// hostile names. Then: a run that is killed and goes on, a download that is opened offline, and objects that the store changed.
// Without --store the embedded store is behind it. PYTHON names another interpreter.
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  type PutObjectCommandInput
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createKeyring, editKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { forEach } from '../support/wire.ts'
import { GatewayProcess, startStoreProcess } from './gateway-process.ts'

const { values } = parseArgs({
  options: {
    'objects': { type: 'string', default: '10000' },
    'store': { type: 'string' },
    'access-key': { type: 'string', default: 'store' },
    'secret-key': { type: 'string', default: 'store-secret' },
    'prefix': { type: 'string', default: 'glass' }
  }
})
const python = process.env['PYTHON'] ?? 'python3'
const programs = join(import.meta.dirname, '../../docs/break-glass')
const own = values.store === undefined ? await startStoreProcess() : null
const endpoint = values.store ?? own?.endpoint ?? ''
const credentials = { accessKeyId: values['access-key'], secretAccessKey: values['secret-key'] }
const folder = mkdtempSync(join(tmpdir(), 'sealgate-glass-'))
const kms = await FakeKms.start({ teardown: () => undefined })
const arn = kms.addKey('eu-west-1')
const realm = 'glass'
const rings = { first: join(folder, 'first.json'), second: join(folder, 'second.json') }
for (const [name, path] of Object.entries(rings)) await createKeyring(path, name, new Date(), realm)
const gateway = new GatewayProcess({
  endpoint,
  sections: {
    upstream: { endpoint, ...credentials, realm, stateBucket: `${values.prefix}-state` },
    keys: {
      first: { type: 'local', keyring: rings.first },
      second: { type: 'local', keyring: rings.second },
      kms: { type: 'aws-kms', arn, region: 'eu-west-1', endpoint: kms.endpoint, accessKeyId: 'kms', secretAccessKey: 'kms-secret' }
    },
    buckets: {
      [`${values.prefix}-single`]: { key: 'first', allowedKeys: ['second', 'kms'] },
      [`${values.prefix}-object`]: { key: 'kms', bucketKeys: false },
      [`${values.prefix}-versions`]: { key: 'second' }
    },
    auth: { ssecOverHttp: true }
  }
})
await gateway.prepare(rings.first)
await gateway.start()
const client = gateway.client(3)
const store = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
const customerKey = randomBytes(32)
const ssec = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customerKey.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(customerKey).digest('base64')
}
// dprint-ignore
const hostile = ['a', 'a/b', 'a/b/c', 'A', 'a/', '/', '//', '/a', 'a//b', './x', '../x', '../../etc/passwd', 'x/../y', 'x/.', 'x/..', ' ', ' x ', 'x ', 'x.', '%', '%2F', 'a%2Fb',
  '%conflicts/x', 'report.jsonl', 'state.sqlite', 'p', 'p.partial', 'p%partial', 'p.head.json', 'h', 'h.head.json', 'plus+plus', 'a&b<c>"d\'', '?x=y', '#x', 'x;y', 'a,b=c,d', 'back\\slash',
  'c:\\x', 'CON', 'tab\there', 'line\nbreak', 'return\rhere', '\u0001\u001f\u007f', 'Größe/漢字/😀', 'Gro\u0308\u00dfe', 'e\u0301', 'é', '\ufeffbom', '\u202etxt.exe', '~', '-rf', '$(id)', '`id`', '*', '{a,b}',
  'x'.repeat(255), 'x'.repeat(256), `${'y'.repeat(300)}/z`, 'ü'.repeat(500), '漢'.repeat(340), '/'.repeat(40), 'a\u2028b']

interface Written {
  readonly sha256: string
  readonly size: number
}
const written = { single: new Map<string, Written>(), object: new Map<string, Written>(), versions: new Map<string, Written>() }
type Place = keyof typeof written
const bucketOf = (place: Place): string => `${values.prefix}-${place}`
const digest = (body: Buffer): Written => ({ sha256: createHash('sha256').update(body).digest('hex'), size: body.length })

/** By number: which object it is. */
function objectOf(i: number): { place: Place; key: string; more: Partial<PutObjectCommandInput> } {
  const described = i % 3 === 0
    ? { ContentType: 'text/plain; charset=utf-8', Metadata: { n: String(i), 'under_score': ' x  y ' }, CacheControl: 'no-store' }
    : i % 3 === 1
    ? { ContentType: 'image/png' }
    : {}
  if (i % 50 === 7) {
    return { place: 'object', key: `ctx,${i}=x/é "${i}"`, more: { ...described, ServerSideEncryption: 'aws:kms', SSEKMSEncryptionContext: contextOf(i) } }
  }
  if (i % 10 === 8) return { place: 'versions', key: `v/${i % 500}`, more: described }
  if (i % 40 === 9) return { place: 'single', key: `customer/${i}`, more: { ...described, ...ssec } }
  if (i % 5 === 1) return { place: 'single', key: `second/${i}`, more: { ...described, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'second' } }
  if (i % 25 === 2) {
    return {
      place: 'single',
      key: `kms/${i}`,
      more: { ...described, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'kms', SSEKMSEncryptionContext: contextOf(i) }
    }
  }
  return { place: 'single', key: i < hostile.length * 3 && i % 3 === 0 ? hostile[i / 3] ?? '' : `first/${i % 97}/${i}`, more: described }
}

function contextOf(i: number): string {
  return Buffer.from(JSON.stringify({ 'team,a=b': `x,y=${i % 20}`, 'ключ': '"{}"' })).toString('base64')
}

/** Most are small; some are empty, some longer than a segment, some than a chunk of the program that opens them. */
function sizeOf(i: number): number {
  if (i % 31 === 0) return 0
  if (i % 997 === 3) return 9_000_000 + i
  if (i % 11 === 0) return 60_000 + i * 13 % 200_000
  return 1 + i * 7919 % 20_000
}

async function write(i: number): Promise<void> {
  const { place, key, more } = objectOf(i)
  const body = randomBytes(sizeOf(i))
  const input = { Bucket: bucketOf(place), Key: key, Body: body, ...more }
  let VersionId: string | undefined
  try {
    ;({ VersionId } = i % 499 === 5
      ? await new Upload({ client, params: { ...input, Body: randomParts(body, i) }, partSize: 5 << 20 }).done()
      : await client.send(new PutObjectCommand(input)))
  } catch (error) {
    // Stores have limits of their own for names.
    if (!hostile.includes(key)) throw error
    console.log(`not taken: a name of ${Buffer.byteLength(key)} bytes, ${JSON.stringify(key.slice(0, 20))}: ${(error as Error).message}`)
    return
  }
  // Some stores do not say the version that a Complete makes.
  if (place === 'versions') VersionId ??= (await client.send(new HeadObjectCommand({ Bucket: input.Bucket, Key: key }))).VersionId
  written[place].set(nameOf(key, place === 'versions' ? VersionId : undefined), i % 499 === 5 ? digest(randomParts(body, i)) : digest(body))
}

/** A body of two or three parts, which begins as `body` does. */
function randomParts(body: Buffer, i: number): Buffer {
  return Buffer.concat([body, Buffer.alloc((5 << 20) + i * 1009, i % 251)])
}

function nameOf(key: string, version: string | undefined): string {
  return version === undefined ? key : `${key}\n${version}`
}

const keysOf = (place: Place): string[] => ['--keyring', place === 'versions' ? rings.second : rings.first]

interface Ran {
  readonly code: number | null
  readonly seconds: number
  readonly mebibytes: number
}

async function open(place: Place, out: string, more: readonly string[], killAfterMs: number | null = null): Promise<Ran> {
  const began = performance.now()
  const child = spawn(python, [join(programs, 'sealgate_bucket.py'), '--bucket', bucketOf(place), '--out', out, ...keysOf(place), ...more], {
    stdio: ['ignore', 'inherit', killAfterMs === null ? 'inherit' : 'ignore'],
    env: {
      ...process.env,
      PYTHONDONTWRITEBYTECODE: '1',
      STORE_ACCESS_KEY_ID: credentials.accessKeyId,
      STORE_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_ACCESS_KEY_ID: 'kms',
      AWS_SECRET_ACCESS_KEY: 'kms-secret'
    }
  })
  let mebibytes = 0
  const watch = setInterval(() => {
    try {
      const peak = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid ?? 0}/status`, 'utf8'))?.[1]
      mebibytes = Math.max(mebibytes, Number(peak ?? 0) / 1024)
    } catch {
      // It has ended.
    }
  }, 100)
  if (killAfterMs !== null) void delay(killAfterMs).then(() => child.kill('SIGKILL'))
  const [code] = await once(child, 'exit') as [number | null]
  clearInterval(watch)
  return { code, seconds: (performance.now() - began) / 1000, mebibytes }
}

interface Row {
  readonly key: string
  readonly version?: string
  readonly verdict: string
  readonly reason?: string
  readonly file?: string
  readonly metadata?: Readonly<Record<string, string>>
}

function reportOf(out: string): Row[] {
  return readFileSync(join(out, 'report.jsonl'), 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Row)
}

/** How many objects came out byte for byte as they were written. */
async function compare(place: Place, out: string): Promise<number> {
  const expected = new Map(written[place])
  let same = 0
  for (const { key, version, verdict, reason, file } of reportOf(out)) {
    const name = nameOf(key, version)
    const object = expected.get(name)
    expected.delete(name)
    if (object === undefined || verdict !== 'opened') {
      fault(`${JSON.stringify(name)}: ${verdict} ${reason ?? ''}`)
      continue
    }
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(join(out, 'objects', file ?? ''))) hash.update(chunk as Buffer)
    if (hash.digest('hex') === object.sha256) same += 1
    else fault(`${JSON.stringify(name)}: other bytes`)
  }
  for (const name of expected.keys()) {
    // MinIO lists nothing below "a/" where there is an object "a".
    const { Contents = [] } = await store.send(new ListObjectsV2Command({ Bucket: bucketOf(place), Prefix: name.split('\n')[0] ?? '' }))
    if (Contents.some(({ Key }) => Key === name) || name.includes('\n')) fault(`${JSON.stringify(name)}: not in the report`)
    else console.log(`${JSON.stringify(name)}: not listed by the store`)
  }
  return same
}

let faults = 0
function fault(text: string): void {
  faults += 1
  if (faults < 40) console.log(text)
}

function say({ code, seconds, mebibytes }: Ran, what: string): void {
  console.log(`${what}: exit status ${code ?? 'none'}, ${seconds.toFixed(1)} s, at most ${mebibytes.toFixed(0)} MiB`)
}

const exists = new Set((await store.send(new ListBucketsCommand({}))).Buckets?.map(({ Name }) => Name))
for (const place of Object.keys(written) as Place[]) {
  const Bucket = bucketOf(place)
  if (!exists.has(Bucket)) await client.send(new CreateBucketCommand({ Bucket }))
  // What a run before has left is not of this keyring.
  for (;;) {
    const { Versions = [], DeleteMarkers = [] } = await store.send(new ListObjectVersionsCommand({ Bucket }))
    if (Versions.length + DeleteMarkers.length === 0) break
    await forEach([...Versions, ...DeleteMarkers], 16, async ({ Key, VersionId }) => {
      await store.send(new DeleteObjectCommand({ Bucket, Key: Key ?? '', ...VersionId === undefined ? {} : { VersionId } }))
    })
  }
}
await client.send(new PutBucketVersioningCommand({ Bucket: bucketOf('versions'), VersioningConfiguration: { Status: 'Enabled' } }))

const total = Number(values.objects)
const began = performance.now()
const half = Math.floor(total / 2)
await forEach(Array.from({ length: half }, (_, i) => i), 16, write)
await editKeyring(rings.first, (ring) => ring.rotate(new Date()))
process.kill(gateway.pid, 'SIGHUP')
await delay(2000)
await forEach(Array.from({ length: total - half }, (_, i) => half + i), 16, write)
const count = (Object.keys(written) as Place[]).map((place) => written[place].size)
const bytes = (Object.keys(written) as Place[]).flatMap((place) => [...written[place].values()]).reduce((sum, { size }) => sum + size, 0)
console.log(`${count.join(' + ')} objects, ${bytes} bytes written in ${((performance.now() - began) / 1000).toFixed(0)} s`)

// Two keyrings serve one bucket: their objects are opened in two runs into one output, the second of which opens what the first could not.
const customerKeys = join(folder, 'customer-keys')
writeFileSync(customerKeys, `${randomBytes(32).toString('hex')}\n${customerKey.toString('hex')}\n`)
const fromStore = ['--endpoint', endpoint, '--kms', '--kms-endpoint', kms.endpoint, '--customer-keys', customerKeys]
const single = join(folder, 'single')
say(await open('single', single, fromStore, 3000), 'killed after 3 s')
say(await open('single', single, fromStore), 'first keyring')
const lacking = reportOf(single).filter(({ verdict }) => verdict !== 'opened')
if (
  lacking.some(({ key, verdict, reason }) =>
    !key.startsWith('second/') || verdict !== 'no-key' || !reason?.startsWith('the keyring does not hold local:second:')
  )
) {
  fault(`another verdict than a missing key: ${JSON.stringify(lacking.find(({ key }) => !key.startsWith('second/')))}`)
}
say(await open('single', single, [...fromStore, '--keyring', rings.second]), 'second keyring')
console.log(`${bucketOf('single')}: ${await compare('single', single)} of ${written.single.size} are the same`)

const object = join(folder, 'object')
say(await open('object', object, ['--endpoint', endpoint, '--kms', '--kms-endpoint', kms.endpoint]), 'KMS without bucket keys, contexts with commas')
console.log(`${bucketOf('object')}: ${await compare('object', object)} of ${written.object.size} are the same`)

const [downloads, versions] = [join(folder, 'downloads'), join(folder, 'versions')]
say(await open('versions', downloads, ['--endpoint', endpoint, '--versions', '--download-only']), 'download of all versions')
say(await open('versions', versions, ['--directory', join(downloads, 'objects')]), 'opened offline')
console.log(`${bucketOf('versions')}: ${await compare('versions', versions)} of ${written.versions.size} are the same`)

// What the store changed must not open.
const Bucket = bucketOf('object')
const [victim = ''] = [...written.object.keys()]
const source = { Bucket, CopySource: encodeURIComponent(`${Bucket}/${victim}`) }
await store.send(new CopyObjectCommand({ ...source, Key: 'bad/other-name' }))
await store.send(new PutObjectCommand({ Bucket, Key: 'bad/plain', Body: 'plaintext' }))
const changed = join(folder, 'changed')
say(await open('object', changed, [...fromStore, '--prefix', 'bad/']), 'what the store changed')
const verdicts = Object.fromEntries(reportOf(changed).map(({ key, verdict }) => [key, verdict]))
if (verdicts['bad/other-name'] !== 'elsewhere' || verdicts['bad/plain'] !== 'not-sealed') fault(JSON.stringify(verdicts))
const wrongRealm = await open('object', join(folder, 'realm'), [...fromStore, '--realm', 'another'])
if (wrongRealm.code !== 5) fault(`a foreign realm: exit status ${wrongRealm.code ?? 'none'}`)

await gateway.remove()
own?.stop()
rmSync(folder, { recursive: true })
console.log(`${faults} faults`)
process.exit(faults === 0 ? 0 : 1)
