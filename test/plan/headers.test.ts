import { readFileSync } from 'node:fs'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import { downstreamHeaders, refuseReservedMetadata, upstreamHeaders } from '../../src/plan/headers.ts'
import type { UpstreamHeaderClass } from '../../src/plan/headers.ts'
import { keptHeaders, keptSettings, systemMetadata } from '../../src/s3/names.ts'
import { describingHeaders } from '../../src/store-client/object-properties.ts'
import { errorCode } from '../support/error-code.ts'

const upstreamClasses: UpstreamHeaderClass[] = ['document', 'object', 'described', 'copy', 'plain-data']

function travels(name: string, kind: UpstreamHeaderClass): boolean {
  return upstreamHeaders([[name, 'v']], kind).length === 1
}

await t.test('headers that never leave the gateway, in any class', (t) => {
  const secret = [
    'authorization',
    'cookie',
    'proxy-authorization',
    'x-amz-security-token',
    'x-amz-s3session-token',
    'x-amz-te',
    'te',
    'transfer-encoding',
    'trailer',
    'connection',
    'keep-alive',
    'upgrade',
    'expect',
    'host',
    'content-length',
    'x-amz-content-sha256',
    'x-amz-date',
    'date',
    'x-amz-decoded-content-length',
    'x-amz-trailer',
    'x-amz-sdk-checksum-algorithm',
    'x-amz-copy-source',
    'accept-encoding',
    'x-forwarded-for',
    'forwarded',
    'user-agent',
    'x-minio-source-etag',
    'x-rgw-anything',
    'x-amz-write-offset-bytes',
    'x-unknown',
    'x-http-method-override'
  ]
  for (const kind of upstreamClasses) for (const name of secret) t.notOk(travels(name, kind), `${name} in ${kind}`)
  t.end()
})

await t.test('sealed buckets: no key, digest, range or condition of the client reaches the store', (t) => {
  const withheld = [
    'x-amz-server-side-encryption',
    'x-amz-server-side-encryption-customer-key',
    'x-amz-server-side-encryption-customer-key-md5',
    'x-amz-server-side-encryption-context',
    'x-amz-copy-source-server-side-encryption-customer-key',
    'content-md5',
    'x-amz-checksum-crc32',
    'x-amz-checksum-sha256',
    'x-amz-checksum-mode',
    'x-amz-checksum-algorithm',
    'range',
    'if-match',
    'if-none-match',
    'if-modified-since',
    'x-amz-copy-source-if-match',
    'x-amz-copy-source-range',
    'x-amz-if-match-size',
    'x-amz-mp-object-size',
    'x-amz-metadata-directive'
  ]
  for (const kind of ['document', 'object', 'described', 'copy'] as const) for (const name of withheld) t.notOk(travels(name, kind), `${name} in ${kind}`)
  for (const name of ['x-amz-server-side-encryption-customer-key', 'range', 'if-match', 'x-amz-checksum-crc32']) t.ok(travels(name, 'plain-data'), name)
  t.end()
})

await t.test('headers that a write keeps', (t) => {
  const kept = [
    'content-type',
    'cache-control',
    'content-disposition',
    'content-language',
    'expires',
    'x-amz-meta-a',
    'x-amz-acl',
    'x-amz-grant-read',
    'x-amz-tagging',
    'x-amz-storage-class',
    'x-amz-website-redirect-location',
    'x-amz-object-lock-mode',
    'x-amz-object-lock-retain-until-date',
    'x-amz-request-payer',
    'x-amz-expected-bucket-owner',
    'origin'
  ]
  for (const name of kept) for (const kind of ['object', 'copy', 'plain-data'] as const) t.ok(travels(name, kind), `${name} in ${kind}`)
  // Of the request that writes, which is a later one.
  const ofRequest = ['x-amz-request-payer', 'x-amz-expected-bucket-owner', 'origin']
  t.strictSame(kept.filter((name) => !travels(name, 'described')), ofRequest)
  for (const name of ['x-amz-bypass-governance-retention', 'x-amz-mfa', 'x-amz-bucket-object-lock-enabled', 'x-amz-object-ownership']) {
    t.ok(travels(name, 'document'), name)
  }
  t.notOk(travels('x-amz-meta-a', 'document'))
  t.end()
})

await t.test('every header that S3 keeps with an object reaches the store, comes back and survives a rewrap', (t) => {
  const stored = new HeaderList(keptHeaders.map((name) => [name, 'v']))
  for (const kind of ['object', 'described', 'copy', 'plain-data'] as const) t.same(keptHeaders.filter((name) => !travels(name, kind)), [], kind)
  t.same(downstreamHeaders(stored, 'plain-object').map(([name]) => name), keptHeaders)
  const withheld = keptHeaders.filter((name) => !downstreamHeaders(stored, 'object').some(([shown]) => shown === name))
  t.same(withheld, ['x-amz-website-redirect-location'], 'a redirect of a sealed object would be the store\'s word')
  t.same(describingHeaders(stored).map(([name]) => name), keptHeaders)
  t.same([...keptSettings, ...systemMetadata].sort(), [...keptHeaders].sort())
  t.end()
})

await t.test('every header of AWS\'s model is decided on purpose', (t) => {
  interface ModelOperation {
    requiredHeaders: string[]
    optionalHeaders: string[]
  }
  const model = JSON.parse(readFileSync(new URL('../s3/operations.json', import.meta.url), 'utf8')) as ModelOperation[]
  const names = new Set(model.flatMap(({ requiredHeaders, optionalHeaders }) => [...requiredHeaders, ...optionalHeaders]))
  const refusedOperations = /^x-amz-(fwd-|rename-source|request-(route|token)|create-session-mode|client-token|object-if-match|write-offset-bytes)/
  const stays = [...names].filter((name) => !travels(name, 'plain-data') && !refusedOperations.test(name)).sort()
  t.strictSame(stays, ['content-length', 'x-amz-copy-source', 'x-amz-copy-source-range', 'x-amz-sdk-checksum-algorithm'], 'the handlers\' own')
  t.ok(names.size > 80)
  t.end()
})

await t.test('aws-chunked leaves Content-Encoding, the rest stays', (t) => {
  const coding = (value: string): string | undefined => upstreamHeaders([['content-encoding', value]], 'object')[0]?.[1]
  t.equal(coding('gzip'), 'gzip')
  t.equal(coding('aws-chunked'), undefined)
  t.equal(coding('gzip, aws-chunked'), 'gzip')
  t.equal(coding('AWS-Chunked,gzip,br'), 'gzip,br')
  t.equal(coding('deflate, aws-chunked, gzip'), 'deflate, gzip', 'blanks stay')
  t.equal(coding(' aws-chunked , gzip'), 'gzip')
  t.equal(coding('deflate,  gzip'), 'deflate,  gzip')
  t.equal(coding(' '), undefined)
  t.equal(coding(' aws-chunked '), undefined)
  t.end()
})

await t.test('the reserved metadata names', (t) => {
  for (const name of ['x-amz-meta-sealgate', 'x-amz-meta-sealgate-key', 'X-Amz-Meta-SEALGATE-context', 'x-amz-meta-sealgatefoo']) {
    t.equal(
      errorCode(() => {
        refuseReservedMetadata([['content-type', 'a'], [name, 'v']])
      }),
      'InvalidArgument',
      name
    )
    for (const kind of upstreamClasses) t.equal(errorCode(() => upstreamHeaders([[name, 'v']], kind)), 'InvalidArgument', `${name} in ${kind}`)
  }
  t.equal(
    errorCode(() => {
      refuseReservedMetadata([['x-amz-meta-seal', 'a'], ['x-sealgate', 'b']])
    }),
    'ok'
  )
  t.end()
})

await t.test('headers that a client sees', (t) => {
  const seen = (kind: Parameters<typeof downstreamHeaders>[1], ...headers: [string, string][]): unknown => downstreamHeaders(new HeaderList(headers), kind)
  for (const kind of ['object', 'plain-object', 'written', 'plain'] as const) {
    t.strictSame(
      seen(
        kind,
        ['x-amz-request-id', 'r'],
        ['x-amz-id-2', 'i'],
        ['Server', 's'],
        ['Content-Length', '1'],
        ['X-Amz-Meta-Sealgate', 'e'],
        ['x-amz-meta-sealgate-key', 'k'],
        ['Connection', 'close'],
        ['Set-Cookie', 'c'],
        ['Transfer-Encoding', 'chunked'],
        ['www-authenticate', 'x']
      ),
      [],
      kind
    )
  }
  t.strictSame(seen('plain', ['access-control-expose-headers', 'ETag, X-Amz-Meta-Sealgate, x-amz-meta-sealgate-key, x-amz-meta-a']), [[
    'access-control-expose-headers',
    'ETag, x-amz-meta-a'
  ]])
  for (
    const name of [
      'etag',
      'x-amz-checksum-crc32',
      'x-amz-checksum-type',
      'x-amz-server-side-encryption',
      'content-range',
      'x-amz-mp-parts-count',
      'x-amz-object-size'
    ]
  ) {
    t.strictSame(seen('object', [name, 'v']), [], name)
    t.strictSame(seen('written', [name, 'v']), [], name)
    t.strictSame(seen('plain', [name, 'v']), [[name, 'v']], name)
  }
  t.strictSame(
    seen('object', ['Last-Modified', 'd'], ['X-Amz-Meta-B', '\xe4'], ['x-amz-meta-a', '1'], ['x-amz-version-id', 'v'], ['Vary', 'Origin'], [
      'Access-Control-Allow-Origin',
      '*'
    ]),
    [['last-modified', 'd'], ['x-amz-meta-b', '\xe4'], ['x-amz-meta-a', '1'], ['x-amz-version-id', 'v']]
  )
  for (
    const name of [
      'access-control-allow-origin',
      'access-control-allow-credentials',
      'vary',
      'x-amz-website-redirect-location',
      'location',
      'refresh',
      'link',
      'clear-site-data'
    ]
  ) {
    for (const kind of ['object', 'written'] as const) t.strictSame(seen(kind, [name, '/x']), [], `${name} of a store is nobody's to follow: ${kind}`)
  }
  t.strictSame(seen('plain', ['Location', '/bucket'], ['x-amz-bucket-region', 'eu-west-1']), [['location', '/bucket'], ['x-amz-bucket-region', 'eu-west-1']])
  for (const location of ['http://store:9000/bucket', '//store/bucket', 'bucket']) t.strictSame(seen('plain', ['location', location]), [], location)
  t.end()
})
