import { Readable } from 'node:stream'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { HeaderList } from '../../src/http/message.ts'
import { diagnoseAnswer } from '../../src/upstream/diagnose.ts'
import { checkAnswer, checkHead, errorCode, ownFault, readErrorBody, type Asked } from '../../src/upstream/errors.ts'

type Row = readonly [status: number, headers: readonly (readonly [string, string])[], asked: Asked]
const get: Asked = { method: 'GET', pool: 'data', key: 'key', query: [], headers: [] }
const list: Asked = { ...get, pool: 'control', key: null }
const put: Asked = { ...get, method: 'PUT' }
const part: Asked = { ...put, query: [['partNumber', '1'], ['uploadId', 'u']] }
const head: Asked = { ...get, method: 'HEAD', pool: 'control' }
const ten = ['Content-Length', '10'] as const
const etag = ['ETag', '"x"'] as const
const chunked = ['Transfer-Encoding', 'chunked'] as const

await t.test('heads that are used', async (t) => {
  const good: Row[] = [
    [200, [ten], get],
    [206, [ten, ['ETag', '"x"'], ['Content-Range', 'bytes 0-9/10']], get],
    [200, [chunked], list],
    [200, [chunked, etag], put],
    [200, [ten, etag], part],
    [412, [ten], put],
    // No writes of bodies, and not answered with ETags.
    [200, [ten], { ...put, key: null }],
    [200, [ten], { ...put, query: [['tagging', null]] }],
    [200, [chunked], { ...part, headers: [['x-amz-copy-source', '/a/b']] }],
    [404, [chunked], get],
    [500, [ten], get],
    [204, [], { ...head, method: 'DELETE' }],
    [304, [['ETag', '"x"']], get],
    [200, [], head],
    [200, [ten], head],
    [200, [ten, ['x-amz-meta-a', '1'], ['x-amz-meta-a', '2'], ['Vary', 'a'], ['Vary', 'b']], get],
    [200, [['Content-Length', '9007199254740991']], head]
  ]
  for (const [status, headers, asked] of good) {
    checkHead(status, new HeaderList(headers), asked)
    t.pass(`${asked.method} ${status} ${JSON.stringify(headers)}`)
  }
})

await t.test('heads that are not', async (t) => {
  const repeats = [
    'content-length',
    'content-range',
    'content-type',
    'content-encoding',
    'etag',
    'last-modified',
    'transfer-encoding',
    'x-amz-version-id',
    'x-amz-delete-marker',
    'x-amz-mp-parts-count',
    'x-amz-meta-sealgate',
    'x-amz-meta-sealgate-key',
    'X-Amz-Meta-Sealgate-Context'
  ]
  const bad: Row[] = [
    ...[300, 301, 302, 303, 305, 307, 308, 399].map((status): Row => [status, [ten], get]),
    ...repeats.map((name): Row => [200, [ten, [name, 'a'], [name.toUpperCase(), 'a']], get]),
    [200, [], get],
    [200, [etag], put],
    [200, [ten], put],
    [200, [ten, ['ETag', '']], part],
    [206, [chunked], get],
    [200, [chunked], get],
    [404, [], get],
    [200, [], list],
    [200, [['Transfer-Encoding', 'gzip, chunked']], list],
    [200, [['Transfer-Encoding', 'identity'], ten], list],
    [200, [ten, ['Transfer-Encoding', '']], head],
    [200, [['Content-Length', '9007199254740992']], head],
    [200, [['Content-Length', '+10']], get],
    [200, [['Content-Length', '1e3']], get],
    [200, [['Content-Length', '']], get],
    [200, [['Content-Length', '10, 10']], get],
    [200, [ten, ...Array.from({ length: 200 }, (_, i) => [`x-amz-meta-${i}`, ''] as const)], get]
  ]
  for (const [status, headers, asked] of bad) {
    t.throws(
      () => {
        checkHead(status, new HeaderList(headers), asked)
      },
      { code: 'SealgateBadUpstream', status: 502 },
      `${asked.method} ${status} ${JSON.stringify(headers).slice(0, 90)}`
    )
  }
})

await t.test('a redirect names the settings to check, and gives the client no other address', async (t) => {
  const headers = new HeaderList([ten, ['Location', 'https://elsewhere'], ['x-amz-bucket-region', 'eu-west-1']])
  try {
    checkAnswer({ status: 301, headers, asked: get, sent: null }, () => diagnoseAnswer('GET object', 301, headers, null, 0))
    t.fail('let through')
  } catch (error) {
    t.ok(error instanceof S3Error)
    t.match((error as S3Error).message, /upstream\.region/)
    t.notMatch((error as S3Error).message, /elsewhere|eu-west-1/)
    t.match((error as S3Error).diagnosis, { service: 'store', status: 301, expectedRegion: 'eu-west-1' }, 'the operator is told')
  }
})

await t.test('error codes', async (t) => {
  const document = (code: string) => Buffer.from(`<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>m</Message></Error>`)
  for (const code of ['SignatureDoesNotMatch', 'InvalidAccessKeyId', 'AuthorizationHeaderMalformed', 'RequestTimeTooSkewed', 'ExpiredToken', 'InvalidToken']) {
    t.equal(ownFault(document(code)), code)
  }
  for (const code of ['AccessDenied', 'NoSuchKey', 'SlowDown', 'XSignatureDoesNotMatch']) {
    t.equal(ownFault(document(code)), null)
    t.equal(errorCode(document(code)), code)
  }
  for (const text of ['', 'not XML', '<Code></Code>', '<Code>two words</Code>']) t.equal(errorCode(Buffer.from(text)), null)
})

await t.test('error documents are bounded', async (t) => {
  t.equal((await readErrorBody(Readable.from([Buffer.alloc(65535), Buffer.alloc(1)]))).length, 65536)
  await t.rejects(readErrorBody(Readable.from([Buffer.alloc(65536), Buffer.alloc(1)])), { code: 'SealgateBadUpstream' })
})
