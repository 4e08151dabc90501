// What `sealgate config check --online` finds of the audit trail: its key, and whether its sinks can be reached. No line is written.
import type { Config } from '../config/config.ts'
import { currentAuditKey, sinkTransport } from '../gateway/audit.ts'
import { KeyringError } from '../keys/keyring.ts'
import { sinkErrorCode } from '../observe/audit-sink.ts'
import type { Checked } from '../store-client/rights.ts'

/** As long as an attempt to send lines may take. */
const PATIENCE_MS = 10_000

export async function checkAudit({ audit, keys }: Config): Promise<Checked[]> {
  return Promise.all([...audit.key === null ? [] : [checkKey(audit.key, keys)], ...audit.sinks.map(checkSink)])
}

async function checkKey(name: string, keys: Config['keys']): Promise<Checked> {
  const check = `audit key ${name}`
  const section = keys[name]
  if (section?.type !== 'local') return { check, ok: false, detail: 'is not of type local' }
  try {
    const { id } = await currentAuditKey(section.keyring)
    return { check, ok: true, detail: `a start chains its lines under ${id}` }
  } catch (error) {
    if (!(error instanceof KeyringError)) throw error
    return { check, ok: false, detail: error.message }
  }
}

async function checkSink(config: Config['audit']['sinks'][number]): Promise<Checked> {
  const transport = sinkTransport(config)
  const check = `audit sink ${transport.name}`
  try {
    return { check, ...await transport.reach(AbortSignal.timeout(PATIENCE_MS)) }
  } catch (error) {
    const means = config.whenDown === 'refuse' ? 'no key would be used (whenDown: refuse)' : `lines would wait, up to ${config.bufferBytes} bytes`
    return { check, ok: false, detail: `takes no lines (${sinkErrorCode(error)}): ${means}` }
  } finally {
    transport.close()
  }
}
