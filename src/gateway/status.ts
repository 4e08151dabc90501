import { randomBytes } from 'node:crypto'
import process from 'node:process'
import type { UpstreamConfig } from '../config/config.ts'
import type { KeyState } from '../keys/self-test.ts'
import type { CapabilityReport, Capabilities } from '../store-client/capabilities.ts'
import type { GatewayStatus, OperatorLog } from './types.ts'
import type { Upstream, UpstreamRequest } from '../upstream/types.ts'
import { diagnosisOf, fieldsOf, diagnosis, type Diagnosis } from '../diagnosis.ts'
import { type CheckResult, Health } from '../observe/health.ts'
import { coreInUse } from '../native/core.ts'
import { version } from '../version.ts'
import { S3Error } from '../errors.ts'
import { BucketClient, type Answer, type Sent } from '../store-client/bucket-client.ts'
import { ensureStateBucket, unusable } from '../store-client/state-bucket.ts'

/** Which conditions the store was seen to enforce: those of `upstream.conditions`, and on the source of a copy. */
const capabilities = ['put', 'complete', 'copy', 'delete', 'copySourceIfMatch'] as const

interface StoreCapability {
  readonly kind: string
  readonly capability: (typeof capabilities)[number]
  /** null: not known, and so refused. */
  readonly supported: boolean | null
}

export function capabilitiesOf(reports: readonly CapabilityReport[]): StoreCapability[] {
  return reports.flatMap(({ kind, conditions }) => capabilities.map((capability) => ({ kind, capability, supported: conditions?.[capability] ?? null })))
}

type Line = readonly [level: 'info' | 'warn', message: string, fields: Readonly<Record<string, string | number | boolean | null>>]

/** Logs that a kind of bucket has been probed, or that its probe failed. */
export function capabilityLine(upstream: string, { kind, bucket, conditions, failure, diagnosis }: CapabilityReport): Line {
  return conditions === null
    ? ['warn', 'store capabilities not found out', { upstream, kind, bucket, reason: failure, ...fieldsOf(diagnosis) }]
    : ['info', 'store capabilities', { upstream, kind, bucket, ...conditions }]
}

/** Logs an answer without CORS headers because the rules of its bucket could not be read. */
export function corsLine(requestId: string, bucket: string, error: Error & { readonly code: string }): Line {
  return ['warn', 'CORS rules not looked up', { requestId, bucket, code: error.code, ...fieldsOf(diagnosisOf(error)) }]
}

interface StoreStatus {
  readonly settings: UpstreamConfig
  readonly health: Pick<Health, 'report'>
  readonly clockSkewSeconds: number | null
  readonly capabilities: Pick<Capabilities, 'report'>
}

interface StatusSources {
  readonly ready: boolean
  /** Those of no store. */
  readonly checks: readonly CheckResult[]
  readonly keys: readonly KeyState[]
  readonly stores: readonly StoreStatus[]
}

/** The checks of a store, named with it where there are several. */
export function checksOf(
  { settings: { name: store }, health }: { readonly settings: UpstreamConfig; readonly health: Pick<Health, 'report'> },
  several: boolean
): CheckResult[] {
  return health.report().checks.map((check) => several ? { ...check, name: `${check.name} ${store}` } : check)
}

export function gatewayStatus({ ready, checks, keys, stores }: StatusSources): GatewayStatus {
  return {
    version: version(),
    node: process.version,
    core: coreInUse(),
    uptimeSeconds: Math.round(process.uptime()),
    ready,
    checks: checks.map(shownCheck),
    keys: keys.map(({ key, ok, since, code, reason, diagnosis }) => ({
      key,
      ok,
      since,
      code,
      ...reason === null ? {} : { reason, ...fieldsOf(diagnosis) }
    } as GatewayStatus['keys'][number])),
    stores: stores.map(({ settings: { name, endpoint, region, style, stateBucket }, health, clockSkewSeconds, capabilities: found }) => {
      const { ready, checks } = health.report()
      return { name, endpoint, region, style, stateBucket, ready, checks: checks.map(shownCheck), clockSkewSeconds, capabilities: found.report() }
    })
  }
}

function shownCheck({ name, ok, at, since, error, failure }: CheckResult): GatewayStatus['checks'][number] {
  return {
    name,
    ok,
    at,
    since,
    code: error,
    ...failure === null ? {} : { reason: failure.reason, ...fieldsOf(failure.diagnosis) }
  } as GatewayStatus['checks'][number]
}

const TIMEOUT_SECONDS = 10

/** The check that all keys are in need of. @param checkKeys throws when the keys cannot be used */
export function keyHealth(checkKeys: () => Promise<void>, log: OperatorLog): Health {
  return new Health([{ name: 'keys', run: checkKeys }], { timeoutSeconds: TIMEOUT_SECONDS, changed: changeLog(log, {}) })
}

interface StoreHealthOptions {
  readonly upstream: Upstream
  readonly settings: UpstreamConfig
  readonly capabilities: Pick<Capabilities, 'run'>
  readonly log: OperatorLog
  /** As for StoreChecks. */
  readonly speaksTls: Exclude<StoreChecksOptions['speaksTls'], undefined>
  readonly refused: (code: string) => void
}

/** The checks of a store's readiness, and the log lines about them. */
export function storeHealth({ upstream, settings, capabilities, log, speaksTls, refused }: StoreHealthOptions): Health {
  const { name, stateBucket } = settings
  const markers = (): void => {
    log('warn', 'deletes leave markers in the state bucket: its versioning is suspended', { upstream: name, bucket: stateBucket })
  }
  const store = new StoreChecks(upstream, { ...settings, markers, speaksTls, refused })
  return new Health([
    { name: 'store', run: (signal) => store.store(signal) },
    {
      name: 'stateBucket',
      run: async (signal) => {
        await store.stateBucket(signal)
        await capabilities.run(signal)
      }
    }
  ], {
    timeoutSeconds: TIMEOUT_SECONDS,
    changed: changeLog(log, { upstream: name })
  })
}

function changeLog(log: OperatorLog, fields: Readonly<Record<string, string>>): (check: string, error: Error | null) => void {
  return (check, error) => {
    if (error === null) log('info', 'readiness check passes again', { check, ...fields })
    else log('error', 'readiness check fails', { check, ...fields, ...reasonOf(error) })
  }
}

/** Messages of the gateway and the diagnosis of the cause only: other messages may contain anything. */
function reasonOf(error: Error): Readonly<Record<string, string | number>> {
  const fields = fieldsOf(diagnosisOf(error))
  return error instanceof S3Error ? { code: error.code, reason: error.message, ...fields } : { code: 'InternalError', reason: error.name, ...fields }
}

/** Milliseconds between two write tests of the state bucket: stores charge for writes. */
const PROVE_EVERY_MS = 60_000

export interface StoreChecksOptions {
  readonly stateBucket: string
  readonly region: string
  /** Tests whether the store's address answers in TLS, where upstream.endpoint is http; null: it is https. */
  readonly speaksTls?: ((signal: AbortSignal) => Promise<boolean>) | null
  /** Called when the store refuses every request with the gateway's credentials. */
  readonly refused?: (code: string) => void
  /** Called once when deletes leave markers in the state bucket. */
  readonly markers: () => void
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
}

/** The readiness checks of the store: whether it accepts the gateway's requests, and whether the state bucket can be used. */
export class StoreChecks {
  readonly #upstream: Upstream
  readonly #options: StoreChecksOptions
  readonly #now: () => number
  /** One name per process: where deletes leave a delete marker, this leaves a single one. */
  readonly #key = `probe/${randomBytes(12).toString('hex')}/ready`
  /** When the state bucket is tested again. Until it has passed it is tested at every run. */
  #due = -Infinity
  #toldOfMarkers = false

  constructor(upstream: Upstream, options: StoreChecksOptions) {
    this.#upstream = upstream
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /**
   * The store answers and accepts the gateway's credentials, with any answer about the state bucket. Not a HEAD, whose answer has no error code.
   * @throws S3Error ServiceUnavailable, SealgateBadUpstream, SealgateUpstreamTimeout.
   */
  async store(signal: AbortSignal): Promise<void> {
    const { speaksTls = null } = this.#options
    const { status, diagnosis } = await this.#send({ method: 'GET', query: [['versioning', null]], signal }).catch(async (error: unknown) => {
      if (error instanceof S3Error && speaksTls !== null && await speaksTls(signal)) throw plainToTls(error)
      throw error
    })
    // Not every store supports versions.
    if (status >= 500 && status !== 501) throw new S3Error('ServiceUnavailable', { message: `The store answers ${status}.`, diagnosis })
    if (status === 401 || status === 403) await this.#checkRights(signal, diagnosis)
    else if (status === 400 && diagnosis?.errorName === null && speaksTls !== null && await speaksTls(signal)) throw plainToTls(null)
  }

  /**
   * Some stores answer AccessDenied for unknown credentials or a wrong signature, as for a missing right. Credentials to which everything is refused
   * are wrong. @throws S3Error SealgateBadUpstream.
   */
  async #checkRights(signal: AbortSignal, diagnosis: Diagnosis | null): Promise<void> {
    const { refused } = this.#options
    for (const bucket of [this.#options.stateBucket, null]) {
      const { status } = await this.#send({ method: bucket === null ? 'GET' : 'HEAD', bucket, signal })
      if (status !== 401 && status !== 403) return
    }
    refused?.(diagnosis?.errorName ?? 'AccessDenied')
    throw new S3Error('SealgateBadUpstream', { message: 'The store refuses everything that is asked of it with the credentials of the gateway.', diagnosis })
  }

  /**
   * The state bucket exists. Once a minute also: a small object can be written, read back and removed.
   * @throws S3Error ServiceUnavailable that names the bucket and what fails; SealgateBadUpstream, SealgateUpstreamTimeout.
   */
  async stateBucket(signal: AbortSignal): Promise<void> {
    const { stateBucket, region, markers } = this.#options
    const versioning = await ensureStateBucket(this.#upstream, stateBucket, region, signal)
    if (versioning === 'suspended' && !this.#toldOfMarkers) markers()
    this.#toldOfMarkers = versioning === 'suspended'
    if (this.#now() < this.#due) return
    this.#due = -Infinity
    await this.#prove(signal)
    this.#due = this.#now() + PROVE_EVERY_MS
  }

  async #prove(signal: AbortSignal): Promise<void> {
    const key = this.#key
    const written = randomBytes(16)
    const put = await this.#send({ method: 'PUT', key, body: written, signal })
    if (put.status !== 200) throw this.#unusable(`PUT answers ${put.status}`, put)
    const get = await this.#send({ method: 'GET', key, signal })
    if (get.status !== 200) throw this.#unusable(`GET answers ${get.status}`, get)
    if (!get.body.equals(written)) throw this.#unusable('it returns something else than was written', get)
    const removed = await this.#send({ method: 'DELETE', key, signal })
    if (removed.status !== 204 && removed.status !== 200) throw this.#unusable(`DELETE answers ${removed.status}`, removed)
  }

  /** Retried where the connection breaks: one broken connection must not take the gateway out of service. */
  #send({ signal, ...sent }: Sent & Pick<UpstreamRequest, 'signal'>): Promise<Answer> {
    return new BucketClient(this.#upstream, this.#options.stateBucket, signal).answer({ retry: true, ...sent })
  }

  #unusable(reason: string, { diagnosis }: Pick<Answer, 'diagnosis'>): S3Error {
    return unusable(this.#options.stateBucket, reason, diagnosis)
  }
}

function plainToTls(cause: S3Error | null): S3Error {
  return new S3Error('SealgateBadUpstream', {
    message: 'The address of the store speaks TLS: upstream.endpoint must say https.',
    cause: cause ?? undefined,
    diagnosis: diagnosis('store', 'connect', { ...cause?.diagnosis, system: 'ERR_PLAIN_TO_TLS' })
  })
}
