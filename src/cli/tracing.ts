import type { Log } from '../observe/log.ts'
import { traceSettings } from '../observe/trace-settings.ts'
import type { Tracer } from '../observe/tracing.ts'
import type { Platform } from './platform.ts'
import { version } from '../version.ts'

/**
 * The tracer that the environment asks for, or null. What it asks for wrongly is told in the log and does not keep a gateway from
 * serving.
 */
export async function openTracer(env: Platform['env'], log: Log): Promise<Tracer | null> {
  try {
    const settings = traceSettings(env, version())
    if (settings === null) return null
    const { Tracer } = await import('../observe/tracing.ts')
    log.event('info', 'tracing', { endpoint: settings.url.origin })
    return new Tracer(settings, (reason, dropped) => { log.event('warn', 'spans dropped', { reason, dropped }) })
  } catch (error) {
    log.event('warn', 'not tracing', { reason: error instanceof Error ? error.message : 'unknown error' })
    return null
  }
}
