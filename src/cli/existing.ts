// What the commands on existing objects share: the values of their options.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { isOwnBucket, type Config, type UpstreamConfig } from '../config/config.ts'
import { readConfig } from './sealed-config.ts'
import type { Limits, Row, Shard } from '../maintenance/engine.ts'
import type { LedgerSubject } from '../maintenance/ledger.ts'
import { formatOf, reportFormats } from '../maintenance/report.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { bytesOf, filterOf, objectOf, shardOf } from './existing-options.ts'
import type { Platform } from './platform.ts'
import { countOption, storeOfBucket } from './store-command.ts'

/** The values of `existingOptions` in commands.ts. */
export interface ExistingValues {
  readonly config: string | undefined
  readonly bucket: string
  readonly prefix: string | undefined
  readonly versions: boolean
  readonly keys: string | undefined
  readonly inventory: string | undefined
  readonly filter: string | undefined
  readonly report: string | undefined
  readonly json: boolean
  readonly concurrency: string | undefined
  readonly rate: string | undefined
  readonly bandwidth: string | undefined
  readonly shard: string | undefined
  readonly ledger: string | undefined
  readonly resume: boolean
}

/** The options, checked. */
export interface Existing {
  readonly config: Config
  /** SHA-256 of the configuration file, in hex. */
  readonly configHash: string
  readonly store: UpstreamConfig
  readonly bucket: string
  readonly prefix: string
  readonly versions: boolean
  /** The file of names; `-`: standard input; null: the bucket is listed. */
  readonly keys: string | null
  /** Where the manifest of an inventory is. */
  readonly inventory: { readonly bucket: string; readonly key: string } | null
  readonly filter: (row: Row) => boolean
  readonly report: { readonly path: string; readonly file: string } | null
  readonly json: boolean
  readonly limits: Limits
  readonly shard: Shard | null
  readonly ledger: { readonly path: string; readonly file: string; readonly resume: boolean } | null
  /** What else a ledger must be of. */
  readonly subject: LedgerSubject
}

const CONCURRENCY = 32
const MOST = 1000

/** @throws UsageError, ConfigError. */
export async function readExisting(values: ExistingValues, platform: Platform, subject: LedgerSubject = {}): Promise<Existing> {
  const { bucket, prefix = '', report, keys, ledger } = values
  const limits: Limits = {
    concurrency: countOption('concurrency', values.concurrency, CONCURRENCY, MOST),
    perSecond: values.rate === undefined ? null : countOption('rate', values.rate.replace(/\/s$/, ''), 1, 999_999),
    bytesPerSecond: values.bandwidth === undefined ? null : bytesOf('bandwidth', values.bandwidth.replace(/\/s$/, ''))
  }
  const file = requiredConfig(values, platform)
  const config = await readConfig({ file, env: platform.env })
  if (isOwnBucket(config, bucket)) throw new UsageError('--bucket: the state bucket holds no objects of clients.')
  if (report !== undefined && formatOf(report) === null) {
    throw new UsageError(`--report: the name must end in ${reportFormats.map((format) => `.${format}`).join(', ')}.`)
  }
  if (keys !== undefined && values.versions) throw new UsageError('--versions: a list of names names its versions itself, behind a tab.')
  if (keys !== undefined && values.inventory !== undefined) throw new UsageError('--keys and --inventory exclude each other.')
  if (values.resume && ledger === undefined) throw new UsageError('--resume needs --ledger FILE: the file that the run has kept.')
  return {
    config,
    configHash: createHash('sha256').update(readFileSync(file)).digest('hex'),
    store: storeOfBucket(config, bucket),
    bucket,
    prefix,
    versions: values.versions,
    keys: keys === undefined ? null : keys === '-' ? '-' : resolve(platform.cwd, keys),
    inventory: values.inventory === undefined ? null : objectOf('inventory', values.inventory),
    filter: filterOf(values.filter, prefix, Date.now()),
    report: report === undefined ? null : { path: report, file: resolve(platform.cwd, report) },
    json: values.json,
    limits,
    shard: values.shard === undefined ? null : shardOf(values.shard),
    ledger: ledger === undefined ? null : { path: ledger, file: resolve(platform.cwd, ledger), resume: values.resume },
    subject
  }
}
