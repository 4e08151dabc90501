// Transit keys on a real OpenBao: test/e2e/openbao.sh node test/e2e/openbao.ts [OBJECTS]
// The conformance suite, every way to log in, a gateway with 10,000 objects, rotation and re-wrap beside the server's own audit log, tokens that end in
// mid-upload, and `rewrap --to` between all kinds of key. Prints what it counted; exit 1 for a fault.
import { execFile } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import t from 'tap'
import type { VaultAuth } from '../../src/config/key-config.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { vaultTransitKind } from '../../src/keys/providers/vault-kind.ts'
import { VaultTransitProvider } from '../../src/keys/providers/vault-transit.ts'
import { parallel } from '../../src/concurrency/parallel.ts'
import { GatewayProcess, startStoreProcess } from '../campaigns/gateway-process.ts'
import { keyContext, keyUse } from '../keys/support.ts'
import { conformance } from '../keys/providers/conformance.ts'
import { codeOf } from '../support/error-code.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { admin, appRole, audited, ca, caKey, close, configOf, counted, enable, folder, newKey, policy, seal, sectionOf, unseal } from './openbao-server.ts'

const objects = Number(process.argv[2] ?? 10_000)
const run = promisify(execFile)
const Bucket = 'photos'
const signal = new AbortController().signal
const openssl = (...args: string[]) => run('openssl', args)

t.setTimeout(0)
await enable('mounts', 'transit')
for (const method of ['approle', 'cert', 'jwt', 'kubernetes']) await enable('auth', method)

await conformance(t, 'vault-transit on OpenBao', async () => {
  const [key, other] = [await policy(await newKey(), true), await newKey()]
  const [auth, otherAuth] = [await appRole(key), await appRole(other)]
  const files = { ca: readFileSync(ca, 'utf8'), client: null }
  const settings = (state: object) => admin('POST', `transit/keys/${key}/config`, state)
  let heal = async (): Promise<void> => undefined
  let calls = 0
  return {
    open: async (options) => new VaultTransitProvider({ config: configOf(key, auth), files, selfTestContext: keyContext(), ...options }),
    openOther: async (options) => new VaultTransitProvider({ config: configOf(other, otherAuth), files, selfTestContext: keyContext(), ...options }),
    rotate: async () => {
      await admin('POST', `transit/keys/${key}/rotate`)
    },
    states: {
      'version too old': {
        enter: async () => {
          await settings({ min_decryption_version: 2 })
        },
        leave: async () => {
          await settings({ min_decryption_version: 1 })
        },
        code: 'KMS.DisabledException'
      },
      'soft-deleted': {
        enter: async () => {
          await settings({ deletion_allowed: true })
          await admin('DELETE', `transit/keys/${key}/soft-delete`)
        },
        leave: async () => {
          await admin('POST', `transit/keys/${key}/soft-delete-restore`)
        },
        code: 'KMS.KMSInvalidStateException'
      }
    },
    faults: {
      'sealed': async () => {
        await seal()
        heal = unseal
      },
      'throttled': async () => {
        await admin('POST', 'sys/quotas/rate-limit/all', { path: 'transit/', rate: 0.001, interval: '3600s' })
        await admin('GET', `transit/keys/${other}`)
        heal = async () => {
          await admin('DELETE', 'sys/quotas/rate-limit/all')
        }
      },
      'refused credential': async () => {
        await admin('PUT', `sys/policies/acl/${key}`, { policy: 'path "nothing" { capabilities = ["read"] }' })
        heal = async () => {
          await policy(key, true)
        }
      }
    },
    heal: async () => {
      await heal()
      heal = async () => undefined
    },
    calls: () => {
      calls += Object.values(counted(audited())).reduce((sum, count) => sum + count, 0)
      return calls
    },
    secrets: () => auth.method === 'approle' && auth.secretId !== null ? [auth.secretId] : []
  }
})

await t.test('every way to log in', async (t) => {
  const key = await newKey()
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const serves = async (auth: VaultAuth) => {
    const provider = await vaultTransitKind.open(configOf(key, auth), site)
    const code = await codeOf(provider.selfTest())
    await provider.close()
    return code
  }
  const tokens = async () => Object.keys((await admin('GET', 'auth/token/accessors?list=true')).data['keys'] as object).length
  const before = await tokens()
  t.equal(await serves(await appRole(key)), 'ok', 'AppRole')
  t.equal(await tokens(), before, 'its token was given back')

  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwt = (claims: object) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const now = Math.floor(Date.now() / 1000)
    const text = `${part({ alg: 'RS256', typ: 'JWT' })}.${part({ iat: now, exp: now + 600, ...claims })}`
    return `${text}.${sign('sha256', Buffer.from(text), createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }))).toString('base64url')}`
  }
  const jwtFile = join(folder, 'jwt')
  await admin('POST', 'auth/jwt/config', { jwt_validation_pubkeys: [publicKey.export({ type: 'spki', format: 'pem' })] })
  await admin('POST', 'auth/jwt/role/gateway', { role_type: 'jwt', bound_audiences: ['bao'], user_claim: 'sub', token_policies: [key] })
  writeFileSync(jwtFile, jwt({ sub: 'gateway', aud: 'bao' }))
  t.equal(await serves({ method: 'jwt', mount: 'jwt', role: 'gateway', jwtFile }), 'ok', 'JWT')
  writeFileSync(jwtFile, jwt({ sub: 'gateway', aud: 'other' }))
  t.equal(await serves({ method: 'jwt', mount: 'jwt', role: 'gateway', jwtFile }), 'AccessDenied', 'a JWT for another audience')

  // The API server of a cluster, which says of a service account's token whose it is.
  const reviews: string[] = []
  const cluster = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const { spec: { token } } = JSON.parse(Buffer.concat(chunks).toString()) as { spec: { token: string } }
      reviews.push(token)
      const user = { username: 'system:serviceaccount:storage:sealgate', uid: '1', groups: [] }
      const status = token === accountToken ? { authenticated: true, user } : { authenticated: false }
      response.writeHead(201, { 'content-type': 'application/json' }).end(
        JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', status })
      )
    })
  })
  await new Promise<void>((resolve) => cluster.listen(0, '127.0.0.1', resolve))
  const claims = {
    'iss': 'kubernetes/serviceaccount',
    'sub': 'system:serviceaccount:storage:sealgate',
    'kubernetes.io': { namespace: 'storage', serviceaccount: { name: 'sealgate', uid: '1' } }
  }
  const accountToken = jwt(claims)
  await admin('POST', 'auth/kubernetes/config', {
    kubernetes_host: `http://127.0.0.1:${(cluster.address() as AddressInfo).port}`,
    token_reviewer_jwt: 'reviewer',
    disable_local_ca_jwt: true,
    disable_iss_validation: true,
    kubernetes_ca_cert: readFileSync(ca, 'utf8')
  })
  await admin('POST', 'auth/kubernetes/role/gateway', {
    bound_service_account_names: ['sealgate'],
    bound_service_account_namespaces: ['storage'],
    token_policies: [key]
  })
  writeFileSync(jwtFile, accountToken)
  t.equal(await serves({ method: 'kubernetes', mount: 'kubernetes', role: 'gateway', jwtFile }), 'ok', 'service account of a pod')
  t.ok(reviews.includes(accountToken))
  writeFileSync(jwtFile, jwt({ ...claims, jti: 'other' }))
  t.equal(await serves({ method: 'kubernetes', mount: 'kubernetes', role: 'gateway', jwtFile }), 'AccessDenied', 'a token that the cluster does not know')
  cluster.closeAllConnections()
  cluster.close()

  const [cert, certKey, request] = ['client.pem', 'client-key.pem', 'client-request.pem'].map((name) => join(folder, name)) as [string, string, string]
  await openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=gateway', '-keyout', certKey, '-out', request)
  await openssl('x509', '-req', '-in', request, '-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-out', cert)
  await admin('POST', 'auth/cert/certs/gateway', { certificate: readFileSync(ca, 'utf8'), allowed_common_names: ['gateway'], token_policies: [key] })
  t.equal(await serves({ method: 'cert', mount: 'cert', role: 'gateway', cert, key: certKey }), 'ok', 'client certificate')
  t.equal(await serves({ method: 'cert', mount: 'cert', role: null, cert, key: certKey }), 'ok', 'client certificate without a role')

  const { auth } = await admin('POST', 'auth/token/create', { policies: [key], ttl: '1h' }) as unknown as { auth: { client_token: string } }
  t.equal(await serves({ method: 'token', token: auth.client_token, tokenFile: null }), 'ok', 'token')
  t.equal(await serves({ method: 'token', token: auth.client_token, tokenFile: null }), 'ok', 'it was not given back')
  t.equal(await serves({ method: 'token', token: 's.wrong', tokenFile: null }), 'AccessDenied', 'wrong token')
  t.comment('9 logins: AppRole, JWT, Kubernetes, client certificate, token; 4 refused')
})

await t.test('a key that is not derived ignores the context, and is refused', async (t) => {
  const key = await newKey({ derived: false })
  const wrapped = await admin('POST', `transit/datakey/plaintext/${key}`, { context: 'AAAA' })
  const opened = await admin('POST', `transit/decrypt/${key}`, { ciphertext: wrapped.data['ciphertext'], context: 'BBBB' })
  t.equal(opened.data['plaintext'], wrapped.data['plaintext'], 'this is why')
  const provider = new VaultTransitProvider({
    config: configOf(key, await appRole(key)),
    files: { ca: readFileSync(ca, 'utf8'), client: null },
    selfTestContext: keyContext()
  })
  t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'KMS.KMSInvalidStateException')
  await provider.close()
})

await t.test('namespaces: a key in one is another than the key of the same name outside of it, or in one below', async (t) => {
  const name = `k${randomBytes(4).toString('hex')}`
  const providers = []
  for (const namespace of [null, 'tenant', 'tenant/inner']) {
    // The administrator's paths have the namespace in front; the gateway sends it in a header.
    const at = namespace === null ? '' : `${namespace}/`
    const [, parent = '', own = ''] = /^(.*\/)?([^/]+)$/.exec(namespace ?? '') ?? []
    if (namespace !== null) {
      await admin('POST', `${parent}sys/namespaces/${own}`)
      await admin('POST', `${at}sys/mounts/transit`, { type: 'transit' })
      await admin('POST', `${at}sys/auth/approle`, { type: 'approle' })
    }
    await admin('POST', `${at}transit/keys/${name}`, { type: 'aes256-gcm96', derived: true })
    await policy(name, false, at)
    const auth = await appRole(name, {}, at)
    const config = { ...configOf(name, auth), namespace }
    const provider = new VaultTransitProvider({ config, files: { ca: readFileSync(ca, 'utf8'), client: null }, selfTestContext: keyContext() })
    await provider.selfTest()
    const { key, wrapped } = await provider.generate(keyContext(), keyUse())
    t.equal(wrapped.keyId, `vault:vault/${at}transit/${name}:v1`)
    t.ok((await provider.unwrap(wrapped, keyContext(), keyUse())).equals(key))
    await admin('POST', `${at}transit/keys/${name}/rotate`)
    t.equal((await provider.rewrap(wrapped, keyContext(), keyContext(), keyUse())).keyId, `vault:vault/${at}transit/${name}:v2`)
    providers.push({ provider, wrapped, auth })
  }
  let refused = 0
  for (const one of providers) {
    for (const other of providers.filter((each) => each !== one)) {
      t.equal(await codeOf(other.provider.unwrap(one.wrapped, keyContext(), keyUse())), 'SealgateKeyUnavailable', 'by its id')
      const moved = { ...one.wrapped, keyId: other.wrapped.keyId }
      t.equal(await codeOf(other.provider.unwrap(moved, keyContext(), keyUse())), 'SealgateIntegrityError', 'by its key')
      refused += 2
    }
  }
  const [, inside] = providers
  const lost = new VaultTransitProvider({
    config: { ...configOf(name, inside!.auth), namespace: null },
    files: { ca: readFileSync(ca, 'utf8'), client: null },
    selfTestContext: keyContext()
  })
  t.equal(await codeOf(lost.selfTest()), 'AccessDenied', 'a role of the namespace logs in nowhere else')
  for (const provider of [lost, ...providers.map((each) => each.provider)]) await provider.close()
  t.comment(
    `keys of one name outside of namespaces and in two: each rotated and re-wrapped, ${refused} foreign uses refused`
  )
})

const store = await startStoreProcess()
const kms = await FakeKms.start(t)
const main = await newKey()
const short = await newKey()
const keyring = join(folder, 'keyring.json')
await createKeyring(keyring, 'ring', new Date())
const keys = {
  vault: sectionOf(main, await appRole(main)),
  // Tokens of 3 seconds, renewed to 6 at most: a new login every few seconds.
  short: sectionOf(short, await appRole(short, { token_ttl: '3s', token_max_ttl: '6s' })),
  local: { type: 'local', keyring },
  cloud: { type: 'aws-kms', arn: kms.addKey(), endpoint: kms.endpoint, accessKeyId: 'a', secretAccessKey: 'b' }
}
const every = Object.keys(keys)
const sections = {
  keys,
  buckets: {
    'photos': { key: 'vault', etag: 'opaque' },
    'single': { key: 'vault', bucketKeys: false, etag: 'opaque' },
    'plainring': { key: 'local', bucketKeys: false, etag: 'opaque' },
    'tokens': { key: 'short', etag: 'opaque' },
    '*': { key: 'local', allowedKeys: every, openKeys: every, etag: 'opaque' }
  },
  log: { level: 'error' }
}

async function gatewayWith(more: object): Promise<{ gateway: GatewayProcess; s3: S3Client; config: string }> {
  const gateway = new GatewayProcess({ endpoint: store.endpoint, sections: { ...sections, log: { level: 'info' }, ...more } })
  await gateway.prepare(keyring)
  await gateway.start()
  return { gateway, s3: gateway.client(), config: gateway.config }
}
const sealgate = async (...args: string[]) => (await run(process.execPath, ['src/main.ts', ...args], { maxBuffer: 1 << 26 })).stdout

function percentiles(times: number[]): string {
  times.sort((a, b) => a - b)
  const at = (part: number) => (times[Math.floor(times.length * part)] ?? 0).toFixed(1)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`
}

const { gateway, s3, config } = await gatewayWith({})
for (const name of [Bucket, 'single', 'plainring', 'tokens', 'other', 'moving']) await s3.send(new CreateBucketCommand({ Bucket: name }))
const many = { limit: 16, signal }

await t.test(`${objects} objects under bucket keys: calls of the server`, async (t) => {
  audited()
  await parallel(Array.from({ length: objects }, (_, i) => i), many, async (i) => {
    await s3.send(new PutObjectCommand({ Bucket, Key: `o${i}`, Body: `body ${i}` }))
  })
  let wrong = 0
  await parallel(Array.from({ length: objects }, (_, i) => i), many, async (i) => {
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key: `o${i}` }))
    if (await answer.Body?.transformToString() !== `body ${i}`) wrong += 1
  })
  t.equal(wrong, 0)
  const calls = counted(audited())
  t.comment(`${objects} PUT and GET: ${JSON.stringify(calls)}`)
  t.ok(Object.values(calls).reduce((sum, count) => sum + count, 0) < 20)
})

await t.test('rotation and re-wrap: the bucket key stays in the server, as its own audit log says', async (t) => {
  await admin('POST', `transit/keys/${main}/rotate`)
  audited()
  const said = await sealgate('rewrap', '--config', config, '--bucket', Bucket)
  const lines = audited()
  const calls = counted(lines)
  t.comment(`${said.trim().replaceAll('\n', ' | ')}: ${JSON.stringify(calls)}`)
  t.same(Object.keys(calls).filter((path) => /decrypt|datakey|encrypt/.test(path)), [], 'nothing that shows or takes a bucket key')
  const answers = lines.filter(({ type, request }) => type === 'response' && request.path.startsWith('transit/rewrap/'))
  t.ok(answers.length > 0)
  t.same([...new Set(answers.flatMap(({ response }) => Object.keys(response?.data ?? {})))].sort(), ['ciphertext', 'key_version'], 'fields of the answers')
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'o1' }))
  t.equal(head.ContentLength, 'body 1'.length)
  const usage = await sealgate('keys', 'usage', '--config', config, '--bucket', Bucket)
  t.match(usage, new RegExp(`vault:vault/transit/${main}:v2`))
  t.notMatch(usage, /:v1/)
  // The old version is now needed by nothing.
  await admin('POST', `transit/keys/${main}/config`, { min_decryption_version: 2 })
  const answer = await s3.send(new GetObjectCommand({ Bucket, Key: `o${objects - 1}` }))
  t.equal(await answer.Body?.transformToString(), `body ${objects - 1}`)
})

await t.test('a copy into another bucket is under a bucket key of its own', async (t) => {
  audited()
  await s3.send(new CopyObjectCommand({ Bucket: 'single', Key: 'copy', CopySource: `${Bucket}/o2` }))
  const answer = await s3.send(new GetObjectCommand({ Bucket: 'single', Key: 'copy' }))
  t.equal(await answer.Body?.transformToString(), 'body 2')
  t.comment(`one copy and its read: ${JSON.stringify(counted(audited()))}`)
})

await t.test('objects open without Sealgate, by the server alone', async (t) => {
  const python = process.env['PYTHON'] ?? 'python3'
  const glass = (script: string, ...args: string[]) =>
    run(python, [join('docs/break-glass', script), ...args], {
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', AWS_ACCESS_KEY_ID: 'store', AWS_SECRET_ACCESS_KEY: 'store-secret' }
    })
  const out = join(folder, 'recovered')
  const all = ['--endpoint', store.endpoint, '--bucket', 'single', '--out', out, '--realm', 'default', '--report', join(folder, 'report.jsonl')]
  const { stdout } = await glass('sealgate_bucket.py', ...all, '--vault', `transit/${main}`)
  t.equal(readFileSync(join(out, 'objects', 'copy'), 'utf8'), 'body 2')
  t.comment(stdout.trim().split('\n').at(-1) ?? '')
  const wrong = await glass('sealgate_bucket.py', ...all.with(5, `${out}2`), '--vault', `transit/${short}`).catch((error: unknown) => error as { code: number })
  t.not((wrong as { code?: number }).code ?? 0, 0, 'with another key')

  const client = new S3Client({
    endpoint: store.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'store', secretAccessKey: 'store-secret' }
  })
  const stored = await client.send(new GetObjectCommand({ Bucket: 'single', Key: 'copy' }))
  writeFileSync(join(folder, 'stored'), await stored.Body!.transformToByteArray())
  const of = ['--bucket', 'single', '--object', 'copy', '--realm', 'default']
  const named = ['--envelope', stored.Metadata?.['sealgate'] ?? '', '--key-id', stored.Metadata?.['sealgate-key'] ?? '']
  const { stdout: request } = await glass('sealgate_open.py', ...of, ...named, '--print-vault')
  const { data } = await admin('POST', `transit/decrypt/${main}`, JSON.parse(request) as object)
  const key = Buffer.from(String(data['plaintext']), 'base64').toString('hex')
  await glass('sealgate_open.py', ...of, ...named, '--body', join(folder, 'stored'), '--bucket-key', key, '--out', join(folder, 'opened'))
  t.equal(readFileSync(join(folder, 'opened'), 'utf8'), 'body 2')
})

await t.test('the time of a key that must be asked for', async (t) => {
  const key = await newKey()
  const files = { ca: readFileSync(ca, 'utf8'), client: null }
  const provider = new VaultTransitProvider({ config: configOf(key, await appRole(key)), files, selfTestContext: keyContext() })
  const made = await provider.generate(keyContext(), keyUse())
  const calls: number[] = []
  for (let i = 0; i < 1000; i += 1) {
    const started = performance.now()
    const opened = await provider.unwrap(made.wrapped, keyContext(), keyUse())
    calls.push(performance.now() - started)
    if (!opened.equals(made.key)) t.fail('another key')
  }
  await provider.close()
  t.equal(calls.length, 1000)
  t.comment(`1000 calls of decrypt one after another: ${percentiles(calls)}`)
})

await t.test('the time of an object whose key must be asked for', async (t) => {
  const cold = await gatewayWith({ keyCache: { maxAgeSeconds: 0 } })
  const count = Math.min(objects, 1000)
  for (const bucket of ['single', 'plainring']) {
    const times: number[] = []
    await parallel(Array.from({ length: count }, (_, i) => i), { limit: 4, signal }, async (i) => {
      await cold.s3.send(new PutObjectCommand({ Bucket: bucket, Key: `c${i}`, Body: 'x' }))
    })
    audited()
    await parallel(Array.from({ length: count }, (_, i) => i), { limit: 4, signal }, async (i) => {
      const started = performance.now()
      const answer = await cold.s3.send(new GetObjectCommand({ Bucket: bucket, Key: `c${i}` }))
      await answer.Body?.transformToByteArray()
      times.push(performance.now() - started)
    })
    const asked = counted(audited())['transit/decrypt'] ?? 0
    t.equal(asked >= count, bucket === 'single', `${asked} calls of decrypt`)
    t.comment(`${bucket === 'single' ? 'OpenBao' : 'local keyring'}: ${count} cold GETs, 4 at once: ${percentiles(times)}`)
  }
  await cold.gateway.remove()
})

await t.test('tokens that end while an upload goes on', async (t) => {
  const part = randomBytes(5 << 20)
  audited()
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'tokens', Key: 'm' }))
  const Parts = []
  for (let PartNumber = 1; PartNumber <= 8; PartNumber += 1) {
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket: 'tokens', Key: 'm', UploadId, PartNumber, Body: part }))
    Parts.push({ PartNumber, ETag })
    // A context of its own for each: a key request with every part.
    await s3.send(
      new PutObjectCommand({
        Bucket: 'tokens',
        Key: `p${PartNumber}`,
        Body: 'x',
        ServerSideEncryption: 'aws:kms',
        SSEKMSEncryptionContext: Buffer.from(`{"n":"${PartNumber}"}`).toString('base64')
      })
    )
    await new Promise((resolve) => setTimeout(resolve, 1500))
  }
  await s3.send(new CompleteMultipartUploadCommand({ Bucket: 'tokens', Key: 'm', UploadId, MultipartUpload: { Parts } }))
  const answer = await s3.send(new GetObjectCommand({ Bucket: 'tokens', Key: 'm' }))
  const bytes = Buffer.from(await answer.Body!.transformToByteArray())
  t.equal(bytes.length, 8 * part.length)
  t.ok(bytes.subarray(0, part.length).equals(part))
  const lines = audited()
  const calls = counted(lines)
  t.comment(
    `12 s of uploads with tokens of 3 to 6 s: ${JSON.stringify(calls)}, refused: ${
      lines.filter(({ error }) => error !== undefined).map(({ type, request, error }) => `${type} ${request.path} ${(error ?? '').replace(/\s+/g, ' ')}`).join(
        ', '
      )
    }`
  )
  t.ok((calls['auth/approle/login'] ?? 0) >= 1 && (calls['auth/token/renew-self'] ?? 0) >= 2)
})

await t.test('rewrap --to between every two kinds of key', async (t) => {
  const count = 20
  const kinds = ['local', 'cloud', 'vault']
  let [done, wrong] = [0, 0]
  for (const from of kinds) {
    for (const to of kinds.filter((each) => each !== from)) {
      const prefix = `${from}-${to}/`
      for (let i = 0; i < count; i += 1) {
        await s3.send(new PutObjectCommand({ Bucket: 'moving', Key: `${prefix}${i}`, Body: `moving ${i}`, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: from }))
      }
      await sealgate('rewrap', '--config', config, '--bucket', 'moving', '--prefix', prefix, '--to', to)
      for (let i = 0; i < count; i += 1) {
        const answer = await s3.send(new GetObjectCommand({ Bucket: 'moving', Key: `${prefix}${i}` }))
        if (await answer.Body?.transformToString() !== `moving ${i}`) wrong += 1
      }
      done += 1
    }
  }
  t.equal(wrong, 0)
  const usage = await sealgate('keys', 'usage', '--config', config, '--bucket', 'moving')
  t.comment(`${done} pairs of ${kinds.join(', ')}, ${count} objects each; ${usage.trim().replaceAll('\n', ' | ')}`)
})

await gateway.remove()
store.stop()
await close()
