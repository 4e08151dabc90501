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
