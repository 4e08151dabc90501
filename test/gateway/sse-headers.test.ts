// Every operation with every encryption header (docs/decisions/0031-sse-headers-of-parts.md).
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { customerHeaders, startEncryptionRig, sse } from './encryption-rig.ts'
import { operationRequests } from './operation-requests.ts'
import { byTurns } from '../support/by-turns.ts'
import { isHealthCheck } from '../support/health-checks.ts'
import { headerSigned, Wire, type Answer } from '../support/wire.ts'

const { store, gateway, arn, forbidden } = await startEncryptionRig(t, {}, {
  buckets: { '*': { encryption: 'on', key: 'main', allowedKeys: ['cloud'] }, 'plain-*': { encryption: 'off' } }
})
const wire = new Wire(gateway.endpoint)
t.teardown(() => {
  wire.close()
})

type Headers = Readonly<Record<string, string>>

const Bucket = 'encryption'
const customer = customerHeaders(randomBytes(32))
const context = (value: string): string => Buffer.from(JSON.stringify({ team: value })).toString('base64')
const kms: Headers = { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: arn, [`${sse}-context`]: context('photos'), [`${sse}-bucket-key-enabled`]: 'true' }

function send(method: string, target: string, headers: Headers = {}, body = ''): Promise<Answer> {
  return wire.send(headerSigned(gateway, { method, target, headers: Object.entries(headers) }, body), body)
}

/** How the upload was created, what a request that continues it says, and whether that is taken. */
const uploads: readonly (readonly [created: Headers, asked: Headers, code: string])[] = [
  [{}, {}, ''],
  [{}, { [sse]: 'AES256' }, ''],
  [{}, { [sse]: 'aws:kms' }, 'InvalidArgument'],
  [{}, { [sse]: 'nonsense' }, 'InvalidArgument'],
  [{}, { [`${sse}-bucket-key-enabled`]: 'true' }, ''],
  [{ [sse]: 'AES256' }, {}, ''],
  [{ [sse]: 'AES256' }, { [sse]: 'AES256' }, ''],
  [{ [sse]: 'AES256' }, kms, 'InvalidArgument'],
  [{ [sse]: 'AES256' }, { [sse]: 'aws:kms:dsse' }, 'NotImplemented'],
  [{ [sse]: 'AES256' }, customer, 'InvalidRequest'],
  [kms, {}, ''],
  [kms, kms, ''],
  [kms, { [sse]: 'aws:kms' }, ''],
  [kms, { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: 'alias/team/photos' }, ''],
  [kms, { [sse]: 'AES256' }, 'InvalidArgument'],
  [kms, { ...kms, [`${sse}-aws-kms-key-id`]: forbidden }, 'InvalidArgument'],
  [kms, { ...kms, [`${sse}-aws-kms-key-id`]: 'alias/other' }, 'InvalidArgument'],
  [kms, { ...kms, [`${sse}-context`]: context('other') }, 'InvalidArgument'],
  [kms, { ...kms, [`${sse}-bucket-key-enabled`]: 'false' }, 'InvalidArgument'],
  [kms, { [`${sse}-aws-kms-key-id`]: arn }, 'InvalidArgument'],
  [customer, customer, ''],
  [customer, { [sse]: 'AES256' }, 'InvalidArgument'],
  [customer, { ...customer, [sse]: 'AES256' }, 'InvalidArgument']
]

void t.test('parts, lists and Completes, against the encryption of their upload', async (t) => {
  await send('PUT', `/${Bucket}/source`, {}, 'copied')
  for (const [i, [created, asked, code]] of uploads.entries()) {
    const key = `/${Bucket}/key-${i}`
    const label = `${JSON.stringify(Object.values(created))} then ${JSON.stringify(Object.values(asked))}`
    const own = created === customer ? customer : {}
    const id = /<UploadId>([^<]*)</.exec((await send('POST', `${key}?uploads`, created)).body.toString())?.[1] ?? ''
    const part = `${key}?partNumber=1&uploadId=${id}`
    const etag = String((await send('PUT', part, own, 'part')).headers['etag'])
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`
    t.equal((await send('PUT', part, asked, 'part')).code, code, `UploadPart, ${label}`)
    t.equal(
      (await send('PUT', `${key}?partNumber=2&uploadId=${id}`, { ...asked, 'x-amz-copy-source': `/${Bucket}/source` })).code,
      code,
      `UploadPartCopy, ${label}`
    )
    t.equal((await send('GET', `${key}?uploadId=${id}`, asked)).code, code, `ListParts, ${label}`)
    if (code === '' && created !== customer) {
      const listed = /<ETag>([^<]*)</.exec((await send('GET', `${key}?uploadId=${id}`, asked)).body.toString())?.[1] ?? ''
      const again = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${listed}</ETag></Part></CompleteMultipartUpload>`
      t.equal((await send('POST', `${key}?uploadId=${id}`, asked, again)).status, 200, `Complete, ${label}`)
      t.equal((await send('POST', `${key}?uploadId=${id}`, asked, again)).status, 200, `Complete once more, ${label}`)
      t.equal((await send('GET', key)).body.toString(), 'part')
    } else {
      const answer = await send('POST', `${key}?uploadId=${id}`, asked, list)
      t.equal(answer.code, code, `Complete, ${label}`)
    }
    if (code !== '') t.equal((await send('DELETE', `${key}?uploadId=${id}`, asked)).status, 204, `Abort, ${label}`)
  }
})

void t.test('no encryption header of any operation ever reaches the store', async (t) => {
  const sets: readonly Headers[] = [
    kms,
    { [sse]: 'AES256' },
    { ...customer, ...customerHeaders(randomBytes(32), 'x-amz-copy-source-server-side-encryption-customer') }
  ]
  const before = store.requests.length
  for (const [i, { row, draft, body }] of operationRequests(Bucket, 'key').entries()) {
    // What concerns an object takes these headers each in its own way.
    for (const set of sets.filter((_, j) => byTurns(row.level === 'object' || (i + j) % 3 === 0))) {
      await wire.send(headerSigned(gateway, { ...draft, headers: [...draft.headers, ...Object.entries(set)] }, body), body)
    }
  }
  const leaked = store.requests.slice(before).flatMap(({ headers }) => [...headers.names()].filter((name) => name.includes('server-side-encryption')))
  t.strictSame(leaked, [])
  t.ok(store.requests.length - before > 100)
})

void t.test('reads of an object take a customer\'s key only', async (t) => {
  await send('PUT', `/${Bucket}/read`, {}, 'x')
  for (const [name, value] of [...Object.entries(kms), [sse, 'AES256'] as const]) {
    for (const [method, target] of [['GET', `/${Bucket}/read`], ['HEAD', `/${Bucket}/read`], ['GET', `/${Bucket}/read?attributes`]] as const) {
      const answer = await send(method, target, { [name]: value, 'x-amz-object-attributes': 'ETag' })
      t.equal(answer.status, 400, `${method} ${target} ${name}`)
    }
    for (const [method, target] of [['GET', `/${Bucket}?list-type=2`], ['GET', `/${Bucket}/read?tagging`], ['DELETE', `/${Bucket}/gone`]] as const) {
      t.ok((await send(method, target, { [name]: value })).status < 300, `${method} ${target} ${name}`)
    }
  }
})

void t.test('where the bucket is not encrypted, the general ones end here once the upload is created', async (t) => {
  await send('PUT', '/plain-a')
  const key = '/plain-a/key'
  const id = /<UploadId>([^<]*)</.exec((await send('POST', `${key}?uploads`)).body.toString())?.[1] ?? ''
  const before = store.requests.length
  const { headers: { etag } } = await send('PUT', `${key}?partNumber=1&uploadId=${id}`, { [sse]: 'AES256' }, 'part')
  await send('PUT', `${key}?partNumber=2&uploadId=${id}`, { ...kms, 'x-amz-copy-source': '/plain-a/none' })
  await send('GET', `${key}?uploadId=${id}`, kms)
  const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(etag)}</ETag></Part></CompleteMultipartUpload>`
  t.equal((await send('POST', `${key}?uploadId=${id}`, { [sse]: 'AES256' }, list)).status, 200)
  const seen = store.requests.slice(before).filter((request) => !isHealthCheck(request))
  const passed = seen.filter(({ headers }) => [...headers.names()].some((name) => name.startsWith(sse)))
  t.strictSame(passed.map(({ method, path }) => `${method} ${path}`), [])
  t.equal(seen.length, 4)
})
