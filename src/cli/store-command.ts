import { randomUUID } from 'node:crypto'
import { upstreamOf, upstreamsOfKey, type Config, type UpstreamConfig } from '../config/config.ts'
import { S3Error } from '../errors.ts'
import { openAudit } from '../gateway/audit.ts'
import { openKeyRegistry, type KeyRegistry } from '../keys/registry.ts'
import type { KeyUse } from '../keys/types.ts'
import { authorityOf } from '../store-client/authority.ts'
import { openUpstream } from '../store-client/store-adapter.ts'
import { tlsFactsOf, type TlsFacts } from '../upstream/tls-facts.ts'
import type { StoreUpstream, UpstreamOptions } from '../upstream/upstream.ts'
import type { UploadJournal } from '../maintenance/upload-journal.ts'
import { UsageError } from './command-line.ts'
import type { Platform } from './platform.ts'

/** A store of a configuration, with the gateway's own credentials. To be closed. @throws Error when a certificate cannot be read. */
export function openStore(settings: UpstreamConfig, { limits }: Config, options: UpstreamOptions = {}): StoreUpstream {
  return openUpstream(settings, limits, options)
}

/** What TLS says at a store's endpoint under a name; null: nothing. @throws Error when a certificate cannot be read. */
export function tlsOfStore(settings: UpstreamConfig, host: string, signal: AbortSignal): Promise<TlsFacts | null> {
  return tlsFactsOf(new URL(settings.endpoint), host, authorityOf(settings), signal)
}

/** The store of a bucket; the only one, whether or not the bucket is served. @throws UsageError where several stores may have it. */
export function storeOfBucket(config: Config, bucket: string): UpstreamConfig {
  const [first, ...others] = Object.values(config.upstreams)
  if (first !== undefined && others.length === 0) return first
  try {
    return upstreamOf(config, bucket)
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'AccessDenied') throw error
    throw new UsageError(`The store of ${bucket} is not known: nothing under buckets covers it.`)
  }
}

/** The store that --upstream names; all where it is left out. @throws UsageError. */
export function storesNamed({ upstreams }: Config, name: string | undefined): readonly UpstreamConfig[] {
  const all = Object.values(upstreams)
  const named = all.filter((store) => name === undefined || store.name === name)
  if (named.length === 0) throw new UsageError(`--upstream: there are ${all.map((store) => store.name).join(', ')}.`)
  return named
}

/** The store that --upstream names; it may be left out where there is one. @throws UsageError. */
export function storeNamed(config: Config, name: string | undefined): UpstreamConfig {
  const [first, ...others] = storesNamed(config, name)
  if (first !== undefined && others.length === 0) return first
  throw new UsageError(`--upstream must say which store: ${Object.keys(config.upstreams).join(', ')}.`)
}

export interface OpenedKeys {
  readonly keys: KeyRegistry
  /** A key use by this command, for the audit trail of the configuration. */
  readonly useFor: (bucket: string, key: string, versionId: string | null) => KeyUse
  close(): Promise<void>
}

/** The keys of a configuration, audited as the gateway audits its own. @throws KeyringError, Error when the trail cannot be opened. */
export async function openKeys(config: Config, operation: string, signal: AbortSignal): Promise<OpenedKeys> {
  const trail = await openAudit(config, () => undefined)
  const keys = await openKeyRegistry({
    keys: config.keys,
    cache: config.keyCache,
    usedAt: (key) => upstreamsOfKey(config, key),
    audit: (event) => {
      trail?.record(event)
    }
  })
  await keys.learn(signal)
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
      await trail?.close()
    }
  }
}

/** Aborts uploads that a killed run has left, and says so. @throws S3Error of the store. */
export async function recoverUploads(journal: UploadJournal, { stderr }: Platform): Promise<void> {
  const { aborted, left } = await journal.recover()
  if (aborted > 0) stderr.write(`Aborted ${aborted.toLocaleString('en')} uploads in parts that a run before had not come to complete.\n`)
  if (left > 0) stderr.write(`Left ${left.toLocaleString('en')} uploads in parts of runs that may go on elsewhere: begun or renewed within the last hour.\n`)
}

/** A whole number of an option. @throws UsageError. */
export function countOption(name: string, text: string | undefined, standard: number, most: number): number {
  const value = text === undefined ? standard : /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most) throw new UsageError(`--${name} must be a whole number from 1 to ${most}.`)
  return value
}
