import { env } from 'node:process'
import t from 'tap'
import { identitySource } from '../../src/upstream/signer.ts'
import { codeOf } from '../support/error-code.ts'

function withEnvironment(test: Pick<typeof t, 'teardown'>, values: Readonly<Record<string, string>>): void {
  const names = Object.keys(env).filter((name) => name.startsWith('AWS_'))
  const before = Object.fromEntries([...names, ...Object.keys(values)].map((name) => [name, env[name]]))
  for (const name of names) Reflect.deleteProperty(env, name)
  Object.assign(env, values)
  test.teardown(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) Reflect.deleteProperty(env, name)
      else env[name] = value
    }
  })
}

/** Without files of the machine and without a metadata service. */
const nothing = { AWS_CONFIG_FILE: '/nowhere', AWS_SHARED_CREDENTIALS_FILE: '/nowhere', AWS_EC2_METADATA_DISABLED: 'true' }

await t.test('configured keys, always the same object', async (t) => {
  const source = identitySource({ accessKeyId: 'A', secretAccessKey: 's', sessionToken: null })
  t.same(await source(), { accessKeyId: 'A', secretAccessKey: 's' })
  t.equal(await source(), await source(), 'signers are kept by identity')
  const token = identitySource({ accessKeyId: 'A', secretAccessKey: 's', sessionToken: 't' })
  t.same(await token(), { accessKeyId: 'A', secretAccessKey: 's', sessionToken: 't' })
})

await t.test('the AWS chain', async (t) => {
  withEnvironment(t, { ...nothing, AWS_ACCESS_KEY_ID: 'ENVKEY', AWS_SECRET_ACCESS_KEY: 'envsecret', AWS_SESSION_TOKEN: 'envtoken' })
  const source = identitySource('aws')
  t.match(await source(), { accessKeyId: 'ENVKEY', secretAccessKey: 'envsecret', sessionToken: 'envtoken' })
  t.equal(await source(), await source())
})

await t.test('no credentials anywhere', async (t) => {
  withEnvironment(t, nothing)
  t.equal(await codeOf(identitySource('aws')()), 'ServiceUnavailable')
})
