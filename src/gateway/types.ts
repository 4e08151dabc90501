import type { Config } from '../config/config.ts'
import type { HttpRequest, HttpResponse } from '../http/message.ts'
import type { ProcessReport } from '../page/facts.ts'
import type { AccessRecord } from '../observe/access-log.ts'
import type { Snapshot } from '../observe/registry.ts'
import type { Tracer } from '../observe/tracing.ts'
import type { CapabilityReport } from '../store-client/capabilities.ts'

/** Fields of a diagnosis. */
type Fields = Readonly<Record<string, string | number>>

/** Overall state, and each check by its name: `ok`, or a short reason that is safe to publish. */
export interface Readiness {
  readonly ok: boolean
  readonly checks: Readonly<Record<string, string>>
}

/** Current load of a listener. */
export interface Load {
  readonly connections: number
  readonly requestsInFlight: number
  /** Connections among them that are not authenticated. */
  readonly unauthenticated: number
}

/** The document of `GET /status` on the admin port. It has no secret and no name of an object or a client. Its size depends on the configuration alone. */
export interface GatewayStatus {
  readonly version: string
  readonly node: string
  /** What seals and opens the segments of bodies. */
  readonly core: 'native' | 'javascript'
  readonly uptimeSeconds: number
  readonly ready: boolean
  /** Those of no store. */
  readonly checks: readonly (
    & { readonly name: string; readonly ok: boolean; readonly at: string | null; readonly since: string | null; readonly code: string | null }
    & Fields
  )[]
  readonly keys: readonly ({ readonly key: string; readonly ok: boolean | null; readonly since: string | null; readonly code: string | null } & Fields)[]
  readonly stores: readonly {
    readonly name: string
    readonly endpoint: string
    readonly region: string
    readonly style: string
    readonly stateBucket: string
    readonly ready: boolean
    readonly checks: GatewayStatus['checks']
    /** This clock minus the store's; null: not known yet. */
    readonly clockSkewSeconds: number | null
    readonly capabilities: readonly CapabilityReport[]
  }[]
}

/** The gateway without its listeners. */
export interface Gateway {
  /** Throws S3Error for every answer that is an error; any other error becomes InternalError. */
  handle(request: HttpRequest): Promise<HttpResponse>
  /** True when it can serve: store, state bucket and keys reachable, self-tests passed. */
  ready(): Promise<Readiness>
  /** Prometheus text. */
  metrics(): string
  /** The same as data, to be summed over processes. */
  snapshot(): Snapshot
  /** Called for every finished request, for the metrics. */
  observe?(record: AccessRecord): void
  /** Called for every TLS handshake that failed, with the reason from a closed set. */
  handshakeFailed?(reason: string): void
  /** Called for every request and connection that a limit refuses or ends, with the limit's name from a closed set. */
  limited?(limit: string): void
  /** Called once with the source of the listener's load, for the metrics. */
  watch?(load: () => Load): void
  /** Replaces credentials, keys and policies. Transfers in progress are not affected. */
  reload(config: Config): Promise<void>
  /** Resolves when no work is left that no client waits for, after `graceMs` milliseconds at the latest. */
  settle?(graceMs: number): Promise<void>
  /** State of the gateway and of its store, for the operator. */
  status?(): GatewayStatus
  /** The same and more, for the status page. */
  report?(): Promise<ProcessReport>
  /** Called after every reload. @param taken whether it succeeded */
  noteReload?(taken: boolean): void
  /** Called with the end of the listener's certificate, in seconds since 1970. */
  certificateEnds?(at: number): void
  close(): Promise<void>
}

/** Logs what no answer to a client contains. Fields are names from the configuration, codes, messages of the gateway, and those of a Diagnosis. */
export type OperatorLog = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields: Readonly<Record<string, string | number | boolean | null>>
) => void

/** @param tracer null: requests are not traced. */
export type CreateGateway = (config: Config, log: OperatorLog, tracer: Tracer | null) => Promise<Gateway>
