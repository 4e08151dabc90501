// The client's errors for errors of the store.
import t from 'tap'
import { headerSigned, Wire } from '../support/wire.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

void t.test('regression: an error of the store does not tell who the gateway is there', async (t) => {
  const store = await startTestStore({ buckets: ['sealed', 'plain-a'] })
  const gateway = await startTestGateway(store, { sections: { buckets: { '*': { encryption: 'on', key: 'main' }, 'plain-*': { encryption: 'off' } } } })
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  const message = 'User: arn:aws:iam::111122223333:role/sealgate is not authorized to perform: s3:GetObject on resource: \u0022arn:aws:s3:::b/k\u0022'
  for (const bucket of ['sealed', 'plain-a']) {
    store.rules.add({ when: { method: 'GET', bucket }, fault: { type: 'error', status: 403, code: 'AccessDenied', message } })
    const answer = await wire.send(headerSigned(gateway, { method: 'GET', target: `/${bucket}/k`, headers: [] }))
    t.match(answer, { status: 403, code: 'AccessDenied', body: /<Message>Access Denied</ }, bucket)
    t.notMatch(answer.body.toString(), '111122223333', bucket)
    store.rules.add({ when: { method: 'GET', bucket }, fault: { type: 'error', status: 403, code: 'AccessDenied', message: 'Under a legal hold.' } })
    t.match(
      await wire.send(headerSigned(gateway, { method: 'GET', target: `/${bucket}/k`, headers: [] })),
      { body: /Under a legal hold/ },
      'other words are passed on'
    )
  }
})

void t.test('regression: a 400 to a HEAD that names a version says what the client did wrong', async (t) => {
  const store = await startTestStore({ buckets: ['sealed'] })
  const gateway = await startTestGateway(store)
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  store.rules.add({ when: { method: 'HEAD', bucket: 'sealed' }, times: Infinity, fault: { type: 'answer', status: 400, body: '' } })
  const attributes: [string, string][] = [['x-amz-object-attributes', 'ETag']]
  const rows: [method: string, target: string, headers: [string, string][], code: string][] = [
    ['GET', '/sealed/k?attributes&versionId=bad', attributes, 'InvalidArgument'],
    ['PUT', '/sealed/copy', [['x-amz-copy-source', 'sealed/k?versionId=bad']], 'InvalidArgument'],
    ['GET', '/sealed/k?attributes', attributes, 'BadRequest']
  ]
  for (const [method, target, headers, code] of rows) {
    const answer = await wire.send(headerSigned(gateway, { method, target, headers }))
    t.same([answer.status, answer.code], [400, code], target)
    if (code === 'InvalidArgument') t.match(answer.body.toString(), /Invalid version id specified/)
  }
})
