import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

/** What the services of a pod, a task and an instance answer, with the token or path that they were asked with as the secret. */
async function startServices(test: Pick<typeof t, 'teardown'>): Promise<string> {
  let made = 0
  const server = createServer((request, response) => {
    void (async () => {
      const body = Buffer.concat(await request.toArray() as Buffer[]).toString()
      const path = request.url ?? ''
      made += 1
      const expiry = new Date(Date.now() + 3_600_000).toISOString()
      const identity = { AccessKeyId: `ID${made}`, SecretAccessKey: 'secret', Token: 'session', Expiration: expiry, Code: 'Success' }
      if (path === '/pod') response.end(JSON.stringify({ ...identity, SecretAccessKey: request.headers.authorization }))
      else if (path === '/latest/api/token' && request.method === 'PUT') response.end('imds-token')
      else if (path === '/latest/meta-data/iam/security-credentials/') response.end('role-of-instance')
      else if (path.endsWith('/role-of-instance')) response.end(JSON.stringify({ ...identity, SecretAccessKey: request.headers['x-aws-ec2-metadata-token'] }))
      else {
        const token = new URLSearchParams(body).get('WebIdentityToken') ?? ''
        response.end(
          `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ID${made}</AccessKeyId>` +
            `<SecretAccessKey>${token}</SecretAccessKey><SessionToken>session</SessionToken><Expiration>${expiry}</Expiration>` +
            '</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>'
        )
      }
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
}

await t.test('every place of the AWS chain that docs/KEYS.md names', async (t) => {
  const services = await startServices(t)
  const folder = mkdtempSync(join(tmpdir(), 'sealgate-chain-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const token = file('token', 'token-of-pod')
  const process = `node -p "JSON.stringify({Version:1,AccessKeyId:'ID',SecretAccessKey:'of-process'})"`
  const places: Readonly<Record<string, { readonly env: Readonly<Record<string, string>>; readonly secret: string }>> = {
    'profile': {
      env: { AWS_SHARED_CREDENTIALS_FILE: file('profile', '[default]\naws_access_key_id = ID\naws_secret_access_key = of-profile\n') },
      secret: 'of-profile'
    },
    'process of a profile': { env: { AWS_CONFIG_FILE: file('config', `[default]\ncredential_process = ${process}\n`) }, secret: 'of-process' },
    'web identity (IRSA)': {
      env: {
        AWS_WEB_IDENTITY_TOKEN_FILE: token,
        AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/sealgate',
        AWS_REGION: 'eu-central-1',
        AWS_ENDPOINT_URL_STS: services
      },
      secret: 'token-of-pod'
    },
    'EKS Pod Identity': {
      env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${services}/pod`, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token },
      secret: 'token-of-pod'
    },
    'instance': { env: { AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: services }, secret: 'imds-token' }
  }
  for (const [place, { env: values, secret }] of Object.entries(places)) {
    await t.test(place, async (t) => {
      withEnvironment(t, { ...nothing, ...values })
      const source = identitySource('aws')
      const identity = await source()
      t.match(identity, { secretAccessKey: secret })
      t.equal(await source(), identity, 'kept until it expires')
    })
  }
})

await t.test('no credentials anywhere', async (t) => {
  withEnvironment(t, nothing)
  t.equal(await codeOf(identitySource('aws')()), 'ServiceUnavailable')
})
