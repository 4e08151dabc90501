import cluster from 'node:cluster'
import { isDeepStrictEqual } from 'node:util'
import type { ConfigFault } from '../config/tree.ts'
import type { Config } from '../config/config.ts'
import type { GatewayStatus, CreateGateway, Gateway, Readiness } from '../gateway/types.ts'
import type { Log } from '../observe/log.ts'
import type { Snapshot } from '../observe/registry.ts'
import type { ProcessReport } from '../page/facts.ts'
import type { Tracer } from '../observe/tracing.ts'
import type { ProcessSignals } from './signals.ts'
import { ConfigError } from '../config/load.ts'
import { giveIdleMemoryBack } from './idle-memory.ts'
import { createListener, type Listener, type ReloadableLimits } from '../listener/listener.ts'
import { expiryOf, readTls, watchTls, type TlsMaterial } from '../listener/tls.ts'
import type { Port } from '../listener/port.ts'
import { availableDescriptors, connectionsWithin, exitCodes, type Platform } from './platform.ts'
import { bind, describeStores, openLog, openTracer, tellWarnings } from './start-up.ts'

const seconds = 1000
/** Longer than the idle time-outs of common load balancers (60 s), so that these close first. */
const keepAliveMs = 75 * seconds
const headersMs = 30 * seconds
/** Fields are at most 20 KiB, and a browser sends them at once. */
const formFieldsMs = 10 * seconds
/** Clients give up after about 60 s of silence. */
const heartbeatMs = 5 * seconds
/** Less than one segment, so that one waiting segment pauses the store. */
const highWaterMark = 32_768

/** Options that are read only at start: transfers in progress, or the process, depend on them. */
const fixedSections = ['admin', 'limits', 'log', 'audit', 'workers'] as const
const fixedOfListen = ['host', 'port', 'trustedProxies', 'clientAddress'] as const

type Tls = Config['listen']['tls']

/** Reads the configuration again. @throws ConfigError when it is not valid. */
export type ReadConfig = () => Config | Promise<Config>

interface ServingParts {
  readonly log: Log
  readonly gateway: Gateway
  readonly listener: Listener
  readonly tracer: Tracer | null
}

interface StartParts {
  readonly createGateway: CreateGateway
  readonly warnings?: readonly ConfigFault[] | undefined
  /** Of a worker. */
  readonly sharedPort?: Port
}

/** One process that serves clients: a gateway behind a listener, until a signal ends it. */
export class GatewayProcess {
  readonly address: { readonly host: string; readonly port: number }
  readonly #log: Log
  readonly #gateway: Gateway
  readonly #listener: Listener
  readonly #tracer: Tracer | null
  #config: Config
  #stopping = false
  readonly #asking = new AbortController()
  readonly #described: Promise<void>
  #reloading = Promise.resolve()
  #unwatch: () => void = () => undefined
  readonly #endMemoryLooks: () => void

  private constructor(parts: ServingParts, config: Config, address: GatewayProcess['address']) {
    this.#log = parts.log
    this.#gateway = parts.gateway
    this.#listener = parts.listener
    this.#tracer = parts.tracer
    this.#config = config
    this.address = address
    this.#endMemoryLooks = giveIdleMemoryBack(() => parts.listener.counts().requestsInFlight > 0)
    // One line for all workers.
    this.#described = (cluster.worker?.id ?? 1) === 1 ? describeStores(config, parts.log, this.#asking.signal) : Promise.resolve()
  }

  /** @throws Error when keys or certificates cannot be read, or the address cannot be bound. */
  static async start(config: Config, platform: Platform, { createGateway, warnings = [], sharedPort }: StartParts): Promise<GatewayProcess> {
    const log = await openLog(config, platform)
    tellWarnings(log, warnings)
    const tracer = await openTracer(platform.env, log)
    const gateway = await createGateway(config, (level, message, fields) => {
      log.event(level, message, fields)
    }, tracer)
    try {
      const material = config.listen.tls === null ? null : await readTls(config.listen.tls)
      if (material !== null) gateway.certificateEnds?.(expiryOf(material))
      const listener = listenerOf(config, material, gateway, log, sharedPort)
      const address = await bind('listen', config.listen, () => listener.start())
      gateway.watch?.(() => listener.counts())
      log.event('info', 'listening', { host: address.host, port: address.port, tls: config.listen.tls !== null })
      return new GatewayProcess({ log, gateway, listener, tracer }, config, address)
    } catch (error) {
      await gateway.close()
      throw error
    }
  }

  async ready(): Promise<Readiness> {
    return this.#stopping ? { ok: false, checks: { gateway: 'stopping' } } : this.#gateway.ready()
  }

  /** Prometheus text. */
  metrics(): string {
    return this.#gateway.metrics()
  }

  /** null: a gateway that has no metrics of its own. */
  status(): GatewayStatus | null {
    return this.#gateway.status?.() ?? null
  }

  /** For the status page; null as above. */
  async report(): Promise<ProcessReport | null> {
    return await this.#gateway.report?.() ?? null
  }

  snapshot(): Snapshot {
    return this.#gateway.snapshot()
  }

  /**
   * Serves until a stop is requested, then lets transfers finish; a second request cuts them.
   * @param read null: the configuration has no file, and a reload does nothing.
   * @returns exit code: 0 when every transfer finished, 3 when transfers were cut.
   */
  async untilStopped(signals: ProcessSignals, read: ReadConfig | null): Promise<number> {
    const next = (work: () => Promise<void>): void => {
      this.#reloading = this.#reloading.then(() => this.#stopping ? undefined : work())
    }
    signals.onReload(() => {
      if (read !== null) next(() => this.#reload(read, next))
    })
    this.#watchTls(next)
    await signals.stopped
    this.#stopping = true
    this.#asking.abort(new Error('The gateway stops.'))
    this.#unwatch()
    this.#endMemoryLooks()
    const { drainSeconds, graceSeconds } = this.#config.limits
    this.#log.event('info', 'stopping', { drainSeconds, graceSeconds, requestsInFlight: this.#listener.counts().requestsInFlight })
    await this.#listener.drain(drainSeconds * seconds, signals.forced)
    const outcome = await this.#stop(signals, graceSeconds * seconds)
    await this.#reloading
    await this.#described
    await this.#gateway.close()
    await this.#tracer?.close()
    this.#log.event(outcome === 'drained' ? 'info' : 'warn', 'stopped', { outcome })
    await this.#log.flush()
    return outcome === 'drained' ? exitCodes.done : exitCodes.cut
  }

  async #stop(signals: ProcessSignals, graceMs: number): Promise<'drained' | 'cut'> {
    const until = performance.now() + graceMs
    const forced: Promise<'drained' | 'cut'>[] = []
    void signals.forced.then(() => {
      forced.push(this.#listener.stop(0))
    })
    const outcome = await this.#listener.stop(graceMs)
    await Promise.race([this.#gateway.settle?.(Math.max(0, until - performance.now())), signals.forced])
    return forced[0] ?? outcome
  }

  /** Applies a changed configuration, or keeps the current one when the new one is not valid. */
  async #reload(read: ReadConfig, next: (work: () => Promise<void>) => void): Promise<void> {
    try {
      const wanted = await read()
      const needRestart = changedFixed(this.#config, wanted).join(', ')
      const config = keepFixed(this.#config, wanted)
      const material = config.listen.tls === null ? null : await readTls(config.listen.tls)
      await this.#gateway.reload(config)
      if (material !== null) this.#takeTls(material)
      this.#listener.reloadLimits(limitsByStores(config, this.#log))
      this.#config = config
      this.#gateway.noteReload?.(true)
      this.#watchTls(next)
      this.#log.event(needRestart === '' ? 'info' : 'warn', 'configuration reloaded', { needRestart })
    } catch (error) {
      this.#refused('configuration not reloaded', error)
    }
  }

  /** Reloads certificates that were renewed on disk; the rest of the configuration waits for SIGHUP. */
  #watchTls(next: (work: () => Promise<void>) => void): void {
    this.#unwatch()
    const { tls } = this.#config.listen
    if (tls === null) return
    this.#unwatch = watchTls(tls, () => {
      next(async () => {
        try {
          this.#takeTls(await readTls(tls))
          this.#log.event('info', 'certificates reloaded')
        } catch (error) {
          this.#refused('certificates not reloaded', error)
        }
      })
    })
  }

  #takeTls(material: TlsMaterial): void {
    this.#listener.reloadTls(material)
    this.#gateway.certificateEnds?.(expiryOf(material))
  }

  #refused(message: string, error: unknown): void {
    this.#gateway.noteReload?.(false)
    // The message of a ConfigError quotes no values.
    this.#log.event('error', message, { faults: error instanceof ConfigError ? error.message : 'see failure' })
    if (!(error instanceof ConfigError)) this.#log.failure({ requestId: null, during: 'reload', error })
  }
}

/** Names of sections and options that differ and take effect only after a restart. */
export function changedFixed(before: Config, after: Config): string[] {
  return [
    ...fixedSections.filter((name) => !isDeepStrictEqual(before[name], after[name])),
    ...fixedOfListen.filter((name) => !isDeepStrictEqual(before.listen[name], after.listen[name])).map((name) => `listen.${name}`),
    ...fixedOfTls(before.listen.tls, after.listen.tls)
  ]
}

/** Files may change at any time. Whether there is TLS, and whether client certificates are demanded, Node reads only at start. */
function fixedOfTls(before: Tls, after: Tls): string[] {
  if (before === null || after === null) return before === after ? [] : ['listen.tls']
  return (before.clientCa === null) === (after.clientCa === null) ? [] : ['listen.tls.clientCa']
}

function keepFixedOfTls(before: Tls, after: Tls): Tls {
  if (before === null || after === null) return before
  return { ...after, clientCa: before.clientCa === null ? null : after.clientCa ?? before.clientCa }
}

/** The new configuration with the old values of the options that take effect only after a restart. */
function keepFixed(before: Config, after: Config): Config {
  const { host, port, trustedProxies, clientAddress, allowPlainBeyondLoopback } = before.listen
  const tls = keepFixedOfTls(before.listen.tls, after.listen.tls)
  const { admin, limits, log, audit, workers } = before
  const listen = { ...after.listen, host, port, trustedProxies, clientAddress, allowPlainBeyondLoopback, tls }
  return { ...after, admin, limits, log, audit, workers, listen }
}

/** What the connections to all stores leave to clients, and allow to anonymous ones. */
function limitsByStores({ limits, upstreams }: Config, log: Log): ReloadableLimits {
  const toStores = Object.values(upstreams).reduce((sum, store) => sum + store.connections, 0)
  const connections = connectionsWithin(limits.connections, Math.ceil(toStores * 1.5), availableDescriptors())
  if (connections < limits.connections) {
    log.event('warn', 'fewer connections than configured: raise the limit of open files', { connections })
  }
  // Each anonymous request holds a connection to a store.
  return { connections, anonymousRequests: Math.max(1, Math.ceil(toStores / 2)) }
}

/** The listener of a gateway, with the limits of its configuration. */
export function listenerOf(config: Config, tls: TlsMaterial | null, gateway: Gateway, log: Log, sharedPort?: Port): Listener {
  const { listen, limits } = config
  return createListener({
    host: listen.host,
    port: listen.port,
    tls,
    trustedProxies: listen.trustedProxies,
    clientAddress: listen.clientAddress,
    limits: {
      ...limitsByStores(config, log),
      requestsInFlight: limits.requestsInFlight,
      unauthenticatedRequests: limits.unauthenticatedRequests,
      formFieldsMs,
      headerBytes: limits.headerBytes,
      minRate: limits.minRate,
      minRateWindowMs: limits.minRateWindowSeconds * seconds,
      headersMs,
      keepAliveMs,
      highWaterMark
    },
    heartbeatMs,
    log,
    sharedPort,
    observe: (record) => {
      gateway.observe?.(record)
    },
    handshakeFailed: (reason) => {
      gateway.handshakeFailed?.(reason)
    },
    limited: (limit) => {
      gateway.limited?.(limit)
    }
  }, (request) => gateway.handle(request))
}
