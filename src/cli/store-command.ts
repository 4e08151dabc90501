import { readFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import type { Config } from '../config/config.ts'
import { openKeyRegistry, type KeyRegistry } from '../keys/registry.ts'
import type { KeyUse } from '../keys/types.ts'
import { fileAuditTrail } from '../observe/audit-trail.ts'
import { adaptStore } from '../store-client/store-adapter.ts'
import { createUpstream, type StoreUpstream, type UpstreamOptions } from '../upstream/upstream.ts'
import { UsageError } from './command-line.ts'

/** The store of a configuration, with the gateway's own credentials. To be closed. @throws Error when a certificate cannot be read. */
export function openStore({ upstream, limits }: Config, options: UpstreamOptions = {}): StoreUpstream {
  return adaptStore(createUpstream({ ...upstream, ca: upstream.ca === null ? null : readFileSync(upstream.ca, 'utf8') }, limits, options), upstream)
}

export interface OpenedKeys {
  readonly keys: KeyRegistry
  /** A key use by this command, for the audit trail of the configuration. */
  readonly useFor: (bucket: string, key: string, versionId: string | null) => KeyUse
  close(): Promise<void>
}

/** The keys of a configuration, audited as the gateway audits its own. @throws KeyringError, Error when the trail cannot be opened. */
export async function openKeys(config: Config, operation: string, signal: AbortSignal): Promise<OpenedKeys> {
  const trail = config.audit.file === null ? null : fileAuditTrail(config.audit.file)
  const { realm, stateBucket } = config.upstream
  const keys = await openKeyRegistry({
    keys: config.keys,
    cache: config.keyCache,
    realm,
    stateBucket,
    audit: (event) => {
      trail?.record(event)
    }
  })
  const requestId = `cli-${randomUUID()}`
  return {
    keys,
    useFor: (bucket, objectKey, versionId) => ({
      requestId,
      principal: 'cli',
      sourceAddress: '',
      operation,
      bucket,
      objectKey,
      versionId,
      signal
    }),
    close: async () => {
      await keys.close()
      trail?.close()
    }
  }
}

/** A whole number of an option. @throws UsageError. */
export function countOption(name: string, text: string | undefined, standard: number, most: number): number {
  const value = text === undefined ? standard : /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most) throw new UsageError(`--${name} must be a whole number from 1 to ${most}.`)
  return value
}
