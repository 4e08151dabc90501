import type { ConfigFault } from '../config/tree.ts'
import type { Config } from '../config/config.ts'
import { showOption } from '../config/tree.ts'
import { createLog, prettyLines, type Log } from '../observe/log.ts'
import { systemWords } from '../diagnosis.ts'
import { traceSettings } from '../observe/trace-settings.ts'
import type { Tracer } from '../observe/tracing.ts'
import { version } from '../version.ts'
import type { Platform } from './platform.ts'
import { openStore, tlsOfStore } from './store-command.ts'

/** The log of the configuration, on this output. */
export async function openLog({ log: { level, format }, workers }: Config, { stdout, env, writeLog }: Platform): Promise<Log> {
  const terminal = stdout.isTTY === true
  const pretty = format === 'pretty' || (format === 'auto' && terminal)
  return createLog({
    level,
    alone: workers === 1,
    ...writeLog === undefined ? {} : { write: writeLog },
    // NO_COLOR: see no-color.org.
    ...pretty ? { pretty: await prettyLines(terminal && (env['NO_COLOR'] ?? '') === '') } : {}
  })
}

/** Logs settings that are valid but may be unintended. */
export function tellWarnings(log: Log, warnings: readonly ConfigFault[]): void {
  for (const { path, message } of warnings) log.event('warn', 'configuration', { path, reason: message })
}

/** The tracer that the environment configures, or null. A wrong setting is logged, and the gateway serves without traces. */
export async function openTracer(env: Platform['env'], log: Log): Promise<Tracer | null> {
  try {
    const settings = traceSettings(env, version())
    if (settings === null) return null
    const { Tracer } = await import('../observe/tracing.ts')
    log.event('info', 'tracing', { endpoint: settings.url.origin })
    return new Tracer(settings, (reason, dropped) => {
      log.event('warn', 'spans dropped', { reason, dropped })
    })
  } catch (error) {
    log.event('warn', 'tracing disabled', { reason: error instanceof Error ? error.message : 'unknown error' })
    return null
  }
}

/**
 * Says in one line of the log for each store what it is, what it lacks of what the gateway needs, and which settings do not fit: the cheap part of
 * `store check`. The conditions that it enforces have lines of their own. Never rejects: readiness reports a store that cannot be asked.
 */
export async function describeStores(config: Config, log: Pick<Log, 'event'>, signal: AbortSignal): Promise<void> {
  // Loaded here, so that no start waits for it.
  const { changesOf, checkStore } = await import('../store-client/check/plan.ts')
  for (const upstream of Object.values(config.upstreams)) {
    const store = openStore({ ...upstream, lacks: [] }, config)
    const open = (): { readonly upstream: typeof store; readonly chunked: typeof store } => ({ upstream: store, chunked: store })
    const tls = (settings: typeof upstream, host: string): ReturnType<typeof tlsOfStore> => tlsOfStore(settings, host, signal)
    try {
      const { facts, stopped } = await checkStore({ config: upstream, ownCors: true, bucket: null, parts: 0, start: true, signal, open, tls })
      if (stopped) return
      const missing = facts.filter(({ verdict, needed }) => verdict === 'fails' && needed === true).map(({ fact, seen }) => `${fact}: ${seen}`).join('; ')
      const changes = Object.entries(changesOf(facts, upstream)).map(([path, value]) => `${path}: ${showOption(value)}`).join('; ')
      const server = facts.find(({ id }) => id === 'store')?.seen ?? ''
      log.event(missing === '' && changes === '' ? 'info' : 'warn', 'store', { store: upstream.section, server, missing, settings: changes })
    } catch {
      // It cannot be asked: readiness has the reason.
    } finally {
      await store.close()
    }
  }
}

/** Binds a listener. @throws Error that names the option where the address cannot be bound. */
export async function bind<T>(
  option: 'listen' | 'admin',
  { host, port }: { readonly host: string; readonly port: number },
  start: () => Promise<T>
): Promise<T> {
  try {
    return await start()
  } catch (error) {
    if (!(error instanceof Error) || !('syscall' in error)) throw error
    const named = error.syscall === 'listen' && 'code' in error && (error.code === 'EADDRINUSE' || error.code === 'EACCES') ? 'port' : 'host'
    throw new Error(`${option}.${named}: cannot listen on ${host}:${port}: ${systemWords(error)}`, { cause: error })
  }
}
