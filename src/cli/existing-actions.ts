// `sealgate encrypt`, `verify` and `decrypt`: actions of the engine on existing objects, with a gateway of their own.
import { policyFor, type UpstreamConfig } from '../config/config.ts'
import { S3Error } from '../errors.ts'
import { decryptObject } from '../maintenance/decrypt-object.ts'
import { ENCRYPTED_COPY_LIMIT, encryptFrom, encryptObject, type EncryptJob } from '../maintenance/encrypt-object.ts'
import { RETRY_MS, type Totals } from '../maintenance/engine.ts'
import { faults } from '../maintenance/faults.ts'
import { PART_COPY_SIZE, SINGLE_COPY_LIMIT } from '../maintenance/rewrap-object.ts'
import { UploadJournal } from '../maintenance/upload-journal.ts'
import { verifyObject } from '../maintenance/verify-object.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { Capabilities } from '../store-client/capabilities.ts'
import { unprobed, type Conditions } from '../store-client/probe-conditions.ts'
import { ensureStateBucket } from '../store-client/state-bucket.ts'
import { thisProcess } from '../store-client/upload-notes.ts'
import { UsageError } from './command-line.ts'
import { estimateText, readMeter } from './estimate.ts'
import { readExisting, type Existing, type ExistingValues } from './existing.ts'
import { runExisting, type ExistingJob } from './existing-run.ts'
import { startOwnGateway, type OwnGateway } from './own-gateway.ts'
import { exitCodes, type Platform } from './platform.ts'
import { openStore, recoverUploads, storeOfBucket } from './store-command.ts'
import type { StoreUpstream } from '../upstream/upstream.ts'

interface EncryptValues extends Omit<ExistingValues, 'versions'> {
  readonly 'from': string | undefined
  readonly 'dry-run': boolean
  readonly 'estimate': boolean
  readonly 'verify': boolean
  readonly 'purge-plaintext-versions': boolean
  readonly 'assume-no-writers': boolean
}

/** When an object is written in parts. Tests lower both. */
interface PartSizes {
  /** Bytes above which. */
  readonly above: number
  /** Bytes of such a part, without the last. */
  readonly part: number
}

/**
 * `sealgate encrypt`.
 * @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments.
 */
export async function runEncrypt(
  values: EncryptValues,
  platform: Platform,
  sizes: PartSizes = { above: ENCRYPTED_COPY_LIMIT, part: PART_COPY_SIZE }
): Promise<number> {
  const { verify, 'purge-plaintext-versions': purge } = values
  const options = await readExisting({ ...values, versions: false }, platform, { from: values.from ?? 'plaintext', verify, purge })
  const policy = policyFor(options.config, options.bucket)
  if (policy.encryption === 'off') throw new UsageError(`--bucket: the configuration has encryption: off for ${options.bucket}.`)
  const from = new Set(
    (values.from ?? 'plaintext').split(',').map((name) => {
      const known = encryptFrom.find((one) => one === name)
      if (known === undefined) throw new UsageError(`--from: "${name}" is none of ${encryptFrom.join(', ')}.`)
      return known
    })
  )
  if (from.has('s3ec') && policy.s3ec === null) throw new UsageError(`--from: s3ec needs buckets.${options.bucket}.s3ec, with what is read and its keys.`)
  const dryRun = values['dry-run'] || values.estimate
  if (dryRun && options.ledger !== null) throw new UsageError('--ledger: a run that changes nothing has nothing to note.')
  const meter = readMeter(values.estimate)
  let purged = 0
  let versioned = false
  return withOwnGateway('encrypt', options, platform, !dryRun, async (job, own) => {
    versioned = await job.bucket.keepsVersions()
    const journal = own === null ? null : await openJournal(job.upstream, options.store, own.sealed, platform)
    const encrypt: EncryptJob = {
      ...job,
      sealed: own?.sealed ?? null,
      journal,
      from,
      etag: policy.etag,
      s3ec: from.has('s3ec') ? policy.s3ec : null,
      conditions: dryRun ? unprobed : await conditionsOf(job, options, values['assume-no-writers']),
      noWriters: values['assume-no-writers'],
      verify,
      purge,
      onPurged: () => {
        purged += 1
      },
      singleCopyLimit: sizes.above,
      partSize: sizes.part,
      maxParts: options.store.maxParts,
      retryMs: RETRY_MS
    }
    return async (row, signal) => {
      const finding = await encryptObject(encrypt, row, signal)
      if (finding?.outcome?.startsWith('would') === true) await meter?.measure(job.bucket.until(signal), finding)
      return finding
    }
  }, ({ totals }) => {
    const say = (text: string): unknown => options.json ? platform.stderr.write(text) : platform.stdout.write(text)
    if (meter !== null) say(estimateText(meter, totals, options.limits, verify))
    const encrypted = totals.outcomes.get('encrypted')?.objects ?? 0
    if (versioned && encrypted - purged > 0) {
      say(
        `The bucket keeps versions: at least ${(encrypted - purged).toLocaleString('en')} older versions are still readable as plaintext. `
          + '"sealgate scan --versions" finds them; --purge-plaintext-versions removes them.\n'
      )
    }
    if (purged > 0) say(`Plaintext versions removed: ${purged.toLocaleString('en')}\n`)
    return dryRun ? failedOr(totals, exitCodes.done) : failedOr(totals, totals.states.has('plaintext') ? exitCodes.plaintext : exitCodes.done)
  })
}

function failedOr({ states }: Totals, code: number): number {
  return states.has('failed') ? exitCodes.failed : code
}

/** @throws S3Error NotImplemented where the store does not guard writes and `--assume-no-writers` is not given. */
async function conditionsOf({ upstream, bucket, signal }: ExistingJob, { store }: Existing, noWriters: boolean): Promise<Conditions> {
  await ensureStateBucket(upstream, store.stateBucket, store.region, signal)
  const capabilities = new Capabilities(upstream, store)
  await capabilities.run(signal)
  const conditions = await capabilities.of({ bucket: bucket.name, signal })
  // A large object without a condition on its completion is refused by itself (encrypt-object.ts).
  if (noWriters || conditions.put) return conditions
  throw new S3Error('NotImplemented', {
    message: 'This store does not enforce conditions on writes in this kind of bucket, so the write of a client at the same time could be lost. '
      + 'Stop all writers of the bucket and say --assume-no-writers.'
  })
}

interface VerifyValues extends ExistingValues {
  readonly deep: boolean
  readonly sample: string | undefined
  readonly since: string | undefined
}

/** `sealgate verify`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runVerify(values: VerifyValues, platform: Platform): Promise<number> {
  const { since, filter } = values
  const terms = [...filter === undefined ? [] : [filter], ...since === undefined ? [] : [`age<${since}`]]
  const options = await readExisting({ ...values, filter: terms.length === 0 ? undefined : terms.join(',') }, platform, { deep: values.deep })
  const share = values.sample === undefined ? 1 : percent(values.sample)
  const sampled: Existing = { ...options, filter: (row) => options.filter(row) && (share === 1 || Math.random() < share) }
  return withOwnGateway('verify', sampled, platform, values.deep, (job, own) => {
    const { encryption, plaintext } = policyFor(options.config, options.bucket)
    const servesSealedOnly = encryption === 'on' && plaintext !== 'allow'
    const verify = { ...job, servesSealedOnly, sealed: own?.sealed ?? null, faultOf: (requestId: string) => own?.faultOf(requestId) ?? null }
    return Promise.resolve((row, signal) => verifyObject(verify, row, signal))
  }, ({ totals }) => {
    const { outcomes } = totals
    if (outcomes.has('mismatch') || outcomes.has('unreadable')) return exitCodes.damaged
    return failedOr(totals, outcomes.has('key-unavailable') ? exitCodes.failed : outcomes.has('not-sealed') ? exitCodes.plaintext : exitCodes.done)
  })
}

/** `5%`. @throws UsageError. */
function percent(text: string): number {
  const value = /^\d{1,3}(?:\.\d{1,4})?%$/.test(text) ? Number(text.slice(0, -1)) / 100 : 0
  if (value <= 0 || value > 1) throw new UsageError('--sample must be a percentage, such as 5%.')
  return value
}

/** Dates have whole seconds. */
const DATE_MS = 1000
/** Two stores: each accepts requests of a clock up to 15 minutes apart from its own (AWS, RequestTimeTooSkewed). */
const APART_MS = 30 * 60_000

interface DecryptValues extends Omit<ExistingValues, 'versions'> {
  readonly to: string
}

/**
 * `sealgate decrypt`.
 * @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments.
 */
export async function runDecrypt(
  values: DecryptValues,
  platform: Platform,
  sizes: PartSizes = { above: SINGLE_COPY_LIMIT, part: PART_COPY_SIZE }
): Promise<number> {
  const { to } = values
  const options = await readExisting({ ...values, versions: false }, platform, { to })
  const { config, bucket } = options
  const store = storeOfBucket(config, to)
  if (to === bucket) throw new UsageError('--to must be another bucket than --bucket.')
  if (coversSealed(options, to)) {
    throw new UsageError(`--to: ${to} is an encrypted bucket. Set buckets.${to}.encryption: off, or name a bucket that is not configured.`)
  }
  const upstream = openStore(store, config)
  try {
    return await withOwnGateway('decrypt', options, platform, true, async (job, own) => {
      if (own === null) throw new TypeError('There is no gateway.')
      const target = new BucketClient(upstream, to, job.signal)
      const { status } = await target.answer({ method: 'HEAD', retry: true })
      if (status !== 200) throw new UsageError(`--to: the store answers ${status} for ${to}. Create it first.`)
      await ensureStateBucket(upstream, store.stateBucket, store.region, job.signal)
      const journal = await openJournal(upstream, store, target, platform)
      const decrypt = {
        ...job,
        sealed: own.sealed,
        target,
        journal,
        singleLimit: sizes.above,
        partSize: sizes.part,
        maxParts: store.maxParts,
        clockMs: store.name === options.store.name ? DATE_MS : APART_MS
      }
      return (row, signal) => decryptObject(decrypt, row, signal)
    }, ({ totals }) => failedOr(totals, [...totals.outcomes.keys()].some((outcome) => outcome.startsWith('left')) ? exitCodes.damaged : exitCodes.done))
  } finally {
    await upstream.close()
  }
}

/** @param bucket where uploads are begun. @throws S3Error of the store. */
async function openJournal(upstream: StoreUpstream, { stateBucket }: UpstreamConfig, bucket: BucketClient, platform: Platform): Promise<UploadJournal> {
  const journal = new UploadJournal(new BucketClient(upstream, stateBucket, bucket.signal), bucket, thisProcess)
  await recoverUploads(journal, platform)
  return journal
}

/** Clients would be refused the plaintext there, and `scan` would report it. A bucket that nothing covers is served to nobody. */
function coversSealed({ config }: Existing, bucket: string): boolean {
  try {
    return policyFor(config, bucket).encryption === 'on'
  } catch (error) {
    if (error instanceof S3Error && error.code === 'AccessDenied') return false
    throw error
  }
}

/** A failure of verification, with the fault that only the gateway knows. */
function named(error: unknown, own: OwnGateway): unknown {
  if (!(error instanceof S3Error)) return error
  const fault = own.faultOf(error.diagnosis?.remoteRequestId ?? '')
  return fault === null ? error : new S3Error('SealgateIntegrityError', { message: `${fault}: ${faults[fault]}`, cause: error })
}

type Prepare = (job: ExistingJob, own: OwnGateway | null) => ReturnType<Parameters<typeof runExisting>[3]>

/** Runs an action with a gateway of its own. @param wanted false: the action needs none. */
async function withOwnGateway(
  command: string,
  options: Existing,
  platform: Platform,
  wanted: boolean,
  prepare: Prepare,
  codeOf: Parameters<typeof runExisting>[4]
): Promise<number> {
  const { config, store, bucket, limits: { concurrency } } = options
  let own: OwnGateway | null = null
  try {
    return await runExisting({ command }, options, platform, async (job) => {
      if (!wanted) return prepare(job, null)
      const started = await startOwnGateway({ config, store, bucket, command, concurrency, signal: job.signal }, platform)
      own = started
      const action = await prepare(job, started)
      return async (row, signal) => {
        try {
          return await action(row, signal)
        } catch (error) {
          throw named(error, started)
        }
      }
    }, codeOf)
  } finally {
    await (own as OwnGateway | null)?.close()
  }
}
