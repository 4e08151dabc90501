import { ConfigError, loadConfig } from '../config-load.ts'
import type { Config } from '../config.ts'
import type { CreateGateway, Gateway } from '../gateway-types.ts'
import { createAdminListener, type AdminListener } from '../listener/admin.ts'
import { createListener, type Listener } from '../listener/listener.ts'
import { createLog, type Log } from '../listener/log.ts'
import { readTls, watchTls } from '../listener/tls.ts'
import { configFile } from './config.ts'
import { startTrial, type Trial } from './trial.ts'
import { exitCodes, type Platform } from './platform.ts'

const seconds = 1000
/** Longer than the idle time-outs of common load balancers (60 s), so that they close first. */
const keepAliveMs = 75 * seconds
const headersMs = 30 * seconds
/** Clients give up after about 60 s of silence. */
const heartbeatMs = 5 * seconds
const segmentBytes = 65_536

interface Running {
  readonly log: Log
  readonly gateway: Gateway
  readonly listener: Listener
  readonly admin: AdminListener | null
  readonly address: { readonly host: string; readonly port: number }
  /** Shared with the readiness check. */
  readonly state: { stopping: boolean }
}

/**
 * `sealgate serve`: runs until SIGTERM or SIGINT, reloads on SIGHUP.
 * @returns the exit code: 0 stopped with everything delivered, 3 when transfers were cut, 1 when it could not start, 2 for
 * a bad command line or configuration.
 */
export async function serve(args: readonly string[], platform: Platform, createGateway: CreateGateway): Promise<number> {
  let file: string | null
  let first: Config | null
  try {
    file = configFile(args, platform)
    first = file === null ? null : loadConfig({ file, env: platform.env })
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof TypeError)) throw error
    platform.stderr.write(`${error.message}\n`)
    return exitCodes.usage
  }
  let trial: Trial | null = null
  try {
    trial = first === null ? await startTrial(platform) : null
    const config = first ?? trial?.config
    if (config === undefined) return exitCodes.failed
    const running = await start(config, platform, createGateway)
    trial?.announce(running.address)
    return await runUntilStopped(running, config, file, platform)
  } catch (error) {
    platform.stderr.write(`sealgate serve: ${error instanceof Error ? error.message : 'unknown error'}\n`)
    return exitCodes.failed
  } finally {
    await trial?.stop()
  }
}

async function start(config: Config, platform: Platform, createGateway: CreateGateway): Promise<Running> {
  const log = createLog({ level: config.log.level, ...(platform.writeLog === undefined ? {} : { write: platform.writeLog }) })
  const gateway = await createGateway(config)
  const state = { stopping: false }
  const { listen, limits } = config
  const listener = createListener({
    host: listen.host,
    port: listen.port,
    tls: listen.tls === null ? null : await readTls(listen.tls),
    trustedProxies: listen.trustedProxies,
    limits: {
      connections: limits.connections, requestsInFlight: limits.requestsInFlight, headerBytes: limits.headerBytes,
      minRate: limits.minRate, minRateWindowMs: limits.minRateWindowSeconds * seconds, headersMs, keepAliveMs, highWaterMark: segmentBytes
    },
    heartbeatMs,
    log,
    observe: (record) => { gateway.observe?.(record) }
  }, (request) => gateway.handle(request))
  const admin = config.admin === null ? null : createAdminListener(config.admin, {
    ready: async () => state.stopping ? { ok: false, checks: { gateway: 'stopping' } } : gateway.ready(),
    metrics: () => gateway.metrics()
  })
  await admin?.start()
  const address = await listener.start()
  log.event('info', 'listening', { host: address.host, port: address.port, tls: listen.tls !== null })
  return { log, gateway, listener, admin, address, state }
}

async function runUntilStopped(running: Running, config: Config, file: string | null, platform: Platform): Promise<number> {
  const { log, listener, state } = running
  let current = config
  const reload = async (): Promise<void> => {
    if (file === null || state.stopping) return
    current = await reloadFrom(file, current, running, platform)
  }
  let reloading = Promise.resolve()
  platform.onSignal('SIGHUP', () => { reloading = reloading.then(reload) })
  const unwatch = config.listen.tls === null ? () => undefined : watchTls(config.listen.tls, () => { reloading = reloading.then(reload) })

  await new Promise<void>((resolve) => {
    platform.onSignal('SIGTERM', resolve)
    platform.onSignal('SIGINT', resolve)
  })
  state.stopping = true
  unwatch()
  log.event('info', 'stopping', { graceSeconds: current.limits.graceSeconds, requestsInFlight: listener.counts().requestsInFlight })
  const outcome = await listener.stop(current.limits.graceSeconds * seconds)
  await reloading
  await running.gateway.close()
  await running.admin?.stop()
  log.event(outcome === 'drained' ? 'info' : 'warn', 'stopped', { outcome })
  await log.flush()
  return outcome === 'drained' ? exitCodes.done : exitCodes.cut
}

/** Takes over a changed configuration, or keeps the one in force when the new one is no good. */
async function reloadFrom(file: string, current: Config, running: Running, platform: Platform): Promise<Config> {
  try {
    const next = loadConfig({ file, env: platform.env })
    if (next.listen.tls !== null && current.listen.tls !== null) running.listener.reloadTls(await readTls(next.listen.tls))
    await running.gateway.reload(next)
    const fixed = ['host', 'port'].some((name) => next.listen[name as 'host' | 'port'] !== current.listen[name as 'host' | 'port'])
    running.log.event(fixed ? 'warn' : 'info', 'configuration reloaded', { listenChangesNeedRestart: fixed })
    return next
  } catch (error) {
    // The text of a ConfigError quotes no values.
    running.log.event('error', 'configuration not reloaded', { faults: error instanceof ConfigError ? error.message : 'see failure' })
    if (!(error instanceof ConfigError)) running.log.failure({ requestId: null, during: 'reload', error })
    return current
  }
}
