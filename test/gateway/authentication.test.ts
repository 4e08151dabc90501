// Every operation × where credentials stand × what is said of the payload × the state of the signature, over HTTP and through
// the whole gateway: invalid requests are refused, and no request is sent to the store.
import t, { type Test } from 'tap'
import { form, productRows, sampledRows, sendRow, sendUnsignedHeader, unsignedHeaderRows, v2Covers, type Row } from './authentication-rows.ts'
import { headerSigned, forEach, querySigned, sha256, Wire, type Answer } from '../support/wire.ts'
import { operationRequest, operationRequests } from './operation-requests.ts'
import { planners } from '../../src/plan/plan.ts'
import { storedSize } from '../../src/envelope/sizes.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { isHealthCheck } from '../support/health-checks.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { RawConnection } from '../support/raw-client.ts'
import type { Draft, Headers } from '../support/signing.ts'
import type { RecordedRequest } from '../support/recorder.ts'

const bucket = 'mine'
const key = 'key'

interface Rig {
  readonly store: TestStore
  readonly gateway: TestGateway
  readonly wire: Wire
  /** What the store has been sent since the last call, health checks left out. */
  readonly seen: () => readonly RecordedRequest[]
}

async function rig(t: Test, sections: Record<string, unknown> = {}): Promise<Rig> {
  const store = await startTestStore({ buckets: [bucket, 'theirs'] })
  const gateway = await startTestGateway(store, { sections: { auth: { v2Header: true, v2Query: true }, ...sections } })
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  for (const name of [bucket, 'theirs']) for (const object of [key, 'keep']) await store.object(name, object).set({ body: Buffer.from('stored') })
  const seen = (): RecordedRequest[] => store.requests.splice(0).filter((r) => !isHealthCheck(r))
  seen()
  return { store, gateway, wire, seen }
}

const refusals = new Set([
  'AccessDenied',
  'AuthorizationHeaderMalformed',
  'AuthorizationQueryParametersError',
  'InvalidAccessKeyId',
  'InvalidArgument',
  'InvalidRequest',
  'MalformedPOSTRequest',
  'MissingContentLength',
  'NotImplemented',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
  'XAmzContentSHA256Mismatch'
])

function isRefused({ status, code }: Answer, row: Row): boolean {
  return status >= 400 && status < 500 && (row.request.draft.method === 'HEAD' || refusals.has(code)) || (status === 501 && code === 'NotImplemented')
}

void t.test('A1: no invalid row of the product is accepted, and nothing of one goes upstream', async (t) => {
  const { gateway, wire, seen } = await rig(t)
  const rows = [...sampledRows(bucket, key)]
  const invalid = rows.filter((row) => !row.valid)
  const wrong: string[] = []
  const send = (group: readonly Row[], code: string | null) =>
    forEach(group, 16, async (row) => {
      const answer = await sendRow(wire, gateway, row)
      if (!isRefused(answer, row) && answer.code !== code) wrong.push(`${row.name}: ${answer.status} ${answer.code}`)
    })
  // A signature over the wrong hash of a body has verified: before the body is read, the store may be asked what the answer depends on.
  const verified = invalid.filter((row) => row.payload === 'wrong hash' && row.state === 'valid')
  await send(invalid.filter((row) => !verified.includes(row)), null)
  t.same(seen().map((r) => `${r.method} ${r.path}`).slice(0, 20), [])
  await send(verified, 'NoSuchUpload')
  t.same(seen().filter(({ method }) => method !== 'GET').map((r) => `${r.method} ${r.path}`).slice(0, 20), [], 'nothing is written')
  t.same(wrong.slice(0, 20), [])
  const of = (name: 'place' | 'payload' | 'state' | 'operation') => (row: Row): string => name === 'operation' ? row.request.name : row[name]
  for (
    const [one, other] of [['operation', 'place'], ['operation', 'payload'], ['place', 'payload'], ['place', 'state'], ['payload', 'state']] as const
  ) {
    const values = (name: typeof one | typeof other): Set<string> => new Set(rows.map(of(name)))
    t.equal(new Set(rows.map((row) => `${of(one)(row)} / ${of(other)(row)}`)).size, values(one).size * values(other).size, `every ${one} with every ${other}`)
  }
  t.comment(`${invalid.length.toLocaleString('en')} invalid of ${productRows().toLocaleString('en')} rows sent, 0 accepted, 0 requests upstream`)
})

void t.test('A1: every valid row passes authentication', async (t) => {
  const { gateway, wire, seen } = await rig(t)
  const wrong: string[] = []
  const denied = new Set(['AccessDenied', 'SignatureDoesNotMatch', 'InvalidAccessKeyId', 'XAmzContentSHA256Mismatch', 'RequestTimeTooSkewed', 'InternalError'])
  const valid = [...sampledRows(bucket, key)].filter((row) => row.valid && (!row.place.startsWith('v2') || v2Covers(row)))
  let upstream = 0
  for (const row of valid) {
    const answer = await sendRow(wire, gateway, row)
    upstream += Math.min(1, seen().length)
    if (denied.has(answer.code) || answer.status >= 500 && answer.status !== 501) {
      wrong.push(`${row.name}: ${answer.status} ${answer.code} ${answer.body.toString()}`)
    }
  }
  t.same(wrong.slice(0, 20), [])
  t.ok(upstream > 100, 'most of them reach the store')
  t.comment(`${valid.length} valid rows pass, ${upstream} of them on to the store`)
})

void t.test('regression: the policy of a form signs an upload and nothing else', async (t) => {
  const { gateway, wire, store, seen } = await rig(t)
  const elsewhere = operationRequests(bucket, key).filter(({ name, row }) => row.method === 'POST' && name !== 'PostObject')
  for (const request of elsewhere) {
    const answer = await sendRow(wire, gateway, { name: request.name, place: 'form', payload: 'absent', state: 'valid', request, valid: false })
    if (answer.status !== 403) t.fail(`${request.name}: ${answer.status} ${answer.code}`)
  }
  t.same(seen(), [])
  t.ok(store.object(bucket, key).exists)
  const request = operationRequest('PostObject', bucket, key)
  const answer = await sendRow(wire, gateway, { name: request.name, place: 'form', payload: 'absent', state: 'valid', request, valid: true })
  t.equal(answer.status, 204)
  t.equal((await store.object(bucket, 'posted').body()).length, storedSize(4), 'and an upload it does sign')
  const signed = headerSigned(gateway, request.draft, request.body)
  t.match(await wire.send(signed, request.body), { status: 403, code: 'AccessDenied' }, 'credentials outside the form do not sign its fields')
})

void t.test('regression: a form is posted to the bucket that its policy names, and to no other', async (t) => {
  const { gateway, wire, seen } = await rig(t)
  const post = (target: string, conditions: readonly unknown[]): Promise<Answer> => {
    const body = form(gateway, 'valid', conditions)
    const headers: Headers = [['Host', 'x'], ['Content-Type', 'multipart/form-data; boundary=b'], ['Content-Length', String(body.length)]]
    return wire.send({ method: 'POST', target, headers }, body)
  }
  t.match(await post('/theirs', [{ bucket }]), { status: 403, code: 'AccessDenied' })
  const unnamed = await post('/theirs', [])
  t.match(unnamed, { status: 403, code: 'AccessDenied' }, 'a policy that names none would be good for all')
  t.match(unnamed.body.toString(), 'Invalid according to Policy: Extra input fields: bucket', 'in the words of AWS')
  t.same(seen(), [])
  t.match(await post('/theirs', [['starts-with', '$bucket', 'the']]), { status: 204 })
})

void t.test('regression: a form whose signature is wrong is refused before its file has come', async (t) => {
  const { gateway, seen } = await rig(t)
  const whole = form(gateway, 'last digit', [{ bucket }])
  const connection = await RawConnection.open(gateway.endpoint)
  await connection.send(`POST /${bucket} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000000\r\n\r\n`)
  // The file ends, but the form does not: a reader of the whole form would never end.
  await connection.send(whole.slice(0, whole.lastIndexOf('--b--')) + '--b\r\nContent-Disposition: form-data; name="more"\r\n\r\n')
  t.match(await connection.response({ timeout: 10_000 }), { status: 403, body: /<Code>SignatureDoesNotMatch</ })
  t.same(seen(), [])
  connection.close()
})

void t.test('regression: a signed hash is checked even where the operation uses no body', async (t) => {
  const { gateway, wire, seen } = await rig(t)
  for (const { name, row, draft } of operationRequests(bucket, key)) {
    if (row.takesBody !== 'none' || planners[name].on.effect === 'refuse' || (draft.method !== 'PUT' && draft.method !== 'POST')) continue
    const answer = await wire.send(headerSigned(gateway, draft, '', { payloadHash: sha256('something else') }))
    t.match(answer, { status: 400, code: 'XAmzContentSHA256Mismatch' }, name)
  }
  t.same(seen(), [])
})

void t.test('regression: a public bucket opens its objects and listings to everybody, and none of its settings', async (t) => {
  const { gateway, wire, seen } = await rig(t, { buckets: { '*': { encryption: 'on', key: 'main', publicRead: true, plaintext: 'allow' } } })
  const open = new Set([
    'GetObject',
    'HeadObject',
    'GetObjectAttributes',
    'HeadBucket',
    'ListObjects',
    'ListObjectsV2',
    'ListObjectVersions',
    'ListMultipartUploads'
  ])
  const host: Headers = [['Host', new URL(gateway.endpoint).host]]
  for (const { name, draft, body } of operationRequests(bucket, key)) {
    if (name === 'Preflight') continue
    const length: Headers = body === '' ? [] : [['Content-Length', String(body.length)]]
    const attributes: Headers = name === 'GetObjectAttributes' ? [['x-amz-object-attributes', 'ObjectSize']] : []
    const answer = await wire.send({ ...draft, headers: [...host, ...draft.headers, ...attributes, ...length] }, body)
    if (open.has(name)) t.equal(answer.status, 200, name)
    else if (![400, 403].includes(answer.status)) t.fail(`${name}: ${answer.status} ${answer.code}`)
    if (seen().length > 0 !== open.has(name)) t.fail(`${name} reached the store`)
  }
})

void t.test('A3: an x-amz header that is not signed is refused on every operation, and nothing goes upstream', async (t) => {
  const { gateway, wire, seen } = await rig(t)
  // Every header with every sixteenth operation, and every operation with every sixteenth header.
  const rows = unsignedHeaderRows(bucket, key, 16)
  const wrong: string[] = []
  await forEach(rows, 16, async (row) => {
    const { status, code } = await sendUnsignedHeader(wire, gateway, row)
    if (status !== 403) wrong.push(`${row.name}: ${status} ${code}`)
  })
  t.same(wrong.slice(0, 20), [])
  t.same(seen().map((r) => `${r.method} ${r.path}`).slice(0, 20), [])
  t.comment(`${rows.length.toLocaleString('en')} requests with one unsigned x-amz header, all 403, 0 requests upstream`)
})

const reserved = [
  'x-amz-meta-sealgate',
  'x-amz-meta-sealgate-key',
  'x-amz-meta-sealgate-context',
  'X-Amz-Meta-SealGate',
  'x-amz-meta-sealgate-of-the-future',
  'x-amz-meta-sealgatex'
]

void t.test('A2: no client can set the metadata of the gateway', async (t) => {
  const { gateway, wire, store, seen } = await rig(t)
  const before = await store.object(bucket, key).body()
  let rows = 0
  for (const name of ['PutObject', 'CopyObject', 'CreateMultipartUpload'] as const) {
    const { draft, body } = operationRequest(name, bucket, key)
    for (const header of reserved) {
      const inHeader = headerSigned(gateway, { ...draft, headers: [...draft.headers, [header, 'x']] }, body)
      const signedHeader = querySigned(gateway, { ...draft, headers: [...draft.headers, [header, 'x']] }, body)
      const query = `${header}=x`
      const hoisted = querySigned(gateway, { ...draft, target: `${draft.target}${draft.target.includes('?') ? '&' : '?'}${query}` }, body)
      for (const [how, request] of Object.entries({ inHeader, signedHeader, hoisted })) {
        const answer = await wire.send(request, body)
        rows += 1
        if (answer.status !== 400 || answer.code !== 'InvalidArgument') t.fail(`${name} ${header} ${how}: ${answer.status} ${answer.code}`)
        const writes = seen().filter(({ method }) => method !== 'GET' && method !== 'HEAD')
        if (writes.length > 0) t.fail(`${name} ${header} ${how} reached the store`)
      }
    }
  }
  t.same(await store.object(bucket, key).body(), before)
  t.comment(`${rows} requests with reserved metadata, all 400, store untouched`)
})

const conditions: Headers = [
  ['If-Match', '"x"'],
  ['If-Match', '*'],
  ['If-None-Match', '"x"'],
  ['If-None-Match', '*'],
  ['If-Modified-Since', 'Sat, 01 Jan 2000 00:00:00 GMT'],
  ['If-Modified-Since', 'Fri, 01 Jan 2100 00:00:00 GMT'],
  ['If-Unmodified-Since', 'Sat, 01 Jan 2000 00:00:00 GMT'],
  ['If-Range', '"x"'],
  ['Range', 'bytes=0-0'],
  ['Range', 'bytes=999999-'],
  ['Range', 'nonsense']
]

/** What a client can tell apart: everything but the ids, the clock and the length of a body that names them. */
function visible({ status, headers, body }: Answer): string {
  const kept = Object.entries(headers).filter(([name]) => !['x-amz-request-id', 'x-amz-id-2', 'date', 'content-length'].includes(name))
  return JSON.stringify([status, kept.sort(), body.toString('utf8').replace(/<(RequestId|HostId|Resource|ServerTime|ArgumentValue)>[^<]*<\/\1>/g, '')])
}

const tenant = { accessKeyId: 'TENANT', secretAccessKey: 'tenant-secret' }

async function tenantRig(t: Test): Promise<Rig & { readonly as: (draft: Draft, body?: string) => Draft }> {
  const made = await rig(t, {
    clients: [{ accessKeyId: 'TESTCLIENT', secretAccessKey: 'test-client-secret', buckets: ['*'] }, { ...tenant, buckets: [bucket] }]
  })
  return { ...made, as: (draft, body = '') => headerSigned({ ...made.gateway, ...tenant }, draft, body) }
}

void t.test('A4: who may not ask learns nothing from conditions, whether or not there is an object', async (t) => {
  const { gateway, wire, seen, as } = await tenantRig(t)
  let rows = 0
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE'] as const) {
    const length: Headers = method === 'PUT' ? [['Content-Length', '0']] : []
    const kinds: Readonly<Record<string, (target: string, more: Headers) => Draft>> = {
      anonymous: (target, more) => ({ method, target, headers: [['Host', new URL(gateway.endpoint).host], ...length, ...more] }),
      otherTenant: (target, more) => as({ method, target, headers: [...length, ...more] })
    }
    for (const [kind, make] of Object.entries(kinds)) {
      const answers = new Set<string>()
      for (const target of ['/theirs/key', '/theirs/nothing', '/nowhere/key']) {
        for (const more of [[], ...conditions.map((one) => [one])]) {
          answers.add(visible(await wire.send(make(target, more))))
          rows += 1
        }
      }
      if (answers.size !== 1) t.fail(`${method} ${kind}: ${[...answers].join('\n')}`)
    }
    for (const more of [[], ...conditions.map((one) => [one])]) {
      const bad = headerSigned({ ...gateway, secretAccessKey: 'wrong' }, { method, target: '/theirs/key', headers: [...length, ...more] })
      const answer = await wire.send(bad)
      rows += 1
      if (answer.status !== 403 || (method !== 'HEAD' && answer.code !== 'SignatureDoesNotMatch')) {
        t.fail(`${method} ${more.join()}: ${answer.status} ${answer.code}`)
      }
    }
  }
  t.same(seen(), [])
  t.comment(`${rows} unauthorised conditional requests, one answer each kind, 0 requests upstream`)
})

void t.test('a tenant gets one answer for buckets of others and for those that are not there', async (t) => {
  const { wire, seen, as } = await tenantRig(t)
  let rows = 0
  const sent = async (draft: Draft, body: string): Promise<string> => {
    rows += 1
    return visible(await wire.send(as(draft, body), body))
  }
  for (const { name, row, draft, body } of operationRequests('theirs', key)) {
    if (row.level === 'service' || name === 'Preflight') continue
    const elsewhere: Draft = {
      ...draft,
      target: draft.target.replace('/theirs', '/nowhere'),
      headers: draft.headers.map(([n, v]) => [n, v.replace('/theirs', '/nowhere')])
    }
    const [theirs, nowhere] = [await sent(draft, body), await sent(elsewhere, body)]
    if (theirs !== nowhere) t.fail(`${name}: ${theirs} ${nowhere}`)
    if (!theirs.startsWith('[403') && !theirs.startsWith('[4')) t.fail(`${name}: ${theirs}`)
  }
  for (const name of ['CopyObject', 'UploadPartCopy'] as const) {
    const { draft, body } = operationRequest(name, bucket, key)
    const from = (source: string): Draft => ({ ...draft, headers: [['x-amz-copy-source', source]] })
    const spellings = ['theirs/key', '/theirs/key', 'theirs/keep', '%74heirs/key', '/theirs%2Fkey', 'theirs/key?versionId=null']
    const theirs = new Set(await Promise.all(spellings.map((source) => sent(from(source), body))))
    const nowhere = new Set(
      await Promise.all(spellings.map((source) => sent(from(source.replace('theirs', 'nowhere').replace('%74heirs', '%6Eowhere')), body)))
    )
    t.same(theirs, nowhere, `${name} from elsewhere`)
  }
  t.same(seen().map((r) => `${r.method} ${r.path}`), [])
  t.comment(`${rows} requests across tenants, 0 told apart, 0 requests upstream`)
})

void t.test('regression: no setting makes the store write into a bucket that the client may not write to', async (t) => {
  const { gateway, wire, seen, as } = await tenantRig(t)
  const documents: Readonly<Record<string, (name: string) => string>> = {
    'logging': (name) => `<BucketLoggingStatus><LoggingEnabled><TargetBucket>${name}</TargetBucket></LoggingEnabled></BucketLoggingStatus>`,
    'replication': (name) =>
      `<ReplicationConfiguration><Rule><Destination><Bucket>arn:aws:s3:::${name}</Bucket></Destination></Rule></ReplicationConfiguration>`,
    'id=x&inventory': (name) =>
      `<InventoryConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Destination><S3BucketDestination><Bucket>arn:aws:s3:::${name}</Bucket></S3BucketDestination></Destination></InventoryConfiguration>`,
    'analytics&id=x': (name) =>
      `<AnalyticsConfiguration><StorageClassAnalysis><DataExport><Destination><S3BucketDestination><Bucket>arn:aws:s3:::${name}</Bucket></S3BucketDestination></Destination></DataExport></StorageClassAnalysis></AnalyticsConfiguration>`
  }
  for (const [query, document] of Object.entries(documents)) {
    const put = async (body: string, sign: typeof as): Promise<Answer> =>
      wire.send(sign({ method: 'PUT', target: `/${bucket}?${query}`, headers: [] }, body), body)
    const everybodys: typeof as = (draft, body = '') => headerSigned(gateway, draft, body)
    t.match(await put(document('theirs'), as), { status: 403, code: 'AccessDenied' }, query)
    t.match(await put(document('sealgate-state'), everybodys), { status: 404, code: 'NoSuchBucket' }, query)
    for (const odd of ['<b/>theirs', ' theirs', 'theirs<!-- -->', `theirs:${bucket}`]) {
      t.match(await put(document(odd), as), { status: 400 }, `${query}: ${odd}`)
    }
    t.same(seen(), [], query)
    await put(document(bucket), as)
    await put(document('theirs'), everybodys)
    t.equal(seen().length, 2, `${query}: what is allowed reaches the store`)
  }
})
