import { S3Error } from './errors.ts'
import type { TellOperator } from './gateway-types.ts'
import { Health } from './observe/health.ts'
import type { Capabilities } from './upstream/capabilities.ts'
import { StoreChecks } from './upstream/store-checks.ts'
import type { Upstream } from './upstream/types.ts'

const TIMEOUT_SECONDS = 10

export interface GatewayHealthOptions {
  readonly upstream: Upstream
  readonly stateBucket: string
  readonly region: string
  readonly capabilities: Pick<Capabilities, 'run'>
  /** Throws when the keys cannot be used. */
  readonly checkKeys: () => Promise<void>
  readonly tell: TellOperator
}

/** The checks that make up readiness, and what the operator is told of them. */
export function gatewayHealth({ upstream, stateBucket, region, capabilities, checkKeys, tell }: GatewayHealthOptions): Health {
  const markers = (): void => { tell('warn', 'deletes leave markers in the state bucket: its versioning is suspended', { bucket: stateBucket }) }
  const store = new StoreChecks(upstream, { stateBucket, region, markers })
  return new Health([
    { name: 'keys', run: checkKeys },
    { name: 'store', run: (signal) => store.store(signal) },
    { name: 'stateBucket', run: async (signal) => {
      await store.stateBucket(signal)
      await capabilities.run(signal)
    } }
  ], {
    timeoutSeconds: TIMEOUT_SECONDS,
    changed: (check, error) => {
      if (error === null) tell('info', 'readiness check passes again', { check })
      else tell('error', 'readiness check fails', { check, ...reasonOf(error) })
    }
  })
}

/** Our own words, and the system's code: what else an error says may quote anything. */
function reasonOf(error: Error): { readonly code: string; readonly reason: string } {
  if (!(error instanceof S3Error)) return { code: 'InternalError', reason: error.name }
  const { cause } = error
  const system = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? ` (${cause.code})` : ''
  return { code: error.code, reason: error.message + system }
}
