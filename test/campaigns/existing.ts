// `encrypt`, `decrypt` and `verify --deep` on a bucket of plaintext objects: `encrypt` is killed by SIGKILL again and again while clients overwrite
// objects, through a gateway and past it; `decrypt` must give every byte back; `verify --deep` must find every fault that is planted. Takes minutes:
//   node test/campaigns/existing.ts                                                            against the embedded store
//   node test/campaigns/existing.ts ENDPOINT ACCESS_KEY SECRET_KEY [OBJECTS [FAULTS [KILLS [quiet]]]]  against another; buckets are made there and stay
// With "quiet" there are no writers, for stores without conditions on writes.
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { HeadObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command, ListPartsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { partsOf, putParts } from '../support/existing-data.ts'
import { bodyOf, shown, side, startExisting, summaryOf } from '../support/existing-rig.ts'

const [endpoint, accessKeyId, secretAccessKey, objects = '300', faults = '60', kills = '50', quiet] = process.argv.slice(2)
const rig = await startExisting([endpoint, accessKeyId, secretAccessKey])
const { bucket: Bucket, plain: Plain, through, direct, wrong, folder } = rig
const MIB = 1024 * 1024
const sha256 = (body: Uint8Array): string => createHash('sha256').update(body).digest('hex')

interface Known {
  readonly key: string
  sha256: string
  busy: boolean
}

// Objects of plaintext.
const known = Array.from(
  { length: Number(objects) },
  (_, i): Known => ({ key: `objects/${String(i).padStart(6, '0')} ü+${i % 7 === 0 ? '%2F?&' : ''}`, sha256: '', busy: false })
)
const inParts = known.slice(0, Math.min(10, Math.ceil(known.length / 20)))
// Too large for the buffers between the store that is read and the store that is written.
const large = new Set(known.slice(-Math.min(6, Math.ceil(known.length / 20))))
const largeBody = (): Buffer => randomBytes(17 * MIB + randomInt(50 * MIB))
await side(known, async (one) => {
  const small = (): Buffer => randomBytes(inParts.includes(one) ? 5 * MIB + randomInt(6 * MIB) : randomInt(4) === 0 ? randomInt(400_000) : randomInt(20_000))
  const body = large.has(one) ? largeBody() : small()
  one.sha256 = sha256(body)
  if (inParts.includes(one)) await putParts(direct, { Bucket, Key: one.key, Metadata: { kind: 'parts' } }, partsOf(body, 5 * MIB))
  else await direct.send(new PutObjectCommand({ Bucket, Key: one.key, Body: body, Metadata: { kind: 'single' }, ContentType: 'text/x', Tagging: 'tag=first' }))
})
console.log(`${known.length} plaintext objects, ${inParts.length} of them in parts, ${large.size} of 17 to 67 MiB`)

// `encrypt` under SIGKILL, with writers.
let [writes, largeWrites, stopped] = [0, 0, false]
const writers = Array.from({ length: quiet === 'quiet' ? 0 : 3 }, async () => {
  while (!stopped) {
    const one = known[randomInt(known.length)]!
    if (one.busy) continue
    one.busy = true
    try {
      const body = large.has(one) ? largeBody() : randomBytes(randomInt(30_000))
      if (large.has(one)) largeWrites += 1
      await (randomInt(2) === 0 ? direct : through).send(
        new PutObjectCommand({ Bucket, Key: one.key, Body: body, Tagging: 'tag=later', Metadata: { kind: 'later' } })
      )
      one.sha256 = sha256(body)
      writes += 1
    } catch (error) {
      wrong.push(`a write of ${one.key} failed: ${String(error)}`)
    }
    one.busy = false
    await sleep(randomInt(20))
  }
})
const encrypt = ['encrypt', '--bucket', Bucket, '--json', '--concurrency', '8', ...quiet === 'quiet' ? ['--assume-no-writers'] : []]
let killed = 0
for (let run = 0; run < Number(kills); run += 1) {
  const { code } = await rig.run([...encrypt, '--rate', '40/s'], 900 + randomInt(3000))
  if (code === null) killed += 1
}
const noted = { Bucket: rig.stateBucket, Prefix: 'command-uploads/' }
console.log(`noted by killed runs, before the last ones: ${(await direct.send(new ListObjectsV2Command(noted))).KeyCount ?? 0}`)
const firstDone = await rig.run(encrypt)
stopped = true
await Promise.all(writers)
console.log(`killed ${killed} times; ${writes} writes meanwhile, ${largeWrites} of them large; then, with writers: ${shown(firstDone)}`)
console.log(`last run: ${shown(await rig.run([...encrypt, '--verify']))}`)
const scanned = await rig.run(['scan', '--bucket', Bucket, '--json'])
console.log(`scan: ${shown(scanned)}`)
const [left, notes] = [await direct.send(new ListMultipartUploadsCommand({ Bucket })), await direct.send(new ListObjectsV2Command(noted))]
let parts = 0
for (const { Key, UploadId } of left.Uploads ?? []) {
  parts += (await direct.send(new ListPartsCommand({ Bucket, Key, UploadId }))).Parts?.length ?? 0
}
console.log(`uploads left by the kills, begun and not yet noted: ${left.Uploads?.length ?? 0}, with ${parts} parts; noted: ${notes.KeyCount ?? 0}`)
if (parts > 0 || (notes.KeyCount ?? 0) > 0) wrong.push('parts of a killed run are left')
if (summaryOf(scanned).states['sealed']?.objects !== known.length) wrong.push('not every object is sealed')
let lost = 0
await side(known, async ({ key, sha256: sum }) => {
  const body = await bodyOf(through, Bucket, key).catch((error: unknown) => Buffer.from(String(error)))
  if (sha256(body) !== sum) {
    lost += 1
    wrong.push(`${key}: another body`)
  }
  const { Metadata } = await through.send(new HeadObjectCommand({ Bucket, Key: key }))
  if (Metadata?.['kind'] === undefined) wrong.push(`${key}: its metadata is lost`)
})
console.log(`writes lost: ${lost} of ${known.length} objects`)

// The way out.
const out = await rig.run(['decrypt', '--bucket', Bucket, '--to', Plain, '--json'])
let differing = 0
await side(known, async ({ key, sha256: sum }) => {
  const body = await bodyOf(direct, Plain, key).catch(() => Buffer.from('absent'))
  if (sha256(body) !== sum) differing += 1
})
console.log(`decrypt: ${shown(out)}; ${differing} bodies differ`)
if (differing > 0) wrong.push(`decrypt: ${differing} bodies differ`)

// Planted faults, past the gateway.
const kinds = [
  'flipped byte',
  'truncated',
  'longer',
  'swapped body',
  'swapped envelope',
  'lost metadata entry',
  'other key id',
  'zeroed block',
  'lost middle',
  'plaintext'
] as const
const planted = new Map<string, (typeof kinds)[number]>()
await side(Array.from({ length: Number(faults) }, (_, i) => i), async (i) => {
  const kind = kinds[i % kinds.length]!
  const Key = `faults/${String(i).padStart(6, '0')}`
  const large = i % 97 === 0
  await through.send(new PutObjectCommand({ Bucket, Key, Body: randomBytes(large ? 3 * MIB : 1000 + randomInt(150_000)) }))
  const [body, { Metadata = {} }] = [await bodyOf(direct, Bucket, Key), await direct.send(new HeadObjectCommand({ Bucket, Key }))]
  const at = randomInt(body.length - 600)
  const changed = { body, Metadata }
  if (kind === 'flipped byte') body[randomInt(body.length)]! ^= 1 << randomInt(8)
  if (kind === 'truncated') changed.body = body.subarray(0, body.length - 1 - randomInt(500))
  if (kind === 'longer') changed.body = Buffer.concat([body, randomBytes(1 + randomInt(500))])
  if (kind === 'zeroed block') body.fill(0, at, at + 512)
  if (kind === 'lost middle') changed.body = Buffer.concat([body.subarray(0, at), body.subarray(at + 512)])
  if (kind === 'plaintext') Object.assign(changed, { body: randomBytes(100), Metadata: {} })
  if (kind === 'swapped body' || kind === 'swapped envelope') {
    await through.send(new PutObjectCommand({ Bucket, Key: 'other', Body: randomBytes(kind === 'swapped body' ? 5000 : 70_000) }))
    if (kind === 'swapped body') {
      // Of the same size, which only reading shows.
      const twin = `twins/${i}`
      await through.send(
        new PutObjectCommand({ Bucket, Key: twin, Body: randomBytes((await through.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength!) })
      )
      changed.body = await bodyOf(direct, Bucket, twin)
    } else changed.Metadata = (await direct.send(new HeadObjectCommand({ Bucket, Key: known[0]!.key }))).Metadata ?? {}
  }
  if (kind === 'lost metadata entry') changed.Metadata = Object.fromEntries(Object.entries(Metadata).slice(1))
  if (kind === 'other key id') changed.Metadata = { ...Metadata, 'sealgate-key': `${Metadata['sealgate-key'] ?? ''}0` }
  await direct.send(new PutObjectCommand({ Bucket, Key, Body: changed.body, Metadata: changed.Metadata }))
  planted.set(Key, kind)
})
const report = join(folder, 'verify.jsonl')
const verified = await rig.run(['verify', '--bucket', Bucket, '--deep', '--json', '--report', report])
console.log(`verify --deep: ${shown(verified)}`)
const named = new Map<string, number>()
let [found, falseAlarms] = [0, 0]
for (const line of (await readFile(report, 'utf8')).trimEnd().split('\n')) {
  const { key, verdict, fault } = JSON.parse(line) as { key: string; verdict: string; fault: string | null }
  const kind = planted.get(key)
  if (kind === undefined) {
    if (verdict !== 'verified') falseAlarms += 1
    continue
  }
  if (verdict === 'verified') wrong.push(`${key}: ${kind} was not found`)
  else found += 1
  const label = `${kind}: ${verdict}: ${fault ?? 'NOT NAMED'}`
  named.set(label, (named.get(label) ?? 0) + 1)
}
for (const [label, count] of [...named].toSorted()) console.log(`  ${count} × ${label}`)
console.log(`verify --deep found ${found} of ${planted.size} planted faults; ${falseAlarms} false alarms`)
if (found !== planted.size || falseAlarms > 0) wrong.push('verify missed a fault or found one that is none')

await rig.finish()
