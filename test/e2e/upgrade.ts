// What a fleet may mix during a rolling upgrade: an instance of an earlier release and one of this checkout, over one store, one keyring and one state
// bucket. Each writes every kind of object, and each reads what the other wrote; uploads in parts change instances in the middle.
//   node test/e2e/upgrade.ts --old FOLDER [--store ENDPOINT --access-key ID --secret-key SECRET]
//   test/e2e/stores/STORE.sh node test/e2e/upgrade.ts --old FOLDER
// FOLDER is a checkout of the earlier release (0.1.0 is commit 60414d2) with its packages installed (`npm ci`); that release makes the keyring. Without
// --store the embedded store is behind both. One row for each kind of object, first with `metadata: clear` at the new instance, then without; a cell is
// "same", or the error that the writer or reader got. Ends with 1 when a cell is not what `expected` says.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetBucketEncryptionCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { startTestStore } from '../support/hostile.ts'
import { freePort } from '../support/free-port.ts'

const { values } = parseArgs({
  options: { old: { type: 'string' }, store: { type: 'string' }, 'access-key': { type: 'string' }, 'secret-key': { type: 'string' } }
})
if (values.old === undefined) throw new Error('--old FOLDER is missing: a checkout of an earlier release')
const roots = { old: resolve(values.old), new: join(import.meta.dirname, '../..') }
type Release = keyof typeof roots
const releases: readonly Release[] = ['old', 'new']

const folder = mkdtempSync(join(tmpdir(), 'sealgate-upgrade-'))
const keyring = join(folder, 'keyring.json')
execFileSync(process.execPath, [join(roots.old, 'src/main.ts'), 'keys', 'create', '--keyring', keyring], { stdio: 'pipe' })
const embedded = values.store === undefined ? await startTestStore({ keepBodies: false }) : null
const behind = embedded ?? { endpoint: values.store ?? '', accessKeyId: values['access-key'] ?? '', secretAccessKey: values['secret-key'] ?? '' }
const credentials = { accessKeyId: 'UPGRADE', secretAccessKey: 'upgrade-client-secret' }
const run = Date.now().toString(36)

/** What buckets of the new instance say of metadata: an earlier release knows no sealed metadata. */
type Stage = 'clear' | 'sealed'

function configuration(port: number, stage: Stage | null): string {
  const metadata = stage === null ? {} : { metadata: stage }
  return JSON.stringify({
    listen: { host: '127.0.0.1', port },
    upstream: {
      endpoint: behind.endpoint,
      accessKeyId: behind.accessKeyId,
      secretAccessKey: behind.secretAccessKey,
      stateBucket: `sealgate-upgrade-${run}`
    },
    clients: [{ ...credentials, buckets: ['*'] }],
    keys: { main: { type: 'local', keyring } },
    buckets: { '*': { key: 'main', ...metadata }, 'opaque-*': { key: 'main', etag: 'opaque', ...metadata } },
    auth: { ssecOverHttp: true },
    log: { level: 'silent' }
  })
}

/** Whether something listens there. */
async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return once(socket, 'connect').then(() => true, () => false).finally(() => socket.destroy())
}

const running: ChildProcess[] = []
async function serve(release: Release, stage: Stage | null): Promise<S3Client> {
  const port = await freePort()
  const file = join(folder, `${release}-${stage ?? 'as-is'}.json`)
  writeFileSync(file, configuration(port, stage))
  const child = spawn(process.execPath, [join(roots[release], 'src/main.ts'), 'serve', '--config', file], { stdio: ['ignore', 'inherit', 'inherit'] })
  running.push(child)
  const endpoint = `http://127.0.0.1:${port}`
  for (let left = 150; !await answers(port); left -= 1) {
    if (left === 0 || child.exitCode !== null) throw new Error(`the ${release} instance does not answer`)
    await sleep(200)
  }
  return new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 3,
    credentials: { ...credentials },
    requestChecksumCalculation: 'WHEN_REQUIRED'
  })
}

const key = randomBytes(32)
const customer = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: key.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(key).digest('base64')
}
const small = randomBytes(4000)
const large = randomBytes(6 * 1024 * 1024 + 17)
const part = 5 * 1024 * 1024

/** Objects written by one PutObject. */
const singles: Readonly<Record<string, Partial<PutObjectCommandInput>>> = {
  'plain': {},
  'large': { Body: large },
  'content type': { ContentType: 'text/html; charset=utf-8' },
  'user metadata': { Metadata: { owner: 'a b', n: '1' } },
  'metadata name with _': { Metadata: { a_b: '1' } },
  'Content-Encoding': { ContentEncoding: 'gzip' },
  'Cache-Control and disposition': { CacheControl: 'max-age=1', ContentDisposition: 'attachment', ContentLanguage: 'de' },
  'checksum CRC32': { ChecksumAlgorithm: 'CRC32' },
  'checksum CRC64NVME': { ChecksumAlgorithm: 'CRC64NVME' },
  'checksum SHA256': { ChecksumAlgorithm: 'SHA256' },
  'empty': { Body: new Uint8Array() },
  'SSE-C': customer,
  'SSE-S3': { ServerSideEncryption: 'AES256' },
  'tags': { Tagging: 'a=b' }
}

interface Written {
  readonly bucket: string
  readonly name: string
  readonly body: Uint8Array
  readonly sent: Partial<PutObjectCommandInput>
}

function said(error: unknown): string {
  return error instanceof S3ServiceException ? error.name : String(error)
}

/** @returns "same", or what is wrong as `reader` has it. */
async function read(reader: S3Client, { bucket: Bucket, name: Key, body, sent }: Written): Promise<string> {
  const keys = sent.SSECustomerKey === undefined ? {} : customer
  try {
    const answer = await reader.send(new GetObjectCommand({ Bucket, Key, ...keys }))
    const got = Buffer.from(await answer.Body?.transformToByteArray() ?? [])
    if (!got.equals(Buffer.from(body))) return 'other bytes'
    for (const name of ['ContentType', 'ContentEncoding', 'CacheControl', 'ContentDisposition', 'ContentLanguage'] as const) {
      if (sent[name] !== undefined && answer[name] !== sent[name]) return `other ${name}`
    }
    for (const [name, value] of Object.entries(sent.Metadata ?? {})) if (answer.Metadata?.[name] !== value) return `other metadata`
    const { ETag, ContentLength } = await reader.send(new HeadObjectCommand({ Bucket, Key, ...keys }))
    if (ContentLength !== body.length || ETag !== answer.ETag) return 'other HEAD'
    if (body.length > 100) {
      const range = await reader.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=10-99', ...keys }))
      if (!Buffer.from(await range.Body?.transformToByteArray() ?? []).equals(Buffer.from(body.subarray(10, 100)))) return 'other range'
    }
    const { Contents = [] } = await reader.send(new ListObjectsV2Command({ Bucket, Prefix: Key }))
    const row = Contents.find((each) => each.Key === Key)
    if (row?.Size !== body.length || row.ETag !== ETag) return `other row: ${String(row?.Size)} ${String(row?.ETag)}`
    return 'same'
  } catch (error) {
    return said(error)
  }
}

/** An upload in parts; each step by the instance that `by` names for it. */
async function upload(by: (step: number) => S3Client, Bucket: string, Key: string, source?: string): Promise<Uint8Array> {
  const { UploadId } = await by(0).send(new CreateMultipartUploadCommand({ Bucket, Key, ContentType: 'image/png' }))
  const Parts: CompletedPart[] = []
  const bodies = [large.subarray(0, part), large.subarray(0, part + 1), small]
  for (const [index, Body] of bodies.entries()) {
    const PartNumber = index + 1
    const at = { Bucket, Key, UploadId, PartNumber }
    if (source !== undefined && PartNumber === 2) {
      const { CopyPartResult } = await by(PartNumber).send(new UploadPartCopyCommand({ ...at, CopySource: `${Bucket}/${source}` }))
      Parts.push({ PartNumber, ETag: CopyPartResult?.ETag })
      bodies[index] = large
    } else {
      const { ETag } = await by(PartNumber).send(new UploadPartCommand({ ...at, Body }))
      Parts.push({ PartNumber, ETag })
    }
  }
  const listed = await by(4).send(new ListPartsCommand({ Bucket, Key, UploadId }))
  const sizes = listed.Parts?.map(({ Size }) => Size)
  if (String(sizes) !== String(bodies.map(({ length }) => length))) throw new Error(`ListParts: ${String(sizes)}`)
  await by(5).send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  return Buffer.concat(bodies)
}

/** What 0.1.0 and this release read of each other: "same" but for what docs/OPERATIONS.md (Upgrade) names. */
function expected(stage: Stage, kind: string, writer: Release, reader: Release): string {
  const refused = 'SealgateIntegrityError'
  if (writer !== reader && /name with _|Content-Encoding/.test(kind)) return refused
  if (writer === 'new' && reader === 'old' && (kind === 'empty' || stage === 'sealed')) return refused
  // The old instance would have to read what the new one has written.
  if (writer === 'old' && stage === 'sealed' && /cop(y|ied)/.test(kind)) return refused
  return 'same'
}

let [passed, failed] = [0, 0]
function cell(stage: Stage, kind: string, writer: Release, reader: Release, got: string): string {
  const due = expected(stage, kind, writer, reader)
  return check(got === due, got === due ? got : `${got} (not ${due})`)
}

function check(good: boolean, text: string): string {
  if (good) passed += 1
  else failed += 1
  return text
}

function row(stage: Stage, kind: string, cells: readonly string[]): void {
  process.stdout.write(`${stage.padEnd(7)} ${kind.padEnd(52)} ${cells.map((each) => each.padEnd(24)).join(' ')}\n`)
}

async function compare(stage: Stage, clients: Readonly<Record<Release, S3Client>>): Promise<void> {
  for (const bucket of [`upgrade-${stage}-${run}`, `opaque-${stage}-${run}`]) {
    await clients.old.send(new CreateBucketCommand({ Bucket: bucket }))
    const say = (kind: string): string => `${kind}${bucket.startsWith('opaque') ? ', opaque ETag' : ''}`
    const all = async (kind: string, write: (client: S3Client, name: string, other: S3Client) => Promise<Omit<Written, 'bucket' | 'name'>>): Promise<void> => {
      const cells: string[] = []
      for (const writer of releases) {
        const other: Release = writer === 'old' ? 'new' : 'old'
        const name = `${kind} by ${writer}`
        const made = await write(clients[writer], name, clients[other]).catch(said)
        for (const reader of releases) {
          const got = typeof made === 'string' ? made : await read(clients[reader], { ...made, bucket, name })
          cells.push(cell(stage, kind, writer, reader, got))
        }
      }
      row(stage, say(kind), cells)
    }
    for (const [kind, sent] of Object.entries(singles)) {
      await all(kind, async (client, Key) => {
        const body = sent.Body instanceof Uint8Array ? sent.Body : small
        await client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: body, ...sent }))
        return { body, sent }
      })
    }
    await all('copy of the other instance\'s object', async (client, Key, other) => {
      await other.send(new PutObjectCommand({ Bucket: bucket, Key: `${Key} source`, Body: large, ContentType: 'text/css' }))
      await client.send(new CopyObjectCommand({ Bucket: bucket, Key, CopySource: `${bucket}/${encodeURIComponent(`${Key} source`)}` }))
      await other.send(new DeleteObjectCommand({ Bucket: bucket, Key: `${Key} source` }))
      return { body: large, sent: { ContentType: 'text/css' } }
    })
    await all('upload in parts', async (client, Key) => ({ body: await upload(() => client, bucket, Key), sent: { ContentType: 'image/png' } }))
    await all('upload in parts, instances by turns', async (client, Key, other) => ({
      body: await upload((step) => step % 2 === 0 ? client : other, bucket, Key),
      sent: { ContentType: 'image/png' }
    }))
    await all('begun by one, completed by the other', async (client, Key, other) => ({
      body: await upload((step) => step < 4 ? client : other, bucket, Key),
      sent: { ContentType: 'image/png' }
    }))
    await all('upload with a copied part, by turns', async (client, Key, other) => {
      await other.send(new PutObjectCommand({ Bucket: bucket, Key: 'copied', Body: large }))
      return { body: await upload((step) => step % 2 === 0 ? client : other, bucket, Key, 'copied'), sent: { ContentType: 'image/png' } }
    })
    for (const writer of releases) {
      const other: Release = writer === 'old' ? 'new' : 'old'
      const [one, two] = [clients[writer], clients[other]]
      const { UploadId } = await one.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: 'aborted' }))
      await two.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: 'aborted', UploadId }))
      const aborted = await one.send(new ListPartsCommand({ Bucket: bucket, Key: 'aborted', UploadId })).then(() => 'still there', said)
      const Rules = [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }]
      await one.send(new PutBucketEncryptionCommand({ Bucket: bucket, ServerSideEncryptionConfiguration: { Rules } }))
      const { ServerSideEncryptionConfiguration: found } = await two.send(new GetBucketEncryptionCommand({ Bucket: bucket }))
      const settled = found?.Rules?.[0]?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm ?? 'none'
      row(stage, say(`by ${writer}: abort, default encryption`), [check(aborted === 'NoSuchUpload', aborted), check(settled === 'AES256', settled)])
    }
  }
}

try {
  const old = await serve('old', null)
  row('clear', '', releases.flatMap((writer) => releases.map((reader) => `${writer} writes, ${reader} reads`)))
  for (const stage of ['clear', 'sealed'] as const) await compare(stage, { old, new: await serve('new', stage) })
} finally {
  for (const child of running) child.kill()
  await Promise.all(running.filter(({ exitCode }) => exitCode === null).map((child) => once(child, 'exit')))
  await embedded?.close()
  rmSync(folder, { recursive: true })
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
