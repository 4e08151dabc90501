// Starts a gateway, once over HTTP and once over HTTPS, and a second instance of it over HTTP, in front of a store, and says where: for
// clients that are programs.
//   node test/e2e/rig.ts [--store ENDPOINT --access-key ID --secret-key SECRET] [--checksum crc32] [--second-port N] [--own-cors]
//     [--client ID:SECRET] [--as-aws] [--narrow PROVIDER] [--profile NAME] [--state BUCKET] [--far ENDPOINT --far-access-key ID --far-secret-key SECRET]
//     [--certificate NAME-cert.pem]
// Without --store the embedded store is behind it. Buckets whose names begin with "opaque-" have `etag: opaque`. With --own-cors the
// gateway has `listen.cors` for all origins, which exposes `ETag`. With --narrow the store has the limits of a provider
// (test/support/narrow-profiles.ts), and the gateway what its configuration says of that provider; --profile is `upstream.profile` alone. With
// --as-aws: no Signature Version 2, one region, and anonymous reads as the store's ACLs allow. --certificate is
// that of HTTPS, with its key in NAME-key.pem, for clients that refuse the one of the tests, which is its own authority. With
// --far there are two stores: buckets whose names begin with "far-" are at that one. Prints
// one line of JSON (where the gateway and the store are, and who signs) and runs until its input ends. Each line of the input is one more of
// `clients`, which the gateway knows once a line comes back.
import dns from 'node:dns'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { parseConfig } from '../../src/config/load.ts'
import { createGateway } from '../../src/gateway/gateway.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { createListener, type Listener } from '../../src/listener/listener.ts'
import { createLog } from '../../src/observe/log.ts'
import { readTls } from '../../src/listener/tls.ts'
import { startTestStore } from '../support/hostile.ts'
import { profiles, upstreamProfiles } from '../support/narrow-profiles.ts'
import { lookupBuckets, startNarrowStore, type Limits } from '../support/narrow-store.ts'

const { values } = parseArgs({
  options: {
    store: { type: 'string' },
    'access-key': { type: 'string' },
    'secret-key': { type: 'string' },
    checksum: { type: 'string' },
    'second-port': { type: 'string', default: '0' },
    'own-cors': { type: 'boolean', default: false },
    client: { type: 'string', default: 'E2ECLIENT:e2e-client-secret' },
    'as-aws': { type: 'boolean', default: false },
    narrow: { type: 'string' },
    profile: { type: 'string' },
    'state': { type: 'string', default: 'sealgate-state-e2e' },
    'certificate': { type: 'string', default: join(import.meta.dirname, '../support/tls/localhost-cert.pem') },
    'far': { type: 'string' },
    'far-access-key': { type: 'string', default: '' },
    'far-secret-key': { type: 'string', default: '' }
  }
})

const folder = await mkdtemp(join(tmpdir(), 'sealgate-e2e-'))
const keyring = join(folder, 'keyring.json')
await createKeyring(keyring, 'e2e', new Date())
const embedded = values.store === undefined ? await startTestStore({ keepBodies: false }) : null
const behind = embedded ?? {
  endpoint: values.store ?? '',
  region: 'us-east-1',
  accessKeyId: values['access-key'] ?? '',
  secretAccessKey: values['secret-key'] ?? ''
}
const provider = Object.keys(profiles).find((name): name is keyof typeof profiles => name === values.narrow)
if (values.narrow !== undefined && provider === undefined) throw new Error(`no provider of that name: ${Object.keys(profiles).join(', ')}`)
const limits: Limits | null = provider === undefined ? null : profiles[provider]
const narrow = limits === null ? null : await startNarrowStore(behind, limits)
const store = narrow ?? behind
dns.lookup = lookupBuckets
const [accessKeyId = '', secretAccessKey = ''] = values.client.split(':')
const client = { accessKeyId, secretAccessKey }
const { certificate } = values

const near = {
  endpoint: store.endpoint,
  ...limits?.region === undefined ? { region: 'us-east-1' } : {},
  ...limits?.style === undefined ? {} : { style: limits.style },
  ...provider === undefined ? values.profile === undefined ? {} : { profile: values.profile } : { profile: upstreamProfiles[provider] },
  accessKeyId: store.accessKeyId,
  secretAccessKey: store.secretAccessKey,
  stateBucket: values.state,
  realm: 'e2e',
  ...values.checksum === undefined ? {} : { checksum: values.checksum }
}
const far = {
  endpoint: values.far,
  accessKeyId: values['far-access-key'],
  secretAccessKey: values['far-secret-key'],
  stateBucket: `${values.state}-far`,
  realm: 'far'
}
const stores = values.far === undefined ? { upstream: near } : { upstreams: { near: { ...near, default: true }, far } }
const asAws = values['as-aws']
const policy = { encryption: 'on', key: 'main', ...asAws ? { publicRead: 'store' } : {} }

const clients: unknown[] = [{ ...client, buckets: ['*'] }]
const configOf = (): ReturnType<typeof parseConfig> =>
  parseConfig(
    JSON.stringify({
      listen: {
        host: '127.0.0.1',
        port: 0,
        ...asAws ? { region: 'us-east-1' } : {},
        ...values['own-cors'] ? { cors: [{ origins: ['*'], methods: ['GET', 'PUT', 'POST', 'DELETE'], headers: ['*'], expose: ['ETag'] }] } : {}
      },
      ...stores,
      clients,
      keys: { main: { type: 'local', keyring } },
      buckets: { '*': policy, 'opaque-*': { ...policy, etag: 'opaque' }, ...values.far === undefined ? {} : { 'far-*': { ...policy, upstream: 'far' } } },
      auth: { v2Header: !asAws, v2Query: !asAws, ssecOverHttp: true }
    }),
    { file: join(folder, 'sealgate.yaml'), env: {} }
  )
const [gateway, another] = await Promise.all([createGateway(configOf(), () => undefined), createGateway(configOf(), () => undefined)])

function listener(tls: Awaited<ReturnType<typeof readTls>> | null, served = gateway, port = 0): Listener {
  return createListener({
    host: '127.0.0.1',
    port,
    tls,
    trustedProxies: [],
    clientAddress: 'peer',
    heartbeatMs: 5000,
    log: createLog({ level: 'silent' }),
    observe: () => undefined,
    limits: {
      connections: 1000,
      requestsInFlight: 1000,
      unauthenticatedRequests: 256,
      anonymousRequests: 128,
      formFieldsMs: 10_000,
      headerBytes: 16_384,
      minRate: 1024,
      minRateWindowMs: 60_000,
      headersMs: 10_000,
      keepAliveMs: 5000,
      highWaterMark: 65_536
    }
  }, (request) => served.handle(request))
}

const listeners = [
  listener(null),
  listener(await readTls({ cert: certificate, key: certificate.replace('-cert', '-key'), clientCa: null })),
  listener(null, another, Number(values['second-port']))
]
const [http, https, second] = await Promise.all(listeners.map(async (each) => (await each.start()).port))
process.stdout.write(`${
  JSON.stringify({
    http: `http://127.0.0.1:${http ?? 0}`,
    https: `https://127.0.0.1:${https ?? 0}`,
    second: `http://127.0.0.1:${second ?? 0}`,
    ca: certificate,
    ...client,
    store: { endpoint: store.endpoint, accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey }
  })
}\n`)

for await (const added of createInterface(process.stdin)) {
  clients.push(JSON.parse(added))
  await Promise.all([gateway.reload(configOf()), another.reload(configOf())])
  process.stdout.write('{}\n')
}
await Promise.all(listeners.map((each) => each.stop(0)))
await Promise.all([gateway.close(), another.close()])
await narrow?.close()
await embedded?.close()
await rm(folder, { recursive: true })
