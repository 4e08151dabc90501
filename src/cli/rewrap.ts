import type { StoreUpstream } from '../upstream/upstream.ts'
import { loadConfig } from '../config/load.ts'
import { policyFor, isOwnBucket, type Config, type UpstreamConfig } from '../config/config.ts'
import { pinsAt, sealingKeys } from '../config/pins.ts'
import { S3Error } from '../errors.ts'
import { RETRY_MS } from '../maintenance/engine.ts'
import { countObjects, rewrapBucket, type BucketCount, type Rewrapped, rewrapDefault } from '../maintenance/rewrap-bucket.ts'
import { PART_COPY_SIZE, SINGLE_COPY_LIMIT, type RewrapJob } from '../maintenance/rewrap-object.ts'
import { probeCopyTagMode } from '../store-client/probe-tags.ts'
import { TagJournal } from '../maintenance/copy-in-parts.ts'
import { UploadJournal } from '../maintenance/upload-journal.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { reasons, type Reason } from '../maintenance/verdict.ts'
import { Capabilities } from '../store-client/capabilities.ts'
import { unprobed } from '../store-client/probe-conditions.ts'
import { askBucketKind, ensureStateBucket } from '../store-client/state-bucket.ts'
import { UsageError } from './command-line.ts'
import { requiredConfig } from './check-config.ts'
import { exitCodes, thisProcess, type Platform } from './platform.ts'
import { Progress } from './progress.ts'
import { countOption, openKeys, openStore, recoverUploads, storeOfBucket, type OpenedKeys } from './store-command.ts'

const CONCURRENCY = 16
const MOST = 256

interface Options {
  readonly config: Config
  /** The store of the bucket. */
  readonly store: UpstreamConfig
  readonly bucket: string
  readonly prefix: string
  readonly to: string | null
  readonly dryRun: boolean
  readonly assumeNoWriters: boolean
  readonly concurrency: number
}

interface RewrapValues {
  readonly 'config': string | undefined
  readonly 'bucket': string
  readonly 'prefix': string | undefined
  readonly 'to': string | undefined
  readonly 'dry-run': boolean
  readonly 'assume-no-writers': boolean
  readonly 'concurrency': string | undefined
}

/** `sealgate rewrap`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runRewrap(values: RewrapValues, platform: Platform): Promise<number> {
  const options = readOptions(values, platform)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    platform.onSignal(signal, () => {
      stop.abort()
    })
  }
  const upstream = openStore(options.store, options.config)
  try {
    const opened = await openKeys(options.config, 'rewrap', stop.signal)
    try {
      return await rewrap(options, upstream, opened, stop.signal, platform)
    } finally {
      await opened.close()
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error
    platform.stderr.write('Stopped. Run it again to resume.\n')
    return exitCodes.cut
  } finally {
    await upstream.close()
  }
}

/** @throws UsageError, ConfigError. */
function readOptions(values: RewrapValues, platform: Platform): Options {
  const { bucket, prefix = '', to } = values
  const concurrency = countOption('concurrency', values.concurrency, CONCURRENCY, MOST)
  const config = loadConfig({ file: requiredConfig(values, platform), env: platform.env })
  if (to !== undefined && !Object.hasOwn(config.keys, to)) throw new UsageError(`--to: the configuration has no key named ${to}.`)
  const { keys } = policyFor(config, bucket)
  // What begins with the prefix may be under several sets of keys: each object is judged by its own.
  const sets = [pinsAt({ keys }, prefix), ...[...keys.prefixes].filter(([each]) => each.startsWith(prefix)).map(([, pins]) => pins)]
  if (to !== undefined && !sets.some((pins) => sealingKeys(pins).includes(to))) {
    throw new UsageError(`--to: these objects of ${bucket} must not be sealed with ${to}: it is neither the key of the bucket or prefix nor in allowedKeys.`)
  }
  if (isOwnBucket(config, bucket)) throw new UsageError('--bucket: the state bucket holds no objects to re-wrap.')
  return {
    config,
    store: storeOfBucket(config, bucket),
    bucket,
    prefix,
    to: to ?? null,
    dryRun: values['dry-run'],
    assumeNoWriters: values['assume-no-writers'],
    concurrency
  }
}

/** @throws S3Error. */
async function rewrap(options: Options, upstream: StoreUpstream, opened: OpenedKeys, signal: AbortSignal, platform: Platform): Promise<number> {
  const { config, store, prefix, dryRun, concurrency } = options
  const bucket = new BucketClient(upstream, options.bucket, signal)
  const versioned = await bucket.keepsVersions()
  if (versioned && !dryRun) {
    platform.stderr.write(`${options.bucket} keeps versions: every re-wrap adds one, and the version before keeps its key and its bytes.\n`)
  }
  const state = new BucketClient(upstream, store.stateBucket, signal)
  const total = await countObjects(bucket, prefix, versioned)
  const capabilities = dryRun ? unused : await copyCapabilities(options, upstream, signal)
  const job: Job = {
    bucket,
    ...capabilities,
    state,
    journal: new TagJournal(state, bucket),
    uploads: new UploadJournal(state, bucket, thisProcess()),
    keys: opened.keys,
    pinsFor: (key) => pinsAt(policyFor(config, options.bucket), key),
    target: options.to === null ? null : opened.keys.named(options.to),
    realm: store.realm,
    aliases: policyFor(config, options.bucket).aliases,
    singleCopyLimit: SINGLE_COPY_LIMIT,
    partSize: PART_COPY_SIZE,
    maxParts: store.maxParts,
    retryMs: RETRY_MS,
    useFor: (key, versionId) => opened.useFor(options.bucket, key, versionId)
  }
  if (!dryRun) await settleState(options, job, opened, platform)
  let examined = 0
  const progress = new Progress(() => examined, platform.stderr)
  progress.total = total.objects
  try {
    const done = await rewrapBucket(job, {
      prefix,
      dryRun,
      concurrency,
      onObject: () => {
        examined += 1
      },
      onFailure: (key, error) => {
        platform.stderr.write(`${JSON.stringify(key)}: ${error.code}: ${error.message}\n`)
      }
    })
    platform.stdout.write(report(options, done, total))
    return done.failed + done.busy === 0 ? exitCodes.done : exitCodes.failed
  } finally {
    progress.stop()
  }
}

type Job = RewrapJob & { readonly state: BucketClient }

/** Records of this bucket in the state bucket: what a killed run has left, and its default encryption. */
async function settleState(
  { config, bucket }: Options,
  { state, journal, uploads, realm, keys, target, conditions }: Job,
  opened: OpenedKeys,
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
async function copyCapabilities({ store, bucket, assumeNoWriters }: Options, upstream: StoreUpstream, signal: AbortSignal): Promise<CopyCapabilities> {
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

function report({ bucket, dryRun }: Options, done: Rewrapped, { noncurrent }: BucketCount): string {
  const lines = done.from.entries().map(([keyId, { objects, bytes }]) => `${count(objects)} objects, ${count(bytes)} stored bytes from ${keyId}`)
  for (const [keyId, { objects }] of done.to.entries()) lines.push(`${count(objects)} objects to ${keyId}`)
  for (const [reason, text] of Object.entries(reasons)) {
    const objects = done.left[reason as Reason]
    if (objects > 0) lines.push(`${count(objects)} objects left: ${text}`)
  }
  if (done.gone > 0) lines.push(`${count(done.gone)} objects deleted meanwhile`)
  if (done.busy > 0) lines.push(`${count(done.busy)} objects replaced again and again: start it again`)
  if (done.failed > 0) lines.push(`${count(done.failed)} objects failed`)
  if (noncurrent > 0) lines.push(`${count(noncurrent)} noncurrent versions keep their keys`)
  return `${bucket}: ${dryRun ? 'would re-wrap' : 're-wrapped'} ${count(total(done))} objects\n${lines.map((line) => `  ${line}\n`).join('')}`
}

function total({ from }: Rewrapped): number {
  return from.entries().reduce((sum, [, { objects }]) => sum + objects, 0)
}

function count(value: number): string {
  return value.toLocaleString('en')
}
