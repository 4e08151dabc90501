import { s3ecFaults } from '../s3ec/fault.ts'
import process from 'node:process'
import type { Load } from './types.ts'
import type { LastScan } from './scans.ts'
import type { ProcessReport } from '../page/facts.ts'
import type { AuditEvent } from '../keys/types.ts'
import type { KeyRegistryOptions } from '../keys/configured-key.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyState } from '../keys/self-test.ts'
import type { AccessRecord } from '../observe/access-log.ts'
import type { CheckResult } from '../observe/health.ts'
import type { Snapshot } from '../observe/registry.ts'
import type { Tracer } from '../observe/tracing.ts'
import type { CapabilityReport } from '../store-client/capabilities.ts'
import type { ExchangeReport } from '../upstream/exchange-report.ts'
import type { Upstream } from '../upstream/types.ts'
import type { PoolStats, UpstreamOptions } from '../upstream/upstream.ts'
import { diagnosisOf, troubleOf } from '../diagnosis.ts'
import { capabilitiesOf } from './status.ts'
import { envelopeErrorKinds } from '../envelope/encoding.ts'
import { S3Error } from '../errors.ts'
import { serviceTroubles } from '../keys/service/errors.ts'
import { ActivityRecorder } from '../observe/activity.ts'
import type { AuditTrail } from '../observe/audit-trail.ts'
import { createMetrics, startAtZero, startStoreAtZero, statusClass, type Metrics, measureProcess } from '../observe/metrics.ts'
import { operationNames } from '../s3/operations.ts'
import { coreInUse } from '../native/core.ts'
import { version } from '../version.ts'

/** Values that are read when metrics are requested. */
export interface Gauges {
  readonly stores: readonly {
    readonly name: string
    readonly pools: readonly PoolStats[]
    readonly checks: readonly CheckResult[]
    readonly capabilities: readonly CapabilityReport[]
    readonly clockSkewSeconds: number | null
  }[]
  /** Those of no store. */
  readonly checks: readonly CheckResult[]
  /** Regions of key services, and whether their calls are held back. */
  readonly heldBack: ReturnType<KeyRegistry['heldBack']>
  readonly keys: readonly KeyState[]
  readonly scans: readonly LastScan[]
}

/** What observes one store. */
export interface StoreObserver extends Required<Pick<UpstreamOptions, 'onRefused' | 'onUnsolicited' | 'onExchange'>> {
  readonly latePart: (outcome: 'recorded' | 'failed') => void
}

type Observed = Pick<ProcessReport, 'activity' | 'audited' | 'auditFailure' | 'certificateEnds' | 'reload' | 'load'>

/** Everything that observes the gateway without changing it: metrics, audit trail, and traces where configured. */
export class Observer {
  readonly #metrics: Metrics = createMetrics()
  readonly #tracer: Tracer | null
  readonly #audit: AuditTrail | null
  readonly #stopMeasuring: () => void
  readonly #activity = new ActivityRecorder()
  #auditFailure: Observed['auditFailure'] = null
  #certificateEnds: number | null = null
  #reload: Observed['reload'] = { ok: true, at: new Date().toISOString() }
  #load: (() => Load) | null = null

  /** @param audit null: none is configured. Closed with this. */
  constructor(audit: AuditTrail | null, tracer: Tracer | null) {
    this.#tracer = tracer
    this.#audit = audit
    this.#stopMeasuring = measureProcess(this.#metrics.registry)
    startAtZero(this.#metrics, { operations: operationNames, integrityKinds: [...envelopeErrorKinds, ...Object.keys(s3ecFaults), 'checksum'] })
    this.#metrics.buildInfo.set({ version: version(), node: process.version, core: coreInUse() }, 1)
    this.reloaded(true)
    this.#metrics.workers.set({}, 1)
  }

  /** Callbacks of a store's upstream that report to the metrics. */
  store(upstream: string): StoreObserver {
    startStoreAtZero(this.#metrics, upstream)
    return {
      onRefused: (code) => {
        this.#metrics.upstreamRefused.add({ code, upstream })
      },
      onUnsolicited: () => {
        this.#metrics.unsolicitedResponses.add({ upstream })
      },
      onExchange: (report) => {
        this.#exchange(report, upstream)
      },
      latePart: (outcome) => {
        this.#metrics.detachedPartWrites.add({ outcome, upstream })
      }
    }
  }

  /** @param taken true: the start or a reload succeeded; false: a reload was refused, and the previous configuration is in force */
  reloaded(taken: boolean): void {
    this.#metrics.reloadSuccessful.set({}, taken ? 1 : 0)
    this.#reload = { ok: taken, at: new Date().toISOString() }
    if (taken) this.#metrics.reloadTime.set({}, Date.now() / 1000)
  }

  certificateEnds(at: number): void {
    this.#metrics.certificateExpiry.set({}, at)
    this.#certificateEnds = at
  }

  /** The upstream of a store, with a span for every exchange that a request waits for, until its answer begins. */
  traced(name: string, upstream: Upstream): Upstream {
    const tracer = this.#tracer
    return tracer === null ? upstream : {
      request: async (request) => {
        const end = tracer.child(`store ${request.method}`, { 'http.request.method': request.method, 'sealgate.pool': request.pool, 'sealgate.upstream': name })
        try {
          const response = await upstream.request(request)
          end(null, { 'http.response.status_code': response.status })
          return response
        } catch (error) {
          end(error instanceof S3Error ? error.code : 'Aborted')
          throw error
        }
      },
      close: () => upstream.close()
    }
  }

  /** The audit sink of the keys. A use of a key that cannot be recorded throws S3Error ServiceUnavailable and does not happen. */
  keys(): Pick<KeyRegistryOptions, 'audit' | 'metrics'> {
    return {
      audit: (event) => {
        this.#keyUse(event)
      },
      metrics: {
        call: (call, outcome, seconds) => {
          this.#metrics.kmsCalls.add({ call, outcome })
          this.#metrics.kmsSeconds.observe({ call }, seconds)
          this.#activity.called('kms', seconds, outcome !== 'ok')
          const trouble = serviceTroubles[outcome]
          if (trouble !== null) this.#metrics.failures.add({ service: 'kms', trouble, upstream: '' })
          this.#tracer?.past(`KMS ${call}`, seconds, outcome === 'ok' ? null : outcome)
        }
      }
    }
  }

  /** The checks of what takes the audit trail beside its file, and whether keys may be used as far as they are concerned. */
  sinks(): { readonly ready: boolean; readonly checks: readonly CheckResult[] } {
    const sinks = this.#audit?.sinks ?? []
    return { ready: sinks.every((sink) => sink.refusal() === null), checks: sinks.map((sink) => sink.check()) }
  }

  integrityFailure(kind: string): void {
    this.#metrics.integrityFailures.add({ kind })
    this.#activity.integrityFailure(kind)
  }

  handshakeFailed(reason: string): void {
    this.#metrics.handshakeFailures.add({ reason })
  }

  limited(limit: string): void {
    this.#metrics.limited.add({ limit })
  }

  /** Counts a look-up of CORS rules that a limit has refused. @returns whether the error was one */
  corsLimited({ code }: S3Error): boolean {
    if (code === 'SlowDown') this.limited('CORS look-ups')
    return code === 'SlowDown'
  }

  /** Records a finished request. */
  request(record: AccessRecord): void {
    const operation = record.operation ?? 'none'
    this.#metrics.requests.add({ operation, status: statusClass(record.status, record.code) })
    this.#metrics.requestSeconds.observe({ operation }, record.seconds)
    this.#metrics.clientBytes.add({ direction: 'in' }, record.bytesIn)
    this.#metrics.clientBytes.add({ direction: 'out' }, record.bytesOut)
    if (record.termination !== '--') this.#metrics.terminations.add({ state: record.termination })
    this.#activity.request(record)
    this.#tracer?.finish(record)
  }

  watch(gauges: () => Gauges): void {
    this.#metrics.beforeSnapshot(() => {
      const { stores, checks, heldBack, keys, scans } = gauges()
      // Stores come and go with the configuration, as keys do.
      const { upstreamConnections, checkFailing, storeCapability, clockSkew, keyFailing, kmsBreakerOpen, scannedObjects, scanAge, auditLines, auditWaiting } =
        this.#metrics
      for (const gauge of [upstreamConnections, checkFailing, storeCapability, clockSkew, keyFailing, kmsBreakerOpen, scannedObjects, scanAge]) gauge.clear()
      for (const { bucket, ended, states } of scans) {
        scanAge.set({ bucket }, Math.max(0, Date.now() - ended) / 1000)
        for (const [state, { objects }] of Object.entries(states)) scannedObjects.set({ bucket, state }, objects)
      }
      for (const { name, ok } of checks) checkFailing.set({ check: name, upstream: '' }, ok ? 0 : 1)
      for (const { name: sink, counts, waitingBytes } of this.#audit?.sinks ?? []) {
        auditWaiting.set({ sink }, waitingBytes)
        for (const outcome of ['sent', 'lost'] as const) auditLines.raise({ sink, outcome }, counts[outcome])
      }
      for (const { key, ok } of keys) keyFailing.set({ key }, ok === false ? 1 : 0)
      for (const { name: upstream, pools, checks, capabilities, clockSkewSeconds } of stores) {
        if (clockSkewSeconds !== null) clockSkew.set({ upstream }, clockSkewSeconds)
        for (const { pool, connected } of pools) upstreamConnections.set({ pool, upstream }, connected)
        for (const { name, ok } of checks) checkFailing.set({ check: name, upstream }, ok ? 0 : 1)
        for (const { kind, capability, supported } of capabilitiesOf(capabilities)) {
          if (supported !== null) storeCapability.set({ kind, capability, upstream }, supported ? 1 : 0)
        }
      }
      for (const [endpoint, held] of heldBack) kmsBreakerOpen.set({ endpoint }, held ? 1 : 0)
    })
  }

  watchLoad(load: () => Load): void {
    this.#load = load
    this.#metrics.beforeSnapshot(() => {
      const { connections, requestsInFlight, unauthenticated } = load()
      this.#metrics.clientConnections.set({}, connections)
      this.#metrics.requestsInFlight.set({}, requestsInFlight)
      this.#metrics.unauthenticatedRequests.set({}, unauthenticated)
    })
  }

  /** What the status page shows of this process. */
  observed(): Observed {
    const load = this.#load?.() ?? null
    return {
      activity: this.#activity.report(),
      audited: this.#audit !== null,
      auditFailure: this.#auditFailure,
      certificateEnds: this.#certificateEnds,
      reload: this.#reload,
      load: load === null ? null : { connections: load.connections, requestsInFlight: load.requestsInFlight }
    }
  }

  snapshot(): Snapshot {
    return this.#metrics.snapshot()
  }

  /** Reopens an audit file that was rotated. Keeps the old one and throws when the new one cannot be opened. */
  reopenAudit(): void {
    this.#audit?.reopen()
  }

  async close(): Promise<void> {
    this.#stopMeasuring()
    await this.#audit?.close()
  }

  #exchange({ pool, method, error, trouble, headSeconds, seconds, bytesSent, bytesReceived }: ExchangeReport, upstream: string): void {
    if (trouble !== null) this.#metrics.failures.add({ service: 'store', trouble, upstream })
    if (headSeconds !== null || trouble !== null) this.#activity.called('store', headSeconds ?? seconds, trouble !== null)
    if (headSeconds !== null) this.#metrics.upstreamSeconds.observe({ pool, method, upstream }, headSeconds)
    if (error !== null) this.#metrics.upstreamErrors.add({ code: error, upstream })
    this.#metrics.upstreamBytes.add({ direction: 'sent', upstream }, bytesSent)
    this.#metrics.upstreamBytes.add({ direction: 'received', upstream }, bytesReceived)
  }

  #keyUse(event: AuditEvent): void {
    this.#metrics.keyCache.add({ result: event.outcome !== 'ok' ? 'refused' : event.cached ? 'hit' : 'miss' })
    this.#tracer?.event(event.requestId, `key ${event.action}`, { cached: event.cached, 'error.type': event.error })
    try {
      this.#audit?.record(event)
      this.#auditFailure = null
    } catch (error) {
      const known = diagnosisOf(error)
      const at = new Date().toISOString()
      this.#auditFailure = { since: this.#auditFailure?.since ?? at, at, system: known?.system ?? null }
      if (known !== null) this.#metrics.failures.add({ service: known.service, trouble: troubleOf(known), upstream: '' })
      throw error
    }
  }
}
