// Settings that the gateway itself acts on: default encryption, lifecycle sizes, CORS.
import t from 'tap'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteBucketCorsCommand,
  DeleteBucketEncryptionCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  HeadObjectCommand,
  PutBucketCorsCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
  RestoreObjectCommand,
  type ServerSideEncryptionConfiguration
} from '@aws-sdk/client-s3'
import { storedSize } from '../../../src/envelope/sizes.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import { rawRequest } from '../../support/raw-client.ts'

const Bucket = 'settings'
const store = await startTestStore({ buckets: [Bucket, 'gone'] })
const gateway = await startTestGateway(store)
const s3 = gateway.client()
t.teardown(async () => {
  await gateway.close()
  await store.close()
})

const rule = (algorithm: 'AES256' | 'aws:kms', key?: string): ServerSideEncryptionConfiguration => ({
  Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: algorithm, ...key === undefined ? {} : { KMSMasterKeyID: key } } }]
})

await t.test('default encryption is the gateway\'s own', async (t) => {
  await t.rejects(s3.send(new GetBucketEncryptionCommand({ Bucket })), {
    name: 'ServerSideEncryptionConfigurationNotFoundError',
    $metadata: { httpStatusCode: 404 }
  })
  await s3.send(new DeleteBucketEncryptionCommand({ Bucket }))
  t.equal((await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x' }))).ServerSideEncryption, undefined)

  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: rule('AES256') }))
  t.match((await s3.send(new GetBucketEncryptionCommand({ Bucket }))).ServerSideEncryptionConfiguration, rule('AES256'))
  t.equal((await s3.send(new PutObjectCommand({ Bucket, Key: 'b', Body: 'x' }))).ServerSideEncryption, 'AES256')
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'b' }))).ServerSideEncryption, 'AES256')
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).ServerSideEncryption, undefined, 'new objects only')

  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: rule('aws:kms', 'main') }))
  t.match(await s3.send(new PutObjectCommand({ Bucket, Key: 'c', Body: 'x' })), { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'main' })
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'c' })), { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'main' })
  await t.rejects(s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: rule('aws:kms', 'nobody') })), {
    name: 'KMS.NotFoundException'
  })

  await s3.send(new DeleteBucketEncryptionCommand({ Bucket }))
  t.equal((await s3.send(new PutObjectCommand({ Bucket, Key: 'd', Body: 'x' }))).ServerSideEncryption, undefined)
  await t.rejects(s3.send(new GetBucketEncryptionCommand({ Bucket: 'nowhere' })), { name: 'NoSuchBucket' })
})

await t.test('it is gone when the client gets the success, and not before', async (t) => {
  const put = async () => (await s3.send(new PutObjectCommand({ Bucket, Key: 'e', Body: 'x' }))).ServerSideEncryption
  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: rule('AES256') }))
  const removal = { method: 'POST', bucket: 'sealgate-state' } as const
  const body = '<DeleteResult><Error><Key>encryption</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>'
  store.rules.add({ when: removal, fault: { type: 'answer', status: 200, body } })
  await t.rejects(s3.send(new DeleteBucketEncryptionCommand({ Bucket })), { name: 'ServiceUnavailable' })
  t.equal(await put(), 'AES256')

  const slow = store.rules.add({ when: removal, fault: { type: 'delay', milliseconds: 150 } })
  const removed = s3.send(new DeleteBucketEncryptionCommand({ Bucket }))
  while (slow.fired === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await put()
  await removed
  t.equal(await put(), undefined)
})

await t.test('regression: the expected bucket owner is sent to the store', async (t) => {
  store.requests.length = 0
  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: rule('AES256'), ExpectedBucketOwner: '111122223333' }))
  t.equal(store.requests.find(({ bucket }) => bucket === Bucket)?.headers.get('x-amz-expected-bucket-owner'), '111122223333')
  await s3.send(new DeleteBucketEncryptionCommand({ Bucket }))
})

await t.test('it goes with its bucket, and opens for no other', async (t) => {
  await s3.send(new PutBucketEncryptionCommand({ Bucket: 'gone', ServerSideEncryptionConfiguration: rule('AES256') }))
  await s3.send(new DeleteBucketCommand({ Bucket: 'gone' }))
  await s3.send(new CreateBucketCommand({ Bucket: 'gone' }))
  await t.rejects(s3.send(new GetBucketEncryptionCommand({ Bucket: 'gone' })), { name: 'ServerSideEncryptionConfigurationNotFoundError' })
})

await t.test('regression: it goes with its bucket at the second attempt, when the first got no further than the bucket', async (t) => {
  await s3.send(new PutBucketEncryptionCommand({ Bucket: 'gone', ServerSideEncryptionConfiguration: rule('AES256') }))
  store.rules.add({ when: { method: 'POST', bucket: 'sealgate-state' }, fault: { type: 'error', status: 503, code: 'SlowDown' } })
  await t.rejects(s3.send(new DeleteBucketCommand({ Bucket: 'gone' })), { name: 'ServiceUnavailable' })
  await t.rejects(s3.send(new DeleteBucketCommand({ Bucket: 'gone' })), { name: 'NoSuchBucket' })
  await s3.send(new CreateBucketCommand({ Bucket: 'gone' }))
  await t.rejects(s3.send(new GetBucketEncryptionCommand({ Bucket: 'gone' })), { name: 'ServerSideEncryptionConfigurationNotFoundError' })
})

await t.test('lifecycle sizes are plaintext sizes to clients, stored sizes to the store', async (t) => {
  const Filter = { And: { Prefix: 'a', ObjectSizeGreaterThan: 65536, ObjectSizeLessThan: 1_000_000 } }
  const Rules = [{ ID: 'x', Status: 'Enabled' as const, Filter, Expiration: { Days: 1 } }]
  await s3.send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules } }))
  t.match((await s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))).Rules, Rules)
  const kept = JSON.stringify(store.requests.filter(({ method, query }) => method === 'PUT' && query.has('lifecycle')).map(({ body }) => body?.toString()))
  t.match(kept, `<ObjectSizeGreaterThan>${storedSize(65536)}<`)
  t.match(kept, `<ObjectSizeLessThan>${storedSize(1_000_000)}<`)
})

await t.test('a restore that selects is refused', async (t) => {
  await t.rejects(s3.send(new RestoreObjectCommand({ Bucket, Key: 'a', RestoreRequest: { Type: 'SELECT', Tier: 'Standard' } })), { name: 'NotImplemented' })
})

await t.test('preflights are answered from the bucket\'s rules', async (t) => {
  const ask = async (lines: string, bucket = Bucket) => rawRequest(gateway.endpoint, `OPTIONS /${bucket}/k HTTP/1.1\r\nHost: x\r\n${lines}\r\n`)
  const allowed = 'Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-amz-date\r\n'
  t.match(await ask(allowed), { status: 403 }, 'no rules')
  const CORSRules = [{ AllowedOrigins: ['https://a.example'], AllowedMethods: ['PUT'], AllowedHeaders: ['x-amz-*'], MaxAgeSeconds: 60 }]
  await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules } }))
  t.match(await ask(allowed), {
    status: 200,
    headers: { 'access-control-allow-origin': 'https://a.example', 'access-control-allow-methods': 'PUT', 'access-control-max-age': '60' }
  })
  t.match(await ask(allowed.replace('PUT', 'DELETE')), { status: 403 })
  t.match(await ask('Origin: https://a.example\r\n'), { status: 400 })
  t.match(await ask('Access-Control-Request-Method: PUT\r\n'), { status: 400 })
  t.match(await ask(allowed, 'nowhere'), { status: 403 })
  t.match(await ask(allowed, 'sealgate-state'), { status: 403 }, 'the state bucket is nobody\'s')
  t.match(await rawRequest(gateway.endpoint, `PUT /${Bucket}/k HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nContent-Length: 0\r\n\r\n`), {
    status: 403,
    headers: { 'access-control-allow-origin': 'https://a.example' }
  }, 'a refusal can be read by the page')
  await s3.send(new DeleteBucketCorsCommand({ Bucket }))
  t.match(await ask(allowed), { status: 403 }, 'at once')
})

await t.test('regression: rules that no header can hold spoil no answer', async (t) => {
  const CORSRules = [{ AllowedOrigins: ['*'], AllowedMethods: ['GET', 'PUT'], ExposeHeaders: ['ETag\nSet-Cookie: a=b', '\u20ac'] }]
  await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules } }))
  const preflight = await rawRequest(
    gateway.endpoint,
    `OPTIONS /${Bucket}/k HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n`
  )
  t.match(preflight, { status: 200, headers: { 'access-control-allow-origin': '*', 'access-control-expose-headers': undefined, 'set-cookie': undefined } })
  await s3.send(new DeleteBucketCorsCommand({ Bucket }))
})
