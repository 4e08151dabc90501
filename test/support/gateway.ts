import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3Client } from '@aws-sdk/client-s3'
import { parseConfig } from '../../src/config/load.ts'
import { createGateway } from '../../src/gateway/gateway.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { createListener } from '../../src/listener/listener.ts'
import { createLog } from '../../src/observe/log.ts'
import { probeConditions } from '../../src/store-client/probe-conditions.ts'
import type { Gateway, OperatorLog } from '../../src/gateway/types.ts'
import type { Listener } from '../../src/listener/listener.ts'
import type { TestStore } from './hostile.ts'

export interface TestGatewayOptions {
  /** YAML of further sections, or of whole sections that replace the defaults (`buckets`, `clients`, …), as objects. */
  readonly sections?: Readonly<Record<string, unknown>>
  /** Further options of the section `upstream`. */
  readonly upstream?: Readonly<Record<string, unknown>>
  /** A keyring made before, to be shared by several gateways. */
  readonly keyring?: string
  /** Milliseconds between the white space of a pending answer. */
  readonly heartbeatMs?: number
  /** Gets the log lines for the operator. */
  readonly operatorLog?: OperatorLog
  /** Takes every line of the log, at its most talkative. Default: no log. */
  readonly log?: (line: string) => void
}

export interface TestGateway {
  readonly endpoint: string
  readonly gateway: Gateway
  readonly listener: Listener
  readonly keyring: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** An SDK client of this gateway that neither retries nor hides anything. */
  client(): S3Client
  /** Value of a metric's sample, 0 when it has none; `name` with its labels as exposed. */
  metric(name: string): number
  close(): Promise<void>
}

const accessKeyId = 'TESTCLIENT'
const secretAccessKey = 'test-client-secret'

/** Address, credentials and known conditions of a store. Without the latter the gateway probes it as in production. */
export type StoreAccess = Pick<TestStore, 'endpoint' | 'region' | 'accessKeyId' | 'secretAccessKey'> & Partial<Pick<TestStore, 'conditions'>>

/** The whole gateway over real HTTP on a free port, in front of a test store. */
export async function startTestGateway(store: StoreAccess, options: TestGatewayOptions = {}): Promise<TestGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'sealgate-'))
  const keyring = options.keyring ?? join(folder, 'keyring.json')
  if (options.keyring === undefined) await createKeyring(keyring, 'test', new Date())
  const { endpoint, region } = store
  const config = parseConfig(
    JSON.stringify({
      listen: { host: '127.0.0.1', port: 0 },
      upstream: {
        endpoint,
        region,
        accessKeyId: store.accessKeyId,
        secretAccessKey: store.secretAccessKey,
        stateBucket: 'sealgate-state',
        realm: 'test',
        ...options.upstream
      },
      clients: [{ accessKeyId, secretAccessKey, buckets: ['*'] }],
      keys: { main: { type: 'local', keyring } },
      buckets: { '*': { encryption: 'on', key: 'main' } },
      ...options.sections
    }),
    { file: join(folder, 'sealgate.yaml'), env: {} }
  )
  // The 39 requests of the probe cost more than most tests.
  const gateway = await createGateway(
    config,
    options.operatorLog ?? (() => undefined),
    null,
    async (...asked) => store.conditions ?? probeConditions(...asked)
  )
  const listener = createListener({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    trustedProxies: [],
    clientAddress: 'peer',
    limits: {
      connections: 1000,
      requestsInFlight: 1000,
      unauthenticatedRequests: 256,
      anonymousRequests: 128,
      formFieldsMs: 10_000,
      headerBytes: config.limits.headerBytes,
      minRate: config.limits.minRate,
      minRateWindowMs: config.limits.minRateWindowSeconds * 1000,
      headersMs: 10_000,
      // Long: on a machine that does much else a client would meet connections that are just being closed.
      keepAliveMs: 60_000,
      highWaterMark: 65536
    },
    heartbeatMs: options.heartbeatMs ?? 5000,
    log: createLog(options.log === undefined ? { level: 'silent' } : { level: 'debug', write: options.log }),
    observe: (record) => {
      gateway.observe?.(record)
    },
    limited: (limit) => {
      gateway.limited?.(limit)
    }
  }, (request) => gateway.handle(request))
  const { port } = await listener.start()
  const url = `http://127.0.0.1:${port}`
  return {
    endpoint: url,
    gateway,
    listener,
    keyring,
    accessKeyId,
    secretAccessKey,
    client: () =>
      new S3Client({
        endpoint: url,
        region,
        forcePathStyle: true,
        maxAttempts: 1,
        credentials: { accessKeyId, secretAccessKey }
      }),
    metric: (name) => Number(gateway.metrics().split('\n').find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? 0),
    close: async () => {
      await listener.stop(0)
      await gateway.close()
      await rm(folder, { recursive: true })
    }
  }
}
