import t from 'tap'
import { S3Error, s3ErrorCodes } from '../../src/errors.ts'
import { accessRecord, endedBy, terminationState, type AccessRecord, type EndedBy, type Phase } from '../../src/observe/access-log.ts'

const fields: Omit<AccessRecord, 'termination'> = {
  requestId: 'R1',
  principal: 'AKID',
  sourceAddress: '10.0.0.1',
  secure: true,
  method: 'GET',
  operation: 'GetObject',
  upstream: 'default',
  bucket: 'b',
  key: 'k',
  status: 200,
  code: null,
  bytesIn: 0,
  bytesOut: 10,
  seconds: 0.1,
  firstByteSeconds: 0.05,
  userAgent: 'agent'
}

await t.test('the fields of the allow-list, and no other', async (t) => {
  const carrier = { ...fields, authorization: 'CANARY', query: 'X-Amz-Signature=CANARY', body: 'CANARY' }
  const record = accessRecord(carrier, null)
  t.same(record, { ...fields, termination: '--' })
  t.notMatch(JSON.stringify(record), /CANARY/)
  t.equal(accessRecord({ ...fields, userAgent: 'a'.repeat(10_000) }, null).userAgent?.length, 256)
  t.equal(accessRecord({ ...fields, userAgent: null }, null).userAgent, null)
})

await t.test('every ending has its own two letters', async (t) => {
  const by: EndedBy[] = ['client', 'store', 'keys', 'gateway', 'limit']
  const phases: Phase[] = ['head', 'authentication', 'line', 'upload', 'answer', 'download']
  const states = by.flatMap((who) => phases.map((phase) => terminationState({ by: who, in: phase })))
  t.equal(new Set(states).size, by.length * phases.length)
  for (const state of states) t.match(state, /^[A-Z]{2}$/)
  t.equal(terminationState({ by: 'client', in: 'download' }), 'CD')
  t.equal(terminationState({ by: 'store', in: 'answer' }), 'SH')
})

await t.test('who is behind each error code', async (t) => {
  const ended = new Map<string, EndedBy | null>(s3ErrorCodes.map((code) => [code, endedBy(new S3Error(code))]))
  for (const code of ['NoSuchKey', 'NoSuchBucket', 'PreconditionFailed', 'NotModified', 'InvalidRange', 'BucketNotEmpty'] as const) {
    t.equal(ended.get(code), null, code)
  }
  t.equal(ended.get('SealgateBadUpstream'), 'store')
  t.equal(ended.get('SealgateUpstreamTimeout'), 'store')
  t.equal(ended.get('SealgateKeyUnavailable'), 'keys')
  t.equal(ended.get('KMS.DisabledException'), 'keys')
  t.equal(ended.get('SlowDown'), 'limit')
  t.equal(ended.get('IncompleteBody'), 'client')
  t.equal(ended.get('SignatureDoesNotMatch'), 'gateway')
  t.equal(endedBy(new S3Error('SlowDown', { endedBy: 'store' })), 'store', 'whose it is goes before what the code says')
  t.equal(endedBy(new S3Error('NoSuchKey', { endedBy: 'store' })), null, 'ordinary, whoever says it')
  t.equal(endedBy(new S3Error('InternalError', { code: 'OwnWords', status: 500, endedBy: 'store' })), 'store')
  t.equal(endedBy(new S3Error('BadRequest', { code: 'OwnWords', status: 400, endedBy: 'store' })), null)
})
