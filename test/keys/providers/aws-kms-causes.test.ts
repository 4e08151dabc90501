// What is known of the cause when a key service fails, and that it says no more than names and numbers.
import t from 'tap'
import { fieldsOf } from '../../../src/diagnosis.ts'
import { S3Error } from '../../../src/errors.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { KmsKeyProvider, type KmsProviderOptions } from '../../../src/keys/providers/aws-kms.ts'
import { openKeyRegistry } from '../../../src/keys/registry.ts'
import { FakeKms, send } from '../../support/fake-kms.ts'
import { keyContext, keyUse } from '../support.ts'

const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
const arn = 'arn:aws:kms:eu-west-1:111122223333:key/1-a'

async function told(change: Partial<KmsProviderOptions>) {
  const provider = new KmsKeyProvider({
    arn,
    decryptOnly: [],
    region: null,
    endpoint: null,
    credentials,
    selfTestContext: keyContext(),
    limits: { callMs: 5000, requestMs: 10_000, attempts: 1, breakerFailures: 1, breakerOpenMs: 60_000 },
    ...change
  })
  const ask = async () => provider.generate(keyContext(), keyUse()).then(() => null, (error: unknown) => error)
  const errors = [await ask(), await ask()]
  await provider.close()
  return errors.map((error) => error instanceof S3Error ? { code: error.code, message: error.message, ...fieldsOf(error.diagnosis) } : error)
}

await t.test('no credentials: nothing was sent, and where they were looked for is said', async (t) => {
  const none = async () => {
    throw Object.assign(new Error('Could not load credentials from any providers: AKIACANARY'), { name: 'CredentialsProviderError' })
  }
  const expected = {
    code: 'ServiceUnavailable',
    message: 'The gateway has no credentials for the key service at the moment.',
    service: 'kms',
    operation: /^credentials: environment \(AWS_ACCESS_KEY_ID.*AWS_WEB_IDENTITY_TOKEN_FILE.*instance metadata$/,
    errorName: 'CredentialsProviderError',
    trouble: 'credentials'
  }
  const [first, heldBack] = await told({ credentials: none })
  t.match(first, expected)
  t.match(heldBack, { service: 'kms', trouble: 'credentials' }, 'held back by the breaker, and still with its cause')
  t.notMatch(JSON.stringify([first, heldBack]), /CANARY/)
  // Time limits of requests keep no process alive by themselves.
  const alive = setTimeout(() => undefined, 30_000)
  t.teardown(() => {
    clearTimeout(alive)
  })
  const [hanging] = await told({ credentials: async () => new Promise(() => undefined), limits: { callMs: 200, requestMs: 400, attempts: 1 } })
  t.match(hanging, expected, 'a metadata service that is not there')
})

await t.test('down, failing, throttling, and a clock that is wrong', async (t) => {
  const kms = await FakeKms.start(t)
  const endpoint = kms.endpoint
  const answer = (status: number, type: string, headers: Record<string, string> = {}) => {
    kms.misbehave = (_call, response) => {
      for (const [name, value] of Object.entries({ 'x-amzn-requestid': '0a1b2c3d-1111-2222-3333-444455556666', ...headers })) response.setHeader(name, value)
      send(response, status, { __type: type, message: 'secret words' })
      return true
    }
  }
  const facts = { service: 'kms', operation: 'GenerateDataKey', remoteRequestId: '0a1b2c3d-1111-2222-3333-444455556666' }
  answer(500, 'KMSInternalException')
  t.match((await told({ endpoint }))[0], { code: 'ServiceUnavailable', ...facts, status: 500, errorName: 'KMSInternalException', trouble: 'server-error' })
  answer(400, 'ThrottlingException')
  t.match((await told({ endpoint }))[0], { code: 'SlowDown', ...facts, status: 400, errorName: 'ThrottlingException', trouble: 'throttled' })
  answer(400, 'AccessDeniedException')
  t.match((await told({ endpoint }))[0], { code: 'AccessDenied', ...facts, errorName: 'AccessDeniedException', trouble: 'denied' })
  answer(400, 'UnrecognizedClientException')
  t.match((await told({ endpoint }))[0], { code: 'AccessDenied', ...facts, errorName: 'UnrecognizedClientException', trouble: 'credentials' })
  answer(400, 'InvalidSignatureException', { date: new Date(Date.now() - 1_200_000).toUTCString() })
  const [late] = await told({ endpoint })
  t.match(late, { code: 'AccessDenied', ...facts, errorName: 'InvalidSignatureException', trouble: 'clock' })
  t.ok(Math.abs((late as { clockSkewSeconds: number }).clockSkewSeconds - 1200) <= 2)
  // Port 9 of loopback: nobody listens.
  t.match(await told({ endpoint: 'http://127.0.0.1:9' }), [
    { code: 'ServiceUnavailable', service: 'kms', operation: 'GenerateDataKey', system: 'ECONNREFUSED', trouble: 'unreachable' },
    { code: 'ServiceUnavailable', message: /is not answering/, system: 'ECONNREFUSED', trouble: 'unreachable' }
  ])
  t.match((await told({ endpoint: endpoint.replace('http:', 'https:') }))[0], { code: 'ServiceUnavailable', trouble: 'protocol' })
})

await t.test('credentials of a key in the configuration sign its calls, and show in no dump', async (t) => {
  const kms = await FakeKms.start(t)
  const authorizations: string[] = []
  kms.misbehave = (_call, response) => {
    authorizations.push(`${response.req.headers.authorization ?? ''} ${String(response.req.headers['x-amz-security-token'])}`)
    return false
  }
  const config = parseConfig(
    JSON.stringify({
      upstream: { endpoint: 'http://127.0.0.1:9', credentials: 'aws' },
      clients: [{ accessKeyId: 'a', secretAccessKey: 'b' }],
      keys: {
        own: {
          type: 'aws-kms',
          arn: kms.addKey(),
          endpoint: kms.endpoint,
          accessKeyId: 'AKIAOWN',
          secretAccessKey: 'secret-canary',
          sessionToken: 'token-canary'
        },
        chain: { type: 'aws-kms', arn: kms.addKey(), endpoint: kms.endpoint, credentials: 'aws' }
      },
      buckets: { '*': { key: 'own' } }
    }),
    { file: '/sealgate.yaml', env: {} }
  )
  t.notMatch(JSON.stringify(config), /canary/)
  const registry = await openKeyRegistry({
    keys: config.keys,
    cache: config.keyCache,
    usedAt: () => [{ realm: 'r', stateBucket: 's' }],
    audit: () => undefined,
    kmsCredentials: { accessKeyId: 'AKIACHAIN', secretAccessKey: 'x' }
  })
  await registry.selfTestOf('own')
  await registry.selfTestOf('chain')
  await registry.close()
  t.match(authorizations, [/AKIAOWN.* token-canary$/, /AKIAOWN/, /AKIACHAIN.* undefined$/, /AKIACHAIN/])
})
