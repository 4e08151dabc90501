import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { CustomerKey } from '../keys/ssec.ts'
import { isOwnBucket, policyFor, type Config, type UpstreamConfig } from '../config/config.ts'
import { pinsAt } from '../config/pins.ts'
import { readConfig } from './sealed-config.ts'
import { systemWords } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { takeKey } from '../keys/key-material.ts'
import { streamKeyOf, tinkKeyset } from '../maintenance/stored-envelope.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { stopOn } from './existing-run.ts'
import { exitCodes, type Platform } from './platform.ts'
import { Progress } from './progress.ts'
import { openKeys, openStore, storeOfBucket, storesNamed } from './store-command.ts'
import { collectGarbage, type Collected } from '../maintenance/garbage.ts'
import { StateBucket } from '../store-client/state-bucket.ts'

interface ExportValues {
  readonly 'config': string | undefined
  readonly 'tink-keyset': string
  readonly 'version-id': string | undefined
  readonly 'customer-key-file': string | undefined
}

/** `sealgate export-key`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runExportKey(values: ExportValues, platform: Platform): Promise<number> {
  const [, name = '', key = ''] = /^([^/]+)\/(.+)$/s.exec(values['tink-keyset']) ?? []
  if (key === '') throw new UsageError('--tink-keyset takes BUCKET/OBJECT.')
  const config = await readConfig({ file: requiredConfig(values, platform), env: platform.env })
  if (isOwnBucket(config, name)) throw new UsageError('The state bucket holds no objects of clients.')
  const { 'version-id': versionId = null, 'customer-key-file': customerFile } = values
  const customerKey = customerFile === undefined ? null : await readCustomerKey(customerFile)
  const signal = new AbortController().signal
  const settings = storeOfBucket(config, name)
  const upstream = openStore(settings, config)
  try {
    const headers = await new BucketClient(upstream, name, signal).head(key, versionId)
    if (headers === null) throw new S3Error('NoSuchKey')
    const opened = await openKeys(config, 'export-key', signal)
    try {
      const policy = policyFor(config, name)
      const use = opened.useFor(name, key, headers.get('x-amz-version-id') ?? versionId)
      const at = { realm: settings.realm, bucket: name, aliases: policy.aliases, key }
      const streamKey = await streamKeyOf(headers, at, { keys: opened.keys, pins: pinsAt(policy, key), customerKey, use })
      platform.stderr.write(
        'WARNING: this is a key in plaintext. Anyone with it and the stored bytes can read this object, and every copy with the same bytes,\n'
          + 'for ever: rotation and rewrap do not revoke it. docs/TINK.md explains how to use it.\n'
      )
      platform.stdout.write(tinkKeyset(streamKey))
      return exitCodes.done
    } finally {
      await opened.close()
    }
  } finally {
    await upstream.close()
  }
}

/** 32 bytes in hex, as the client sends them in base64. @throws UsageError. */
async function readCustomerKey(path: string): Promise<CustomerKey> {
  const text = await readFile(path, 'latin1').catch((error: unknown) => {
    throw new UsageError(`--customer-key-file: ${path} could not be read: ${systemWords(error)}.`)
  })
  const bytes = Buffer.from(/^[0-9a-fA-F]{64}\r?\n?$/.test(text) ? text.slice(0, 64) : '', 'hex')
  const md5 = createHash('md5').update(bytes).digest('base64')
  const key = takeKey(bytes)
  if (key === null) throw new UsageError(`--customer-key-file: ${path} does not hold 32 bytes in hex.`)
  return { key, md5 }
}

const DEFAULT_HOURS = 24
const HOUR_MS = 3_600_000

interface GcValues {
  readonly 'config': string | undefined
  readonly 'dry-run': boolean
  readonly 'older-than-hours': string | undefined
  readonly 'upstream': string | undefined
}

interface Options {
  readonly config: Config
  readonly stores: readonly UpstreamConfig[]
  readonly dryRun: boolean
  readonly hours: number
}

/** `sealgate gc`. @returns the exit code. @throws S3Error of the only store; UsageError and ConfigError for wrong arguments. */
export async function runGc(values: GcValues, platform: Platform): Promise<number> {
  const options = await readOptions(values, platform)
  const several = Object.keys(options.config.upstreams).length > 1
  const { signal } = stopOn(platform)
  let failed = 0
  for (const store of options.stores) {
    if (several) platform.stdout.write(`${store.name}:\n`)
    try {
      failed += await collect(options, store, platform, signal)
    } catch (error) {
      if (signal.aborted) return exitCodes.stopped
      if (!several || !(error instanceof S3Error)) throw error
      // The others are not affected.
      platform.stderr.write(`sealgate gc: ${store.name}: ${error.message}\n`)
      failed += 1
    }
  }
  return failed === 0 ? exitCodes.done : exitCodes.failed
}

/** @throws UsageError, ConfigError. */
async function readOptions(values: GcValues, platform: Platform): Promise<Options> {
  const text = values['older-than-hours'] ?? String(DEFAULT_HOURS)
  const hours = /^\d{1,6}$/.test(text) ? Number(text) : 0
  // An upload may pause for hours between two parts, and must not lose its state.
  if (hours < DEFAULT_HOURS) throw new UsageError(`--older-than-hours must be a whole number of at least ${DEFAULT_HOURS}.`)
  const config = await readConfig({ file: requiredConfig(values, platform), env: platform.env })
  return { config, stores: storesNamed(config, values.upstream), dryRun: values['dry-run'], hours }
}

/** Collects at one store, and reports, also when it is stopped. @returns what could not be removed. */
async function collect({ config, dryRun, hours }: Options, settings: UpstreamConfig, { stdout, stderr }: Platform, signal: AbortSignal): Promise<number> {
  const upstream = openStore(settings, config)
  const seen: { counts: Collected | null } = { counts: null }
  const progress = new Progress(() => {
    const { live = 0, unknown = 0, dead = 0, removed = 0 } = seen.counts ?? {}
    return live + unknown + dead + removed
  }, stderr)
  try {
    return (await collectGarbage({
      state: new StateBucket(upstream, settings.stateBucket, signal),
      stateBucket: settings.stateBucket,
      upstream,
      realm: settings.realm,
      olderThan: Date.now() - hours * HOUR_MS,
      dryRun,
      signal,
      onCounts: (current) => {
        seen.counts = current
      }
    })).failed
  } finally {
    progress.stop()
    if (seen.counts !== null) stdout.write(reportOf(seen.counts, dryRun))
    if (signal.aborted) stderr.write('Stopped. Run it again to go on.\n')
    await upstream.close()
  }
}

function reportOf({ live, unknown, dead, removed, failed, buckets }: Collected, dryRun: boolean): string {
  return `uploads: ${live} live or recent, ${unknown} kept because their state is not known, ${dead} over\n`
    + `objects: ${removed} ${dryRun ? 'would be removed' : 'removed'}, ${failed} could not be removed\n`
    + (buckets === 0 ? '' : `buckets of interrupted runs of "store check": ${buckets} ${dryRun ? 'would be removed' : 'removed'}\n`)
}
