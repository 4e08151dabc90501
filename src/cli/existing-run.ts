// A run of the engine as a command: source, progress, report with evidence, ledger, summary and exit code.
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { StoreUpstream } from '../upstream/upstream.ts'
import { policyFor } from '../config/config.ts'
import { pinsAt } from '../config/pins.ts'
import { systemCodeOf, systemWords } from '../diagnosis.ts'
import type { ScanJob } from '../maintenance/classify.ts'
import { noTotals, runEngine, type Action, type Finding, type Row, type Source, type Totals } from '../maintenance/engine.ts'
import { evidenceFile, signEvidence } from '../maintenance/evidence.ts'
import { inventoryRows, readInventory } from '../maintenance/inventory.ts'
import { Ledger, WrongLedger } from '../maintenance/ledger.ts'
import { formatOf, ReportFile, summaryJson, summaryText, type Summary } from '../maintenance/report.ts'
import { countObjects } from '../maintenance/rewrap-bucket.ts'
import { allVersions, currentObjects, namedObjects } from '../maintenance/sources.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { version } from '../version.ts'
import { UsageError } from './command-line.ts'
import type { Existing } from './existing.ts'
import { exitCodes, type Platform } from './platform.ts'
import { Progress } from './progress.ts'
import { openKeys, openStore, type OpenedKeys } from './store-command.ts'

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
    pinsFor: (key) => pinsAt(policy, key),
    realm: store.realm,
    aliases: policy.aliases,
    useFor: (key, versionId) => opened.useFor(name, key, versionId)
  }
  const ledger = options.ledger === null ? null : openLedger(command, options, options.ledger)
  let complete = false
  try {
    const done = await runJob(command, options, platform, job, ledger, await prepare(job))
    complete = done.summary.complete
    return complete ? await codeOf(done, job) : exitCodes.stopped
  } finally {
    ledger?.close(complete)
  }
}

/** @throws UsageError for a ledger of another run. */
function openLedger(
  command: string,
  { bucket, store, configHash, subject }: Existing,
  { path, file, resume }: NonNullable<Existing['ledger']>
): Ledger {
  try {
    return new Ledger(file, { command, bucket, realm: store.realm, endpoint: store.endpoint, configuration: configHash, ...subject }, resume)
  } catch (error) {
    if (error instanceof WrongLedger) throw new UsageError(`--ledger: ${path} cannot be used: ${error.message}.`)
    if (systemCodeOf(error) === 'EEXIST') throw new UsageError(`--ledger: ${path} is there already: --resume goes on with its run.`)
    throw new UsageError(`--ledger: ${path} could not be written: ${systemWords(error)}.`)
  }
}

async function runJob(
  command: string,
  options: Existing,
  platform: Platform,
  job: ExistingJob,
  ledger: Ledger | null,
  action: Action
): Promise<Done> {
  const { bucket, upstream, opened, signal } = job
  const source = await sourceOf(options, bucket, upstream)
  const report = options.report === null ? null : await openReport(options.report)
  const started = Date.now()
  let totals: Totals = noTotals()
  const progress = new Progress(() => totals.rows, platform.stderr)
  countInBackground(options, bucket, progress)
  let failure: Error | null = null
  try {
    totals = await runEngine({
      source,
      filter: options.filter,
      action,
      limits: options.limits,
      shard: options.shard,
      signal,
      ...ledger === null ? {} : { isDone: (row: Row) => ledger.has(row) },
      onFinding: async (finding, row) => {
        await report?.add(finding)
        if (isSettled(finding)) ledger?.note(row, finding)
      },
      onTotals: (current) => {
        totals = current
      }
    })
  } catch (error) {
    if (!(error instanceof Error)) throw error
    failure = error
  } finally {
    progress.stop()
  }
  const summary: Summary = {
    runId: randomUUID(),
    command,
    version: version(),
    bucket: options.bucket,
    prefix: options.prefix,
    started,
    ended: Date.now(),
    complete: failure === null,
    ledger: ledger === null ? null : ledger.begun,
    configuration: options.configHash,
    totals
  }
  if (report !== null && options.report !== null) {
    const { bucket: name, config, store } = options
    const evidence = { ...summaryJson(summary), bucket: name, realm: store.realm, reportSha256: await report.end(summary) }
    // Also of a run that was stopped or has failed: it says so.
    const use = { ...opened.useFor(name, '', null), objectKey: null, signal: new AbortController().signal }
    await writeFile(evidenceFile(options.report.file), await signEvidence(evidence, opened.keys, policyFor(config, name).keys.bucket.key, use), { mode: 0o600 })
  }
  platform.stdout.write(options.json ? `${JSON.stringify(summaryJson(summary))}\n` : summaryText(summary))
  if (failure === null) return { summary, totals }
  if (!signal.aborted) throw failure
  platform.stderr.write(`Stopped after ${totals.rows.toLocaleString('en')} rows. Run it again to resume.\n`)
  return { summary, totals }
}

/** What need not be looked at again for the exit code and the report of the whole run to be right. */
function isSettled({ state, fault, outcome, verdict }: Finding): boolean {
  if (fault !== null || state === 'failed') return false
  if (verdict !== null) return verdict === 'verified'
  return outcome === null ? state === 'sealed' : !outcome.startsWith('left')
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
