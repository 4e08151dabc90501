// Requests × answers for every encryption mode, over HTTP. Codes, texts and headers as AWS documents them (AWS S3 API reference,
// PutObject, GetObject, HeadObject, CopyObject, CreateMultipartUpload; S3 User Guide, "Protecting data with encryption").
import { randomBytes } from 'node:crypto'
import t from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { byTurns } from '../support/by-turns.ts'
import {
  ask,
  Bucket,
  customer,
  customerHeaders,
  encodedContext,
  type EncryptionRig,
  type Headers,
  sourceHeaders,
  sse,
  startEncryptionRig
} from './encryption-rig.ts'

interface Mode {
  readonly name: string
  readonly write: Headers
  /** Must come with every read. */
  readonly read: Headers
  readonly source: Headers
  /** What writes and reads answer. */
  readonly written: Headers
  readonly told: Headers
}

function modesOf({ arn }: EncryptionRig): Mode[] {
  const none = { read: {}, source: {} }
  // A write repeats the key id as it was asked for; a read says which key it is.
  const kms = (name: string, headers: Headers, more: Headers = {}, told: Headers = more): Mode => ({
    name: `aws:kms ${name}`,
    ...none,
    write: { [sse]: 'aws:kms', ...headers },
    written: { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: headers[`${sse}-aws-kms-key-id`] ?? '', ...more },
    told: { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: arn, ...told }
  })
  const id = (value: string): Headers => ({ [`${sse}-aws-kms-key-id`]: value })
  const flag = (value: string): Headers => ({ [`${sse}-bucket-key-enabled`]: value })
  const account = arn.slice(0, arn.indexOf(':key/') + 1)
  const context = encodedContext({ project: 'x', team: 'blue' })
  const md5 = customerHeaders(customer)[`${sse}-customer-key-md5`] ?? ''
  const byCustomer = { [`${sse}-customer-algorithm`]: 'AES256', [`${sse}-customer-key-md5`]: md5 }
  return [
    { name: 'none', ...none, write: {}, written: {}, told: {} },
    { name: 'AES256', ...none, write: { [sse]: 'AES256' }, written: { [sse]: 'AES256' }, told: { [sse]: 'AES256' } },
    ...[arn, arn.slice(arn.indexOf(':key/') + 5), 'cloud', 'alias/cloud', 'alias/team/photos', `${account}alias/team/photos`].map((name) =>
      kms(`by ${name}`, id(name), flag('true'))
    ),
    kms('bucket key on', { ...id('cloud'), ...flag('true') }, flag('true')),
    kms('bucket key off', { ...id('cloud'), ...flag('false') }),
    kms('with a context', { ...id('cloud'), [`${sse}-context`]: context }, { ...flag('true'), [`${sse}-context`]: context }, flag('true')),
    { name: 'SSE-C', write: customerHeaders(customer), read: customerHeaders(customer), source: sourceHeaders(customer), written: byCustomer, told: byCustomer }
  ]
}

/** Refused on every operation that makes an object, before a byte goes upstream. */
function refusedWrites({ forbidden }: EncryptionRig): readonly (readonly [name: string, headers: Headers, status: number, code: string])[] {
  const own = customerHeaders(customer)
  const without = (name: string): Headers => Object.fromEntries(Object.entries(own).filter(([header]) => header !== `${sse}-customer-${name}`))
  const kmsId = `${sse}-aws-kms-key-id`
  return [
    ['an unknown mode', { [sse]: 'rot13' }, 400, 'InvalidArgument'],
    ['dual-layer encryption', { [sse]: 'aws:kms:dsse' }, 501, 'NotImplemented'],
    ['a key that does not exist', { [sse]: 'aws:kms', [kmsId]: 'alias/nobody' }, 400, 'KMS.NotFoundException'],
    ['a key of somebody else', { [sse]: 'aws:kms', [kmsId]: 'arn:aws:kms:eu-west-1:999999999999:key/abcd' }, 400, 'KMS.NotFoundException'],
    ['a key that the bucket does not allow', { [sse]: 'aws:kms', [kmsId]: forbidden }, 403, 'AccessDenied'],
    ['a key id without aws:kms', { [kmsId]: 'cloud' }, 400, 'InvalidArgument'],
    ['a key id with AES256', { [sse]: 'AES256', [kmsId]: 'cloud' }, 400, 'InvalidArgument'],
    ['a context without aws:kms', { [`${sse}-context`]: encodedContext({ a: 'b' }) }, 400, 'InvalidArgument'],
    ['a context with AES256', { [sse]: 'AES256', [`${sse}-context`]: encodedContext({ a: 'b' }) }, 400, 'InvalidArgument'],
    ['a context that is not base64', { [sse]: 'aws:kms', [`${sse}-context`]: '{"a":"b"}' }, 400, 'InvalidArgument'],
    ['a context with a reserved name', { [sse]: 'aws:kms', [`${sse}-context`]: encodedContext({ 'aws:s3:arn': 'x' }) }, 400, 'InvalidArgument'],
    ['a bucket-key flag that is none', { [sse]: 'aws:kms', [`${sse}-bucket-key-enabled`]: 'maybe' }, 400, 'InvalidArgument'],
    ['SSE-C and AES256', { ...own, [sse]: 'AES256' }, 400, 'InvalidArgument'],
    ['SSE-C and aws:kms', { ...own, [sse]: 'aws:kms' }, 400, 'InvalidArgument'],
    ['SSE-C without algorithm', without('algorithm'), 400, 'InvalidArgument'],
    ['SSE-C without key', without('key'), 400, 'InvalidArgument'],
    ['SSE-C without MD5', without('key-md5'), 400, 'InvalidArgument'],
    ['SSE-C with another algorithm', { ...own, [`${sse}-customer-algorithm`]: 'AES128' }, 400, 'InvalidEncryptionAlgorithmError'],
    [
      'SSE-C with the MD5 of another key',
      { ...own, [`${sse}-customer-key-md5`]: customerHeaders(randomBytes(32))[`${sse}-customer-key-md5`] ?? '' },
      400,
      'InvalidArgument'
    ],
    ['SSE-C with 31 bytes', customerHeaders(randomBytes(31)), 400, 'InvalidArgument'],
    ['SSE-C with zeros', customerHeaders(Buffer.alloc(32)), 400, 'InvalidArgument']
  ]
}

const rig = await startEncryptionRig(t)
const { s3, store } = rig

await t.test('every mode on PUT, GET, range, HEAD, COPY and multipart', async (t) => {
  const modes = modesOf(rig)
  const Body = randomBytes(70_000)
  let answers = 0
  const expect = (name: string, got: Awaited<ReturnType<typeof ask>>, status: number, headers: Mode['told']): void => {
    answers += 1
    // Not `match`, which would take further headers.
    t.same([got.status, got.code, Object.keys(got.sse).sort()], [status, '', Object.keys(headers).sort()], name)
    t.match(got.sse, headers, `${name}: encryption headers`)
  }
  for (const { name, write, read, written, told } of modes) {
    const Key = `put/${name}`
    expect(`PUT ${name}`, await ask(s3, new PutObjectCommand({ Bucket, Key, Body }), write), 200, written)
    const whole = await ask(s3, new GetObjectCommand({ Bucket, Key }), read)
    expect(`GET ${name}`, whole, 200, told)
    t.ok(Body.equals(whole.body))
    const range = await ask(s3, new GetObjectCommand({ Bucket, Key, Range: 'bytes=65000-66000' }), read)
    expect(`range ${name}`, range, 206, told)
    t.ok(Body.subarray(65_000, 66_001).equals(range.body))
    expect(`HEAD ${name}`, await ask(s3, new HeadObjectCommand({ Bucket, Key }), read), 200, told)
    // An upload takes the names of a KMS key from the same place as PUT.
    if (!byTurns(!/^aws:kms by (cloud|alias)/.test(name))) continue
    const upload = `parts/${name}`
    const created = await ask(s3, new CreateMultipartUploadCommand({ Bucket, Key: upload }), write)
    expect(`create ${name}`, created, 200, written)
    const { UploadId } = created.output
    const part = await ask(s3, new UploadPartCommand({ Bucket, Key: upload, UploadId, PartNumber: 1, Body }), read)
    expect(`part ${name}`, part, 200, told)
    const { ETag } = part.output
    const complete = new CompleteMultipartUploadCommand({ Bucket, Key: upload, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } })
    const completed = await ask(s3, complete, read)
    t.match([completed.status, completed.code], [200, ''], `complete ${name}`)
    const assembled = await ask(s3, new GetObjectCommand({ Bucket, Key: upload }), read)
    expect(`GET multipart ${name}`, assembled, 200, told)
    t.ok(Body.equals(assembled.body))
  }
  for (const [i, from] of modes.entries()) {
    for (const [j, to] of modes.entries()) {
      // Those that leave the mode as it is, from and to a customer's key those without one, and of the others a sixth, but for two names of one KMS key.
      const names = [from.name, to.name]
      const customers = names.includes('SSE-C') && (names.includes('none') || names.includes('AES256'))
      if (!byTurns(i === j || customers || ((i + j) % 6 === 1 && !names.every((name) => name.startsWith('aws:kms by'))))) continue
      const Key = `copy/${from.name} to ${to.name}`
      const copy = new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${encodeURIComponent(`put/${from.name}`)}` })
      expect(Key, await ask(s3, copy, { ...to.write, ...from.source }), 200, to.written)
      const got = await ask(s3, new GetObjectCommand({ Bucket, Key }), to.read)
      expect(`GET ${Key}`, got, 200, to.told)
      t.ok(Body.equals(got.body))
    }
  }
  t.notOk(store.requests.some(({ headers }) => [...headers.names()].some((name) => name.includes('server-side-encryption'))), 'the store hears of none of it')
  const secrets = [customer.toString('base64'), customer.toString('hex')]
  t.notOk(
    store.requests.some(({ headers, path }) => secrets.some((secret) => path.includes(secret) || headers.entries.some(([, value]) => value.includes(secret))))
  )
  t.comment(`${answers} answers of ${modes.length} modes as documented`)
})

await t.test('what is refused, on every operation that makes an object, before a byte goes upstream', async (t) => {
  await ask(s3, new PutObjectCommand({ Bucket, Key: 'source', Body: 'source' }))
  const rows = refusedWrites(rig)
  let asked = 0
  for (const [i, [name, headers, status, code]] of rows.entries()) {
    const before = store.requests.length
    const operations = [
      ['PUT', new PutObjectCommand({ Bucket, Key: 'refused', Body: 'refused' })],
      ['COPY', new CopyObjectCommand({ Bucket, Key: 'refused', CopySource: `${Bucket}/source` })],
      ['create', new CreateMultipartUploadCommand({ Bucket, Key: 'refused' })]
    ] as const
    // Each row on one operation, in turn.
    for (const [operation, command] of operations.filter((_, j) => byTurns((i + j) % 3 === 0))) {
      asked += 1
      t.match(await ask(s3, command, headers), { status, code }, `${operation} with ${name}`)
    }
    t.notOk(store.requests.slice(before).some(({ key, bucket }) => bucket === Bucket && key === 'refused'), `${name}: nothing goes upstream`)
  }
  t.comment(`${asked} refusals as documented`)
})

await t.test('reading with a missing, wrong or needless key', async (t) => {
  const own = customerHeaders(customer)
  const Body = randomBytes(70_000)
  await ask(s3, new PutObjectCommand({ Bucket, Key: 'customer', Body }), own)
  await ask(s3, new PutObjectCommand({ Bucket, Key: 'ours', Body }))
  const other = randomBytes(32)
  const rows: readonly (readonly [name: string, key: string, headers: Headers, source: Headers, status: number, code: string])[] = [
    ['no key', 'customer', {}, {}, 400, 'InvalidRequest'],
    ['another key', 'customer', customerHeaders(other), sourceHeaders(other), 400, 'InvalidRequest'],
    ['a key for an object that has none', 'ours', own, sourceHeaders(customer), 400, 'InvalidRequest'],
    [
      'a key without its MD5',
      'customer',
      { ...own, [`${sse}-customer-key-md5`]: '' },
      { ...sourceHeaders(customer), 'x-amz-copy-source-server-side-encryption-customer-key-md5': '' },
      400,
      'InvalidArgument'
    ]
  ]
  for (const [name, Key, headers, source, status, code] of rows) {
    for (
      const [operation, command] of [
        ['GET', new GetObjectCommand({ Bucket, Key })],
        ['range', new GetObjectCommand({ Bucket, Key, Range: 'bytes=1-2' })],
        ['part', new GetObjectCommand({ Bucket, Key, PartNumber: 1 })]
      ] as const
    ) {
      const got = await ask(s3, command, headers)
      t.match(got, { status, code, body: Buffer.alloc(0) }, `${operation} with ${name}`)
    }
    t.equal((await ask(s3, new HeadObjectCommand({ Bucket, Key }), headers)).status, status, `HEAD with ${name}`)
    t.match(await ask(s3, new CopyObjectCommand({ Bucket, Key: 'copied', CopySource: `${Bucket}/${Key}` }), source), { status, code }, `COPY with ${name}`)
  }
  for (const name of [sse, `${sse}-aws-kms-key-id`, `${sse}-context`]) {
    t.match(await ask(s3, new GetObjectCommand({ Bucket, Key: 'ours' }), { [name]: 'AES256' }), { status: 400, code: 'InvalidArgument' }, `GET with ${name}`)
  }
  t.notOk(store.object(Bucket, 'copied').exists)
})

await t.test('parts of an upload under a customer\'s key', async (t) => {
  const own = customerHeaders(customer)
  const { UploadId } = (await ask(s3, new CreateMultipartUploadCommand({ Bucket, Key: 'up' }), own)).output
  const part = () => new UploadPartCommand({ Bucket, Key: 'up', UploadId, PartNumber: 1, Body: 'part' })
  t.match(await ask(s3, part()), { status: 400, code: 'InvalidRequest' })
  t.match(await ask(s3, part(), customerHeaders(randomBytes(32))), { status: 400, code: 'InvalidRequest' })
  t.match(await ask(s3, part(), own), { status: 200 })
  t.match(await ask(s3, new ListPartsCommand({ Bucket, Key: 'up', UploadId }), own), { status: 200 })
})

await t.test('where the bucket\'s own key is a KMS key, aws:kms alone means it', async (t) => {
  const { s3, arn } = await startEncryptionRig(t, { key: 'cloud' })
  const told = { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: arn, [`${sse}-bucket-key-enabled`]: 'true' }
  t.match(await ask(s3, new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' }), { [sse]: 'aws:kms' }), { status: 200, sse: told })
  t.match(await ask(s3, new GetObjectCommand({ Bucket, Key: 'o' })), { status: 200, sse: told })
  t.same((await ask(s3, new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' }))).sse, {}, 'nothing is announced that was not asked for')
})

await t.test('over plain HTTP a customer\'s key is refused', async (t) => {
  const { s3 } = await startEncryptionRig(t, {}, { auth: {} })
  t.match(await ask(s3, new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' }), customerHeaders(customer)), {
    status: 400,
    code: 'InvalidRequest',
    message: /must be made over a secure connection/
  })
})
