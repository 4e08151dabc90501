// `sealgate rewrap`: an action of the engine on the current objects of a bucket.
import { policyFor } from '../config/config.ts'
import { pinsAt, sealingKeys } from '../config/pins.ts'
import { S3Error } from '../errors.ts'
import { TagJournal } from '../maintenance/copy-in-parts.ts'
import { RETRY_MS, type Totals } from '../maintenance/engine.ts'
import { KeyCounts } from '../maintenance/key-usage.ts'
import { rewrapAction, rewrapDefault } from '../maintenance/rewrap-bucket.ts'
import { PART_COPY_SIZE, SINGLE_COPY_LIMIT, type RewrapJob } from '../maintenance/rewrap-object.ts'
import { countObjects } from '../maintenance/sources.ts'
import { UploadJournal } from '../maintenance/upload-journal.ts'
import { outcomes } from '../maintenance/verdict.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { Capabilities } from '../store-client/capabilities.ts'
import { unprobed } from '../store-client/probe-conditions.ts'
import { probeCopyTagMode } from '../store-client/probe-tags.ts'
import { askBucketKind, ensureStateBucket } from '../store-client/state-bucket.ts'
import { thisProcess } from '../store-client/upload-notes.ts'
import { UsageError } from './command-line.ts'
import { readExisting, type Existing, type ExistingValues } from './existing.ts'
import { runExisting, type ExistingJob } from './existing-run.ts'
import { exitCodes, type Platform } from './platform.ts'
import { recoverUploads } from './store-command.ts'

interface RewrapValues extends Omit<ExistingValues, 'versions'> {
  readonly 'to': string | undefined
  readonly 'dry-run': boolean
  readonly 'assume-no-writers': boolean
}

/** `sealgate rewrap`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runRewrap(values: RewrapValues, platform: Platform): Promise<number> {
  const { to, 'dry-run': dryRun } = values
  const options = await readExisting({ ...values, versions: false }, platform, { to: to ?? '' })
  const { config, bucket } = options
  if (to !== undefined && !Object.hasOwn(config.keys, to)) throw new UsageError(`--to: the configuration has no key named ${to}.`)
  const { keys } = policyFor(config, bucket)
  // What begins with the prefix may be under several sets of keys: each object is judged by its own.
  const sets = [pinsAt({ keys }, options.prefix), ...[...keys.prefixes].filter(([each]) => each.startsWith(options.prefix)).map(([, pins]) => pins)]
  if (to !== undefined && !sets.some((pins) => sealingKeys(pins).includes(to))) {
    throw new UsageError(`--to: these objects of ${bucket} must not be sealed with ${to}: it is neither the key of the bucket or prefix nor in allowedKeys.`)
  }
  if (dryRun && options.ledger !== null) throw new UsageError('--ledger: a run that changes nothing has nothing to note.')
  const counts = { from: new KeyCounts(), to: new KeyCounts() }
  let noncurrent = 0
  const text = (totals: Totals): string => textOf(`${bucket}: ${dryRun ? 'would re-wrap' : 're-wrapped'}`, counts, totals, noncurrent)
  return runExisting(
    { command: 'rewrap', text, more: () => ({ from: counts.from.json(), to: counts.to.json(), noncurrent }) },
    options,
    platform,
    async (job) => {
      if (await job.bucket.keepsVersions()) {
        if (!dryRun) platform.stderr.write(`${bucket} keeps versions: every re-wrap adds one, and the version before keeps its key and its bytes.\n`)
        noncurrent = (await countObjects(job.bucket, options.prefix, true)).noncurrent
      }
      const rewrap = await jobOf(options, job, to, dryRun ? unused : await copyCapabilities(options, job, values['assume-no-writers']))
      if (!dryRun) await settleState(options, rewrap, job, platform)
      return rewrapAction(rewrap, dryRun, counts)
    },
    ({ totals }) => totals.states.has('failed') || totals.outcomes.has(outcomes.busy) ? exitCodes.failed : exitCodes.done
  )
}

type Job = RewrapJob & { readonly state: BucketClient }

async function jobOf({ store }: Existing, job: ExistingJob, to: string | undefined, capabilities: CopyCapabilities): Promise<Job> {
  const { bucket, upstream, signal, opened } = job
  const state = new BucketClient(upstream, store.stateBucket, signal)
  return Promise.resolve({
    ...job,
    ...capabilities,
    state,
    journal: new TagJournal(state, bucket),
    uploads: new UploadJournal(state, bucket, thisProcess),
    target: to === undefined ? null : opened.keys.named(to),
    singleCopyLimit: SINGLE_COPY_LIMIT,
    partSize: PART_COPY_SIZE,
    maxParts: store.maxParts,
    retryMs: RETRY_MS
  })
}

/** Records of this bucket in the state bucket: what a killed run has left, and its default encryption. */
async function settleState(
  { config, bucket }: Existing,
  { state, journal, uploads, realm, keys, target, conditions }: Job,
  { opened }: ExistingJob,
  platform: Platform
): Promise<void> {
  await recoverUploads(uploads, platform)
  const recovered = await journal.recover()
  if (recovered > 0) platform.stderr.write(`Put back the tags of ${count(recovered)} objects, which a run before had not come to.\n`)
  const use = { ...opened.useFor(bucket, '', null), objectKey: null }
  const pins = policyFor(config, bucket).keys.bucket
  const sealsBucket = target !== null && sealingKeys(pins).includes(target.name)
  if (await rewrapDefault({ state, place: { realm, bucket }, keys, pins, target: sealsBucket ? target : null, conditions, use })) {
    platform.stderr.write('The default encryption of the bucket has been re-wrapped.\n')
  }
}

type CopyCapabilities = Pick<RewrapJob, 'conditions' | 'copyTagMode'>

/** A dry run copies nothing, so the store's behaviour on copies is not probed, and nothing is written. */
const unused: CopyCapabilities = { conditions: unprobed, copyTagMode: 'kept' }

/** @throws S3Error NotImplemented where the store does not guard copies and `--assume-no-writers` is not given. */
async function copyCapabilities({ store, bucket }: Existing, { upstream, signal }: ExistingJob, assumeNoWriters: boolean): Promise<CopyCapabilities> {
  const { stateBucket, region } = store
  await ensureStateBucket(upstream, stateBucket, region, signal)
  const capabilities = new Capabilities(upstream, store)
  await capabilities.run(signal)
  const kind = await askBucketKind(upstream, bucket, undefined, signal)
  const conditions = await capabilities.of({ bucket, signal })
  const known = capabilities.report().find((report) => report.kind === kind && report.conditions !== null)
  // For an unprobed kind of bucket the worst is assumed.
  const copyTagMode = known === undefined ? 'put' : await probeCopyTagMode(upstream, known.bucket, signal)
  if (!assumeNoWriters && (!conditions.copy || !conditions.copySourceIfMatch || copyTagMode !== 'kept')) {
    throw new S3Error('NotImplemented', {
      message: 'This store does not guard copies against writers at the same time (conditions on the destination, tags of the source), '
        + 'so a write could be lost. Stop all writers of the bucket and say --assume-no-writers.'
    })
  }
  return { conditions, copyTagMode }
}

function textOf(title: string, { from, to }: { readonly from: KeyCounts; readonly to: KeyCounts }, totals: Totals, noncurrent: number): string {
  const lines = from.entries().map(([keyId, { objects, bytes }]) => `${count(objects)} objects, ${count(bytes)} stored bytes from ${keyId}`)
  for (const [keyId, { objects }] of to.entries()) lines.push(`${count(objects)} objects to ${keyId}`)
  const total = from.entries().reduce((sum, [, { objects }]) => sum + objects, 0)
  for (const [outcome, { objects }] of totals.outcomes) {
    if (outcome !== outcomes.done && outcome !== outcomes.due) lines.push(`${count(objects)} objects ${outcome}`)
  }
  if (totals.gone > 0) lines.push(`${count(totals.gone)} objects deleted meanwhile`)
  if (totals.skipped > 0) lines.push(`${count(totals.skipped)} objects done before`)
  const failed = totals.states.get('failed')?.objects ?? 0
  if (failed > 0) lines.push(`${count(failed)} objects failed`)
  if (noncurrent > 0) lines.push(`${count(noncurrent)} noncurrent versions keep their keys`)
  return `${title} ${count(total)} objects\n${lines.map((line) => `  ${line}\n`).join('')}`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
