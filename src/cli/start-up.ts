import type { ConfigFault } from '../config/tree.ts'
import type { Config } from '../config/config.ts'
import { createLog, prettyLines, type Log } from '../observe/log.ts'
import { systemWords } from '../diagnosis.ts'
import type { Platform } from './platform.ts'

/** The log of the configuration, on this output. */
export async function openLog({ log: { level, format } }: Config, { stdout, env, writeLog }: Platform): Promise<Log> {
  const terminal = stdout.isTTY === true
  const pretty = format === 'pretty' || (format === 'auto' && terminal)
  return createLog({
    level,
    ...writeLog === undefined ? {} : { write: writeLog },
    // NO_COLOR: see no-color.org.
    ...pretty ? { pretty: await prettyLines(terminal && (env['NO_COLOR'] ?? '') === '') } : {}
  })
}

/** Logs settings that are valid but may be unintended. */
export function tellWarnings(log: Log, warnings: readonly ConfigFault[]): void {
  for (const { path, message } of warnings) log.event('warn', 'configuration', { path, reason: message })
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
