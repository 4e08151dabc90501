import fc from 'fast-check'
import t from 'tap'
import {
  clockSkewSeconds,
  diagnosis,
  diagnosisOf,
  fieldsOf,
  nameOf,
  regionOf,
  requestIdOf,
  systemCodeOf,
  troubleOf,
  type Diagnosis,
  type Trouble
} from '../src/diagnosis.ts'
import { Finding, S3Error } from '../src/errors.ts'
import { HeaderList } from '../src/http/message.ts'
import { diagnoseAnswer, diagnoseFailure, operationOf } from '../src/upstream/diagnose.ts'

const coded = (code: string, more: object = {}) => Object.assign(new Error('secret words'), { code, ...more })

await t.test('the kind of trouble', async (t) => {
  const rows: readonly (readonly [Trouble, Partial<Diagnosis>])[] = [
    ['credentials', { status: 403, errorName: 'InvalidAccessKeyId' }],
    ['credentials', { status: 403, errorName: 'SignatureDoesNotMatch', clockSkewSeconds: 3 }],
    ['clock', { status: 403, errorName: 'SignatureDoesNotMatch', clockSkewSeconds: -1200 }],
    ['clock', { status: 403, errorName: 'AccessDenied', clockSkewSeconds: 1200 }],
    ['clock', { status: 403, errorName: 'RequestTimeTooSkewed' }],
    ['region', { status: 400, errorName: 'AuthorizationHeaderMalformed' }],
    ['region', { status: 307 }],
    ['denied', { status: 403 }],
    ['denied', { system: 'EROFS' }],
    ['throttled', { status: 400, errorName: 'ThrottlingException' }],
    ['throttled', { status: 429 }],
    ['storage-full', { system: 'ENOSPC' }],
    ['storage-full', { status: 507, errorName: 'XMinioStorageFull' }],
    ['protocol', { system: 'ERR_SSL_WRONG_VERSION_NUMBER' }],
    ['certificate', { system: 'CERT_HAS_EXPIRED' }],
    ['certificate', { system: 'ERR_TLS_CERT_ALTNAME_INVALID' }],
    ['timeout', { system: 'UND_ERR_HEADERS_TIMEOUT' }],
    ['timeout', { errorName: 'TimeoutError' }],
    ['unreachable', { system: 'ECONNREFUSED' }],
    ['server-error', { status: 500, errorName: 'InternalError' }],
    ['other', { status: 404, errorName: 'NoSuchKey' }],
    ['other', { errorName: 'constructor' }]
  ]
  for (const [trouble, facts] of rows) t.equal(troubleOf(diagnosis('store', 'x', facts)), trouble, JSON.stringify(facts))
})

await t.test('no answer of the other side puts more than a name into a field', async (t) => {
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.stringMatching(/^[A-Za-z0-9._:=+/ -]{0,300}$/))
  fc.assert(
    fc.property(text, text, text, text, fc.integer({ min: 200, max: 599 }), (code, id, region, date, status) => {
      const headers = new HeaderList([['x-amz-request-id', id], ['date', date], ['x-amz-bucket-region', region]])
      const document = Buffer.from(`<Error><Code>${code}</Code><Message>${code}</Message><Region>${region}</Region><RequestId>${id}</RequestId></Error>`)
      for (const value of Object.values(fieldsOf(diagnoseAnswer('GET bucket', status, headers, document, Date.now())))) {
        if (typeof value === 'string') t.match(value, /^[A-Za-z0-9._:=+/ -]{1,128}$/)
        else t.ok(Number.isFinite(value))
      }
    }),
    { numRuns: 300 }
  )
  for (const bad of ['', 'two words', '<b>', 'x'.repeat(65), 5, null]) t.equal(nameOf(bad), null)
  for (const bad of ['', 'a b', 'x'.repeat(129), '"']) t.equal(requestIdOf(bad), null)
  for (const bad of ['EU', 'x'.repeat(41), 'a.b']) t.equal(regionOf(bad), null)
  t.equal(requestIdOf('tx00000f1b6c1a2d3e4f5a6-0065670a1b-1234-default'), 'tx00000f1b6c1a2d3e4f5a6-0065670a1b-1234-default', 'Ceph')
})

await t.test('what is found along the chain of causes', async (t) => {
  const known = diagnosis('kms', 'Decrypt', { status: 500 })
  t.equal(diagnosisOf(new Error('outer', { cause: new S3Error('SlowDown', { diagnosis: known }) })), known)
  t.equal(diagnosisOf(new AggregateError([new Error('key', { cause: new S3Error('SlowDown', { diagnosis: known }) })])), known)
  t.match(diagnosisOf(new Error('outer', { cause: coded('ENOSPC', { syscall: 'write', path: '/secret/path' }) })), {
    service: 'files',
    operation: 'write',
    system: 'ENOSPC'
  })
  t.equal(diagnosisOf(new Finding('words')), null)
  t.equal(diagnosisOf('text'), null)
  t.same(fieldsOf(null), {})
  t.same(fieldsOf(diagnosis('files', 'write audit.file', { system: 'ENOSPC' })), {
    service: 'files',
    operation: 'write audit.file',
    system: 'ENOSPC',
    trouble: 'storage-full'
  })
  const circle = new Error('circle')
  circle.cause = circle
  t.equal(diagnosisOf(circle), null)
  t.equal(systemCodeOf(circle), null)
  const error = new S3Error('SlowDown').diagnose(known)
  t.equal(error.diagnose(diagnosis('store', 'x')).diagnosis, known, 'what is nearest to the fault stays')
  t.equal(error.withHeaders([['a', 'b']]).diagnosis, known)
})

await t.test('skew', async (t) => {
  const now = Date.parse('2026-01-02T03:04:05.500Z')
  t.equal(clockSkewSeconds('Fri, 02 Jan 2026 03:04:05 GMT', now), 0)
  t.equal(clockSkewSeconds('Fri, 02 Jan 2026 02:44:05 GMT', now), 1200)
  t.equal(clockSkewSeconds('Fri, 02 Jan 2026 03:24:05 GMT', now), -1200)
  for (const bad of [undefined, '', 'yesterday', 'x'.repeat(100_000)]) t.equal(clockSkewSeconds(bad, now), null)
})

await t.test('operations name no bucket, key or client parameter', async (t) => {
  const ask = (method: string, bucket: string | null, key: string | null, query: [string, string | null][] = []) => operationOf({ method, bucket, key, query })
  t.equal(ask('GET', null, null), 'GET service')
  t.equal(ask('GET', 'secret', null, [['prefix', 'secret'], ['list-type', '2']]), 'GET bucket ?list-type')
  t.equal(ask('PUT', 'secret', 'secret', [['partNumber', '1'], ['uploadId', 'secret']]), 'PUT object ?uploadId')
  t.equal(ask('GET', 'secret', 'secret', [['response-content-type', 'secret']]), 'GET object')
  t.match(diagnoseFailure('GET bucket', coded('ECONNRESET')), { system: 'ECONNRESET', errorName: null })
})
