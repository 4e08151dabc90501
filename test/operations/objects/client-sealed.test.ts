// Objects of the S3 Encryption Client through the whole gateway, over HTTP, from the embedded store.
import { createCipheriv, createHash, generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import {
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  paginateListObjectsV2,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { FakeKms } from '../../support/fake-kms.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import { integrityFailures, settled } from '../../support/reading.ts'
import { vectorKeys, vectors } from '../../support/s3ec-vectors.ts'
import { recipes, withInstructionFile, write, type Written } from '../../support/s3ec-writer.ts'

const kms = await FakeKms.start(t)
kms.addKnownKey(vectorKeys.kms.arn, vectorKeys.kms.secret)
const store = await startTestStore({
  buckets: ['all', 'strict', 'ranges', 'plain', 'elsewhere', 'kept', 'public'],
  keepAliveMs: 300,
  keepBodies: false,
  defaultChecksum: false
})
t.teardown(() => store.close())
const keys = {
  cloud: { type: 'aws-kms', arn: vectorKeys.kms.arn, endpoint: kms.endpoint, accessKeyId: 'a', secretAccessKey: 'b' },
  aes: { type: 's3ec-aes', masterKey: vectorKeys.aes.toString('base64') },
  second: { type: 's3ec-aes', masterKey: vectorKeys.aesSecond.toString('base64'), description: { name: 'second' } },
  rsa: { type: 's3ec-rsa', privateKey: vectorKeys.rsaPem },
  rotated: { type: 's3ec-rsa', privateKey: vectorKeys.rsaPem, description: { name: 'second' } }
}
const all = { read: ['v1', 'v1-rsa', 'v2', 'v2-legacy', 'v2-cbc', 'v3'], keys: Object.keys(keys), commitment: 'allow' }
const { publicKey: otherPair } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const lines: string[] = []
const gateway = await startTestGateway(store, {
  log: (line) => lines.push(line),
  sections: {
    keys: { main: { type: 'local', keyring: './keyring.json' }, ...keys },
    buckets: {
      all: { key: 'main', s3ec: all },
      strict: { key: 'main', s3ec: { read: ['v3'], keys: ['aes'] } },
      ranges: { key: 'main', s3ec: { ...all, unauthenticatedRanges: true, instructionSuffixes: ['.second', '.instruction'] } },
      plain: { key: 'main', plaintext: 'allow', s3ec: { ...all, keys: ['aes'] } },
      kept: { key: 'main', etag: 'opaque', s3ec: all },
      public: { key: 'main', publicRead: 'marked', s3ec: all },
      elsewhere: { encryption: 'off' }
    }
  }
})
t.teardown(() => gateway.close())
const s3 = gateway.client()
const direct = new S3Client({
  endpoint: store.endpoint,
  region: store.region,
  forcePathStyle: true,
  credentials: store,
  requestChecksumCalculation: 'WHEN_REQUIRED'
})
t.teardown(() => {
  s3.destroy()
  direct.destroy()
})

interface Stored {
  readonly metadata: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly files?: Readonly<Record<string, Buffer>>
}

async function keep(Bucket: string, Key: string, { metadata, body, files = {} }: Stored, more = {}): Promise<void> {
  await direct.send(new PutObjectCommand({ Bucket, Key, Body: body, Metadata: metadata, ContentType: 'text/x-test', ...more }))
  for (const [suffix, Body] of Object.entries(files)) {
    await direct.send(new PutObjectCommand({ Bucket, Key: Key + suffix, Body, Metadata: { 'x-amz-crypto-instr-file': '' } }))
  }
}

const writer = { aes: vectorKeys.aes, rsa: otherPair }
const gcm = (size: number, more = {}): Promise<Written> => write(randomBytes(size), { version: 3, wrap: 'AES/GCM', ...more }, writer)

async function get(Bucket: string, Key: string, more = {}): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))
  return Buffer.from(await Body!.transformToByteArray())
}

/** The code of a failed request, or how its body ended. */
async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'none'
  } catch (error) {
    return (error as Error).name
  }
}

await t.test('every object of the real clients is read, byte for byte, with the size of its plaintext everywhere and no entry of the client', async (t) => {
  const sizes = new Map<string, number>()
  // One size of every mode, by turns, but for those that differ in the way of writing alone; all are read by the stages (test/s3ec).
  const chosen = vectors.filter(({ plaintext, client, mode }, i) =>
    (client === 'java4' || mode.startsWith('v1')) && !/parts|strict/.test(mode) && plaintext.length === [0, 17, 1000][Math.floor(i / 6) % 3]
  )
  for (const vector of chosen) {
    const bucket = Object.keys(vector.files).includes('.second') ? 'ranges' : 'all'
    await keep(bucket, vector.key, vector)
    const head = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: vector.key }))
    t.equal(head.ContentLength, vector.plaintext.length, vector.key)
    const { Body, Metadata, ContentLength, ContentType } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: vector.key }))
    const { of = null } = vector.metadata
    t.strictSame([Metadata, ContentLength, ContentType], [of === null ? {} : { of }, vector.plaintext.length, 'text/x-test'])
    t.strictSame(head.Metadata, Metadata)
    t.ok(Buffer.from(await Body!.transformToByteArray()).equals(vector.plaintext), vector.key)
    if (bucket === 'all') sizes.set(vector.key, vector.plaintext.length)
  }
  t.ok(sizes.size > 25, String(sizes.size))
  const listed = new Map<string, number>()
  for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket: 'all', MaxKeys: 50 })) {
    for (const { Key = '', Size = -1 } of Contents) listed.set(Key, Size)
  }
  t.strictSame([...listed].toSorted(), [...sizes].toSorted(), 'sizes of plaintext, and no instruction file')
  t.equal(integrityFailures(gateway), 0)
})

await t.test('facts: ETag, attributes, conditions, listings, key uses', async (t) => {
  const written = await gcm(100, { material: { name: 'second' } }).then(() => write(Buffer.alloc(100, 'x'), { version: 2, wrap: 'AES/GCM' }, writer))
  await keep('all', 'facts', { ...written, metadata: { ...written.metadata, colour: 'blue' } }, { CacheControl: 'no-store', Tagging: 'a=b' })
  const { ETag = '', CacheControl, TagCount, ServerSideEncryption } = await s3.send(new GetObjectCommand({ Bucket: 'all', Key: 'facts' }))
  t.match(ETag, /^"[0-9a-f]{32}-0"$/, 'never an MD5 of ciphertext that a client could compare')
  t.strictSame([CacheControl, TagCount, ServerSideEncryption], ['no-store', 1, undefined])
  const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket: 'all', Key: 'facts', ObjectAttributes: ['ETag', 'ObjectSize', 'Checksum'] }))
  t.match(attributes, { ETag: ETag.replaceAll('"', ''), ObjectSize: 100, Checksum: undefined })
  t.equal(await failure(s3.send(new GetObjectCommand({ Bucket: 'all', Key: 'facts', IfNoneMatch: ETag }))), 'Unknown', '304')
  t.equal(await failure(s3.send(new GetObjectCommand({ Bucket: 'all', Key: 'facts', IfMatch: '"other"' }))), 'PreconditionFailed')
  kms.calls.length = 0
  const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: 'all', Prefix: 'facts' }))
  t.match(Contents, [{ Key: 'facts', Size: 100, ETag }])
  t.equal(kms.calls.length, 0)
  t.equal(
    await failure(s3.send(
      new GetObjectCommand({
        Bucket: 'all',
        Key: 'facts',
        SSECustomerAlgorithm: 'AES256',
        SSECustomerKey: vectorKeys.aes.toString('base64'),
        SSECustomerKeyMD5: createHash('md5').update(vectorKeys.aes).digest('base64')
      })
    )),
    'InvalidRequest'
  )
})

await t.test('only what the bucket lists is opened, and nothing else is asked for', async (t) => {
  // Headers that are not in ASCII are test/s3ec's: the SDK does not sign them.
  for (const recipe of recipes.filter(({ material = {} }) => /^[ -~]*$/.test(JSON.stringify(material)))) {
    const written = await write(randomBytes(20), recipe, writer)
    const { file, object } = withInstructionFile(written)
    await keep('strict', 'object', written)
    await keep('strict', 'beside', { ...object, files: { '.instruction': file } })
    kms.calls.length = 0
    // `strict` has the AES key alone, which has no description.
    const opens = recipe.wrap === 'AES/GCM' && recipe.material === undefined
    const expected = recipe.version !== 3 ? 'SealgatePlaintextRefused' : opens ? 'none' : 'SealgateKeyUnavailable'
    for (const key of ['object', 'beside']) t.equal(await failure(get('strict', key)), expected, `${recipe.version} ${recipe.wrap} ${key}`)
    t.equal(kms.calls.length, 0)
    t.equal(await failure(s3.send(new CopyObjectCommand({ Bucket: 'all', Key: 'copy', CopySource: 'strict/object' }))), expected)
  }
  await keep('strict', 'right', await gcm(20))
  t.equal((await get('strict', 'right')).length, 20)
  await direct.send(new PutObjectCommand({ Bucket: 'strict', Key: 'plain', Body: 'plain' }))
  t.equal(await failure(get('strict', 'plain')), 'SealgatePlaintextRefused')
})

await t.test('plaintext, sealed objects and those of the client lie side by side', async (t) => {
  const written = await gcm(50)
  await keep('plain', 'client', written)
  await direct.send(new PutObjectCommand({ Bucket: 'plain', Key: 'plain', Body: 'in plaintext, and longer than a block' }))
  await s3.send(new PutObjectCommand({ Bucket: 'plain', Key: 'sealed', Body: 'sealed', Metadata: written.metadata }))
  t.equal((await get('plain', 'client')).length, 50)
  t.equal(String(await get('plain', 'plain')), 'in plaintext, and longer than a block')
  t.equal(String(await get('plain', 'sealed')), 'sealed')
  const { Metadata } = await s3.send(new HeadObjectCommand({ Bucket: 'plain', Key: 'sealed' }))
  t.strictSame(Metadata, written.metadata, 'what a client seals through the gateway is that client\'s to open')
  const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: 'plain' }))
  t.strictSame(Contents.map(({ Key, Size }) => [Key, Size]), [['client', 50], ['plain', 37], ['sealed', 6]])
  // Who marks a sealed object as one of the client.
  const snapshot = await direct.send(new HeadObjectCommand({ Bucket: 'plain', Key: 'sealed' }))
  await direct.send(
    new CopyObjectCommand({
      Bucket: 'plain',
      Key: 'sealed',
      CopySource: 'plain/sealed',
      MetadataDirective: 'REPLACE',
      Metadata: { ...snapshot.Metadata, ...written.metadata }
    })
  )
  t.equal(await failure(get('plain', 'sealed')), 'SealgateIntegrityError')
})

await t.test('ranges: cut from what has verified, and refused of what is too large to be held', async (t) => {
  const plaintext = randomBytes(1000)
  for (const [key, recipe] of [['gcm', { version: 3, wrap: 'AES/GCM' }], ['cbc', { version: 1, wrap: 'AES', noted: false }]] as const) {
    const written = await write(plaintext, recipe, writer)
    await keep('all', key, written)
    await keep('ranges', key, written)
    for (
      const [Range, first, last] of [['bytes=0-0', 0, 0], ['bytes=17-900', 17, 900], ['bytes=-5', 995, 999], ['bytes=990-5000', 990, 999], [
        'bytes=0-',
        0,
        999
      ]] as const
    ) {
      for (const bucket of ['all', 'ranges']) {
        const { Body, ContentRange } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range }))
        t.ok(Buffer.from(await Body!.transformToByteArray()).equals(plaintext.subarray(first, last + 1)), `${bucket} ${key} ${Range}`)
        t.equal(ContentRange, `bytes ${first}-${last}/1000`)
      }
    }
    t.equal(await failure(get('all', key, { Range: 'bytes=1000-' })), 'InvalidRange')
    t.ok((await get('all', key, { PartNumber: 1 })).equals(plaintext))
    // The last byte of the body is changed: what has no byte of it is not released either, unless the bucket wants it so.
    const changed = Buffer.from(written.body)
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
    await keep('all', key, { ...written, body: changed })
    await keep('ranges', key, { ...written, body: changed })
    t.equal(await failure(get('all', key, { Range: 'bytes=0-9' })), 'SealgateIntegrityError')
    t.equal(await failure(get('ranges', key, { Range: 'bytes=0-9' })), key === 'gcm' ? 'none' : 'SealgateIntegrityError')
    t.equal(await failure(get('ranges', key)), 'SealgateIntegrityError')
  }
})

/** 64 MiB and more: the limit is one of bytes, so that nothing smaller shows what happens beyond it. */
const LARGE = 64 * 1024 * 1024 + 1

await t.test('beyond 64 MiB bodies stream, and break visibly where the tag is wrong; ranges are refused', async (t) => {
  const key = randomBytes(32)
  const small = await write(Buffer.alloc(0), { version: 2, wrap: 'AES/GCM', noted: false, dataKey: key }, writer)
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.from(small.metadata['x-amz-iv'] ?? '', 'base64'), { authTagLength: 16 })
  const body = Buffer.concat([cipher.update(Buffer.alloc(LARGE)), cipher.final(), cipher.getAuthTag()])
  await keep('all', 'large', { ...small, body })
  const sum = async (): Promise<[number, number]> => {
    const { Body, ContentLength = 0 } = await s3.send(new GetObjectCommand({ Bucket: 'all', Key: 'large' }))
    let read = 0
    for await (const chunk of Body as AsyncIterable<Buffer>) read += chunk.length
    return [read, ContentLength]
  }
  t.strictSame(await sum(), [LARGE, LARGE])
  t.equal(await failure(get('all', 'large', { Range: 'bytes=0-9' })), 'NotImplemented')
  t.equal(await failure(s3.send(new HeadObjectCommand({ Bucket: 'all', Key: 'large', Range: 'bytes=0-9' }))), 'Unknown', '501 without a document')
  t.equal(
    await failure(
      s3.send(new GetObjectCommand({ Bucket: 'all', Key: 'large', PartNumber: 1 })).then(({ Body }) => {
        ;(Body as unknown as { destroy(): void }).destroy()
      })
    ),
    'none'
  )
  store.rules.add({
    when: { method: 'GET', bucket: 'all', key: 'large', test: ({ query }) => !query.has('tagging') },
    times: 9,
    fault: { type: 'flip', offset: -1 }
  })
  const failed = await sum().catch((error: unknown) => error)
  t.ok(failed instanceof Error, 'the transfer is broken off')
  const copied = s3.send(new CopyObjectCommand({ Bucket: 'all', Key: 'copied', CopySource: 'all/large' }))
  t.equal(await failure(copied), 'SealgateIntegrityError')
  t.equal(await failure(direct.send(new HeadObjectCommand({ Bucket: 'all', Key: 'copied' }))), 'NotFound', 'nothing was stored')
  store.rules.clear()
  await direct.send(new DeleteObjectCommand({ Bucket: 'all', Key: 'large' }))
})

await t.test('copies: sealed where the destination is, without an entry of the client, and only of what has verified', async (t) => {
  const plaintext = randomBytes(3000)
  const written = await write(plaintext, { version: 2, wrap: 'AESWrap' }, writer)
  await keep('all', 'source', { ...written, metadata: { ...written.metadata, colour: 'blue' } }, { Tagging: 'a=b' })
  for (const [bucket, key] of [['all', 'copy'], ['elsewhere', 'copy'], ['all', 'source']] as const) {
    await s3.send(new CopyObjectCommand({ Bucket: bucket, Key: key, CopySource: 'all/source', ...key === 'source' ? { StorageClass: 'STANDARD' } : {} }))
    const { Metadata, TagCount, ContentType } = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))
    t.strictSame([Metadata, TagCount, ContentType], [{ colour: 'blue' }, 1, 'text/x-test'], bucket)
    t.ok((await get(bucket, key)).equals(plaintext))
    const kept = await direct.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))
    t.equal(kept.Metadata?.['sealgate'] !== undefined, bucket === 'all')
  }
  await keep('all', 'source', written)
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'all', Key: 'parts' }))
  const part = { Bucket: 'all', Key: 'parts', UploadId, PartNumber: 1, CopySource: 'all/source' }
  t.match(await s3.send(new UploadPartCopyCommand({ ...part, CopySourceRange: 'bytes=5-99' })), { CopyPartResult: { ETag: /./ } })
  const body = Buffer.from(written.body)
  body[0] = (body[0] ?? 0) ^ 1
  await keep('all', 'source', { ...written, body })
  t.equal(await failure(s3.send(new UploadPartCopyCommand(part))), 'SealgateIntegrityError')
  t.equal(await failure(s3.send(new CopyObjectCommand({ Bucket: 'elsewhere', Key: 'wrong', CopySource: 'all/source' }))), 'SealgateIntegrityError')
  t.equal(await failure(direct.send(new HeadObjectCommand({ Bucket: 'elsewhere', Key: 'wrong' }))), 'NotFound')
})

await t.test('instruction files: in no listing, not read, written or copied by clients, and deleted with their object', async (t) => {
  const { file, object } = withInstructionFile(await gcm(10))
  for (const key of ['f/a', 'f/b', 'f/c']) await keep('all', key, { ...object, files: { '.instruction': file } })
  const name = 'f/a.instruction'
  t.equal(await failure(get('all', name)), 'NoSuchKey')
  t.equal(await failure(s3.send(new HeadObjectCommand({ Bucket: 'all', Key: name }))), 'NotFound')
  t.equal(await failure(s3.send(new PutObjectCommand({ Bucket: 'all', Key: name, Body: '{}' }))), 'AccessDenied')
  t.equal(await failure(s3.send(new CreateMultipartUploadCommand({ Bucket: 'all', Key: name }))), 'AccessDenied')
  t.equal(await failure(s3.send(new DeleteObjectCommand({ Bucket: 'all', Key: name }))), 'AccessDenied')
  t.equal(await failure(s3.send(new CopyObjectCommand({ Bucket: 'all', Key: 'x', CopySource: `all/${name}` }))), 'NoSuchKey')
  t.equal(await failure(s3.send(new CopyObjectCommand({ Bucket: 'all', Key: name, CopySource: 'all/f/a' }))), 'AccessDenied')
  // Page by page, the last of them hidden: the first version of the listing goes on behind the last row that it shows, unless a marker says where.
  for (const max of [1, 2, 3, 100]) {
    const [seen, v1]: [string[], string[]] = [[], []]
    for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket: 'all', Prefix: 'f/', MaxKeys: max })) {
      seen.push(...Contents.map(({ Key = '' }) => Key))
    }
    let Marker: string | undefined
    for (let pages = 0; pages < 20; pages += 1) {
      const page = await s3.send(new ListObjectsCommand({ Bucket: 'all', Prefix: 'f/', MaxKeys: max, ...Marker === undefined ? {} : { Marker } }))
      v1.push(...(page.Contents ?? []).map(({ Key = '' }) => Key))
      Marker = page.NextMarker ?? page.Contents?.at(-1)?.Key
      if (page.IsTruncated !== true) break
    }
    t.strictSame([seen, v1], [['f/a', 'f/b', 'f/c'], ['f/a', 'f/b', 'f/c']], `${max} a page`)
  }
  const left = async () => ((await direct.send(new ListObjectsV2Command({ Bucket: 'all', Prefix: 'f/' }))).Contents ?? []).map(({ Key }) => Key)
  await s3.send(new DeleteObjectCommand({ Bucket: 'all', Key: 'f/a' }))
  t.strictSame(await left(), ['f/b', 'f/b.instruction', 'f/c', 'f/c.instruction'])
  const { Deleted = [], Errors = [] } = await s3.send(
    new DeleteObjectsCommand({ Bucket: 'all', Delete: { Objects: [{ Key: 'f/b' }, { Key: 'f/c.instruction' }, { Key: 'f/none' }] } })
  )
  t.strictSame([Deleted.map(({ Key }) => Key), Errors.map(({ Key, Code }) => [Key, Code])], [['f/b', 'f/none'], [['f/c.instruction', 'AccessDenied']]])
  t.strictSame(await left(), ['f/c', 'f/c.instruction'])
  // A client round the gateway writes the same name anew: the file first, then the object.
  const again = () =>
    direct.send(new PutObjectCommand({ Bucket: 'all', Key: 'f/c.instruction', Body: `${String(file)} `, Metadata: { 'x-amz-crypto-instr-file': '' } }))
  for (
    const deletion of [
      new DeleteObjectCommand({ Bucket: 'all', Key: 'f/c' }),
      new DeleteObjectsCommand({ Bucket: 'all', Delete: { Objects: [{ Key: 'f/c' }] } })
    ]
  ) {
    await keep('all', 'f/c', { ...object, files: { '.instruction': file } })
    store.rules.add({
      when: { method: ['DELETE', 'POST'], bucket: 'all', test: ({ key }) => key === 'f/c' || key === '' },
      fault: { type: 'late', until: again }
    })
    await (s3 as { send(command: unknown): Promise<unknown> }).send(deletion)
    t.strictSame(await left(), ['f/c.instruction'], 'its file stays')
  }
  t.equal(await failure(get('strict', 'x.instruction')), 'NoSuchKey')
  await s3.send(new PutObjectCommand({ Bucket: 'elsewhere', Key: name, Body: 'x' }))
  t.equal(String(await get('elsewhere', name)), 'x', 'other buckets have such names')
})

await t.test('versions: an old one opens, markers of instruction files are not shown, and no marker is made for what never was', async (t) => {
  await direct.send(new PutBucketVersioningCommand({ Bucket: 'kept', VersioningConfiguration: { Status: 'Enabled' } }))
  const { file, object } = withInstructionFile(await gcm(10))
  await keep('kept', 'k', { ...object, files: { '.instruction': file } })
  await keep('kept', 'alone', await gcm(11))
  for (const Key of ['k', 'alone']) await s3.send(new DeleteObjectCommand({ Bucket: 'kept', Key }))
  const { Versions = [], DeleteMarkers = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: 'kept' }))
  t.strictSame(Versions.map(({ Key, Size }) => [Key, Size]), [['alone', 11], ['k', 26]], 'without its file an object of version 3 is as large as it is')
  t.strictSame(DeleteMarkers.map(({ Key }) => Key), ['alone', 'k'])
  const raw = await direct.send(new ListObjectVersionsCommand({ Bucket: 'kept' }))
  t.strictSame(raw.DeleteMarkers?.map(({ Key }) => Key), ['alone', 'k', 'k.instruction'])
  t.equal((await get('kept', 'alone', { VersionId: Versions[0]?.VersionId })).length, 11)
})

await t.test('what anonymous clients may read needs the mark, which the format has no place for', async (t) => {
  await keep('public', 'k', await gcm(10), { ACL: 'public-read' })
  const response = await fetchAnonymously(`${gateway.endpoint}/public/k`)
  t.equal(response, 403)
})

async function fetchAnonymously(url: string): Promise<number> {
  const { get: request } = await import('node:http')
  return new Promise((resolve, reject) => {
    request(url, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    }).on('error', reject)
  })
}

await t.test('tampering through HTTP: one error for every fault, its kind in log and metric, and not a byte', async (t) => {
  const before = integrityFailures(gateway)
  let tried = 0
  for (const recipe of [{ version: 3, wrap: 'AES/GCM' }, { version: 2, wrap: 'AESWrap' }, { version: 2, wrap: 'AES/GCM', noted: false }] as const) {
    const written = await write(randomBytes(40), recipe, writer)
    const attempts: Stored[] = []
    for (const [name, value] of Object.entries(written.metadata)) {
      const middle = Math.floor(value.length / 2)
      for (const changed of ['', `${value}A`, value.slice(0, middle) + (value[middle] === 'A' ? 'B' : 'A') + value.slice(middle + 1)]) {
        // What decides nothing: a note that is missing, and a description that is empty.
        if (changed === '' && /^x-amz-(?:unencrypted|matdesc|m$)/.test(name)) continue
        const { [name]: _, ...rest } = written.metadata
        attempts.push({ ...written, metadata: changed === '' ? rest : { ...rest, [name]: changed } })
      }
    }
    for (let bit = 0; bit < written.body.length * 8; bit += 97) {
      const body = Buffer.from(written.body)
      body[bit >> 3] = (body[bit >> 3] ?? 0) ^ (1 << bit % 8)
      attempts.push({ ...written, body })
    }
    for (const length of [0, 15, 16, 55]) attempts.push({ ...written, body: written.body.subarray(0, length) })
    for (const attempt of attempts) {
      await keep('all', 'tampered', attempt)
      const code = await failure(get('all', 'tampered'))
      t.ok(['SealgateIntegrityError', 'SealgatePlaintextRefused'].includes(code), `${recipe.wrap} ${JSON.stringify(attempt.metadata)} ${code}`)
      tried += 1
    }
  }
  t.ok(tried > 60, String(tried))
  t.ok(integrityFailures(gateway) > before + 45)
  for (const kind of ['s3ec-tag', 's3ec-format', 's3ec-commitment', 's3ec-wrap', 's3ec-length']) {
    t.ok(integrityFailures(gateway, kind) > 0, kind)
    t.ok(lines.some((line) => line.includes(`"code":"${kind}"`)), `${kind} in the log`)
  }
})

await t.test('nothing is left open', async (t) => {
  for (const client of [s3, direct]) client.destroy()
  t.ok(await settled(store, 0, 10_000))
})
