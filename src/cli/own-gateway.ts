// The gateway's own view of a bucket for commands on existing data: a gateway in this process, on a loopback port of its own. So these commands seal,
// open and verify by the same code as requests of clients (docs/decisions/0115-commands-use-a-gateway-of-their-own.md).
import { randomBytes } from 'node:crypto'
import { policyFor, type BucketPolicy, type Config, type UpstreamConfig, usedKeysOf } from '../config/config.ts'
import { createGateway } from '../gateway/gateway.ts'
import { faultBehind, type Fault } from '../maintenance/faults.ts'
import { createLog, type Log } from '../observe/log.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { listenerOf } from './gateway-process.ts'
import type { Platform } from './platform.ts'
import { openStore } from './store-command.ts'

const HOST = '127.0.0.1'
/** Faults that are kept until they are asked for: more than there are requests at once. */
const MOST_FOUND = 10_000
/** Connections and requests that one object may hold at once: parts of a large one are copied four at a time. */
const PER_OBJECT = 8

export interface OwnGateway {
  /** The bucket as clients see it. */
  readonly sealed: BucketClient
  /** The fault that the gateway found while it answered a request, told once; null: none. */
  faultOf(requestId: string): Fault | null
  close(): Promise<void>
}

interface Wanted {
  readonly config: Config
  readonly store: UpstreamConfig
  readonly bucket: string
  /** The audit trail names it: key uses have the principal `cli-COMMAND`. */
  readonly command: string
  /** Objects at once. */
  readonly concurrency: number
  readonly signal: AbortSignal
}

/**
 * Starts a gateway that serves one bucket to one credential, which is made here and is nowhere but in this process. Objects that are not encrypted are
 * read through it whatever the bucket's policy says; the gateway that clients use is not affected. Its warnings and errors go to stderr.
 * @throws Error when keys or certificates cannot be read, or no port is free.
 */
export async function startOwnGateway(wanted: Wanted, { stderr }: Pick<Platform, 'stderr'>): Promise<OwnGateway> {
  const { bucket, signal, store } = wanted
  const client = { accessKeyId: `cli-${wanted.command}`, secretAccessKey: randomBytes(32).toString('hex') }
  const config = configFor(wanted, client)
  const log = createLog({
    level: 'warn',
    write: (line) => {
      stderr.write(line)
    }
  })
  const found = new Map<string, Fault>()
  // Told with the object, in the report.
  const failure: Log['failure'] = (record) => {
    const { requestId, error } = record
    const fault = faultBehind(error)
    if (fault === null || requestId === null) log.failure(record)
    else found.set(requestId, fault)
    if (found.size > MOST_FOUND) found.delete(found.keys().next().value ?? '')
  }
  const gateway = await createGateway(config, (level, message, fields) => {
    log.event(level, message, fields)
  })
  const listener = listenerOf(config, null, gateway, { ...log, failure })
  try {
    const { port } = await listener.start()
    const door = openStore({ ...asStore(store, client), endpoint: `http://${HOST}:${port}`, connections: config.limits.connections }, config)
    return {
      sealed: new BucketClient(door, bucket, signal),
      faultOf: (requestId) => {
        const fault = found.get(requestId) ?? null
        found.delete(requestId)
        return fault
      },
      close: async () => {
        await listener.stop(0)
        await door.close()
        await gateway.close()
      }
    }
  } catch (error) {
    await gateway.close()
    throw error
  }
}

type Secret = { readonly accessKeyId: string; readonly secretAccessKey: string }

/** One bucket, one store, one client, and the keys of the bucket. */
function configFor({ config, store, bucket, concurrency }: Wanted, secret: Secret): Config {
  const policy = policyFor(config, bucket)
  const wanted = new Set([...usedKeysOf(policy), ...config.audit.key === null ? [] : [config.audit.key]])
  const connections = concurrency * PER_OBJECT
  const noLimit = { requests: null, requestsPerSecond: null, bytesPerSecond: null }
  return {
    ...config,
    listen: { host: HOST, port: 0, tls: null, regions: [], domains: [], trustedProxies: [], clientAddress: 'peer', allowPlainBeyondLoopback: false, cors: [] },
    admin: null,
    upstreams: { [store.name]: store },
    clients: [{ ...secret, buckets: [bucket], readOnly: false, identities: {}, limits: noLimit }],
    keys: Object.fromEntries(Object.entries(config.keys).filter(([name]) => wanted.has(name))),
    buckets: [[bucket, {
      ...policy,
      upstream: store.name,
      encryption: 'on',
      plaintext: 'allow',
      s3ec: reading(policy.s3ec),
      publicRead: false,
      requireSse: [],
      announce: 'none'
    }]],
    auth: { v2Query: false, v2Header: false, ssecOverHttp: false },
    limits: { ...config.limits, connections, requestsInFlight: connections, unauthenticatedRequests: 1, minRate: 0 },
    workers: 1
  }
}

/** Commands seal, also where clients write for others. */
function reading(s3ec: BucketPolicy['s3ec']): BucketPolicy['s3ec'] {
  return s3ec === null ? null : { ...s3ec, write: null }
}

/** This gateway as a store: nothing of the real store's habits applies to it. */
function asStore(store: UpstreamConfig, credentials: Secret): UpstreamConfig {
  return {
    ...store,
    name: 'own',
    section: 'own',
    region: 'us-east-1',
    credentials: { ...credentials, sessionToken: null },
    style: 'path',
    ca: null,
    conditions: {},
    sse: null,
    checksum: null,
    equalParts: false,
    profile: 'none',
    lacks: []
  }
}
