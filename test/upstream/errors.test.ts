import t from 'tap'
import { errors } from 'undici'
import { S3Error } from '../../src/errors.ts'
import { isConnectionFailure, toS3Error } from '../../src/upstream/errors.ts'

const coded = (code: string) => Object.assign(new Error('connect to 10.0.0.1 failed'), { code })

await t.test('the client\'s error for each failure', async (t) => {
  const rows: Record<string, readonly string[]> = {
    ServiceUnavailable: ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_SOCKET', 'UND_ERR_CLOSED'],
    SealgateUpstreamTimeout: ['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'],
    SealgateBadUpstream: [
      'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
      'UND_ERR_HEADERS_OVERFLOW',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'CERT_HAS_EXPIRED',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'ERR_SSL_WRONG_VERSION_NUMBER'
    ],
    IncompleteBody: ['UND_ERR_ABORTED', 'ERR_STREAM_PREMATURE_CLOSE'],
    InternalError: ['UND_ERR_INVALID_ARG', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', 'ERR_ASSERTION', '']
  }
  for (const [expected, codes] of Object.entries(rows)) {
    for (const code of codes) {
      const error = toS3Error(coded(code), 'GET bucket')
      t.equal(error.code, expected, code)
      t.notMatch(error.message, /10\.0\.0\.1/)
      t.equal((error.cause as Error).message, 'connect to 10.0.0.1 failed')
    }
  }
  t.equal(toS3Error(new errors.HTTPParserError('bad'), 'GET bucket').code, 'SealgateBadUpstream')
  const own = new S3Error('BadDigest')
  t.equal(toS3Error(own, 'GET bucket'), own)
  t.equal(toS3Error('a string', 'GET bucket').code, 'InternalError')
})

await t.test('only failures of the connection may be tried again', async (t) => {
  for (const code of ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_CONNECT_TIMEOUT']) t.ok(isConnectionFailure(coded(code)), code)
  for (const code of ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'HPE_INVALID_CONSTANT', 'UND_ERR_ABORTED', '']) {
    t.notOk(isConnectionFailure(coded(code)), code)
  }
  t.notOk(isConnectionFailure(new S3Error('SlowDown')))
})
