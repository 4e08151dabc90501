import t from 'tap'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

await t.test('what only this process knows: its audit file, certificate, reload, load and integrity failures', async (t) => {
  const store = await startTestStore({ buckets: ['bucket'] })
  t.teardown(() => store.close())
  // Every write to it fails with ENOSPC.
  const gateway = await startTestGateway(store, { sections: { audit: { file: '/dev/full' } } })
  t.teardown(() => gateway.close())
  const report = async () => gateway.gateway.report?.()
  t.match(await report(), { ready: true, audited: true, auditFailure: null, certificateEnds: null, reload: { ok: true } })
  await t.rejects(gateway.client().send(new PutObjectCommand({ Bucket: 'bucket', Key: 'k', Body: 'x' })), { name: 'ServiceUnavailable' })
  gateway.gateway.certificateEnds?.(1234)
  gateway.gateway.noteReload?.(false)
  const later = await report()
  t.match(later, { auditFailure: { system: 'ENOSPC' }, certificateEnds: 1234, reload: { ok: false }, load: null })
  t.match(later?.activity.minutes, [{ requests: { '5xx': 1 }, codes: { ServiceUnavailable: 1 } }])
  gateway.gateway.watch?.(() => ({ connections: 3, requestsInFlight: 2, unauthenticated: 0 }))
  t.same((await report())?.load, { connections: 3, requestsInFlight: 2 })
})

await t.test('an object that does not verify is an integrity failure with its time', async (t) => {
  const store = await startTestStore({ buckets: ['bucket'] })
  t.teardown(() => store.close())
  const gateway = await startTestGateway(store)
  t.teardown(() => gateway.close())
  const s3 = gateway.client()
  await s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'k', Body: 'x' }))
  store.rules.add({ when: { method: 'GET', key: 'k' }, fault: { type: 'flip', offset: 20 } })
  await t.rejects(s3.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'k' })).then(({ Body }) => Body?.transformToByteArray()))
  const report = await gateway.gateway.report?.()
  t.match(report?.activity.integrityFailures, [{ at: /Z$/, kind: /./ }])
})
