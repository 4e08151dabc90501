// What the commands on existing objects share: options, source, limits, progress, report and exit code.
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { StoreUpstream } from '../upstream/upstream.ts'
import { isOwnBucket, policyFor, type Config, type UpstreamConfig } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { systemWords } from '../diagnosis.ts'
import type { ScanJob } from '../maintenance/classify.ts'
import { noTotals, runEngine, type Action, type Finding, type Limits, type Row, type Shard, type Source, type Totals } from '../maintenance/engine.ts'
import { evidenceFile, signEvidence } from '../maintenance/evidence.ts'
import { formatOf, ReportFile, reportFormats, summaryJson, summaryText, type Summary } from '../maintenance/report.ts'
import { countObjects } from '../maintenance/rewrap-bucket.ts'
import { inventoryRows, readInventory } from '../maintenance/inventory.ts'
import { allVersions, currentObjects, namedObjects } from '../maintenance/sources.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { version } from '../version.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { bytesOf, filterOf, objectOf, shardOf } from './existing-options.ts'
import { exitCodes, type Platform } from './platform.ts'
import { Progress } from './progress.ts'
import { countOption, openKeys, openStore, storeOfBucket, type OpenedKeys } from './store-command.ts'

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
}

const CONCURRENCY = 32
const MOST = 1000

/** @throws UsageError, ConfigError. */
export function readExisting(values: ExistingValues, platform: Platform): Existing {
  const { bucket, prefix = '', report, keys } = values
  const file = requiredConfig(values, platform)
  const config = loadConfig({ file, env: platform.env })
  if (isOwnBucket(config, bucket)) throw new UsageError('--bucket: the state bucket holds no objects of clients.')
  if (report !== undefined && formatOf(report) === null) {
    throw new UsageError(`--report: the name must end in ${reportFormats.map((format) => `.${format}`).join(', ')}.`)
  }
  if (keys !== undefined && values.versions) throw new UsageError('--versions: a list of names names its versions itself, behind a tab.')
  if (keys !== undefined && values.inventory !== undefined) throw new UsageError('--keys and --inventory exclude each other.')
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
    limits: {
      concurrency: countOption('concurrency', values.concurrency, CONCURRENCY, MOST),
      perSecond: values.rate === undefined ? null : countOption('rate', values.rate.replace(/\/s$/, ''), 1, 999_999),
      bytesPerSecond: values.bandwidth === undefined ? null : bytesOf('bandwidth', values.bandwidth.replace(/\/s$/, ''))
    },
    shard: values.shard === undefined ? null : shardOf(values.shard)
  }
}

/** What an action works with. */
export interface ExistingJob extends ScanJob {
  readonly upstream: StoreUpstream
  readonly opened: OpenedKeys
  readonly signal: AbortSignal
}

interface Done {
  readonly summary: Summary
  readonly totals: Totals
}

/** The exit code of a run that has seen everything; what else is left to do at its end is done here. */
type CodeOf = (done: Done, job: ExistingJob) => number | Promise<number>

/**
 * Runs an action over the objects that the options name, with progress, report and summary.
 * @param prepare makes the action, once store and keys are open.
 * @returns the exit code. @throws S3Error, KeyringError; UsageError for a list or a report that cannot be opened.
 */
export async function runExisting(
  command: string,
  options: Existing,
  platform: Platform,
  prepare: (job: ExistingJob) => Promise<Action>,
  codeOf: CodeOf
): Promise<number> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    platform.onSignal(signal, () => {
      stop.abort()
    })
  }
  const upstream = openStore(options.store, options.config)
  try {
    const opened = await openKeys(options.config, command, stop.signal)
    try {
      return await examineAll(command, options, platform, { upstream, opened, signal: stop.signal }, prepare, codeOf)
    } finally {
      await opened.close()
    }
  } finally {
    await upstream.close()
  }
}

async function examineAll(
  command: string,
  options: Existing,
  platform: Platform,
  { upstream, opened, signal }: Pick<ExistingJob, 'upstream' | 'opened' | 'signal'>,
  prepare: (job: ExistingJob) => Promise<Action>,
  codeOf: CodeOf
): Promise<number> {
  const { config, store, bucket: name } = options
  const policy = policyFor(config, name)
  const bucket = new BucketClient(upstream, name, signal)
  const job: ExistingJob = {
    bucket,
    upstream,
    opened,
    signal,
    keys: opened.keys,
    pins: policy,
    realm: store.realm,
    aliases: policy.aliases,
    useFor: (key, versionId) => opened.useFor(name, key, versionId)
  }
  const action = await prepare(job)
  const source = await sourceOf(options, bucket, upstream)
  const report = options.report === null ? null : await openReport(options.report)
  const started = Date.now()
  const progress = new Progress(null, platform.stderr)
  countInBackground(options, bucket, progress)
  let totals: Totals = noTotals()
  let complete = true
  try {
    totals = await runEngine({
      source,
      filter: options.filter,
      action,
      limits: options.limits,
      shard: options.shard,
      signal,
      onFinding: async (finding: Finding) => {
        progress.step()
        await report?.add(finding)
      },
      onTotals: (current) => {
        totals = current
      }
    })
  } catch (error) {
    if (!signal.aborted) throw error
    complete = false
  } finally {
    progress.stop()
  }
  const summary: Summary = {
    runId: randomUUID(),
    command,
    version: version(),
    bucket: name,
    prefix: options.prefix,
    started,
    ended: Date.now(),
    complete,
    configuration: options.configHash,
    totals
  }
  if (report !== null && options.report !== null) {
    const evidence = { ...summaryJson(summary), bucket: name, realm: store.realm, reportSha256: await report.end(summary) }
    // Also of a run that was stopped: it says so.
    const use = { ...opened.useFor(name, '', null), objectKey: null, signal: new AbortController().signal }
    await writeFile(evidenceFile(options.report.file), await signEvidence(evidence, opened.keys, policy.key, use), { mode: 0o600 })
  }
  platform.stdout.write(options.json ? `${JSON.stringify(summaryJson(summary))}\n` : summaryText(summary))
  if (complete) return codeOf({ summary, totals }, job)
  platform.stderr.write('Stopped. Run it again to resume.\n')
  return exitCodes.stopped
}

/** @throws S3Error for an inventory that cannot be read; UsageError for one of another bucket. */
async function sourceOf({ prefix, versions, keys, inventory, bucket: name }: Existing, bucket: BucketClient, upstream: StoreUpstream): Promise<Source> {
  if (keys !== null) return namedObjects(keys === '-' ? process.stdin : createReadStream(keys))
  if (inventory === null) return versions ? allVersions(bucket, prefix) : currentObjects(bucket, prefix)
  const place = new BucketClient(upstream, inventory.bucket, bucket.signal)
  const read = await readInventory(place, inventory.key)
  if (read.sourceBucket !== name) throw new UsageError(`--inventory: it is of the bucket ${read.sourceBucket}.`)
  return inventoryRows(place, read, versions)
}

/** For the time that is left. A listing is cheap beside the work on its rows; one that fails only leaves the time out. */
function countInBackground({ prefix, versions, keys, inventory, shard }: Existing, bucket: BucketClient, progress: Progress): void {
  if (keys !== null || inventory !== null) return
  void countObjects(bucket, prefix, versions).then(({ objects, noncurrent }) => {
    progress.total = Math.round((objects + noncurrent) / (shard?.of ?? 1))
  }, () => undefined)
}

/** @throws UsageError. */
async function openReport({ path, file }: NonNullable<Existing['report']>): Promise<ReportFile> {
  try {
    return await ReportFile.open(file, formatOf(path) ?? 'jsonl')
  } catch (error) {
    throw new UsageError(`--report: ${path} could not be written: ${systemWords(error)}.`)
  }
}
