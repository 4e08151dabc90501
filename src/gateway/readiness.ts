import { diagnosisOf, fieldsOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import type { OperatorLog } from './types.ts'
import { Health } from '../observe/health.ts'
import type { Capabilities } from '../store-client/capabilities.ts'
import { StoreChecks, type StoreChecksOptions } from '../store-client/readiness.ts'
import type { Upstream } from '../upstream/types.ts'

const TIMEOUT_SECONDS = 10

interface GatewayHealthOptions {
  readonly upstream: Upstream
  readonly stateBucket: string
  readonly region: string
  readonly capabilities: Pick<Capabilities, 'run'>
  /** Throws when the keys cannot be used. */
  readonly checkKeys: () => Promise<void>
  readonly log: OperatorLog
  /** As for StoreChecks. */
  readonly speaksTls: Exclude<StoreChecksOptions['speaksTls'], undefined>
  readonly refused: (code: string) => void
}

/** The checks that make up readiness, and the log lines about them. */
export function gatewayHealth({ upstream, stateBucket, region, capabilities, checkKeys, log, speaksTls, refused }: GatewayHealthOptions): Health {
  const markers = (): void => {
    log('warn', 'deletes leave markers in the state bucket: its versioning is suspended', { bucket: stateBucket })
  }
  const store = new StoreChecks(upstream, { stateBucket, region, markers, speaksTls, refused })
  return new Health([
    { name: 'keys', run: checkKeys },
    { name: 'store', run: (signal) => store.store(signal) },
    {
      name: 'stateBucket',
      run: async (signal) => {
        await store.stateBucket(signal)
        await capabilities.run(signal)
      }
    }
  ], {
    timeoutSeconds: TIMEOUT_SECONDS,
    changed: (check, error) => {
      if (error === null) log('info', 'readiness check passes again', { check })
      else log('error', 'readiness check fails', { check, ...reasonOf(error) })
    }
  })
}

/** Texts of the gateway, and the diagnosis of the cause: any other message may quote anything. */
function reasonOf(error: Error): Readonly<Record<string, string | number>> {
  const fields = fieldsOf(diagnosisOf(error))
  return error instanceof S3Error ? { code: error.code, reason: error.message, ...fields } : { code: 'InternalError', reason: error.name, ...fields }
}
