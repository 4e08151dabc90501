import process from 'node:process'
import type { Config } from '../config/config.ts'
import type { Load } from './types.ts'
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
import { kmsTroubles } from '../keys/providers/kms-errors.ts'
import { fileAuditTrail, type AuditTrail } from '../observe/audit-trail.ts'
import { createMetrics, startAtZero, statusClass, type Metrics, measureProcess } from '../observe/metrics.ts'
import { operationNames } from '../s3/operations.ts'
import { version } from '../version.ts'

/** Values that are read when metrics are requested. */
interface Gauges {
  readonly pools: readonly PoolStats[]
  readonly checks: readonly CheckResult[]
  /** Regions of key services, and whether their calls are held back. */
  readonly heldBack: ReturnType<KeyRegistry['heldBack']>
  readonly keys: readonly KeyState[]
  readonly capabilities: readonly CapabilityReport[]
}

/** Everything that observes the gateway without changing it: metrics, audit trail, and traces where configured. */
export class Observer {
  readonly #metrics: Metrics = createMetrics()
  readonly #tracer: Tracer | null
  readonly #audit: AuditTrail | null
  readonly #stopMeasuring: () => void
  #clockSkew: number | null = null

  /** @throws Error of the file system when the audit file cannot be opened. */
  constructor(config: Config, tracer: Tracer | null) {
    this.#tracer = tracer
    this.#audit = config.audit.file === null ? null : fileAuditTrail(config.audit.file)
    this.#stopMeasuring = measureProcess(this.#metrics.registry)
    startAtZero(this.#metrics, { operations: operationNames, integrityKinds: [...envelopeErrorKinds, 'checksum'] })
    this.#metrics.buildInfo.set({ version: version(), node: process.version }, 1)
    this.reloaded(true)
    this.#metrics.workers.set({}, 1)
  }

  /** Options of the upstream that report to the metrics. */
  upstream(): Pick<UpstreamOptions, 'onRefused' | 'onUnsolicited' | 'onExchange' | 'onSkew'> {
    return {
      onRefused: (code) => {
        this.refused(code)
      },
      onSkew: (seconds) => {
        this.#skew(seconds)
      },
      onUnsolicited: () => {
        this.#metrics.unsolicitedResponses.add({})
      },
      onExchange: (report) => {
        this.#exchange(report)
      }
    }
  }

  /** The store has refused the gateway's own credentials. */
  refused(code: string): void {
    this.#metrics.upstreamRefused.add({ code })
  }

  /** This clock minus the store's, in whole seconds; null: not known yet. */
  get clockSkewSeconds(): number | null {
    return this.#clockSkew
  }

  /** @param taken true: the start or a reload succeeded; false: a reload was refused, and the previous configuration is in force */
  reloaded(taken: boolean): void {
    this.#metrics.reloadSuccessful.set({}, taken ? 1 : 0)
    if (taken) this.#metrics.reloadTime.set({}, Date.now() / 1000)
  }

  certificateEnds(at: number): void {
    this.#metrics.certificateExpiry.set({}, at)
  }

  /** The upstream, with a span for every exchange that a request waits for, until its answer begins. */
  traced(upstream: Upstream): Upstream {
    const tracer = this.#tracer
    return tracer === null ? upstream : {
      request: async (request) => {
        const end = tracer.child(`store ${request.method}`, { 'http.request.method': request.method, 'sealgate.pool': request.pool })
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
          const trouble = kmsTroubles[outcome]
          if (trouble !== null) this.#metrics.failures.add({ service: 'kms', trouble })
          this.#tracer?.past(`KMS ${call}`, seconds, outcome === 'ok' ? null : outcome)
        }
      }
    }
  }

  integrityFailure(kind: string): void {
    this.#metrics.integrityFailures.add({ kind })
  }

  latePart(outcome: 'recorded' | 'failed'): void {
    this.#metrics.detachedPartWrites.add({ outcome })
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
    this.#tracer?.finish(record)
  }

  watch(gauges: () => Gauges): void {
    this.#metrics.beforeSnapshot(() => {
      const { pools, checks, heldBack, keys, capabilities } = gauges()
      for (const { pool, connected } of pools) this.#metrics.upstreamConnections.set({ pool }, connected)
      for (const { name, ok } of checks) this.#metrics.checkFailing.set({ check: name }, ok ? 0 : 1)
      this.#metrics.keyFailing.clear()
      for (const { key, ok } of keys) this.#metrics.keyFailing.set({ key }, ok === false ? 1 : 0)
      this.#metrics.storeCapability.clear()
      for (const { kind, capability, supported } of capabilitiesOf(capabilities)) {
        if (supported !== null) this.#metrics.storeCapability.set({ kind, capability }, supported ? 1 : 0)
      }
      for (const [region, held] of heldBack) this.#metrics.kmsBreakerOpen.set({ region }, held ? 1 : 0)
    })
  }

  watchLoad(load: () => Load): void {
    this.#metrics.beforeSnapshot(() => {
      const { connections, requestsInFlight, unauthenticated } = load()
      this.#metrics.clientConnections.set({}, connections)
      this.#metrics.requestsInFlight.set({}, requestsInFlight)
      this.#metrics.unauthenticatedRequests.set({}, unauthenticated)
    })
  }

  /** Keys that are no longer used hold nothing back. */
  keysReplaced(before: KeyRegistry): void {
    for (const region of before.heldBack().keys()) this.#metrics.kmsBreakerOpen.set({ region }, 0)
  }

  snapshot(): Snapshot {
    return this.#metrics.snapshot()
  }

  /** Reopens an audit file that was rotated. Keeps the old one and throws when the new one cannot be opened. */
  reopenAudit(): void {
    this.#audit?.reopen()
  }

  close(): void {
    this.#stopMeasuring()
    this.#audit?.close()
  }

  #skew(seconds: number): void {
    this.#clockSkew = seconds
    this.#metrics.clockSkew.set({}, seconds)
  }

  #exchange({ pool, method, error, trouble, headSeconds, bytesSent, bytesReceived }: ExchangeReport): void {
    if (trouble !== null) this.#metrics.failures.add({ service: 'store', trouble })
    if (headSeconds !== null) this.#metrics.upstreamSeconds.observe({ pool, method }, headSeconds)
    if (error !== null) this.#metrics.upstreamErrors.add({ code: error })
    this.#metrics.upstreamBytes.add({ direction: 'sent' }, bytesSent)
    this.#metrics.upstreamBytes.add({ direction: 'received' }, bytesReceived)
  }

  #keyUse(event: AuditEvent): void {
    this.#metrics.keyCache.add({ result: event.outcome !== 'ok' ? 'refused' : event.cached ? 'hit' : 'miss' })
    this.#tracer?.event(event.requestId, `key ${event.action}`, { cached: event.cached, 'error.type': event.error })
    try {
      this.#audit?.record(event)
    } catch (error) {
      const known = diagnosisOf(error)
      if (known !== null) this.#metrics.failures.add({ service: known.service, trouble: troubleOf(known) })
      throw error
    }
  }
}
