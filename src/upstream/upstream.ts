// HTTP towards the store: pools of connections, signing, retries, and checks that a response belongs to its request and is complete.
// It moves bytes and knows neither objects nor documents. Errors of the store become S3Errors in errors.ts, their causes diagnoses in diagnose.ts.
// Only this room knows undici.
import type { LookupFunction } from 'node:net'
import { Readable } from 'node:stream'
import type { Config, UpstreamConfig } from '../config/config.ts'
import type { Upstream, UpstreamRequest, UpstreamResponse } from './types.ts'
import { Roster } from '../collections/roster.ts'
import { clockSkewSeconds } from '../diagnosis.ts'
import { diagnoseAnswer, operationOf, refusal } from './diagnose.ts'
import { identitySource, Signer } from './signer.ts'
import { isLoopback, parseEndpoint, requestAddress, awaitFirstByte, RequestWriter, type WireRequest } from './request-writer.ts'
import { Exchange, type ExchangePlan } from './exchange.ts'
import { toS3Error, checkAnswer, ownFault, readErrorBody, whole } from './errors.ts'
import { Pools, ConnectionQueue } from './pools.ts'
import { report, type ExchangeReport } from './exchange-report.ts'

export type UpstreamSettings = Pick<UpstreamConfig, 'endpoint' | 'region' | 'credentials' | 'style' | 'connections' | 'sse'> & {
  /** PEM text of the certificates that are trusted exclusively; null: those that Node trusts. */
  readonly ca: string | null
}

export type UpstreamLimits = Pick<Config['limits'], 'minRate' | 'minRateWindowSeconds' | 'upstreamFirstByteSeconds'>

export interface UpstreamOptions {
  readonly now?: () => Date
  readonly lookup?: LookupFunction
  /** Sign the chunks of streamed bodies. Default: over plain HTTP beyond loopback. */
  readonly signStreams?: boolean
  readonly connectSeconds?: number
  readonly maxConnectionAgeSeconds?: number
  /** Requests that may wait for a connection, per pool. */
  readonly lineLimit?: number
  readonly lineSeconds?: number
  /** Seconds that `close` waits for requests in flight: some have no reader (answers that are read only to free the connection). */
  readonly closeSeconds?: number
  readonly onExchange?: (report: ExchangeReport) => void
  /** Called when the store refuses the gateway's own signature or credentials: an alarm for the operator. */
  readonly onRefused?: (code: string) => void
  /** Called for an answer without a request: an alarm, because the previous request may have received another's answer. */
  readonly onUnsolicited?: () => void
  /** This clock minus the store's, in whole seconds, from answers to small requests. */
  readonly onSkew?: (seconds: number) => void
}

export interface PoolStats {
  readonly pool: UpstreamRequest['pool']
  /** Open sockets. */
  readonly connected: number
  readonly inFlight: number
  readonly waiting: number
}

export interface StoreUpstream extends Upstream {
  /** As `close`, and cuts nothing that is in flight. */
  retire(): Promise<void>
  stats(): readonly PoolStats[]
}

interface Lane {
  readonly slots: ConnectionQueue
  readonly pools: Pools
}

/**
 * The only way to the store. Four pools, so that transfers delay neither small requests nor each other: `data` with `settings.connections`
 * connections, `source` with a quarter of them, at least 4, `control` with a quarter, at least 8, and `preflight` with 4 for requests caused by
 * unsigned ones, which wait 2 s at most.
 * @throws Error naming the setting when the endpoint is not usable
 */
export function createUpstream(settings: UpstreamSettings, limits: UpstreamLimits, options: UpstreamOptions = {}): StoreUpstream {
  return new SigningUpstream(settings, limits, options)
}

class SigningUpstream implements StoreUpstream {
  readonly #endpoint: URL
  readonly #style: UpstreamSettings['style']
  readonly #limits: UpstreamLimits
  readonly #options: UpstreamOptions
  readonly #writer: RequestWriter
  readonly #lanes: Readonly<Record<UpstreamRequest['pool'], Lane>>
  readonly #running = new Roster<Exchange>()
  readonly #sampler: NodeJS.Timeout
  #retired: Promise<void> | null = null

  constructor(settings: UpstreamSettings, limits: UpstreamLimits, options: UpstreamOptions) {
    this.#endpoint = parseEndpoint(settings.endpoint, settings.style)
    this.#style = settings.style
    this.#limits = limits
    this.#options = options
    this.#writer = new RequestWriter(
      new Signer(settings.region, options.now ?? (() => new Date())),
      identitySource(settings.credentials),
      options.signStreams ?? (this.#endpoint.protocol === 'http:' && !isLoopback(this.#endpoint)),
      settings.sse
    )
    this.#lanes = {
      data: lane(settings, limits, options, settings.connections),
      source: lane(settings, limits, options, Math.max(4, Math.ceil(settings.connections / 4))),
      control: lane(settings, limits, options, Math.max(8, Math.ceil(settings.connections / 4))),
      preflight: lane(settings, limits, { ...options, lineSeconds: 2 }, 4)
    }
    this.#sampler = this.#startSampler()
  }

  async request(request: UpstreamRequest): Promise<UpstreamResponse> {
    try {
      return await this.#request(request)
    } catch (error) {
      if (request.body instanceof Readable) request.body.destroy()
      throw request.signal.aborted ? request.signal.reason : toS3Error(error, operationOf(request))
    }
  }

  stats(): readonly PoolStats[] {
    return (['data', 'source', 'control', 'preflight'] as const).map((pool) => {
      const { slots, pools } = this.#lanes[pool]
      return { pool, connected: pools.connected, inFlight: slots.taken, waiting: slots.waiting }
    })
  }

  /** Resolves when the requests in flight have ended; abort their signals to end them sooner. Those that last too long are cut. */
  async close(): Promise<void> {
    const patience = setTimeout(() => {
      for (const exchange of this.#running.members()) exchange.abort(new Error('The gateway stops.'))
    }, (this.#options.closeSeconds ?? 5) * 1000)
    await this.retire()
    clearTimeout(patience)
  }

  retire(): Promise<void> {
    this.#retired ??= Promise.all(Object.values(this.#lanes).map(({ pools }) => pools.close())).then(() => {
      clearInterval(this.#sampler)
    })
    return this.#retired
  }

  async #request(request: UpstreamRequest): Promise<UpstreamResponse> {
    const body = request.body instanceof Readable ? await awaitFirstByte(request.body, request.contentLength) : request.body
    const { slots } = this.#lanes[request.pool]
    const release = await slots.take(request.signal)
    let exchange: Exchange | undefined
    try {
      const address = requestAddress(this.#endpoint, this.#style, request)
      const wire = await this.#writer.write(request, body, address)
      // From here on the exchange listens to the signal; an aborted signal emits no event.
      request.signal.throwIfAborted()
      const plan = this.#plan(request, wire)
      exchange = await this.#exchange(request, plan, address.origin)
      return await this.#usable(request, await exchange.answer)
    } finally {
      if (exchange === undefined) release()
      else void exchange.closed.then(release)
    }
  }

  #plan(request: UpstreamRequest, wire: WireRequest): ExchangePlan {
    const operation = operationOf(request)
    return {
      ...wire,
      method: request.method,
      operation,
      signal: request.signal,
      answerSeconds: request.answerSeconds ?? null,
      check: (status, headers) => {
        checkAnswer({ status, headers, asked: request, sent: wire.checksum() }, () => diagnoseAnswer(operation, status, headers, null, this.#now()))
      },
      minRate: isKeptAlive(request) ? 0 : this.#limits.minRate,
      windowSeconds: this.#limits.minRateWindowSeconds
    }
  }

  /** @returns an exchange that has an answer or has failed */
  async #exchange(request: UpstreamRequest, plan: ExchangePlan, origin: string): Promise<Exchange> {
    const { pools } = this.#lanes[request.pool]
    const first = this.#start(request, plan, (exchange) => {
      exchange.start(pools.at(origin))
    })
    if (!request.retry || plan.body instanceof Readable) return first
    try {
      await first.answer
      return first
    } catch {
      if (!first.failedBeforeAnswer || request.signal.aborted) return first
    }
    return this.#start(request, plan, (exchange) => {
      const client = pools.fresh(origin)
      exchange.start(client)
      // Graceful: the connection is closed when the exchange has ended.
      void client.close()
    })
  }

  #start(request: UpstreamRequest, plan: ExchangePlan, send: (exchange: Exchange) => void): Exchange {
    const started = performance.now()
    const exchange = new Exchange(plan)
    const leave = this.#running.add(exchange)
    void exchange.closed.then(() => {
      leave()
      this.#options.onExchange?.(report(request, exchange, started))
    })
    send(exchange)
    return exchange
  }

  /** Reads error documents: errors about the gateway's own credentials are not passed on. */
  async #usable(request: UpstreamRequest, answer: UpstreamResponse): Promise<UpstreamResponse> {
    const now = this.#now()
    const skew = request.pool === 'control' ? clockSkewSeconds(answer.headers.get('date'), now) : null
    if (skew !== null) this.#options.onSkew?.(skew)
    if (answer.status < 400) return answer
    const document = request.method === 'HEAD' ? null : await readErrorBody(answer.body)
    const diagnosed = diagnoseAnswer(operationOf(request), answer.status, answer.headers, document, now)
    const fault = document === null ? null : ownFault(document)
    if (fault === null) return { ...answer, body: document === null ? answer.body : whole(document), diagnosis: diagnosed }
    this.#options.onRefused?.(fault)
    throw refusal(fault, diagnosed)
  }

  #now(): number {
    return (this.#options.now?.() ?? new Date()).getTime()
  }

  #startSampler(): NodeJS.Timeout {
    const period = Math.min(1000, Math.max(20, this.#limits.minRateWindowSeconds * 200))
    let last = performance.now()
    return setInterval(() => {
      const now = performance.now()
      const seconds = (now - last) / 1000
      last = now
      for (const exchange of this.#running.members()) exchange.sample(seconds)
    }, period).unref()
  }
}

function lane(settings: UpstreamSettings, limits: UpstreamLimits, options: UpstreamOptions, connections: number): Lane {
  return {
    slots: new ConnectionQueue(connections, options.lineLimit ?? connections * 4, (options.lineSeconds ?? 10) * 1000),
    pools: new Pools({
      connections,
      ca: settings.ca,
      connectSeconds: options.connectSeconds ?? 5,
      maxAgeSeconds: options.maxConnectionAgeSeconds ?? 300,
      firstByteSeconds: limits.upstreamFirstByteSeconds,
      stallSeconds: limits.minRateWindowSeconds,
      lookup: options.lookup ?? null,
      onUnsolicited: () => options.onUnsolicited?.()
    })
  }
}

/**
 * Copies and Completes: S3 may answer at once and then send white space until the work is done (AWS API, CopyObject and CompleteMultipartUpload).
 * There no rate is demanded, only some progress.
 */
function isKeptAlive({ method, query, headers }: UpstreamRequest): boolean {
  return (method === 'POST' && query.some(([name]) => name === 'uploadId')) || headers.some(([name]) => name === 'x-amz-copy-source')
}
