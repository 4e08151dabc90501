import { closeSync, openSync, writeSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { diagnosis, systemCodeOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import type { AuditEvent } from '../keys/types.ts'

export interface AuditTrail {
  /**
   * Returns when the operating system has the line (file), or the stream's buffer has it.
   * @throws S3Error ServiceUnavailable when it cannot be written: a key use without a record must not happen
   */
  record(event: AuditEvent): void
  /** Reopens a rotated file. Keeps the old one and throws when the new one cannot be opened. */
  reopen(): void
  close(): void
}

/**
 * Appends JSON lines to a file that only its owner reads. Each line is one write at the end of the file, so that several
 * processes can share it and a crash loses nothing that was recorded.
 * @throws Error of the file system when the file cannot be opened
 */
export function fileAuditTrail(path: string): AuditTrail {
  const open = (): number => openSync(path, 'a', 0o600)
  let file = open()
  return {
    record(event) {
      try {
        writeWhole(file, Buffer.from(auditLine(event)))
      } catch (cause) {
        throw new S3Error('ServiceUnavailable', {
          message: 'The audit trail cannot be written.',
          endedBy: 'gateway',
          cause,
          diagnosis: diagnosis('files', 'write audit.file', { system: systemCodeOf(cause) })
        })
      }
    },
    reopen() {
      const fresh = open()
      closeSync(file)
      file = fresh
    },
    close() {
      closeSync(file)
    }
  }
}

/** Writes to a stream that is always there, such as standard output. */
export function streamAuditTrail(stream: Writable): AuditTrail {
  return {
    record(event) {
      if (!stream.writable) throw new S3Error('ServiceUnavailable', { message: 'The audit trail cannot be written.', endedBy: 'gateway' })
      stream.write(auditLine(event))
    },
    reopen: () => undefined,
    close: () => undefined
  }
}

/** For tests. */
export function memoryAuditTrail(): AuditTrail & { readonly events: readonly AuditEvent[] } {
  const events: AuditEvent[] = []
  return {
    events,
    record: (event) => {
      events.push(event)
    },
    reopen: () => undefined,
    close: () => undefined
  }
}

/** Fields are named one by one, so that further properties of an event are not written. */
function auditLine(event: AuditEvent): string {
  return `${
    JSON.stringify({
      time: event.time,
      requestId: event.requestId,
      principal: event.principal,
      sourceAddress: event.sourceAddress,
      operation: event.operation,
      bucket: event.bucket,
      key: event.key,
      versionId: event.versionId,
      masterKeyId: event.masterKeyId,
      context: event.context,
      action: event.action,
      cached: event.cached,
      outcome: event.outcome,
      error: event.error
    })
  }\n`
}

function writeWhole(file: number, bytes: Buffer): void {
  let written = 0
  while (written < bytes.length) written += writeSync(file, bytes, written)
}
