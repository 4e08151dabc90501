import process from 'node:process'
import type { Config } from '../config/config.ts'
import { diagnosisOf, fieldsOf } from '../diagnosis.ts'
import type { KeyState } from '../keys/self-test.ts'
import type { HealthReport } from '../observe/health.ts'
import type { CapabilityReport } from '../store-client/capabilities.ts'
import { version } from '../version.ts'

/** What the store was seen to enforce, as in `upstream.conditions` and for the source of a copy. */
const capabilities = ['put', 'complete', 'copy', 'delete', 'copySourceIfMatch'] as const

interface StoreCapability {
  readonly kind: string
  readonly capability: (typeof capabilities)[number]
  /** null: not known, and so refused. */
  readonly supported: boolean | null
}

export function capabilitiesOf(reports: readonly CapabilityReport[]): StoreCapability[] {
  return reports.flatMap(({ kind, conditions }) => capabilities.map((capability) => ({ kind, capability, supported: conditions?.[capability] ?? null })))
}

type Line = readonly [level: 'info' | 'warn', message: string, fields: Readonly<Record<string, string | number | boolean | null>>]

/** The log line of a kind of bucket that has been found out, or could not be. */
export function capabilityLine({ kind, bucket, conditions, failure, diagnosis }: CapabilityReport): Line {
  return conditions === null
    ? ['warn', 'store capabilities not found out', { kind, bucket, reason: failure, ...fieldsOf(diagnosis) }]
    : ['info', 'store capabilities', { kind, bucket, ...conditions }]
}

/** The log line of an answer that had no CORS headers because the rules of its bucket could not be looked up. */
export function corsLine(requestId: string, bucket: string, error: Error & { readonly code: string }): Line {
  return ['warn', 'CORS rules not looked up', { requestId, bucket, code: error.code, ...fieldsOf(diagnosisOf(error)) }]
}

type Fields = Readonly<Record<string, string | number>>

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

interface StatusSources {
  readonly config: Config
  readonly health: HealthReport
  readonly keys: readonly KeyState[]
  readonly clockSkewSeconds: number | null
  readonly capabilities: readonly CapabilityReport[]
}

export function gatewayStatus({ config: { upstream }, health, keys, clockSkewSeconds, capabilities: found }: StatusSources): GatewayStatus {
  const { endpoint, region, style, stateBucket } = upstream
  return {
    version: version(),
    node: process.version,
    uptimeSeconds: Math.round(process.uptime()),
    ready: health.ready,
    checks: health.checks.map(({ name, ok, at, error, failure }) => ({
      name,
      ok,
      at,
      code: error,
      ...failure === null ? {} : { reason: failure.reason, ...fieldsOf(failure.diagnosis) }
    } as GatewayStatus['checks'][number])),
    keys: keys.map(({ key, ok, code, reason, diagnosis }) => ({
      key,
      ok,
      code,
      ...reason === null ? {} : { reason, ...fieldsOf(diagnosis) }
    } as GatewayStatus['keys'][number])),
    store: { endpoint, region, style, stateBucket, clockSkewSeconds, capabilities: found }
  }
}
