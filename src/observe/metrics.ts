import { monitorEventLoopDelay } from 'node:perf_hooks'
import { cpuUsage, memoryUsage, resourceUsage, uptime } from 'node:process'
import { troubles } from '../diagnosis.ts'
import { Registry, type Counter, type Gauge, type Histogram, type Snapshot } from './registry.ts'

/** Upper bounds of durations of requests, in seconds. */
export const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const callBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * Every metric of the gateway. Labels take values of closed sets only: never a key of an object or a client; a bucket only in the results of scans, of
 * which there are at most 200.
 */
export interface Metrics {
  /** `status`: see `statusClass`. */
  readonly requests: Counter<'operation' | 'status'>
  /** Seconds from the request's head to the last byte of its answer. */
  readonly requestSeconds: Histogram<'operation'>
  readonly requestsInFlight: Gauge<never>
  readonly unauthenticatedRequests: Gauge<never>
  /** Requests and connections that a limit refused or ended. */
  readonly limited: Counter<'limit'>
  /** Bytes of bodies; `in`: from clients, `out`: to clients. */
  readonly clientBytes: Counter<'direction'>
  readonly clientConnections: Gauge<never>
  /** TLS handshakes of clients that failed. */
  readonly handshakeFailures: Counter<'reason'>
  /** Requests that did not complete: the two letters of the access log. */
  readonly terminations: Counter<'state'>

  /** Seconds until the head of the store's answer. */
  readonly upstreamSeconds: Histogram<'pool' | 'method' | 'upstream'>
  /** Exchanges without a usable answer, by the code of the error. */
  readonly upstreamErrors: Counter<'code' | 'upstream'>
  /** `sent`: to the store, `received`: from it. */
  readonly upstreamBytes: Counter<'direction' | 'upstream'>
  readonly upstreamConnections: Gauge<'pool' | 'upstream'>
  /** Failures of the store, of key services and of files, by kind. */
  readonly failures: Counter<'service' | 'trouble' | 'upstream'>
  /** This clock minus the store's; whole seconds. */
  readonly clockSkew: Gauge<'upstream'>
  /** 1: the store was seen to support it in that kind of bucket. */
  readonly storeCapability: Gauge<'kind' | 'capability' | 'upstream'>
  /** The store refused the gateway's own credentials. */
  readonly upstreamRefused: Counter<'code' | 'upstream'>
  /** Answers of the store without a request. Any is an alarm. */
  readonly unsolicitedResponses: Counter<'upstream'>
  /** `outcome`: recorded, failed. */
  readonly detachedPartWrites: Counter<'outcome' | 'upstream'>

  /** `call`: GenerateDataKey, Decrypt, …; `outcome`: `ok` or the name of the error. */
  readonly kmsCalls: Counter<'call' | 'outcome'>
  readonly kmsSeconds: Histogram<'call'>
  /** `result`: hit, miss, refused. */
  readonly keyCache: Counter<'result'>
  /** 1 from the last of too many failures until a key service answers again, by its region. */
  readonly kmsBreakerOpen: Gauge<'endpoint'>
  /** Objects, records and manifests that did not verify. Any is an alarm. */
  readonly integrityFailures: Counter<'kind'>

  /** 1 for every key of the configuration that does not work, by its name. */
  readonly auditLines: Counter<'sink' | 'outcome'>
  readonly auditWaiting: Gauge<'sink'>
  readonly keyFailing: Gauge<'key'>
  /** 1 for every readiness check whose last run failed. */
  readonly checkFailing: Gauge<'check' | 'upstream'>
  /** Objects by state, as the last scan of the whole bucket has counted them. */
  readonly scannedObjects: Gauge<'bucket' | 'state'>
  /** Seconds since that scan ended. */
  readonly scanAge: Gauge<'bucket'>
  /** Serving processes. */
  readonly workers: Gauge<never>
  /** Workers that ended unexpectedly and were replaced. */
  readonly workerRestarts: Counter<never>

  /** `core`: see `coreInUse`. */
  readonly buildInfo: Gauge<'version' | 'node' | 'core'>
  /** When the certificate of the listener ends, seconds since 1970. */
  readonly certificateExpiry: Gauge<never>
  /** 1: the last reload succeeded, or there was none. */
  readonly reloadSuccessful: Gauge<never>
  /** When the configuration in force was loaded, seconds since 1970. */
  readonly reloadTime: Gauge<never>

  /** For values that are read at each scrape (connections of a pool). */
  beforeSnapshot(collect: () => void): void
  snapshot(): Snapshot
  /** The registry, for metrics of the process. */
  readonly registry: Registry
}

export function createMetrics(): Metrics {
  const r = new Registry()
  return {
    requests: r.counter('sealgate_requests_total', 'Requests answered. status: 2xx to 5xx, or none; 5xx also when the error came after the head of a 2xx.', [
      'operation',
      'status'
    ]),
    requestSeconds: r.histogram('sealgate_request_duration_seconds', 'Time from the head of a request to the last byte of its answer.', requestBuckets, [
      'operation'
    ]),
    requestsInFlight: r.gauge('sealgate_requests_in_flight', 'Requests being served.'),
    unauthenticatedRequests: r.gauge('sealgate_unauthenticated_requests', 'Requests being served without a signature: forms, preflights, anonymous reads.'),
    limited: r.counter(
      'sealgate_limited_total',
      'Requests and connections that a limit turned away or ended. CORS look-ups: answers without CORS headers, and preflights refused, because too many buckets were asked for at once.',
      ['limit']
    ),
    clientBytes: r.counter('sealgate_client_body_bytes_total', 'Bytes of bodies from (in) and to (out) clients.', ['direction']),
    clientConnections: r.gauge('sealgate_client_connections', 'Open client connections.'),
    handshakeFailures: r.counter('sealgate_tls_handshake_failures_total', 'TLS handshakes of clients that failed.', ['reason']),
    terminations: r.counter('sealgate_terminations_total', 'Requests that did not end well, by the two letters of `termination` in the access log.', ['state']),
    upstreamSeconds: r.histogram('sealgate_upstream_time_to_first_byte_seconds', 'Time until the store began to answer.', callBuckets, [
      'pool',
      'method',
      'upstream'
    ]),
    upstreamErrors: r.counter('sealgate_upstream_errors_total', 'Exchanges with the store without a usable answer.', ['code', 'upstream']),
    upstreamBytes: r.counter('sealgate_upstream_body_bytes_total', 'Bytes of bodies sent to and received from the store.', ['direction', 'upstream']),
    upstreamConnections: r.gauge(
      'sealgate_upstream_connections',
      'Open connections to the store. pool: data for bodies, source for bodies that copies read, control for the rest.',
      ['pool', 'upstream']
    ),
    failures: r.counter(
      'sealgate_failures_total',
      'Failures of stores, of key services, of files and of audit sinks. upstream: of a store its name, else empty.',
      [
        'service',
        'trouble',
        'upstream'
      ]
    ),
    clockSkew: r.gauge(
      'sealgate_clock_skew_seconds',
      'Clock of the gateway minus clock of the store, in whole seconds; absent until the store has answered.',
      ['upstream'],
      'max'
    ),
    storeCapability: r.gauge('sealgate_store_capability', '1: the store enforced these conditions in buckets of this kind; 0: it did not.', [
      'kind',
      'capability',
      'upstream'
    ], 'min'),
    upstreamRefused: r.counter('sealgate_upstream_refused_total', 'Requests that the store refused because of the credentials of the gateway.', [
      'code',
      'upstream'
    ]),
    unsolicitedResponses: r.counter(
      'sealgate_upstream_unsolicited_responses_total',
      'Answers of the store that belong to no request; their connections are closed.',
      ['upstream']
    ),
    detachedPartWrites: r.counter(
      'sealgate_detached_part_writes_total',
      'Parts that the store had received completely when their client gave up. outcome: recorded, or failed when the store refused or did not answer.',
      ['outcome', 'upstream']
    ),
    kmsCalls: r.counter('sealgate_kms_calls_total', 'Calls of key services.', ['call', 'outcome']),
    kmsSeconds: r.histogram('sealgate_kms_call_duration_seconds', 'Duration of calls of key services.', callBuckets, ['call']),
    keyCache: r.counter('sealgate_key_cache_total', 'Lookups in the bucket key cache: hit, miss, refused.', ['result']),
    kmsBreakerOpen: r.gauge('sealgate_kms_breaker_open', '1: calls of the key service are held back, from the fifth failure in a row until one is answered.', [
      'endpoint'
    ], 'max'),
    integrityFailures: r.counter(
      'sealgate_integrity_failures_total',
      'Stored data that did not verify. foreign-key: it names a key of the gateway that its bucket may not open with (openKeys).',
      ['kind']
    ),
    auditLines: r.counter('sealgate_audit_sink_lines_total', 'Lines of the audit trail by sink. outcome: sent, or lost to it.', ['sink', 'outcome']),
    auditWaiting: r.gauge('sealgate_audit_sink_waiting_bytes', 'Bytes of lines that wait for a sink of the audit trail.', ['sink']),
    keyFailing: r.gauge('sealgate_key_failing', '1: this key of the configuration cannot be used.', ['key'], 'max'),
    checkFailing: r.gauge('sealgate_check_failing', '1: this readiness check failed. upstream: of a store its name, else empty.', ['check', 'upstream'], 'max'),
    scannedObjects: r.gauge('sealgate_objects', 'Objects of a bucket by state, as the last "sealgate scan" of the whole bucket counted them.', [
      'bucket',
      'state'
    ], 'max'),
    scanAge: r.gauge('sealgate_scan_age_seconds', 'Time since the last "sealgate scan" of the whole bucket.', ['bucket'], 'max'),
    workers: r.gauge('sealgate_workers', 'Processes that serve clients.'),
    workerRestarts: r.counter('sealgate_worker_restarts_total', 'Workers that ended by themselves and were replaced.'),
    buildInfo: r.gauge('sealgate_build_info', '1, with the versions of the gateway and of Node, and what seals and opens bodies: native or javascript.', [
      'version',
      'node',
      'core'
    ], 'max'),
    certificateExpiry: r.gaugeOnceKnown(
      'sealgate_tls_certificate_expiry_timestamp_seconds',
      'When the certificate of the listener expires; absent without TLS.',
      'min'
    ),
    reloadSuccessful: r.gaugeOnceKnown(
      'sealgate_config_last_reload_successful',
      '0: the last reload was refused, and the configuration before it is in force.',
      'min'
    ),
    reloadTime: r.gaugeOnceKnown('sealgate_config_last_reload_success_timestamp_seconds', 'When the configuration in force was loaded.', 'max'),
    beforeSnapshot: (collect) => {
      r.beforeSnapshot(collect)
    },
    snapshot: () => r.snapshot(),
    registry: r
  }
}

/**
 * `2xx` and the like; `none` for a request that ended before it had a status; `5xx` for an error after the head of a success, because SDKs treat it
 * as one.
 * @param code of the error in the answer; null: none
 */
export function statusClass(status: number | null, code: string | null): string {
  if (status !== null && status < 300 && code !== null) return '5xx'
  return status === null ? 'none' : `${Math.trunc(status / 100)}xx`
}

/** Values of labels that are known beforehand. */
interface KnownLabels {
  readonly operations: readonly string[]
  readonly integrityKinds: readonly string[]
}

/**
 * Creates the series of counters at 0, where their labels are known. The first failure is then an increase, which alarms see, and not a series that
 * appears at 1 (prometheus.io, "Instrumentation", Avoid missing metrics).
 */
export function startAtZero(m: Metrics, { operations, integrityKinds }: KnownLabels): void {
  for (const operation of [...operations, 'none']) for (const status of ['2xx', '5xx']) m.requests.add({ operation, status }, 0)
  for (const kind of integrityKinds) m.integrityFailures.add({ kind }, 0)
  for (const service of ['kms', 'files', 'audit']) for (const trouble of troubles) m.failures.add({ service, trouble, upstream: '' }, 0)
  for (const direction of ['in', 'out']) m.clientBytes.add({ direction }, 0)
  for (const reason of ['certificate', 'refused', 'protocol', 'timeout', 'closed']) m.handshakeFailures.add({ reason }, 0)
  for (const by of 'CSKPL') for (const phase of 'RAQUHD') m.terminations.add({ state: by + phase }, 0)
  for (const result of ['hit', 'miss', 'refused']) m.keyCache.add({ result }, 0)
}

/** As `startAtZero`, of one store. @param upstream its name in the configuration */
export function startStoreAtZero(m: Metrics, upstream: string): void {
  for (const trouble of troubles) m.failures.add({ service: 'store', trouble, upstream }, 0)
  for (const direction of ['sent', 'received']) m.upstreamBytes.add({ direction, upstream }, 0)
  for (const code of ['SealgateBadUpstream', 'SealgateUpstreamTimeout', 'ServiceUnavailable', 'Aborted']) m.upstreamErrors.add({ code, upstream }, 0)
  for (const code of ['AccessDenied', 'AuthorizationHeaderMalformed', 'ExpiredToken', 'InvalidAccessKeyId', 'RequestTimeTooSkewed', 'SignatureDoesNotMatch']) {
    m.upstreamRefused.add({ code, upstream }, 0)
  }
  m.unsolicitedResponses.add({ upstream }, 0)
  for (const outcome of ['recorded', 'failed']) m.detachedPartWrites.add({ outcome, upstream }, 0)
}

const SAMPLE_MS = 20

/**
 * Memory, CPU time and event loop delay of this process. The delay covers the time since the last snapshot.
 * @returns a function that stops the measuring
 */
export function measureProcess(registry: Registry): () => void {
  const resident = registry.gauge('process_resident_memory_bytes', 'Resident memory.')
  const heap = registry.gauge('nodejs_heap_used_bytes', 'Used heap of V8.')
  const external = registry.gauge('nodejs_external_memory_bytes', 'Memory outside the heap of V8: buffers.')
  const cpu = registry.counter('process_cpu_seconds_total', 'CPU time used, user and system.')
  let counted = 0
  const peak = registry.gauge('process_resident_memory_peak_bytes', 'Largest resident memory so far.')
  const up = registry.gauge('process_uptime_seconds', 'Time since the start of the process; the longest of several.', [], 'max')
  // Not one metric with a label `quantile`: that label is for summaries, which have a sum and a count as well.
  const delays = [['p50', 50], ['p99', 99], ['max', 100]] as const
  const delayed = delays.map(([name, percent]) => ({
    percent,
    gauge: registry.gauge(
      `nodejs_event_loop_delay_${name}_seconds`,
      `Event loop delay since the last scrape, ${name}, of the process where it is longest.`,
      [],
      'max'
    )
  }))
  const histogram = monitorEventLoopDelay({ resolution: SAMPLE_MS })
  histogram.enable()
  registry.beforeSnapshot(() => {
    const memory = memoryUsage()
    const { user, system } = cpuUsage()
    resident.set({}, memory.rss)
    heap.set({}, memory.heapUsed)
    external.set({}, memory.external)
    const used = (user + system) / 1e6
    cpu.add({}, used - counted)
    counted = used
    peak.set({}, resourceUsage().maxRSS * 1024)
    up.set({}, uptime())
    for (const { gauge, percent } of delayed) gauge.set({}, histogram.count === 0 ? 0 : lateness(histogram.percentile(percent)))
    histogram.reset()
  })
  return () => {
    histogram.disable()
  }
}

/**
 * Node records the time from one sample to the next, with the pause between them, which is subtracted.
 * @param nanoseconds what it recorded. @returns seconds
 */
export function lateness(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - SAMPLE_MS / 1000)
}
