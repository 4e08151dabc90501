// A run of the engine as a command: source, progress, report with evidence, ledger, summary and exit code.
import { randomUUID } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import type { StoreUpstream } from '../upstream/upstream.ts'
import { policyFor } from '../config/config.ts'
import { pinsAt } from '../config/pins.ts'
import { systemCodeOf, systemWords } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { writeAtomically } from '../keys/keyring-file.ts'
import type { ScanJob } from '../maintenance/classify.ts'
import { noTotals, runEngine, type Action, type Finding, type Row, type Run, type Source, type Totals } from '../maintenance/engine.ts'
import { evidenceFile, signEvidence } from '../maintenance/evidence.ts'
import { inventoryRows, readInventory } from '../maintenance/inventory.ts'
import { Ledger, WrongLedger } from '../maintenance/ledger.ts'
import { formatOf, quoted, ReportFile, summaryJson, summaryText, type Summary } from '../maintenance/report.ts'
import { allVersions, countObjects, currentObjects, namedObjects } from '../maintenance/sources.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { version } from '../version.ts'
import { UsageError } from './command-line.ts'
import type { Existing } from './existing.ts'
import { exitCodes, type Platform } from './platform.ts'
import { Progress } from './progress.ts'
import { openKeys, openStore, type OpenedKeys } from './store-command.ts'

/** Failures that are told at once; the others are in the report. */
const MOST_TOLD = 10

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

/** A run by its command's name, with what it says of itself beside the totals. */
interface Shown {
  readonly command: string
  /** For people, in place of the counts by state and outcome. */
  readonly text?: (totals: Totals) => string
  /** For people, behind the counts. */
  readonly note?: () => string
  /** For the summary as JSON, and for the evidence. */
  readonly more?: () => Readonly<Record<string, unknown>>
}

/** Aborts with the first SIGINT or SIGTERM. */
export function stopOn(platform: Platform): AbortController {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    platform.onSignal(signal, () => {
      stop.abort()
    })
  }
  return stop
}

/**
 * Runs an action over the objects that the options name, with progress, report and summary.
 * @param prepare makes the action, once store and keys are open.
 * @returns the exit code. @throws S3Error, KeyringError; UsageError for a list or a report that cannot be opened.
 */
export async function runExisting(
  shown: Shown,
  options: Existing,
  platform: Platform,
  prepare: (job: ExistingJob) => Promise<Action>,
  codeOf: CodeOf
): Promise<number> {
  const stop = stopOn(platform)
  const upstream = openStore(options.store, options.config)
  try {
    const opened = await openKeys(options.config, shown.command, stop.signal)
    try {
      return await examineAll(shown, options, platform, { upstream, opened, signal: stop.signal }, prepare, codeOf)
    } finally {
      await opened.close()
    }
  } finally {
    await upstream.close()
  }
}

async function examineAll(
  shown: Shown,
  options: Existing,
  platform: Platform,
  { upstream, opened, signal }: Pick<ExistingJob, 'upstream' | 'opened' | 'signal'>,
  prepare: (job: ExistingJob) => Promise<Action>,
  codeOf: CodeOf
): Promise<number> {
  const { config, store, bucket: name } = options
  const policy = policyFor(config, name)
  const bucket = new BucketClient(upstream, name, signal)
  const { status } = await bucket.answer({ method: 'HEAD', retry: true })
  if (status === 404) throw new S3Error('NoSuchBucket', { message: `The store answers NoSuchBucket: there is no bucket ${name}.` })
  const job: ExistingJob = {
    bucket,
    upstream,
    opened,
    signal,
    keys: opened.keys,
    pinsFor: (key) => pinsAt(policy, key),
    realm: store.realm,
    aliases: policy.aliases,
    ...policy.s3ec === null ? {} : { instructionSuffixes: policy.s3ec.instructionSuffixes },
    useFor: (key, versionId) => opened.useFor(name, key, versionId)
  }
  const ledger = options.ledger === null ? null : openLedger(shown.command, options, options.ledger)
  let complete = false
  try {
    const done = await runJob(shown, options, platform, job, ledger, await prepare(job))
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

/** Examines the rows, and says how it went on the way. @returns also when it was stopped or has failed: how far it came. */
export async function examineRows(
  options: Existing,
  { stderr }: Platform,
  { bucket, upstream }: Pick<ExistingJob, 'bucket' | 'upstream'>,
  run: Pick<Run, 'action' | 'isDone' | 'onFinding'>
): Promise<{ readonly totals: Totals; readonly failure: Error | null }> {
  const source = await sourceOf(options, bucket, upstream)
  let totals: Totals = noTotals()
  const progress = new Progress(() => totals.rows, stderr)
  countInBackground(options, bucket, progress)
  let failed = 0
  try {
    const { filter, limits, shard } = options
    await runEngine({
      source,
      filter,
      limits,
      shard,
      signal: bucket.signal,
      ...run,
      onFinding: async (finding, row) => {
        if (finding.state === 'failed' && (failed += 1) <= MOST_TOLD) stderr.write(`${quoted(finding.key)}: ${finding.detail}\n`)
        await run.onFinding(finding, row)
      },
      onTotals: (current) => {
        totals = current
      }
    })
    return { totals, failure: null }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    if (bucket.signal.aborted) stderr.write(`Stopped after ${totals.rows.toLocaleString('en')} rows. Run it again to resume.\n`)
    return { totals, failure: error }
  } finally {
    progress.stop()
  }
}

async function runJob(shown: Shown, options: Existing, platform: Platform, job: ExistingJob, ledger: Ledger | null, action: Action): Promise<Done> {
  const { opened, signal } = job
  const { bucket: name, config, store } = options
  const report = options.report === null ? null : await openReport(options.report)
  const started = Date.now()
  const { totals, failure } = await examineRows(options, platform, job, {
    action,
    ...ledger === null ? {} : { isDone: (row: Row) => ledger.has(row) },
    onFinding: async (finding, row) => {
      await report?.add(finding)
      if (isSettled(finding)) ledger?.note(row, finding)
    }
  })
  const summary: Summary = {
    runId: randomUUID(),
    command: shown.command,
    version: version(),
    bucket: name,
    prefix: options.prefix,
    started,
    ended: Date.now(),
    complete: failure === null,
    ledger: ledger === null ? null : ledger.begun,
    configuration: options.configHash,
    totals
  }
  const document = { ...summaryJson(summary), ...shown.more?.() }
  if (report !== null && options.report !== null) {
    const evidence = { ...document, bucket: name, realm: store.realm, reportSha256: await report.end(summary) }
    // Also of a run that was stopped or has failed: it says so.
    const use = { ...opened.useFor(name, '', null), objectKey: null, signal: new AbortController().signal }
    const signed = await signEvidence(evidence, opened.keys, policyFor(config, name).keys.bucket.key, use)
    await writeAtomically(evidenceFile(options.report.file), Buffer.from(signed))
  }
  platform.stdout.write(options.json ? `${JSON.stringify(document)}\n` : (shown.text?.(totals) ?? summaryText(summary)) + (shown.note?.() ?? ''))
  if (failure !== null && !signal.aborted) throw failure
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
  if (keys !== null) return namedObjects(keys === '-' ? process.stdin : await openList(keys))
  if (inventory === null) return versions ? allVersions(bucket, prefix) : currentObjects(bucket, prefix)
  const place = new BucketClient(upstream, inventory.bucket, bucket.signal)
  const read = await readInventory(place, inventory.key)
  if (read.sourceBucket !== name) throw new UsageError(`--inventory: it is of the bucket ${read.sourceBucket}.`)
  return inventoryRows(place, read, versions)
}

/** @throws UsageError. */
async function openList(file: string): Promise<Readable> {
  try {
    return (await open(file)).createReadStream()
  } catch (error) {
    throw new UsageError(`--keys: ${file} could not be read: ${systemWords(error)}.`)
  }
}

/** For the time that is left. A listing is cheap beside the work on its rows; one that fails only leaves the time out. */
function countInBackground({ prefix, versions, keys, inventory, shard }: Existing, bucket: BucketClient, progress: Progress): void {
  if (keys !== null || inventory !== null) return
  void countObjects(bucket, prefix, versions).then(({ objects, noncurrent }) => {
    progress.total = Math.round((objects + noncurrent) / (shard?.of ?? 1))
  }, () => undefined)
}

/** Evidence of an older report in its place goes with it: a run that is killed must not leave one that is about other bytes. @throws UsageError. */
export async function openReport({ path, file }: NonNullable<Existing['report']>): Promise<ReportFile> {
  try {
    const report = await ReportFile.open(file, formatOf(path) ?? 'jsonl')
    await rm(evidenceFile(file), { force: true })
    return report
  } catch (error) {
    throw new UsageError(`--report: ${path} could not be written: ${systemWords(error)}.`)
  }
}
