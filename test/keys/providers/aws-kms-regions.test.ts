// Multi-Region keys: one key in several regions, and a list of regions to fall back to.
import t, { type Test } from 'tap'
import { parseConfig } from '../../../src/config/load.ts'
import { KmsKeyProvider, type KmsProviderOptions } from '../../../src/keys/providers/aws-kms.ts'
import { openKeyRegistry } from '../../../src/keys/registry.ts'
import { codeOf } from '../../support/error-code.ts'
import { FakeKms, refuse } from '../../support/fake-kms.ts'
import { keyContext, keyUse } from '../support.ts'

const regions = ['eu-west-1', 'eu-north-1', 'us-east-1']
const context = keyContext({ requestContext: { a: '1' } })

function open(t: Test, kms: FakeKms, arn: string, change: Partial<KmsProviderOptions> = {}): KmsKeyProvider {
  const provider = new KmsKeyProvider({
    arn,
    decryptOnly: [],
    region: null,
    endpoint: kms.endpoint,
    credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    selfTestContext: keyContext(),
    limits: { attempts: 1, breakerFailures: 2, breakerOpenMs: 60_000 },
    ...change
  })
  t.teardown(() => provider.close())
  return provider
}

/** The regions that were called since the last time. */
function asked(kms: FakeKms): string[] {
  return kms.calls.splice(0).map(({ input }) => String(input['KeyId'] ?? input['DestinationKeyId']).split(':')[3] ?? '')
}

await t.test('equal ids in two regions are one key, and only those', async (t) => {
  const kms = await FakeKms.start(t)
  const [here = '', there = ''] = kms.addMultiRegionKey(regions)
  const [made, opens] = [open(t, kms, here), open(t, kms, there)]
  const { key, wrapped } = await made.generate(context, keyUse())
  t.equal(wrapped.keyId, here)
  t.ok(opens.owns(here) && opens.rewraps(here))
  kms.calls.length = 0
  t.ok((await opens.unwrap(wrapped, context, keyUse())).equals(key))
  t.same(asked(kms), ['eu-north-1'], 'the gateway asks its own region')
  const moved = await opens.rewrap(wrapped, context, context, keyUse())
  t.equal(moved.keyId, there)
  t.same(asked(kms), ['eu-north-1'], 'by ReEncrypt in one region')
  const plain = kms.addKey('eu-west-1')
  const others = [
    here.replace('111122223333', '999922223333'),
    here.replace('mrk-', 'mrk-0'),
    plain.replace('eu-west-1', 'eu-north-1'),
    `${here}x`,
    here.replace('aws:kms', 'aws-cn:kms')
  ]
  for (const other of others) t.notOk(opens.owns(other), other)
  t.notOk(open(t, kms, plain).owns(plain.replace('eu-west-1', 'eu-north-1')), 'a key of one region')
})

await t.test('the next region is asked when one does not answer, and not when it refuses', async (t) => {
  const kms = await FakeKms.start(t)
  const [here = ''] = kms.addMultiRegionKey(regions)
  const provider = open(t, kms, here, { regions: ['eu-north-1', 'us-east-1'] })
  const { key, wrapped } = await provider.generate(context, keyUse())
  const down = (...names: string[]) => {
    kms.misbehave = ({ input }, response) => {
      if (!names.some((name) => String(input['KeyId'] ?? input['DestinationKeyId']).includes(name))) return false
      refuse(response, 'KMSInternalException', 500)
      return true
    }
  }
  down('eu-west-1')
  kms.calls.length = 0
  const during = await provider.generate(context, keyUse())
  t.same(asked(kms), ['eu-west-1', 'eu-north-1'])
  t.equal(during.wrapped.keyId, here, 'the key id stays that of the configuration')
  t.ok((await provider.unwrap(wrapped, context, keyUse())).equals(key))
  asked(kms)
  t.ok((await provider.unwrap(during.wrapped, context, keyUse())).equals(during.key))
  t.same(asked(kms), ['eu-north-1'], 'the breaker of the first region is open: it costs no time')
  t.same(provider.heldBack(), [['eu-west-1', true], ['eu-north-1', false]])
  const moved = await provider.rewrap(wrapped, context, keyContext(), keyUse())
  t.ok((await provider.unwrap(moved, keyContext(), keyUse())).equals(key))
  down(...regions)
  t.equal(await codeOf(provider.generate(context, keyUse())), 'ServiceUnavailable')
  kms.misbehave = null
  const calm = open(t, kms, here, { regions: ['eu-north-1'] })
  kms.setState(here, 'disabled')
  asked(kms)
  t.equal(await codeOf(calm.generate(context, keyUse())), 'KMS.DisabledException', 'a refusal is an answer')
  t.same(asked(kms), ['eu-west-1'])
})

await t.test('in a configuration', async (t) => {
  const kms = await FakeKms.start(t)
  const [here = '', there = ''] = kms.addMultiRegionKey(regions)
  const read = (more: object) =>
    parseConfig(
      JSON.stringify({
        upstream: { endpoint: 'http://127.0.0.1:9', credentials: 'aws' },
        clients: [{ accessKeyId: 'a', secretAccessKey: 'b' }],
        keys: { own: { type: 'aws-kms', arn: here, endpoint: kms.endpoint, accessKeyId: 'a', secretAccessKey: 'b', ...more } }
      }),
      { file: '/sealgate.yaml', env: {} }
    )
  const config = read({ regions: ['eu-north-1'] })
  const usedAt = () => [{ realm: 'r', stateBucket: 's' }]
  const registry = await openKeyRegistry({ keys: config.keys, cache: config.keyCache, usedAt, audit: () => undefined })
  t.teardown(() => registry.close())
  await registry.selfTestOf('own')
  t.ok(registry.names(there, here), 'clients may name it by the ARN of either region')
  t.throws(() => read({ arn: kms.addKey(), regions: ['eu-north-1'] }), { message: /keys\.own\.regions: needs an arn of a multi-Region key/ })
})
