import { inspect } from 'node:util'
import t from 'tap'
import { authenticate, isFormUpload } from '../../src/auth/authenticate.ts'
import { type AuthContext, credentialLookup, type Authenticated } from '../../src/auth/types.ts'
import { admitPayload } from '../../src/auth/payload.ts'
import { S3Error } from '../../src/errors.ts'
import {
  accessKeyId,
  context,
  day,
  emptyHash,
  httpRequest,
  now,
  secretAccessKey,
  signHeader,
  signHeaderV2,
  signQuery,
  signQueryV2,
  timestamp,
  type Draft,
  type Headers
} from '../support/signing.ts'

const host: Headers = [['Host', 'gateway.test']]
const get: Draft = { method: 'GET', target: '/bucket/key', headers: host }
const empty: Headers = [...host, ['Content-Length', '0']]
const later = (seconds: number): Partial<AuthContext> => ({ now: () => new Date(now.getTime() + seconds * 1000) })

function pass(draft: Draft, changes: Partial<AuthContext> = {}): Authenticated {
  return authenticate(httpRequest(draft), context(changes))
}

function refusal(draft: Draft, changes: Partial<AuthContext> = {}): S3Error {
  try {
    pass(draft, changes)
  } catch (error) {
    if (error instanceof S3Error) return error
    throw error
  }
  throw new Error('accepted')
}

function withHeader(draft: Draft, name: string, value: string | null): Draft {
  const rest = draft.headers.filter(([n]) => n !== name)
  return { ...draft, headers: value === null ? rest : [...rest, [name, value]] }
}

function authorization(draft: Draft): string {
  return draft.headers.find(([name]) => name === 'Authorization')?.[1] ?? ''
}

await t.test('Authorization headers that cannot be read', async (t) => {
  const good = authorization(signHeader(get))
  const cases: readonly (readonly [value: string, code: string, status: number])[] = [
    ['', 'AccessDenied', 403],
    ['AWS4-HMAC-SHA256', 'InvalidArgument', 400],
    ['Bearer abc', 'InvalidArgument', 400],
    ['Basic Zm9vOmJhcg==', 'InvalidArgument', 400],
    ['aws4-hmac-sha256 Credential=a', 'InvalidArgument', 400],
    ['AWS4-ECDSA-P256-SHA256 Credential=a', 'NotImplemented', 501],
    [good.replace(/, Signature=.*/, ''), 'AuthorizationHeaderMalformed', 400],
    [good.replace(/Signature=.*/, 'Signature='), 'AuthorizationHeaderMalformed', 400],
    [good.replace(/SignedHeaders=[^,]*, /, ''), 'AuthorizationHeaderMalformed', 400],
    [good.replace(/Credential=[^,]*, /, ''), 'AuthorizationHeaderMalformed', 400],
    [`${good}, Signature=${'0'.repeat(64)}`, 'AuthorizationHeaderMalformed', 400],
    [`${good}, Other=1`, 'AuthorizationHeaderMalformed', 400],
    [good.replace('/s3/', '/ec2/'), 'AuthorizationHeaderMalformed', 400],
    [good.replace('aws4_request', 'aws5_request'), 'AuthorizationHeaderMalformed', 400],
    [good.replace(`/${day}/`, '/2013-05-24/'), 'AuthorizationHeaderMalformed', 400],
    [good.replace(`/${day}/`, '/20130523/'), 'AuthorizationHeaderMalformed', 400],
    [good.replace('/us-east-1/', '//'), 'AuthorizationHeaderMalformed', 400],
    [good.replace(accessKeyId, ''), 'AuthorizationHeaderMalformed', 400],
    [good.replace('host;', ''), 'AuthorizationHeaderMalformed', 400],
    [good.replace('host;', 'host;host;'), 'AuthorizationHeaderMalformed', 400],
    [good.replace('host;', 'host;;'), 'AuthorizationHeaderMalformed', 400]
  ]
  for (const [value, code, status] of cases) {
    const error = refusal(withHeader(signHeader(get), 'Authorization', value))
    t.same([error.code, error.status], [code, status], value)
    t.notMatch(JSON.stringify(error.fields), /abc|Zm9v/, 'credentials of other schemes are not repeated')
  }
  const told = (value: string): unknown => {
    const { code, fields } = refusal(withHeader(signHeader(get), 'Authorization', value))
    return [code, fields['ArgumentValue']]
  }
  for (const scheme of ['Basic', 'Bearer', 'Digest', 'Negotiate', 'Token', 'AWS4-HMAC-SHA512']) t.same(told(`${scheme} abc`), ['InvalidArgument', scheme])
  t.same(told('AWS abc'), ['InvalidArgument', 'AWS'])
  for (const secret of ['Secret abc', 'basic abc', 'AWS4abc x', 'AWS4-HMAC-SHA256']) t.same(told(secret), ['InvalidArgument', ''], secret)
  t.same(told(`AWS4-${'x'.repeat(100)} abc`), ['InvalidArgument', `AWS4-${'x'.repeat(59)}`], 'bounded')
})

await t.test('spellings that clients use', async (t) => {
  const draft = signHeader({ ...get, headers: [...host, ['x-amz-meta-b', ' two  words '], ['X-Amz-Meta-A', '1'], ['x-amz-meta-a', '2']] })
  const good = authorization(draft)
  for (
    const value of [
      good.replaceAll(', ', ','),
      good.replace(/SignedHeaders=([^,]*)/, (_, list: string) => `SignedHeaders=${list.split(';').reverse().join(';')}`),
      good.replace('x-amz-meta-b', 'X-Amz-Meta-B'),
      good.replace(/(Credential=[^,]*), (.*)/, '$2, $1')
    ]
  ) t.equal(pass(withHeader(draft, 'Authorization', value)).scheme, 'v4-header', value)
  t.equal(pass(draft).headers.get('x-amz-meta-a'), '1,2')
  for (const name of ['authorization', 'x-amz-date', 'x-amz-content-sha256']) t.notOk(pass(draft).headers.has(name), `${name} is not handed on`)
})

await t.test('dates', async (t) => {
  const good = signHeader(get)
  t.equal(refusal(withHeader(good, 'x-amz-date', null)).message, 'AWS authentication requires a valid Date or x-amz-date header.')
  for (const value of ['', '20130524', '2013-05-24T00:00:00Z', '20130524T000000', '20130532T000000Z', '20130524T240000Z', 'Fri, 24 May 2013 00:00:00 GMT']) {
    t.equal(refusal(withHeader(good, 'x-amz-date', value)).code, 'AccessDenied', value)
  }
  t.equal(pass(good, later(900)).scheme, 'v4-header')
  t.equal(pass(good, later(-900)).scheme, 'v4-header')
  for (const seconds of [901, -901]) {
    const error = refusal(good, later(seconds))
    t.equal(error.code, 'RequestTimeTooSkewed')
    t.same(Object.keys(error.fields), ['RequestTime', 'ServerTime', 'MaxAllowedSkewMilliseconds'])
    t.equal(error.fields['RequestTime'], timestamp)
  }
  // botocore: a Date header given by the caller replaces X-Amz-Date.
  const byDate = withHeader(signHeader(get, { signedHeaders: ['host', 'x-amz-content-sha256'] }), 'x-amz-date', null)
  for (const value of ['Fri, 24 May 2013 00:00:00 GMT', timestamp]) t.equal(pass(withHeader(byDate, 'Date', value)).scheme, 'v4-header', value)
  t.equal(refusal(withHeader(byDate, 'Date', 'Fri, 24 May 2013 00:00:01 GMT')).code, 'SignatureDoesNotMatch')
})

await t.test('regions', async (t) => {
  const longest = `${'a'.repeat(253)}:65535`
  const any = [
    'garage',
    '*',
    'auto',
    '127.0.0.1',
    's3.example.org',
    'localhost:9000',
    '[::1]:9000',
    'eu_1',
    'a b'.replace(' ', '+'),
    '%41',
    '~',
    '=',
    ';',
    '"<&>',
    longest
  ]
  for (const region of any) {
    t.equal(pass(signHeader(get, { region })).scheme, 'v4-header', region)
    t.equal(pass(signQuery(get, { region })).scheme, 'v4-query', region)
    t.equal(refusal(signHeader(get, { region, secret: 'wrong' })).code, 'SignatureDoesNotMatch', region)
  }
  for (const region of ['', 'a b', '\u0001', 'é', `${longest}0`]) t.equal(refusal(signHeader(get, { region })).code, 'AuthorizationHeaderMalformed', region)
  const error = refusal(signHeader(get, { region: 'US' }), { regions: ['eu-central-1', 'us-east-1'] })
  t.equal(error.code, 'AuthorizationHeaderMalformed')
  t.match(error.message, 'the region \'US\' is wrong; expecting \'eu-central-1\'')
  t.same(error.fields, { Region: 'eu-central-1' })
  t.equal(pass(signHeader(get), { regions: ['eu-central-1', 'us-east-1'] }).scheme, 'v4-header')
  t.same(refusal(signQuery(get, { region: 'US' }), { regions: ['r1'] }).fields, { Region: 'r1' })
  for (let i = 0; i < 50; i += 1) pass(signHeader(get, { region: `region-${i}` }))
})

await t.test('who signed, and with what', async (t) => {
  const unknown = refusal(signHeader(get, { id: 'AKIAI44QH8DHBEXAMPLE' }))
  t.same([unknown.code, unknown.fields], ['InvalidAccessKeyId', { AWSAccessKeyId: 'AKIAI44QH8DHBEXAMPLE' }])
  const wrong = refusal(signHeader({ ...get, headers: [...host, ['x-amz-server-side-encryption-customer-key', 'c2VjcmV0']] }, { secret: 'wrong' }))
  t.equal(wrong.code, 'SignatureDoesNotMatch')
  t.same(Object.keys(wrong.fields), ['AWSAccessKeyId', 'StringToSign', 'SignatureProvided', 'StringToSignBytes', 'CanonicalRequest', 'CanonicalRequestBytes'])
  t.match(wrong.fields['CanonicalRequest'], /^GET\n\/bucket\/key\n\nhost:gateway.test\n/)
  t.match(wrong.fields['CanonicalRequestBytes'], /^47 45 54 0a 2f( [0-9a-f]{2})+$/)
  t.notMatch(JSON.stringify(wrong.fields), /c2VjcmV0|63 32 56 6a/, 'a customer key is not repeated')
  t.equal(refusal(signHeader({ ...get, headers: [...host, ['x-amz-security-token', 'token']] })).code, 'InvalidToken')
  t.equal(refusal(signHeader({ ...get, headers: [...host, ['x-amz-security-token', 'token']] }, { secret: 'wrong' })).code, 'InvalidToken')
  t.equal(refusal(signQuery({ ...get, target: '/bucket/key?X-Amz-Security-Token=token' })).code, 'InvalidToken')
  for (const name of ['x-amz-security-token', 'X-Amz-Security-Token']) {
    t.equal(refusal(signQueryV2({ ...get, target: `/bucket/key?${name}=token` })).code, 'InvalidToken', name)
  }
})

await t.test('secrets cannot be printed', async (t) => {
  const credential = credentialLookup([{
    accessKeyId,
    secretAccessKey,
    buckets: ['*'],
    readOnly: false,
    identities: {},
    limits: { requests: null, requestsPerSecond: null, bytesPerSecond: null }
  }])(accessKeyId)
  for (const text of [inspect(credential, { depth: 9, showHidden: true }), JSON.stringify(credential), String(credential?.secret)]) {
    t.notMatch(text, secretAccessKey)
    t.match(text, '******')
  }
})

await t.test('one place for credentials, one value for a field', async (t) => {
  const presigned = signQuery(get)
  const error = refusal(withHeader(presigned, 'Authorization', 'Bearer x'))
  t.equal(error.code, 'InvalidArgument')
  t.match(error.message, 'Only one auth mechanism allowed')
  const good = signHeader(get)
  for (const name of ['Authorization', 'Host', 'x-amz-date', 'x-amz-content-sha256', 'AUTHORIZATION', 'host', 'X-AMZ-DATE']) {
    const value = good.headers.find(([n]) => n.toLowerCase() === name.toLowerCase())![1]
    t.equal(refusal({ ...good, headers: [...good.headers, [name, value]] }).code, 'InvalidRequest', name)
  }
})

await t.test('headers that were not signed', async (t) => {
  const good = signHeader(get)
  const error = refusal({ ...good, headers: [...good.headers, ['X-Amz-Acl', 'public-read'], ['x-amz-copy-source', '/a/b']] })
  t.same([error.code, error.fields], ['AccessDenied', { HeadersNotSigned: 'x-amz-acl, x-amz-copy-source' }])
  t.equal(pass({ ...good, headers: [...good.headers, ['x-amzn-trace-id', 'Root=1'], ['Content-Type', 'text/plain'], ['User-Agent', 'x']] }).scheme, 'v4-header')
})

await t.test('presigned queries', async (t) => {
  const good = signQuery(get)
  t.equal(pass(good, later(3599)).scheme, 'v4-query')
  const expired = refusal(good, later(3600))
  t.same([expired.code, expired.message, Object.keys(expired.fields)], ['AccessDenied', 'Request has expired', ['X-Amz-Expires', 'Expires', 'ServerTime']])
  t.equal(refusal(good, later(-901)).message, 'Request is not valid yet')
  t.equal(pass(good, later(-900)).scheme, 'v4-query')
  t.equal(pass(signQuery(get, { expires: 604_800 })).scheme, 'v4-query')
  for (const [expires, status] of [[604_801, 400], [-7, 400], [0, 403], [1.5, 400], [NaN, 400], [1e15, 400], [-1e14, 400]] as const) {
    const error = refusal(signQuery(get, { expires }))
    t.same([error.status, error.code], [status, status === 400 ? 'AuthorizationQueryParametersError' : 'AccessDenied'], `${expires} s`)
  }
  for (const name of ['Algorithm', 'Credential', 'Date', 'Expires', 'SignedHeaders', 'Signature']) {
    const parameter = new RegExp(`X-Amz-${name}=[^&]*&?`)
    t.equal(refusal({ ...good, target: good.target.replace(parameter, '') }).code, 'AuthorizationQueryParametersError', `without ${name}`)
    t.equal(refusal({ ...good, target: `${good.target}&X-Amz-${name}=1` }).code, 'AuthorizationQueryParametersError', `${name} twice`)
    t.equal(refusal({ ...good, target: good.target.replace(`X-Amz-${name}`, `x-amz-${name.toLowerCase()}`) }).code, 'AuthorizationQueryParametersError', name)
  }
  t.equal(refusal({ ...good, target: good.target.replace('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256') }).code, 'NotImplemented')
  t.equal(refusal({ ...good, target: good.target.replace('AWS4-HMAC-SHA256', 'AWS4-HMAC-SHA1') }).code, 'AuthorizationQueryParametersError')
  t.equal(refusal({ ...good, target: good.target.replace(timestamp, '20130524') }).code, 'AuthorizationQueryParametersError')
  t.equal(refusal({ ...good, target: good.target.replace(timestamp, '20130525T000000Z') }).code, 'AuthorizationQueryParametersError')
})

await t.test('hoisted parameters are headers', async (t) => {
  const put: Draft = {
    method: 'PUT',
    target: '/bucket/key?x-amz-meta-Name=%C3%A9t%C3%A9&X-Amz-Acl=private&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32&x-id=PutObject',
    headers: empty
  }
  const { headers, payload } = pass(signQuery(put))
  t.equal(headers.get('x-amz-meta-name'), Buffer.from('été').toString('latin1'))
  t.equal(headers.get('x-amz-acl'), 'private')
  t.equal(payload.checksum, null, 'checksums in the query are ignored')
  t.same([...headers.keys()].sort(), ['content-length', 'host', 'x-amz-acl', 'x-amz-meta-name'])
  for (
    const query of ['x-amz-meta-a=1%0D%0Ax-amz-acl:public-read', 'x-amz-meta-a=%00', 'x-amz-meta-a=1&X-Amz-Meta-A=1', 'x-amz-meta-%3A=1', 'x-amz-meta-a%0A=1']
  ) {
    t.equal(refusal(signQuery({ ...put, target: `/bucket/key?${query}` })).code, 'InvalidArgument', query)
  }
  const both = signQuery({ ...put, target: '/bucket/key?x-amz-acl=private', headers: [...empty, ['x-amz-acl', 'public-read']] })
  t.equal(refusal(both).code, 'InvalidRequest')
  t.notOk(pass(signHeader({ ...get, target: '/bucket/key?x-amz-acl=private' })).headers.has('x-amz-acl'), 'only in presigned queries')
})

await t.test('the hash of a presigned body', async (t) => {
  const put: Draft = { method: 'PUT', target: '/bucket/key', headers: [...host, ['Content-Length', '5']] }
  const hash = 'a'.repeat(64)
  t.equal(pass(signQuery(put)).payload.sha256, null)
  t.equal(pass({ ...signQuery(put), headers: [...put.headers, ['x-amz-content-sha256', hash]] }).payload.sha256, hash, 'unsigned header')
  t.equal(pass(signQuery({ ...put, headers: [...put.headers, ['x-amz-content-sha256', hash]] }, { payloadHash: hash })).payload.sha256, hash, 'signed header')
  const inQuery = signQuery({ ...put, target: `/bucket/key?X-Amz-Content-Sha256=${hash}` }, { payloadHash: hash })
  t.equal(pass(inQuery).payload.sha256, hash, 'query')
  t.equal(pass({ ...inQuery, headers: [...put.headers, ['x-amz-content-sha256', 'UNSIGNED-PAYLOAD']] }).payload.sha256, hash, 'a header cannot loosen it')
  t.equal(refusal({ ...inQuery, headers: [...put.headers, ['x-amz-content-sha256', 'b'.repeat(64)]] }).code, 'InvalidRequest')
  t.equal(refusal({ ...signQuery(put), headers: [...put.headers, ['x-amz-content-sha256', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER']] }).code, 'InvalidRequest')
})

await t.test('Signature Version 2', async (t) => {
  const message = 'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.'
  t.same([refusal(signHeaderV2(get), { v2Header: false }).code, refusal(signHeaderV2(get), { v2Header: false }).message], ['InvalidRequest', message])
  t.equal(refusal(signQueryV2(get), { v2Query: false }).message, message)
  t.equal(pass(signHeaderV2(get), later(900)).scheme, 'v2-header')
  t.equal(refusal(signHeaderV2(get), later(901)).code, 'RequestTimeTooSkewed')
  t.equal(pass(signQueryV2(get, { expires: 30 * 86_400 })).scheme, 'v2-query', 'longer than a week')
  t.equal(refusal(signQueryV2(get), later(3600)).message, 'Request has expired')
  for (const value of ['AWS', 'AWS x', 'AWS :x', 'AWS x:', `AWS ${accessKeyId}: x`]) {
    t.equal(refusal(withHeader(signHeaderV2(get), 'Authorization', value)).code, 'InvalidArgument', value)
  }
  t.equal(refusal(withHeader(signHeaderV2(get), 'Date', null)).code, 'AccessDenied')
  // boto3 moves headers of a presigned PUT into the query, and signs them as headers.
  const put: Draft = { method: 'PUT', target: '/bucket/key', headers: [...empty, ['x-amz-meta-a', '1'], ['Content-Type', 'text/plain']] }
  const { target } = signQueryV2(put)
  const hoisted = pass({ ...put, target: `${target}&x-amz-meta-a=1&content-type=text%2Fplain`, headers: empty })
  t.same([hoisted.headers.get('x-amz-meta-a'), hoisted.headers.get('content-type')], ['1', 'text/plain'])
  t.equal(refusal({ ...put, target: `${target}&x-amz-meta-a=2&content-type=text%2Fplain`, headers: empty }).code, 'SignatureDoesNotMatch')
  t.equal(refusal({ ...put, target: `${target}&x-amz-meta-a=2` }).code, 'InvalidRequest', 'not two values')
  t.equal(refusal({ ...get, target: `${signQueryV2(get).target}&retention` }).code, 'AccessDenied', 'parameters V2 does not know')
  t.equal(pass({ ...get, target: `${signQueryV2(get).target}&max-keys=1` }).scheme, 'v2-query')
  t.equal(pass(signQueryV2({ ...get, target: '/bucket' })).scheme, 'v2-query')
  const bucket = signQueryV2({ ...get, target: '/bucket/' })
  t.equal(pass({ ...bucket, target: bucket.target.replace('/bucket/', '/bucket') }).scheme, 'v2-query', 'botocore signs a "/" behind the bucket')
  const vhost = signQueryV2({ ...get, target: '/photos/key' })
  t.equal(pass({ ...vhost, target: vhost.target.replace('/photos', '') }, { virtualHostBucket: () => 'photos' }).scheme, 'v2-query', 'bucket in the host')
  const slash = signQueryV2({ ...get, target: '/photos/key/' })
  t.equal(
    refusal({ ...slash, target: slash.target.replace('/photos/key/', '/key') }, { virtualHostBucket: () => 'photos' }).code,
    'SignatureDoesNotMatch',
    'another key is not the same with a "/" behind'
  )
})

await t.test('anonymous requests', async (t) => {
  const open = { isPublicRead: () => true }
  t.equal(refusal(get).code, 'AccessDenied')
  for (const method of ['GET', 'HEAD']) {
    const result = pass({ ...get, method }, open)
    t.same([result.client, result.scheme, result.payload.framing], [null, 'anonymous', 'none'])
  }
  t.equal(pass({ ...get, target: '/bucket/key?versionId=1&x-id=GetObject' }, open).scheme, 'anonymous')
  for (const method of ['PUT', 'POST', 'DELETE', 'OPTIONS', 'PATCH']) {
    t.equal(refusal({ method, target: '/bucket/key', headers: empty }, open).code, 'AccessDenied', method)
  }
  t.equal(refusal({ ...get, target: '/bucket/key?response-content-type=text%2Fhtml' }, open).code, 'InvalidRequest')
  t.equal(refusal({ ...get, headers: [...host, ['x-amz-content-sha256', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER']] }, open).code, 'InvalidRequest')
  t.equal(refusal({ ...get, headers: [...host, ['Authorization', '']] }, open).code, 'AccessDenied', 'an empty header is no anonymity')
})

await t.test('form uploads are recognised by their headers', async (t) => {
  const form: Headers = [...host, ['Content-Length', '10'], ['Content-Type', 'multipart/form-data; boundary=x']]
  t.ok(isFormUpload(httpRequest({ method: 'POST', target: '/bucket', headers: form })))
  t.notOk(isFormUpload(httpRequest({ method: 'PUT', target: '/bucket', headers: form })))
  t.notOk(isFormUpload(httpRequest({ method: 'POST', target: '/bucket', headers: empty })))
  t.notOk(isFormUpload(httpRequest({ method: 'POST', target: '/bucket', headers: [...host, ['Content-Type', 'multipart/form-database']] })))
  t.notOk(isFormUpload(httpRequest(signHeader({ method: 'POST', target: '/bucket/key?uploads', headers: form }))), 'the type of an object')
  t.equal(refusal({ method: 'POST', target: '/bucket', headers: form }, { isPublicRead: () => true }).code, 'AccessDenied')
})

await t.test('what the headers promise of the body', async (t) => {
  const put = (headers: Headers, payloadHash = 'UNSIGNED-PAYLOAD', target = '/bucket/key', method = 'PUT'): Draft =>
    signHeader({ method, target, headers: [...host, ...headers] }, { payloadHash })
  const length: Headers = [['Content-Length', '5']]
  t.match(pass(put(length)).payload, { framing: 'plain', length: 5, sha256: null, chunkSigner: null, trailer: null })
  t.equal(pass(put(length, emptyHash)).payload.sha256, emptyHash)
  t.equal(pass(signHeader(get)).payload.framing, 'none')
  t.equal(refusal(signHeader(get, { payloadHash: 'a'.repeat(64) })).code, 'XAmzContentSHA256Mismatch')
  t.equal(refusal(put([['Transfer-Encoding', 'chunked']])).code, 'MissingContentLength')
  t.throws(() => admitPayload(pass(put([])), 'object-data'), { code: 'MissingContentLength' })
  t.doesNotThrow(() => admitPayload(pass(put([])), 'other'))

  const streaming = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
  const decoded = (text: string): Headers => [['Transfer-Encoding', 'chunked'], ['x-amz-decoded-content-length', text]]
  t.match(pass(put([...decoded('7'), ['x-amz-trailer', 'x-amz-checksum-crc32']], streaming)).payload, {
    framing: 'aws-chunked',
    length: 7,
    sha256: null,
    chunkSigner: null,
    trailer: 'crc32'
  })
  t.ok(pass(put(decoded('0'), 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD')).payload.chunkSigner)
  for (const text of ['', ' ', '-1', '+1', '1.0', '1e3', '0x1', '01', '9007199254740992', 'x']) {
    t.equal(refusal(put(decoded(text), streaming)).code, 'MissingContentLength', JSON.stringify(text))
  }
  t.equal(pass(put(decoded('9007199254740991'), streaming)).payload.length, 2 ** 53 - 1)
  t.equal(refusal(put([['Transfer-Encoding', 'chunked']], streaming)).code, 'MissingContentLength')
  t.equal(refusal(put([...decoded('1'), ['x-amz-trailer', 'x-amz-checksum-blake3']], streaming)).code, 'InvalidRequest')
  t.equal(refusal(put([...decoded('1'), ['x-amz-trailer', 'x-amz-meta-a']], streaming)).code, 'InvalidRequest')
  t.equal(refusal(put([...decoded('1'), ['x-amz-trailer', 'x-amz-checksum-crc32']], 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD')).code, 'InvalidRequest')
  t.equal(refusal(put([...length, ['x-amz-trailer', 'x-amz-checksum-crc32']])).code, 'InvalidRequest')
  t.equal(refusal(put([...decoded('1'), ['x-amz-trailer', 'x-amz-checksum-crc32'], ['x-amz-checksum-sha1', 'x']], streaming)).code, 'InvalidRequest')
  for (const method of ['POST', 'GET', 'DELETE', 'HEAD']) {
    t.match(refusal(put(decoded('1'), streaming, '/bucket/key', method)), {
      code: 'InvalidRequest',
      message: 'The value of x-amz-content-sha256 header is invalid.'
    })
  }

  const bad = refusal(put(length, 'A'.repeat(64)))
  t.same([bad.code, bad.fields['ArgumentName']], ['InvalidArgument', 'x-amz-content-sha256'])
  t.equal(refusal(withHeader(put(length), 'x-amz-content-sha256', null)).message, 'Missing required header for this request: x-amz-content-sha256')
})

await t.test('digests in headers', async (t) => {
  const put = (...headers: Headers): Draft => signHeader({ method: 'PUT', target: '/bucket/key', headers: [...empty, ...headers] })
  t.same(pass(put(['Content-MD5', '1B2M2Y8AsgTpgAmY7PhCfg=='])).payload.contentMd5, Buffer.from('d41d8cd98f00b204e9800998ecf8427e', 'hex'))
  for (const text of ['', 'x', 'd41d8cd98f00b204e9800998ecf8427e', '1B2M2Y8AsgTpgAmY7PhCfg', '1B2M2Y8AsgTpgAmY7PhCfg== =']) {
    t.equal(refusal(put(['Content-MD5', text])).code, 'InvalidDigest', JSON.stringify(text))
  }
  const crc = ['x-amz-checksum-crc32', 'AAAAAA=='] as const
  t.match(pass(put(crc)).payload.checksum, { algorithm: 'crc32', value: Buffer.alloc(4) })
  t.match(refusal(put(crc, ['x-amz-checksum-sha1', '2jmj7l5rSw0yVb/vlWAYkK/YBwk='])), {
    code: 'InvalidRequest',
    message: 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.'
  })
  t.match(refusal(put(['x-amz-checksum-crc32', 'bad'])), { code: 'InvalidRequest', message: 'Value for x-amz-checksum-crc32 header is invalid.' })
  t.match(pass(put(['x-amz-checksum-xxhash64', 'AAAAAAAAAAA='])).payload.checksum, { algorithm: 'xxhash64', value: Buffer.alloc(8) })
  t.match(refusal(put(['x-amz-checksum-blake3', 'AAAAAAAAAAA='])), { code: 'InvalidRequest', message: /^Checksum algorithm provided is unsupported/ })
  t.equal(pass(put(['x-amz-checksum-mode', 'ENABLED'], ['x-amz-checksum-algorithm', 'CRC32'], ['x-amz-checksum-type', 'COMPOSITE'])).payload.checksum, null)
  const admit = (...headers: Headers) => () => admitPayload(pass(put(...headers)), 'object-data')
  const hint = (name: string): readonly [string, string] => ['x-amz-sdk-checksum-algorithm', name]
  t.doesNotThrow(admit(crc, hint('CRC32')))
  t.throws(admit(hint('CRC32')), { code: 'InvalidRequest' })
  t.throws(admit(crc, hint('SHA1')), { code: 'InvalidRequest', message: 'Value for x-amz-sdk-checksum-algorithm header is invalid.' })
  const complete = signHeader({ method: 'POST', target: '/bucket/key?uploadId=x', headers: [...empty, ['x-amz-checksum-crc32', 'AAAAAA==-2']] })
  t.equal(pass(complete).payload.checksum, null, 'on CompleteMultipartUpload it is the checksum of the object')
})
