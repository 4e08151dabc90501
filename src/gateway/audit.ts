import type { AuditSinkConfig, Config } from '../config/config.ts'
import type { OperatorLog } from './types.ts'
import { readKeyring } from '../keys/keyring-file.ts'
import { KeyringError } from '../keys/keyring.ts'
import { auditKeyOf, type AuditKey } from '../observe/audit-chain.ts'
import { AuditSinkQueue, type SinkTransport } from '../observe/audit-sink.ts'
import { openAuditTrail, type AuditTrail } from '../observe/audit-trail.ts'
import { httpTransport } from '../observe/sink-http.ts'
import { syslogTransport } from '../observe/sink-syslog.ts'

/**
 * The audit trail of a configuration; null: it has none. Checkpoints and faults of the file go to the log as well, which is often kept elsewhere.
 * @throws KeyringError, Error of the file system when it cannot be opened.
 */
export async function openAudit({ audit, keys }: Pick<Config, 'audit' | 'keys'>, log: OperatorLog): Promise<AuditTrail | null> {
  if (audit.file === null && audit.sinks.length === 0) return null
  const key = audit.key === null ? undefined : keys[audit.key]
  const chain = key?.type === 'local' ? { key: await currentAuditKey(key.keyring), intervalMs: audit.checkpointSeconds * 1000 } : null
  return openAuditTrail({
    file: audit.file,
    sync: audit.sync,
    chain,
    sinks: audit.sinks.map((sink) => openSink(sink, log)),
    notice: (notice) => {
      if (notice.kind === 'checkpoint') {
        const { reason, run, seq, mac, uses } = notice
        log(reason === 'interval' && uses === 0 ? 'debug' : 'info', 'audit checkpoint', { reason, run, seq, mac, uses })
      } else log('error', notices[notice.kind], { file: audit.file })
    }
  })
}

/** Nothing is sent yet. To be closed. */
export function sinkTransport({ url: text, ca, tokenFile }: Pick<AuditSinkConfig, 'url' | 'ca' | 'tokenFile'>): SinkTransport {
  const url = new URL(text)
  return url.protocol === 'http:' || url.protocol === 'https:' ? httpTransport(url, { ca, tokenFile }) : syslogTransport(url, ca)
}

function openSink(config: AuditSinkConfig, log: OperatorLog): AuditSinkQueue {
  const { whenDown, bufferBytes } = config
  return new AuditSinkQueue(sinkTransport(config), {
    whenDown,
    bufferBytes,
    changed: (sink, reason, waitingBytes) => {
      log(reason === null ? 'info' : 'error', reason === null ? 'audit sink takes lines again' : 'audit sink takes no lines', { sink, reason, waitingBytes })
    }
  })
}

const notices = {
  moved: 'the audit file was moved away: send SIGHUP',
  cut: 'the audit file was cut from outside',
  unwritten: 'an audit checkpoint could not be written'
} as const

/** The key that a run which starts now chains its lines under. @throws KeyringError. */
export async function currentAuditKey(path: string): Promise<AuditKey> {
  const keyring = await readKeyring(path)
  const version = keyring.current()
  if (version === null) throw new KeyringError(`${path}: no version is enabled, and audit.key needs one.`)
  return auditKeyOf(keyring.keyId(version), version.key)
}

/** Every key that a keyring gives, whatever its state, unless it was destroyed: an old file is verified with the key of its time. @throws KeyringError. */
export async function auditKeysOf(path: string): Promise<AuditKey[]> {
  const keyring = await readKeyring(path)
  return keyring.live.map((version) => auditKeyOf(keyring.keyId(version), version.key))
}
