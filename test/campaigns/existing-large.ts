// Objects that `encrypt` and `decrypt` write in parts: killed by SIGKILL in the middle while a client overwrites one of them, then everything that
// belongs to them is compared. The limit is lowered from 5 GiB to 64 MiB by running the commands from this file. Takes minutes:
//   node test/campaigns/existing-large.ts                                                       against the embedded store
//   node test/campaigns/existing-large.ts ENDPOINT ACCESS_KEY SECRET_KEY [MIB [KILLS [quiet]]]  against another; buckets are made there and stay
//   node test/campaigns/existing-large.ts ENDPOINT ACCESS_KEY SECRET_KEY whole [quiet]          one object above 5 GiB, by the commands as they are
// With "quiet" there is no writer, for stores that guard no CompleteMultipartUpload.
import { createHash, randomBytes, randomInt } from 'node:crypto'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { runDecrypt, runEncrypt } from '../../src/cli/existing-actions.ts'
import { existingValues, partsOf, putParts } from '../support/existing-data.ts'
import { type ExistingRig, shown, startExisting, sumOf } from '../support/existing-rig.ts'

const MIB = 1024 * 1024
const PART = 16 * MIB
const settings = { Metadata: { colour: 'blue', long: 'm'.repeat(900) }, ContentType: 'text/x', CacheControl: 'no-store', Tagging: 'a=1&b=x%20%2B' }
const TagSet = [{ Key: 'a', Value: '1' }, { Key: 'b', Value: 'x +' }]
const [first, ...others] = process.argv.slice(2)
const quiet = process.argv.includes('quiet')
if (first === 'lowered') {
  await runLowered(others)
} else {
  const rig = await startExisting([first, ...others])
  await (others[2] === 'whole' ? whole(rig) : inParts(rig, Number(others[2] ?? 200) * MIB, Number(others[3] ?? 10)))
  await rig.finish()
}

/** The command itself, with lower limits, in a process that can be killed. */
async function runLowered([command, bucket = '', to = '', ...more]: readonly string[]): Promise<void> {
  const config = more[more.indexOf('--config') + 1] ?? ''
  const platform = { args: [], env: {}, cwd: process.cwd(), stdout: process.stdout, stderr: process.stderr, onSignal: () => undefined }
  const values = { ...existingValues(config, bucket), to, 'concurrency': '2', 'verify': more.includes('verify'), 'assume-no-writers': quiet }
  const sizes = { above: 64 * MIB, part: PART }
  process.exitCode = command === 'encrypt' ? await runEncrypt(values, platform, sizes) : await runDecrypt(values, platform, sizes)
}

async function tagsAt(s3: S3Client, Bucket: string, Key: string): Promise<string> {
  const tagging = await s3.send(new GetObjectTaggingCommand({ Bucket, Key }))
  return (tagging.TagSet ?? []).map((tag) => [tag.Key, tag.Value].join('=')).toSorted().join()
}

interface Known {
  readonly key: string
  sum: string
  etag: string
  versionId: string | undefined
}

async function inParts(rig: ExistingRig, bytes: number, kills: number): Promise<void> {
  const { bucket: Bucket, plain, direct, through, wrong, run } = rig
  const versioned = await direct.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } })).then(() => true, () => false)
  const put = async (one: Known, body: Buffer, part: number | null): Promise<void> => {
    const object = { Bucket, Key: one.key, ...settings }
    one.versionId = part === null ? (await direct.send(new PutObjectCommand({ ...object, Body: body }))).VersionId : await putParts(
      direct,
      object,
      partsOf(body, part)
    )
    // radosgw 16 loses the tags of an upload in parts.
    if (await tagsAt(direct, Bucket, one.key) === '') await direct.send(new PutObjectTaggingCommand({ Bucket, Key: one.key, Tagging: { TagSet } }))
    one.sum = createHash('sha256').update(body).digest('hex')
    one.etag = (await direct.send(new HeadObjectCommand({ Bucket, Key: one.key }))).ETag ?? ''
  }
  const known = ['in parts', 'in parts of another size ü+%2F', 'in one', 'written to'].map((key): Known => ({ key, sum: '', etag: '', versionId: undefined }))
  for (const [i, part] of [PART, 7 * MIB + 11, null, PART].entries()) await put(known[i]!, randomBytes(bytes + i * 12_345), part)
  console.log(`${known.length} objects of ${bytes / MIB} MiB${versioned ? ' in a bucket that keeps versions' : ''}`)

  const lowered = (command: 'encrypt' | 'decrypt', more: readonly string[], lifeMs: number | null = null): ReturnType<ExistingRig['run']> =>
    run(['lowered', command, Bucket, plain, ...more, ...quiet ? ['quiet'] : []], lifeMs, import.meta.filename)
  let [stopped, writes] = [quiet, 0]
  const writer = (async () => {
    while (!stopped) {
      await put(known[3]!, randomBytes(65 * MIB + randomInt(20 * MIB)), randomInt(2) === 0 ? PART : null).catch((error: unknown) => {
        wrong.push(`a write failed: ${String(error)}`)
      })
      writes += 1
      await sleep(randomInt(4000))
    }
  })()
  let killed = 0
  for (let i = 0; i < kills; i += 1) if ((await lowered('encrypt', [], 1500 + randomInt(i < kills / 2 ? 4000 : 16_000))).code === null) killed += 1
  stopped = true
  await writer
  const { Uploads = [] } = await direct.send(new ListMultipartUploadsCommand({ Bucket }))
  const last = await lowered('encrypt', ['verify'])
  console.log(`encrypt: killed ${killed} times, ${writes} writes meanwhile, ${Uploads.length} uploads left by the kills; then: ${shown(last)}`)
  console.log(`verify --deep: ${shown(await run(['verify', '--deep', '--json', '--bucket', Bucket]))}`)

  let [stayed, differing] = [0, 0]
  for (const { key: Key, sum, etag, versionId } of known) {
    if (await sumOf(through, Bucket, Key) !== sum) differing += 1
    const { Metadata, ContentType, CacheControl, ETag } = await through.send(new HeadObjectCommand({ Bucket, Key }))
    const has = [Metadata?.['colour'], Metadata?.['long'], ContentType, CacheControl, await tagsAt(through, Bucket, Key)]
    if (JSON.stringify(has) !== JSON.stringify([...Object.values(settings.Metadata), 'text/x', 'no-store', 'a=1,b=x +'])) wrong.push(`${Key}: ${String(has)}`)
    if (etag.includes('-') && ETag === etag) stayed += 1
    if (versioned && versionId !== undefined && await sumOf(direct, Bucket, Key, versionId) !== sum) wrong.push(`${Key}: its old version is another`)
  }
  const versions = versioned ? (await direct.send(new ListObjectVersionsCommand({ Bucket }))).Versions?.length ?? 0 : known.length
  console.log(`${differing} of ${known.length} bodies differ; the ETags of ${stayed} objects in parts stayed; ${versions} versions`)
  if (differing > 0) wrong.push('bodies differ')

  killed = 0
  for (let i = 0; i < kills / 2; i += 1) if ((await lowered('decrypt', [], 1500 + randomInt(10_000))).code === null) killed += 1
  const out = await lowered('decrypt', [])
  differing = 0
  for (const { key: Key, sum } of known) {
    if (await sumOf(direct, plain, Key).catch(() => '') !== sum) differing += 1
    const { Metadata, ContentType } = await direct.send(new HeadObjectCommand({ Bucket: plain, Key }))
    if (Metadata?.['long'] !== settings.Metadata.long || ContentType !== 'text/x') wrong.push(`${Key}: decrypted, its metadata is another`)
  }
  console.log(`decrypt: killed ${killed} times; then: ${shown(out)}; ${differing} bodies differ`)
  if (differing > 0) wrong.push('decrypted bodies differ')
}

/** One object above the limits of S3. Its parts differ in their first bytes only. */
async function whole({ bucket: Bucket, plain, direct, through, wrong, run }: ExistingRig): Promise<void> {
  const unit = randomBytes(64 * MIB)
  const count = 83
  const hash = createHash('sha256')
  const parts = function*(): Generator<Buffer> {
    for (let i = 0; i < count; i += 1) {
      unit.writeUInt32BE(i)
      hash.update(unit)
      yield unit
    }
  }
  const Key = 'whole'
  await putParts(direct, { Bucket, Key, ...settings }, parts())
  const [sum, { ETag: etag, ContentLength: bytes = 0 }] = [hash.digest('hex'), await direct.send(new HeadObjectCommand({ Bucket, Key }))]
  console.log(`one object of ${bytes} bytes, ETag ${String(etag)}`)
  for (const command of [['encrypt', ...quiet ? ['--assume-no-writers'] : []], ['verify', '--deep'], ['decrypt', '--to', plain]]) {
    const ran = await run([...command, '--json', '--bucket', Bucket])
    console.log(
      `${command.join(' ')}: ${shown(ran)}, ${ran.seconds.toFixed(0)} s, ${(bytes / MIB / ran.seconds).toFixed(0)} MiB/s, ${
        ((ran.cpuSeconds ?? 0) / (bytes / 1024 ** 3)).toFixed(1)
      } CPU-s for 1 GiB, at most ${String(ran.peakMib)} MiB`
    )
  }
  const { ETag, ContentLength, Metadata } = await through.send(new HeadObjectCommand({ Bucket, Key }))
  console.log(`its ETag ${ETag === etag ? 'stayed' : `is ${String(ETag)}`}`)
  if (ContentLength !== bytes || Metadata?.['long'] !== settings.Metadata.long) wrong.push('its size or its metadata is another')
  if (await sumOf(direct, plain, Key) !== sum) wrong.push('the decrypted body differs')
}
