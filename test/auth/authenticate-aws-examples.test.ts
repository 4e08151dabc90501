// The examples of the AWS documents, values as printed there.
import t from 'tap'
import { authenticate } from '../../src/auth/authenticate.ts'
import { BodyVerifier } from '../../src/auth/body-verifier.ts'
import { accessKeyId, context, emptyHash, httpRequest, type Headers } from '../support/signing.ts'

const host = ['Host', 'examplebucket.s3.amazonaws.com'] as const
const date = ['x-amz-date', '20130524T000000Z'] as const

function authorization(signedHeaders: string, signature: string): readonly [string, string] {
  return [
    'Authorization',
    `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20130524/us-east-1/s3/aws4_request,SignedHeaders=${signedHeaders},Signature=${signature}`
  ]
}

await t.test('Signature Version 4 in the Authorization header', async (t) => {
  const cases: readonly (readonly [name: string, method: string, target: string, headers: Headers])[] = [
    ['GET Object', 'GET', '/test.txt', [
      host,
      authorization('host;range;x-amz-content-sha256;x-amz-date', 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'),
      ['Range', 'bytes=0-9'],
      ['x-amz-content-sha256', emptyHash],
      date
    ]],
    ['PUT Object', 'PUT', '/test$file.text', [
      host,
      ['Date', 'Fri, 24 May 2013 00:00:00 GMT'],
      authorization(
        'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
        '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd'
      ),
      date,
      ['x-amz-storage-class', 'REDUCED_REDUNDANCY'],
      ['x-amz-content-sha256', '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072'],
      ['Content-Length', '21']
    ]],
    ['GET Bucket Lifecycle', 'GET', '/?lifecycle', [
      host,
      authorization('host;x-amz-content-sha256;x-amz-date', 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'),
      date,
      ['x-amz-content-sha256', emptyHash]
    ]],
    ['GET Bucket (List Objects)', 'GET', '/?max-keys=2&prefix=J', [
      host,
      authorization('host;x-amz-content-sha256;x-amz-date', '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'),
      date,
      ['x-amz-content-sha256', emptyHash]
    ]]
  ]
  for (const [name, method, target, headers] of cases) {
    t.equal(authenticate(httpRequest({ method, target, headers }), context()).scheme, 'v4-header', name)
  }
})

await t.test('Signature Version 4 in the query', async (t) => {
  const target = '/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request' +
    '&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host' +
    '&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404'
  t.equal(authenticate(httpRequest({ method: 'GET', target, headers: [host] }), context()).scheme, 'v4-query')
})

const chunkedHeaders: Headers = [
  ['Host', 's3.amazonaws.com'],
  date,
  ['x-amz-storage-class', 'REDUCED_REDUNDANCY'],
  ['Content-Encoding', 'aws-chunked'],
  ['x-amz-decoded-content-length', '66560']
]

await t.test('chunked upload', async (t) => {
  const request = httpRequest({
    method: 'PUT',
    target: '/examplebucket/chunkObject.txt',
    headers: [
      ...chunkedHeaders,
      ['Content-Length', '66824'],
      ['x-amz-content-sha256', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'],
      authorization(
        'content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class',
        '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9'
      )
    ]
  })
  const body = new BodyVerifier(authenticate(request, context()).payload, { computeMd5: false })
  const encoded = Buffer.from(
    `10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n${'a'.repeat(65536)}\r\n` +
      `400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n${'a'.repeat(1024)}\r\n` +
      '0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n'
  )
  t.equal(encoded.length, 66824)
  const out = [...body.update(encoded), ...body.final()]
  t.same(Buffer.concat(out), Buffer.alloc(66560, 'a'))
})

await t.test('chunked upload with a trailer', async (t) => {
  const request = httpRequest({
    method: 'PUT',
    target: '/examplebucket/chunkObject.txt',
    headers: [
      ...chunkedHeaders,
      ['Transfer-Encoding', 'chunked'],
      ['x-amz-content-sha256', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER'],
      ['x-amz-trailer', 'x-amz-checksum-crc32c'],
      authorization(
        'content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer',
        '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e'
      )
    ]
  })
  const body = new BodyVerifier(authenticate(request, context()).payload, { computeMd5: false })
  const out = [
    ...body.update(Buffer.from(
      `10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n${'a'.repeat(65536)}\r\n` +
        `400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n${'a'.repeat(1024)}\r\n` +
        '0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n' +
        'x-amz-checksum-crc32c:sOO8/Q==\r\n' +
        'x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n'
    )),
    ...body.final()
  ]
  t.same(Buffer.concat(out), Buffer.alloc(66560, 'a'))
  t.equal(body.digests.checksum?.value.toString('base64'), 'sOO8/Q==')
})

await t.test('Signature Version 2', async (t) => {
  const at = (time: string): ReturnType<typeof context> =>
    context({
      now: () => new Date(time),
      virtualHostBucket: (name) => name === 's3.amazonaws.com' ? null : name.replace('.s3.amazonaws.com', '')
    })
  const v2 = (signature: string): readonly [string, string] => ['Authorization', `AWS AKIAIOSFODNN7EXAMPLE:${signature}`]
  const john = ['Host', 'johnsmith.s3.amazonaws.com'] as const
  const cases: readonly (readonly [string, string, string, string, Headers])[] = [
    ['GET Object', 'GET', '/photos/puppy.jpg', 'Tue, 27 Mar 2007 19:36:42 +0000', [john, v2('bWq2s1WEIj+Ydj0vQ697zp+IXMU=')]],
    ['PUT Object', 'PUT', '/photos/puppy.jpg', 'Tue, 27 Mar 2007 21:15:45 +0000', [
      john,
      ['Content-Type', 'image/jpeg'],
      ['Content-Length', '94328'],
      v2('MyyxeRY7whkBe+bq8fHCL/2kKUg=')
    ]],
    ['List', 'GET', '/?prefix=photos&max-keys=50&marker=puppy', 'Tue, 27 Mar 2007 19:42:41 +0000', [john, v2('htDYFYduRNen8P9ZfE/s9SuKy0U=')]],
    ['Fetch', 'GET', '/?acl', 'Tue, 27 Mar 2007 19:44:46 +0000', [john, v2('c2WLPFtWHVgbEmeEG93a4cG37dM=')]],
    ['Upload', 'PUT', '/db-backup.dat.gz', 'Tue, 27 Mar 2007 21:06:08 +0000', [
      ['Host', 'static.johnsmith.net:8080'],
      ['x-amz-acl', 'public-read'],
      ['content-type', 'application/x-download'],
      ['Content-MD5', '4gJE4saaMU4BqNR0kLY+lw=='],
      ['X-Amz-Meta-ReviewedBy', 'joe@johnsmith.net'],
      ['X-Amz-Meta-ReviewedBy', 'jane@johnsmith.net'],
      ['X-Amz-Meta-FileChecksum', '0x02661779'],
      ['X-Amz-Meta-ChecksumAlgorithm', 'crc32'],
      ['Content-Disposition', 'attachment; filename=database.dat'],
      ['Content-Encoding', 'gzip'],
      ['Content-Length', '5913339'],
      v2('ilyl83RwaSoYIEdixDQcA4OnAnc=')
    ]],
    ['List all my buckets', 'GET', '/', 'Wed, 28 Mar 2007 01:29:59 +0000', [['Host', 's3.amazonaws.com'], v2('qGdzdERIC03wnaRNKh6OqZehG9s=')]],
    ['Unicode keys', 'GET', '/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re', 'Wed, 28 Mar 2007 01:49:49 +0000', [
      ['Host', 's3.amazonaws.com'],
      v2('DNEZGsoieTZ92F3bUfSPQcbGmlM=')
    ]]
  ]
  for (const [name, method, target, time, headers] of cases) {
    const request = httpRequest({ method, target, headers: [...headers, ['Date', time]] })
    const ctx = name === 'Upload' ? { ...at(time), virtualHostBucket: () => 'static.johnsmith.net' } : at(time)
    t.equal(authenticate(request, ctx).scheme, 'v2-header', name)
  }
  const target = '/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620'
  t.equal(authenticate(httpRequest({ method: 'GET', target, headers: [john] }), at('2007-03-29T00:00:00Z')).scheme, 'v2-query')
})
