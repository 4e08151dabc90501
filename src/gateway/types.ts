import type { Config } from '../config/config.ts'
import type { HttpRequest, HttpResponse } from '../http/message.ts'
import type { AccessRecord } from '../observe/access-log.ts'
import type { Snapshot } from '../observe/registry.ts'
import type { Tracer } from '../observe/tracing.ts'
import type { CapabilityReport } from '../store-client/capabilities.ts'

/** Of a diagnosis. */
type Fields = Readonly<Record<string, string | number>>

/** Whether all is well, and each check by its name: `ok`, or a word on what is wrong that is fit for anyone's eyes. */
export interface Readiness {
  readonly ok: boolean
  readonly checks: Readonly<Record<string, string>>
}

/** What a listener holds at this moment. */
export interface Load {
  readonly connections: number
  readonly requestsInFlight: number
  /** Of those, how many hold a place without a signature. */
  readonly unauthenticated: number
}

/** The document of `GET /status` on the admin port. No secret, no name of an object or a client; its size depends on the configuration alone. */
export interface GatewayStatus {
  readonly version: string
  readonly node: string
  readonly uptimeSeconds: number
  readonly ready: boolean
  readonly checks: readonly ({ readonly name: string; readonly ok: boolean; readonly at: string | null; readonly code: string | null } & Fields)[]
  readonly keys: readonly ({ readonly key: string; readonly ok: boolean | null; readonly code: string | null } & Fields)[]
  readonly store: {
    readonly endpoint: string
    readonly region: string
    readonly style: string
    readonly stateBucket: string
    /** This clock minus the store's; null: not known yet. */
    readonly clockSkewSeconds: number | null
    readonly capabilities: readonly CapabilityReport[]
  }
}

/** The gateway without its listeners. */
export interface Gateway {
  /** Throws S3Error for every answer that is an error; anything else it throws becomes InternalError. */
  handle(request: HttpRequest): Promise<HttpResponse>
  /** True when it can serve: store, state bucket and keys reachable, self-tests passed. */
  ready(): Promise<Readiness>
  /** Prometheus text. */
  metrics(): string
  /** The same as data, to be added up with that of other processes. */
  snapshot(): Snapshot
  /** Told of every request that is over, for the metrics. */
  observe?(record: AccessRecord): void
  /** Told of every TLS handshake that came to nothing, and why, in a word of a closed set. */
  handshakeFailed?(reason: string): void
  /** Told of every request and connection that a limit turns away or ends: which, in words of a closed set. */
  limited?(limit: string): void
  /** Told once where the metrics find the load of the listener. */
  watch?(load: () => Load): void
  /** Replaces credentials, keys and policies. Transfers in progress are not affected. */
  reload(config: Config): Promise<void>
  /** Resolves when nothing is under way that no client waits for any more, after `graceMs` milliseconds at the latest. */
  settle?(graceMs: number): Promise<void>
  /** What is known of the gateway and of its store, for the operator. */
  status?(): GatewayStatus
  /** Called after every reload. @param taken whether it succeeded */
  noteReload?(taken: boolean): void
  /** Told when the certificate of the listener ends, in seconds since 1970. */
  certificateEnds?(at: number): void
  close(): Promise<void>
}

/** Reports to the operator what no answer to a client contains. Fields are names from the configuration, codes, own texts, and those of a Diagnosis. */
export type OperatorLog = (level: 'info' | 'warn' | 'error', message: string, fields: Readonly<Record<string, string | number | boolean | null>>) => void

/** @param tracer null: requests are not traced. */
export type CreateGateway = (config: Config, log: OperatorLog, tracer: Tracer | null) => Promise<Gateway>
