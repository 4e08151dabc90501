import { readFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { ConfigError } from '../config-load.ts'
import type { Config } from '../config.ts'
import { S3Error } from '../errors.ts'
import { openKeyRegistry, type KeyRegistry } from '../keys/registry.ts'
import { KeyringError } from '../keys/keyring.ts'
import type { KeyUse } from '../keys/types.ts'
import { fileAuditTrail } from '../observe/audit.ts'
import { createUpstream, type StoreUpstream } from '../upstream/upstream.ts'
import { exitCodes, type Platform } from './platform.ts'

/** The store of a configuration, with the gateway's own credentials. Close it. @throws Error when a certificate cannot be read. */
export function openStore({ upstream, limits }: Config): StoreUpstream {
  return createUpstream({ ...upstream, ca: upstream.ca === null ? null : readFileSync(upstream.ca, 'utf8') }, limits)
}

export interface OpenedKeys {
  readonly keys: KeyRegistry
  /** A use of a key by this command, for the audit trail of the configuration. */
  readonly useFor: (bucket: string, key: string, versionId: string | null) => KeyUse
  close(): Promise<void>
}

/** The keys of a configuration, audited as the gateway audits its own. @throws KeyringError, Error when the trail cannot be opened. */
export async function openKeys(config: Config, operation: string, signal: AbortSignal): Promise<OpenedKeys> {
  const trail = config.audit.file === null ? null : fileAuditTrail(config.audit.file)
  const { realm, stateBucket } = config.upstream
  const keys = await openKeyRegistry({
    keys: config.keys, cache: config.keyCache, realm, stateBucket, audit: (event) => { trail?.record(event) }
  })
  const requestId = `cli-${randomUUID()}`
  return {
    keys,
    useFor: (bucket, objectKey, versionId) => ({
      requestId, principal: 'cli', sourceAddress: '', operation, bucket, objectKey, versionId, signal
    }),
    close: async () => {
      await keys.close()
      trail?.close()
    }
  }
}

/**
 * Runs a command and gives every foreseen failure its exit code and a line for the operator.
 * @param read throws TypeError, ConfigError for a command line or configuration that is not understood.
 */
export async function runStoreCommand<T>(
  name: string, usage: string, platform: Pick<Platform, 'stderr'>, read: () => T, work: (options: T) => Promise<number>
): Promise<number> {
  let options: T
  try {
    options = read()
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof TypeError)) throw error
    platform.stderr.write(error instanceof ConfigError ? `${error.message}\n` : `${error.message}\n\n${usage}`)
    return exitCodes.usage
  }
  try {
    return await work(options)
  } catch (error) {
    if (!(error instanceof S3Error) && !(error instanceof KeyringError)) throw error
    platform.stderr.write(`sealgate ${name}: ${error.message}\n`)
    return exitCodes.failed
  }
}

/** A whole number of an option. @throws TypeError. */
export function countOption(name: string, text: string | undefined, standard: number, most: number): number {
  const value = text === undefined ? standard : /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most) throw new TypeError(`--${name} must be a whole number from 1 to ${most}.`)
  return value
}
