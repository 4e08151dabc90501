// Regions that the gateway accepts and the store calls otherwise (docs/decisions/0032-regions-of-buckets.md).
import t from 'tap'
import { headerSigned, Wire, type Answer } from '../../support/wire.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore, type TestStore } from '../../support/hostile.ts'

interface Rig {
  readonly store: TestStore
  readonly send: (method: string, target: string, body?: string, region?: string) => Promise<Answer>
}

/** @param region of the store. @param told `upstream.region`; stores other than AWS take any in a signature. */
async function rig(t: { teardown(work: () => Promise<void>): void }, region: string, accepted: string | readonly string[] | null): Promise<Rig> {
  const store = await startTestStore({ buckets: ['there'], region })
  const gateway = await startTestGateway(store, {
    sections: {
      listen: { host: '127.0.0.1', port: 0, ...accepted === null ? {} : { region: accepted } },
      buckets: { '*': { encryption: 'on', key: 'main' }, 'plain-*': { encryption: 'off' } }
    }
  })
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  const first = typeof accepted === 'string' ? accepted : accepted?.[0]
  return {
    store,
    send: (method, target, body = '', region = first ?? 'eu-west-3') =>
      wire.send(headerSigned(gateway, { method, target, headers: [] }, body, { region }), body)
  }
}

const located = (region: string, more = ''): string =>
  `<CreateBucketConfiguration>${more}<LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`
const lastBody = (store: TestStore): string =>
  store.requests.findLast(({ method, key, bucket }) => method === 'PUT' && key === '' && bucket !== 'sealgate-state')?.body?.toString() ?? ''

for (const bucket of ['sealed', 'plain-a']) {
  void t.test(`buckets are made in the store's own region: ${bucket}`, async (t) => {
    for (const region of ['us-east-1', 'eu-central-1']) {
      const { store, send } = await rig(t, region, null)
      const own = region === 'us-east-1' ? '' : located(region)
      for (
        const [i, [sent, stored]] of [
          ['', ''],
          [located('eu-west-3'), own],
          [located('us-east-1'), own],
          [located('*'), own],
          [located(region), own],
          [
            located('eu-west-3', '<Tags/>'),
            region === 'us-east-1' ? '<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>' : located(region, '<Tags/>')
          ]
        ].entries()
      ) {
        t.equal((await send('PUT', `/${bucket}-${i}`, sent)).status, 200, `${region}: ${String(sent)}`)
        t.equal(lastBody(store), stored)
        t.equal((await send('HEAD', `/${bucket}-${i}`)).headers['x-amz-bucket-region'], region)
      }
      t.equal((await send('PUT', `/${bucket}-x`, 'no xml')).code, 'MalformedXML')
      t.equal((await send('PUT', `/${bucket}-y`, located('default:fast'))).code, 'IllegalLocationConstraintException', 'a placement is the store\'s to judge')
      t.equal(lastBody(store), located('default:fast'))
    }
  })
}

void t.test('a store that does not know the signed region gets a request without one', async (t) => {
  const { store, send } = await rig(t, 'eu-central-1', null)
  store.rules.add({ when: { method: 'PUT', bucket: 'sealed' }, times: 1, fault: { type: 'error', status: 400, code: 'InvalidLocationConstraint' } })
  t.equal((await send('PUT', '/sealed', located('eu-west-3'))).status, 200)
  t.equal(lastBody(store), '')
})

void t.test('clients see a region that they may sign for', async (t) => {
  const { send } = await rig(t, 'eu-central-1', ['eu-west-3', 'us-east-1'])
  t.match((await send('GET', '/there?location')).body.toString(), /<LocationConstraint[^>]*>eu-west-3</)
  t.equal((await send('HEAD', '/there')).headers['x-amz-bucket-region'], 'eu-west-3')
  t.match((await send('GET', '/')).body.toString(), '<BucketRegion>eu-west-3</BucketRegion>')
  t.equal((await send('PUT', '/sealed', located('eu-west-3'))).status, 200)
  t.equal((await send('PUT', '/other', located('ap-south-1'))).code, 'IllegalLocationConstraintException')
  const own = await rig(t, 'eu-central-1', ['us-east-1', 'eu-central-1'])
  t.match((await own.send('GET', '/there?location')).body.toString(), /<LocationConstraint[^>]*>eu-central-1</)
  const first = await rig(t, 'eu-central-1', 'us-east-1')
  t.match((await first.send('GET', '/there?location')).body.toString(), /<LocationConstraint[^>]*(\/>|><\/LocationConstraint>)/)
  t.equal((await first.send('HEAD', '/there')).headers['x-amz-bucket-region'], 'us-east-1')
})
