import type { Services } from '../operations/context.ts'
import type { ProcessReport } from '../page/facts.ts'
import type { Gateway, GatewayStatus, Load, Readiness, OperatorLog } from './types.ts'
import type { ConditionProbe } from '../store-client/probe-conditions.ts'
import type { AccessRecord } from '../observe/access-log.ts'
import type { AuditTrail } from '../observe/audit-trail.ts'
import type { Health, HealthReport } from '../observe/health.ts'
import type { Tracer } from '../observe/tracing.ts'
import { type Config, policyFor, upstreamsOfKey } from '../config/config.ts'
import { checksOf, corsLine, gatewayStatus, keyHealth } from './status.ts'
import { openAudit } from './audit.ts'
import { Stores } from './stores.ts'
import { LastScans } from './scans.ts'
import { processReport } from './process-report.ts'
import { fieldsOf } from '../diagnosis.ts'
import { type Snapshot, exposition } from '../observe/registry.ts'
import { type KeyRegistry, openKeyRegistry } from '../keys/registry.ts'
import { configWarnings } from '../config/warnings.ts'
import { Budget } from '../concurrency/budget.ts'
import { Turns } from '../concurrency/turns.ts'
import { ObjectCache, SettingsCache } from '../operations/caches.ts'
import { MOST_HELD } from '../operations/objects/client-body.ts'
import { HELD_COPIES_BYTES } from '../operations/copy/by-upload.ts'
import { KeySelfTest } from '../keys/self-test.ts'
import { Observer } from './observer.ts'
import { leaveRoomForBodies } from '../http/gc-tuning.ts'
import { authContext, handle, type Pipeline } from './pipeline.ts'
import { corsRule } from '../s3/cors.ts'

const HEALTH_EVERY_SECONDS = 15

/**
 * Puts the gateway together. It can start before the store is reachable. Then it is not ready, retries, and refuses whatever it does not know the
 * store to enforce.
 * @param probe only tests give another than that of `Capabilities`.
 * @throws Error when keys or certificates of the configuration cannot be read.
 */
export async function createGateway(config: Config, log: OperatorLog, tracer: Tracer | null = null, probe?: ConditionProbe): Promise<Gateway> {
  leaveRoomForBodies()
  const audit = await openAudit(config, log)
  const gateway = new GatewayImpl(config, log, { tracer, audit, probe })
  await gateway.open().catch(async (error: unknown) => {
    await gateway.close()
    throw error
  })
  return gateway
}

interface Parts {
  readonly tracer: Tracer | null
  readonly audit: AuditTrail | null
  readonly probe: ConditionProbe | undefined
}

class GatewayImpl implements Gateway {
  readonly #observer: Observer
  readonly #health: Health
  readonly #stores: Stores
  readonly #scans: LastScans
  /** Twice and four times what one object may need: at most half is one client's. */
  readonly #held = { clients: new Budget(4 * MOST_HELD), anonymous: new Budget(2 * MOST_HELD), copies: new Budget(HELD_COPIES_BYTES) }
  readonly #completes = new Turns()
  readonly #log: OperatorLog
  readonly #tracer: Tracer | null
  /** Keys that a reload has replaced and that requests may still use. */
  readonly #retired = new Set<KeyRegistry>()
  #config: Config
  #keys: KeyRegistry | null = null
  #selfTest: KeySelfTest | null = null
  #pipeline: Pipeline | null = null

  constructor(config: Config, log: OperatorLog, { tracer, audit, probe }: Parts) {
    this.#config = config
    this.#log = log
    this.#tracer = tracer
    this.#observer = new Observer(audit, tracer)
    this.#stores = new Stores(this.#observer, log, probe)
    this.#scans = new LastScans(log)
    this.#health = keyHealth(() => this.#checkKeys(), log)
    this.#observer.watch(() => ({
      stores: this.#stores.gauges,
      scans: this.#scans.all,
      checks: this.#state().checks,
      heldBack: this.#keys?.heldBack() ?? new Map(),
      keys: this.#selfTest?.states ?? []
    }))
  }

  async open(): Promise<void> {
    const { keys, stores } = await this.#prepare(this.#config)
    this.#useKeys(keys)
    this.#stores.use(stores)
    this.#warn()
    this.#assemble(new ObjectCache())
    await this.#checkAll()
    this.#health.start(HEALTH_EVERY_SECONDS)
  }

  async handle(request: Parameters<Gateway['handle']>[0]): ReturnType<Gateway['handle']> {
    if (this.#pipeline === null) throw new Error('The gateway is not open.')
    const pipeline = this.#pipeline
    const users = [pipeline.services.keys, ...this.#stores.all].map((used) => used.enter())
    const leave = (): void => {
      for (const each of users) each()
    }
    const work = (): ReturnType<Gateway['handle']> => handle(pipeline, request)
    try {
      const response = await (this.#tracer === null ? work() : this.#tracer.request(request.id, request.headers.get('traceparent'), work))
      // The rest of a pending answer may need keys as well.
      if (response.pending === undefined) leave()
      else void response.pending.document.then(leave, leave)
      return response
    } catch (error) {
      leave()
      throw error
    }
  }

  async ready(): Promise<Readiness> {
    const { ready, checks } = this.#state()
    const all = [...checks, ...this.#stores.all.flatMap((store, _, { length }) => checksOf(store, length > 1))]
    return { ok: ready, checks: Object.fromEntries(all.map(({ name, ok, error }) => [name, ok ? 'ok' : error ?? 'failed'])) }
  }

  metrics(): string {
    return exposition(this.snapshot())
  }

  snapshot(): Snapshot {
    return this.#observer.snapshot()
  }

  watch(load: () => Load): void {
    this.#observer.watchLoad(load)
  }

  observe(record: AccessRecord): void {
    this.#observer.request(record)
  }

  handshakeFailed(reason: string): void {
    this.#observer.handshakeFailed(reason)
  }

  status(): GatewayStatus {
    return gatewayStatus({ ...this.#state(), keys: this.#selfTest?.states ?? [], stores: this.#stores.all })
  }

  async report(): Promise<ProcessReport> {
    return processReport({
      ...this.#observer.observed(),
      ...this.#state(),
      config: this.#config,
      stores: this.#stores.all,
      keys: await this.#keys?.describe() ?? [],
      selfTest: this.#selfTest,
      heldBack: this.#keys?.heldBack() ?? new Map(),
      scans: this.#scans.all
    })
  }

  noteReload(taken: boolean): void {
    this.#observer.reloaded(taken)
  }

  certificateEnds(at: number): void {
    this.#observer.certificateEnds(at)
  }

  limited(limit: string): void {
    this.#observer.limited(limit)
  }

  /**
   * Applies clients, policies, keys and stores. Requests in flight go on with those that they began with.
   * @throws Error when keys, certificates or the audit file cannot be opened. Nothing has changed then.
   */
  async reload(config: Config): Promise<void> {
    this.#observer.reopenAudit()
    const { keys, stores } = await this.#prepare(config)
    const before = this.#keys
    this.#config = config
    this.#useKeys(keys)
    this.#stores.use(stores)
    this.#warn()
    this.#assemble(new ObjectCache())
    if (before !== null) this.#retire(before)
    await this.#checkAll()
  }

  async settle(graceMs: number): Promise<void> {
    await this.#stores.settle(graceMs)
  }

  async close(): Promise<void> {
    this.#health.drain()
    this.#health.stop()
    await this.#scans.close()
    await this.#stores.close()
    await Promise.all([...this.#retired, ...this.#keys === null ? [] : [this.#keys]].map(async (keys) => keys.close()))
    await this.#observer.close()
  }

  /** Ready while requests can be served, with any store: one that is down must not take clients of others away. With the checks of no store. */
  #state(): Pick<HealthReport, 'ready' | 'checks'> {
    const [keys, sinks] = [this.#health.report(), this.#observer.sinks()]
    const ready = keys.ready && sinks.ready && this.#stores.all.some(({ health }) => health.report().ready)
    return { ready, checks: [...keys.checks, ...sinks.checks] }
  }

  async #checkAll(): Promise<void> {
    await Promise.all([this.#health.run(), this.#stores.start()])
    if (this.#keys !== null) this.#scans.use({ config: this.#config, stores: this.#stores.all, keys: this.#keys })
  }

  /** Opens the keys and stores that a configuration wants: all of them, or none. */
  async #prepare(config: Config): Promise<{ readonly keys: KeyRegistry; readonly stores: Awaited<ReturnType<Stores['prepare']>> }> {
    const keys = await this.#openKeys(config)
    const stores = await this.#stores.prepare(config).catch(async (error: unknown) => {
      await keys.close()
      throw error
    })
    return { keys, stores }
  }

  #warn(): void {
    for (const { path, message } of configWarnings(this.#config)) this.#log('warn', 'configuration', { path, reason: message })
  }

  #useKeys(keys: KeyRegistry): void {
    this.#keys = keys
    this.#selfTest = new KeySelfTest(keys, ({ key, ok, code, reason, diagnosis }) => {
      if (ok === true) this.#log('info', 'key serves again', { key })
      else this.#log('error', 'key does not serve', { key, code, reason, ...fieldsOf(diagnosis) })
    }, (key, reason) => {
      this.#log('warn', 'configuration', { path: `keys.${key}`, reason })
    })
  }

  /** Requests in flight may still use the keys they began with: closing those at once would abort their calls. */
  #retire(keys: KeyRegistry): void {
    this.#retired.add(keys)
    void keys.retire().then(
      () => {
        this.#retired.delete(keys)
      },
      (error: unknown) => {
        this.#log('warn', 'closing keys failed', { reason: error instanceof Error ? error.message : 'unknown error' })
      }
    )
  }

  #openKeys(config: Config): Promise<KeyRegistry> {
    const { audit, metrics } = this.#observer.keys()
    return openKeyRegistry({
      keys: config.keys,
      cache: config.keyCache,
      usedAt: (key) => upstreamsOfKey(config, key),
      ...metrics === undefined ? {} : { metrics },
      audit: (event) => {
        audit(event)
        this.#selfTest?.used(event)
      }
    })
  }

  #assemble(objects: ObjectCache): void {
    const config = this.#config
    if (this.#keys === null) throw new Error('The gateway is not open.')
    const policies = (bucket: string): ReturnType<typeof policyFor> => policyFor(config, bucket)
    const services: Services = {
      config,
      stores: this.#stores.byName,
      keys: this.#keys,
      objects,
      settings: new SettingsCache(),
      ownCors: config.listen.cors.map(corsRule),
      completes: this.#completes,
      held: this.#held,
      integrityFailure: (kind) => {
        this.#observer.integrityFailure(kind)
      },
      corsUnknown: (...failed) => {
        if (!this.#observer.corsLimited(failed[2])) this.#log(...corsLine(...failed))
      },
      policyFor: policies
    }
    this.#pipeline = { services, auth: authContext(config, policies) }
  }

  /** A reload may come in between: the keys that are in use when this ends count. */
  async #checkKeys(): Promise<void> {
    let tested: KeySelfTest | null
    do {
      tested = this.#selfTest
      await tested?.run()
    } while (tested !== this.#selfTest)
  }
}
