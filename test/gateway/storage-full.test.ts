// A disk without space: the embedded store's, and that of the audit file.
import t from 'tap'
import { CreateBucketCommand, PutObjectCommand, S3ServiceException } from '@aws-sdk/client-s3'
import { MemoryBackend } from '../../src/embedded-store/memory.ts'
import { startStore } from '../../src/embedded-store/server.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

const Bucket = 'full'

async function failure(command: Promise<unknown>): Promise<unknown> {
  return command.then(
    () => null,
    (error: unknown) => error instanceof S3ServiceException ? { name: error.name, status: error.$metadata.httpStatusCode, message: error.message } : error
  )
}

await t.test('a full store is reported in the answer, the log and the metric', async (t) => {
  const backend = new MemoryBackend()
  const access = { accessKeyId: 'store', secretAccessKey: 'secret', region: 'us-east-1' }
  const store = await startStore({ backend, credentials: [access], region: access.region, host: '127.0.0.1', port: 0 })
  const lines: Record<string, unknown>[] = []
  const gateway = await startTestGateway({ ...access, endpoint: store.endpoint }, {
    log: (line) => {
      lines.push(JSON.parse(line) as Record<string, unknown>)
    }
  })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
  const rows = [
    ['ENOSPC', 'storage-full', { name: 'StorageFull', status: 507, message: 'No space is left on the disk of the store (ENOSPC).' }],
    ['EDQUOT', 'storage-full', { name: 'StorageFull', status: 507 }],
    ['EROFS', 'server-error', { name: 'InternalError', status: 500, message: 'The store cannot use its disk (EROFS).' }]
  ] as const
  for (const [code, trouble, expected] of rows) {
    const metric = `sealgate_failures_total{service="store",trouble="${trouble}",upstream="default"}`
    const before = gateway.metric(metric)
    backend.createBlob = async () => {
      throw Object.assign(new Error('/secret/path'), { code, syscall: 'open' })
    }
    t.match(await failure(s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'body' }))), expected, code)
    t.match(lines.findLast(({ msg }) => msg === 'failure'), {
      service: 'store',
      operation: 'PUT object',
      status: expected.status,
      errorName: expected.name,
      trouble
    })
    t.ok(String(lines.findLast(({ msg }) => msg === 'failure')?.['remoteRequestId']).length > 5, 'the store\'s own request id')
    t.equal(gateway.metric(metric), before + 1)
  }
  t.notMatch(JSON.stringify(lines), /secret\/path/)
})

await t.test('the audit file', { skip: process.platform === 'linux' ? false : 'needs /dev/full' }, async (t) => {
  const store = await startTestStore({ buckets: [Bucket] })
  const lines: Record<string, unknown>[] = []
  const gateway = await startTestGateway(store, {
    sections: { audit: { file: '/dev/full' } },
    log: (line) => {
      lines.push(JSON.parse(line) as Record<string, unknown>)
    }
  })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  t.match(await failure(gateway.client().send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'body' }))), {
    status: 503,
    message: 'The audit trail cannot be written.'
  })
  t.match(lines.findLast(({ msg }) => msg === 'failure'), { service: 'files', operation: 'write audit.file', system: 'ENOSPC', trouble: 'storage-full' })
  t.equal(gateway.metric('sealgate_failures_total{service="files",trouble="storage-full",upstream=""}'), 1)
  t.same(store.keys(Bucket), [], 'no key is used')
})
