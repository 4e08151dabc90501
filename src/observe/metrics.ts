import { Registry, type Counter, type Gauge, type Histogram, type Snapshot } from './registry.ts'

const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const callBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Every metric of the gateway. Labels take values of closed sets only: never a bucket, a key or a client. */
export interface Metrics {
  /** `status`: see `statusClass`. */
  readonly requests: Counter<'operation' | 'status'>
  /** Seconds from the request's head to the last byte of its answer. */
  readonly requestSeconds: Histogram<'operation'>
  readonly requestsInFlight: Gauge<never>
  /** Bytes of bodies; `in`: from clients, `out`: to clients. */
  readonly clientBytes: Counter<'direction'>
  readonly clientConnections: Gauge<never>
  /** TLS handshakes of clients that came to nothing. */
  readonly handshakeFailures: Counter<'reason'>
  /** How requests ended that did not end well: the two letters of the access log. */
  readonly terminations: Counter<'state'>

  /** Seconds until the head of the store's answer. */
  readonly upstreamSeconds: Histogram<'pool' | 'method'>
  /** Exchanges without a usable answer, by the code of the error. */
  readonly upstreamErrors: Counter<'code'>
  /** `sent`: to the store, `received`: from it. */
  readonly upstreamBytes: Counter<'direction'>
  readonly upstreamConnections: Gauge<'pool'>
  /** The store refused the gateway's own credentials. */
  readonly upstreamRefused: Counter<'code'>
  /** Answers of the store that no request had asked for. Any is an alarm. */
  readonly unaskedAnswers: Counter<never>
  /** `outcome`: recorded, failed. */
  readonly lateParts: Counter<'outcome'>

  /** `call`: GenerateDataKey, Decrypt, …; `outcome`: `ok` or the name of the error. */
  readonly kmsCalls: Counter<'call' | 'outcome'>
  readonly kmsSeconds: Histogram<'call'>
  /** `result`: hit, miss, refused. */
  readonly keyCache: Counter<'result'>
  /** 1 from the last of too many failures until a key service answers again, by its region. */
  readonly kmsBreakerOpen: Gauge<'region'>
  /** Objects, records and manifests that did not verify. Any is an alarm. */
  readonly integrityFailures: Counter<'kind'>

  /** 1 for every readiness check whose last run failed. */
  readonly checkFailing: Gauge<'check'>
  /** Processes that serve. */
  readonly workers: Gauge<never>
  /** Workers that ended without being told to, and were replaced. */
  readonly workerRestarts: Counter<never>

  /** For values that are read when asked for (connections of a pool). */
  beforeSnapshot(collect: () => void): void
  snapshot(): Snapshot
  /** The registry behind, for metrics of the process. */
  readonly registry: Registry
}

export function createMetrics(): Metrics {
  const r = new Registry()
  return {
    requests: r.counter('sealgate_requests_total', 'Requests answered.', ['operation', 'status']),
    requestSeconds: r.histogram('sealgate_request_duration_seconds', 'Time from request head to last byte.', requestBuckets, ['operation']),
    requestsInFlight: r.gauge('sealgate_requests_in_flight', 'Requests being served.'),
    clientBytes: r.counter('sealgate_client_body_bytes_total', 'Bytes of bodies from (in) and to (out) clients.', ['direction']),
    clientConnections: r.gauge('sealgate_client_connections', 'Open client connections.'),
    handshakeFailures: r.counter('sealgate_tls_handshake_failures_total', 'TLS handshakes of clients that failed.', ['reason']),
    terminations: r.counter('sealgate_terminations_total', 'Requests that did not end well, by who ended them and when.', ['state']),
    upstreamSeconds: r.histogram('sealgate_upstream_head_seconds', 'Time until the store answered.', callBuckets, ['pool', 'method']),
    upstreamErrors: r.counter('sealgate_upstream_errors_total', 'Exchanges with the store that failed.', ['code']),
    upstreamBytes: r.counter('sealgate_upstream_body_bytes_total', 'Bytes of bodies sent to and received from the store.', ['direction']),
    upstreamConnections: r.gauge('sealgate_upstream_connections', 'Open connections to the store.', ['pool']),
    upstreamRefused: r.counter('sealgate_upstream_refused_total', 'The store refused the credentials of the gateway.', ['code']),
    unaskedAnswers: r.counter('sealgate_upstream_unasked_answers_total', 'Answers of the store that no request had asked for.'),
    lateParts: r.counter('sealgate_late_parts_total', 'Parts that the store had whole when their client gave up.', ['outcome']),
    kmsCalls: r.counter('sealgate_kms_calls_total', 'Calls of key services.', ['call', 'outcome']),
    kmsSeconds: r.histogram('sealgate_kms_call_duration_seconds', 'Duration of calls of key services.', callBuckets, ['call']),
    keyCache: r.counter('sealgate_key_cache_total', 'Lookups in the bucket key cache.', ['result']),
    kmsBreakerOpen: r.gauge('sealgate_kms_breaker_open', 'Calls of a key service are held back after failures.', ['region'], 'max'),
    integrityFailures: r.counter('sealgate_integrity_failures_total', 'Stored data that did not verify.', ['kind']),
    checkFailing: r.gauge('sealgate_check_failing', 'Readiness checks whose last run failed.', ['check'], 'max'),
    workers: r.gauge('sealgate_workers', 'Processes that serve clients.'),
    workerRestarts: r.counter('sealgate_worker_restarts_total', 'Workers that ended by themselves and were replaced.'),
    beforeSnapshot: (collect) => { r.beforeSnapshot(collect) },
    snapshot: () => r.snapshot(),
    registry: r
  }
}

/**
 * `2xx` and the like; `none` for a request that ended before it had a status; `5xx` for an error that came after the head of a success,
 * which is how SDKs take it.
 * @param code of the error in the answer; null: none
 */
export function statusClass(status: number | null, code: string | null): string {
  if (status !== null && status < 300 && code !== null) return '5xx'
  return status === null ? 'none' : `${Math.trunc(status / 100)}xx`
}
