// One of everything that can lie in a bucket, in a bucket without and one with versions and locks: `scan`, `encrypt`, `encrypt
// --purge-plaintext-versions`, `verify --deep` and `decrypt` must say of each object what is expected, change what they say they change, and nothing
// else. Takes minutes:
//   node test/campaigns/existing-mix.ts                                             against the embedded store
//   node test/campaigns/existing-mix.ts ENDPOINT ACCESS_KEY SECRET_KEY [COUNT]      against another, COUNT of each kind; its buckets stay
// What the store refuses to hold is named and passed over.
import { createHash, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutObjectLegalHoldCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { putParts } from '../support/existing-data.ts'
import { bodyOf, shown, side, startExisting } from '../support/existing-rig.ts'

const [endpoint, accessKeyId, secretAccessKey, count = '5'] = process.argv.slice(2)
const rig = await startExisting([endpoint, accessKeyId, secretAccessKey], {
  auth: { ssecOverHttp: true },
  buckets: { '*': { encryption: 'on', key: 'main' }, 'existing-mix-out-*': { encryption: 'off' } }
})
const { direct, through, run, wrong, folder, bucket: flat } = rig
const locked = `${flat}-locked`
const lockable = await direct.send(new CreateBucketCommand({ Bucket: locked, ObjectLockEnabledForBucket: true })).then(() => true, () => false)
if (!lockable) console.log('the store has no buckets with locks: one bucket only')
const plain = `existing-mix-out-${flat.slice(-6)}`
await direct.send(new CreateBucketCommand({ Bucket: plain }))

const customer = randomBytes(32)
const ssec = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customer.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(customer).digest('base64')
}
type Make = (Bucket: string, Key: string) => Promise<unknown>
const text = (): Buffer => Buffer.from(`text ${randomBytes(30).toString('hex')}`)
const put = (client: S3Client, body: () => Buffer | string = text, more: Partial<PutObjectCommandInput> = {}): Make => (Bucket, Key) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body: body(), ...more }))
/** Metadata of so many bytes, names included, as S3 counts it. */
const metadata = (bytes: number): Record<string, string> => ({ big: 'x'.repeat(bytes - 3) })
const soon = (): Date => new Date(Date.now() + 3_600_000)

interface Kind {
  readonly state: string
  /** What `encrypt` says, and what `decrypt` says then. */
  readonly encrypt: string
  readonly decrypt: string
  readonly make: Make
  /** Needs a bucket with locks. */
  readonly locks?: true
  /** Ends of its name, where that is its mark. */
  readonly suffix?: string
}
const due = { state: 'plaintext', encrypt: 'encrypted', decrypt: 'decrypted' } as const
const left = (state: string): Omit<Kind, 'make'> => ({ state, encrypt: `left: ${state}`, decrypt: 'copied' })
const done = { state: 'sealed', encrypt: 'encrypted before', decrypt: 'decrypted' } as const
const hex = randomBytes(32).toString('hex')

const kinds: Readonly<Record<string, Kind>> = {
  'plaintext': { ...due, make: put(direct) },
  'plaintext, empty': { ...due, make: put(direct, () => Buffer.alloc(0)) },
  'plaintext of random bytes': { ...due, make: put(direct, () => randomBytes(70_000)) },
  'plaintext with all that belongs to it': {
    ...due,
    make: put(direct, text, {
      Metadata: { 'colour': 'blue', 'two-words': 'a b' },
      Tagging: 'a=1&b=x%20%2B%3D%40',
      ContentType: 'text/x',
      ContentEncoding: 'gzip',
      ContentLanguage: 'de',
      ContentDisposition: 'attachment; filename="x"',
      CacheControl: 'no-store',
      Expires: new Date('2030-01-02T03:04:05Z')
    })
  },
  'plaintext in parts': {
    ...due,
    make: (Bucket, Key) => putParts(direct, { Bucket, Key, Metadata: { kind: 'parts' } }, [Buffer.alloc(5 * 1024 * 1024, 7), Buffer.from('end')])
  },
  'plaintext that everybody may read': { ...due, make: put(direct, text, { ACL: 'public-read' }) },
  'plaintext with large metadata': { ...due, make: put(direct, text, { Metadata: metadata(1000) }) },
  'plaintext with metadata that does not fit': {
    state: 'plaintext',
    encrypt: 'left: metadata too large',
    decrypt: 'copied',
    make: put(direct, text, { Metadata: metadata(1900) })
  },
  'sealed': { ...done, make: put(through) },
  'sealed, empty': { ...done, make: put(through, () => Buffer.alloc(0)) },
  'sealed in parts': { ...done, make: (Bucket, Key) => putParts(through, { Bucket, Key }, [Buffer.alloc(5 * 1024 * 1024, 8), Buffer.from('end')]) },
  'sealed with the key of a client': { ...left('sse-c'), decrypt: 'left: sse-c', make: put(through, text, ssec) },
  'under the key of a client at the store': {
    ...left('sse-c'),
    decrypt: 'left: sse-c',
    make: async (Bucket, Key) => {
      await put(direct, text, ssec)(Bucket, Key)
      // versitygw stores it in plaintext.
      if (await bodyOf(direct, Bucket, Key).then(() => true, () => false)) throw new Error('acknowledged, and not encrypted')
    }
  },
  'S3EC version 1': { ...left('s3ec-v1'), make: put(direct, text, { Metadata: { 'x-amz-key': 'a2V5', 'x-amz-iv': 'aXY=', 'x-amz-matdesc': '{}' } }) },
  'S3EC version 2': {
    ...left('s3ec-v2'),
    make: put(direct, text, { Metadata: { 'x-amz-key-v2': 'a2V5', 'x-amz-cek-alg': 'AES/GCM/NoPadding', 'x-amz-wrap-alg': 'kms+context' } })
  },
  'S3EC version 3': { ...left('s3ec-v3'), make: put(direct, text, { Metadata: { 'x-amz-3': 'a2V5', 'x-amz-c': '115', 'x-amz-w': '12' } }) },
  'S3EC version 3 beside an instruction file': {
    ...left('s3ec-v3'),
    make: put(direct, text, { Metadata: { 'x-amz-c': '115', 'x-amz-d': 'ZA==', 'x-amz-i': 'aQ==' } })
  },
  'S3EC instruction file': {
    ...left('s3ec-v2'),
    make: put(direct, () => '{"x-amz-key-v2":"a2V5"}', { Metadata: { 'x-amz-crypto-instr-file': '' } }),
    suffix: '.instruction'
  },
  'age': { ...left('encrypted-by-tool'), make: put(direct, () => `age-encryption.org/v1\n-> X25519 x\n${hex}`) },
  'rclone crypt': { ...left('encrypted-by-tool'), make: put(direct, () => Buffer.concat([Buffer.from('RCLONE\0\0'), randomBytes(80)])) },
  'OpenPGP': {
    ...left('encrypted-by-tool'),
    make: put(direct, () => Buffer.concat([Buffer.from('8c0d04090302', 'hex'), randomBytes(9), Buffer.from('d22901', 'hex'), randomBytes(40)]))
  },
  'OpenPGP, armoured': { ...left('encrypted-by-tool'), make: put(direct, () => '-----BEGIN PGP MESSAGE-----\n\nx') },
  'openssl enc': { ...left('encrypted-by-tool'), make: put(direct, () => Buffer.concat([Buffer.from('Salted__'), randomBytes(40)])) },
  'restic': { ...left('encrypted-by-tool'), make: put(direct, () => randomBytes(200)), suffix: `/data/${hex.slice(0, 2)}/${hex}` },
  'access log': {
    ...left('store-file'),
    make: put(direct, () => `${hex} bucket [06/Feb/2026:00:00:38 +0000] 192.0.2.3 - REST.GET`),
    suffix: '/2026-01-02-03-04-05-0123456789ABCDEF'
  },
  'inventory': {
    ...left('store-file'),
    make: put(direct, () => randomBytes(50)),
    suffix: '/data/0f6a2b1c-1111-2222-3333-444455556666.csv.gz'
  },
  'damaged': { ...left('damaged'), decrypt: 'left: damaged', make: put(direct, text, { Metadata: { 'sealgate': 'AAAA', 'sealgate-key': 'local:main:1' } }) },
  'half of the metadata': { ...left('damaged'), decrypt: 'left: damaged', make: put(direct, text, { Metadata: { 'sealgate-key': 'local:main:1' } }) },
  'archived': {
    ...left('archived'),
    decrypt: 'left: archived',
    make: async (Bucket, Key) => {
      // The embedded store has no archive.
      await direct.send(new PutObjectCommand({ Bucket, Key, Body: text(), StorageClass: rig.embedded === null ? 'GLACIER' : 'STANDARD_IA' }))
      const { StorageClass } = await direct.send(new HeadObjectCommand({ Bucket, Key }))
      if (StorageClass !== 'GLACIER') throw new Error('another storage class')
    }
  },
  'under retention': {
    state: 'plaintext',
    encrypt: 'left: locked',
    decrypt: 'copied',
    locks: true,
    make: (Bucket, Key) =>
      direct.send(
        new PutObjectCommand({ Bucket, Key, Body: text(), ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: soon(), ChecksumAlgorithm: 'CRC32' })
      )
  },
  'under legal hold': {
    state: 'plaintext',
    encrypt: 'left: locked',
    decrypt: 'copied',
    locks: true,
    make: async (Bucket, Key) => {
      const { VersionId } = await direct.send(new PutObjectCommand({ Bucket, Key, Body: text() }))
      await direct.send(new PutObjectLegalHoldCommand({ Bucket, Key, VersionId, LegalHold: { Status: 'ON' }, ChecksumAlgorithm: 'CRC32' }))
    }
  },
  'plaintext over plaintext': {
    ...due,
    locks: true,
    make: async (Bucket, Key) => {
      await put(direct)(Bucket, Key)
      await put(direct)(Bucket, Key)
    }
  },
  'plaintext over a locked version': {
    ...due,
    locks: true,
    make: async (Bucket, Key) => {
      const hold = { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: soon(), ChecksumAlgorithm: 'CRC32' } as const
      await put(direct, text, hold)(Bucket, Key)
      await put(direct)(Bucket, Key)
    }
  }
}
const names = ['ü/ž', '=1+1', '-rf', ' blank ', 'a&<>"\'', '日本', 'x+y%20z', '😀', '{"key":"x"}', 'q?#;', '"quoted",cell']

interface Made {
  readonly bucket: string
  readonly key: string
  readonly label: string
  readonly kind: Kind
  /** What the store and, of what `encrypt` shall change, clients see of it. */
  readonly before: Facts
}

interface Facts {
  readonly etag: string | undefined
  readonly body: string
  readonly described: string
  readonly tags: string
  readonly everybody: boolean
}

/** As a client sees it. An object under a key of a client shows nothing. */
async function factsOf(client: S3Client, Bucket: string, Key: string, isClosed: boolean): Promise<Facts> {
  if (isClosed) return { etag: undefined, body: '', described: '', tags: '', everybody: false }
  const head = await client.send(new HeadObjectCommand({ Bucket, Key }))
  const { Metadata = {}, ContentType, ContentEncoding, ContentLanguage, ContentDisposition, CacheControl, ExpiresString, StorageClass } = head
  const isReadable = StorageClass !== 'GLACIER'
  const described = [
    Object.entries(Metadata).toSorted(),
    ContentType,
    ContentEncoding,
    ContentLanguage,
    ContentDisposition,
    CacheControl,
    ExpiresString,
    StorageClass ?? 'STANDARD'
  ]
  const { TagSet = [] } = await client.send(new GetObjectTaggingCommand({ Bucket, Key })).catch(() => ({ TagSet: [] }))
  const { Grants = [] } = await client.send(new GetObjectAclCommand({ Bucket, Key })).catch(() => ({ Grants: [] }))
  return {
    etag: head.ETag,
    body: isReadable ? createHash('sha256').update(await bodyOf(client, Bucket, Key)).digest('hex') : '',
    described: JSON.stringify(described),
    tags: TagSet.map(({ Key: name, Value }) => JSON.stringify([name, Value])).toSorted().join(),
    everybody: Grants.some(({ Grantee }) => Grantee?.URI?.endsWith('AllUsers') === true)
  }
}

rig.embedded?.rules.add({
  when: { method: 'HEAD', key: /\/archived\// },
  times: Number.POSITIVE_INFINITY,
  fault: { type: 'headers', set: { 'x-amz-storage-class': 'GLACIER' } }
})
rig.embedded?.rules.add({
  when: { method: 'GET', key: /\/archived\//, without: ['tagging', 'acl'] },
  times: Number.POSITIVE_INFINITY,
  fault: { type: 'error', status: 403, code: 'InvalidObjectState' }
})

async function removeAll(Bucket: string, Key: string): Promise<void> {
  const { Versions = [] } = await direct.send(new ListObjectVersionsCommand({ Bucket, Prefix: Key })).catch(() => ({ Versions: [] }))
  for (const { VersionId } of Versions) await direct.send(new DeleteObjectCommand({ Bucket, Key, VersionId })).catch(() => undefined)
  await direct.send(new DeleteObjectCommand({ Bucket, Key })).catch(() => undefined)
}

const made: Made[] = []
const refused = new Map<string, string>()
const buckets = lockable ? [flat, locked] : [flat]
const orders = buckets.flatMap((bucket) =>
  Object.entries(kinds).filter(([, { locks }]) => locks === undefined || bucket === locked)
    .flatMap(([label, kind]) => Array.from({ length: Number(count) }, (_, i) => ({ bucket, label, kind, i })))
)
await side(orders, async ({ bucket, label, kind, i }) => {
  const key = `${names[(i + label.length) % names.length] ?? ''}/${label}/${i}${kind.suffix ?? ''}`
  try {
    await kind.make(bucket, key)
  } catch (error) {
    refused.set(label, String(error).slice(0, 100))
    await removeAll(bucket, key)
    return
  }
  const isClosed = kind.state === 'sse-c' || kind.state === 'damaged'
  made.push({ bucket, key, label, kind, before: await factsOf(kind.state === 'sealed' ? through : direct, bucket, key, isClosed) })
})
if (lockable) {
  await side(Array.from({ length: Number(count) }, (_, i) => `deleted/${i}`), async (Key) => {
    await direct.send(new PutObjectCommand({ Bucket: locked, Key, Body: 'deleted' }))
    await direct.send(new DeleteObjectCommand({ Bucket: locked, Key }))
  })
}
console.log(`${made.length} objects of ${new Set(made.map(({ label }) => label)).size} kinds in ${buckets.length} buckets`)
for (const [label, why] of refused) console.log(`  passed over: ${label}: ${why}`)

/** Compares a report with what is expected of each object. */
async function compare(bucket: string, args: readonly string[], expected: (kind: Kind) => readonly [state: string, outcome: string | null]): Promise<void> {
  const report = join(folder, 'report.jsonl')
  const ran = await run([...args, '--bucket', bucket, '--json', '--report', report])
  console.log(`${bucket === locked ? 'locked' : 'flat'}: ${args.slice(0, 2).join(' ')}: exit ${String(ran.code)}: ${shown(ran)}`)
  const lines = (await readFile(report, 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as Record<'key' | 'state' | 'outcome' | 'detail', string>)
  const said = new Map(lines.map((line) => [line.key, line]))
  for (const { key, label, kind } of made.filter((one) => one.bucket === bucket)) {
    const line = said.get(key)
    said.delete(key)
    const [state, outcome] = expected(kind)
    if (line?.state !== state || line.outcome !== outcome) {
      wrong.push(
        `${args[0] ?? ''}: ${label}: ${line?.state ?? 'not listed'}, ${line?.outcome ?? ''} (${line?.detail ?? ''}); expected ${state}, ${outcome ?? ''}`
      )
    }
  }
  // What was refused half-way may be there.
  for (const key of [...said.keys()].filter((name) => ![...refused.keys()].some((label) => name.includes(`/${label}/`)))) {
    wrong.push(`${args[0] ?? ''}: ${key} is not known`)
  }
}

const sealedAfter = ({ state, encrypt }: Kind): string => encrypt === 'encrypted' ? 'sealed' : state
/** What has changed that should not have. */
async function check(when: string): Promise<void> {
  await side(made, async ({ bucket, key, label, kind, before }) => {
    const isSealed = sealedAfter(kind) === 'sealed'
    const isClosed = kind.state === 'sse-c' || kind.state === 'damaged'
    const now = await factsOf(isSealed ? through : direct, bucket, key, isClosed).catch((error: unknown) => String(error))
    const kept = typeof now === 'string' ? [now] : Object.entries(before).filter(([name, value]) => {
      // An upload in parts becomes one.
      if (name === 'etag' && before.etag?.includes('-') === true && isSealed) return false
      return now[name as keyof Facts] !== value
    }).map(([name, value]) => `${name}: ${String(value)} is ${String(now[name as keyof Facts])}`)
    if (kept.length > 0) wrong.push(`${when}: ${label}: ${kept.join('; ').slice(0, 600)}`)
  })
}

for (const bucket of buckets) {
  await compare(bucket, ['scan'], ({ state }) => [state, null])
  await compare(bucket, ['encrypt', '--verify', '--assume-no-writers'], (kind) => [sealedAfter(kind), kind.encrypt])
}
await check('encrypt')
for (const bucket of buckets) {
  await compare(bucket, ['encrypt', '--assume-no-writers'], (kind) => [sealedAfter(kind), kind.encrypt === 'encrypted' ? 'encrypted before' : kind.encrypt])
  if (bucket === locked) {
    await compare(
      bucket,
      ['encrypt', '--purge-plaintext-versions', '--assume-no-writers'],
      (kind) => [sealedAfter(kind), kind.encrypt === 'encrypted' ? 'encrypted before' : kind.encrypt]
    )
    const { Versions = [] } = await direct.send(new ListObjectVersionsCommand({ Bucket: bucket }))
    for (const { key, label } of made.filter((one) => one.bucket === locked)) {
      const versions = Versions.filter(({ Key }) => Key === key).length
      const expected = label === 'plaintext over a locked version' ? 2 : 1
      if (versions !== expected && Versions.length < 1000) wrong.push(`purge: ${label}: ${versions} versions are left, expected ${expected}`)
    }
  }
  await compare(bucket, ['verify', '--deep'], (kind) => [sealedAfter(kind), null])
}
await check('purge')
for (const bucket of buckets) {
  await compare(bucket, ['decrypt', '--to', plain], (kind) => [sealedAfter(kind), kind.decrypt])
  await side(made.filter((one) => one.bucket === bucket), async ({ key, label, kind, before }) => {
    if (kind.decrypt.startsWith('left')) return
    const now = await factsOf(direct, plain, key, false).catch((error: unknown) => String(error))
    if (typeof now === 'string' || now.body !== before.body || now.described !== before.described || now.tags !== before.tags) {
      wrong.push(`decrypt: ${label}: ${JSON.stringify(before)} is ${JSON.stringify(now)}`.slice(0, 900))
    }
    await direct.send(new DeleteObjectCommand({ Bucket: plain, Key: key }))
  })
}
const { Body } = await through.send(new GetObjectCommand({ Bucket: flat, Key: made.find(({ kind }) => kind.encrypt === 'encrypted')?.key }))
await Body!.transformToByteArray()
await rig.finish()
