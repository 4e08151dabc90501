import { closeSync, openSync, writeSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { S3Error } from '../errors.ts'

/** One use of a master key. Holds nothing secret: the encryption context is logged in clear by key services too. */
export interface AuditEntry {
  readonly requestId: string
  /** Access key id of the client, or a name such as `cli`. */
  readonly principal: string
  readonly sourceAddress: string
  readonly operation: string
  readonly bucket: string
  readonly key: string | null
  readonly versionId: string | null
  /** ARN or `local:<keyring>:<version>`; null when no key was chosen. */
  readonly masterKeyId: string | null
  readonly context: Readonly<Record<string, string>>
  readonly action: 'generate' | 'wrap' | 'unwrap' | 'rewrap' | 'refused'
  /** The key service was not asked: the key came from memory, or from another request's call. */
  readonly cached: boolean
  readonly outcome: 'ok' | 'failed'
  /** Error code; null when it went well. */
  readonly error: string | null
}

export interface AuditTrail {
  /**
   * Returns when the line is with the operating system (file) or in the stream's buffer.
   * @throws S3Error ServiceUnavailable when it cannot be written: a key use that leaves no trace is not made
   */
  record(entry: AuditEntry): void
  /** Follows a rotated file. Keeps the old one and throws when the new one cannot be opened. */
  reopen(): void
  close(): void
}

/**
 * Appends JSON lines to a file that only its owner reads. Each line is one write at the end of the file, so that several
 * processes can share it and a crash loses nothing that was recorded.
 * @throws Error of the file system when the file cannot be opened
 */
export function fileAuditTrail(path: string, now: () => Date = () => new Date()): AuditTrail {
  const open = (): number => openSync(path, 'a', 0o600)
  let file = open()
  return {
    record(entry) {
      try {
        writeWhole(file, Buffer.from(auditLine(entry, now())))
      } catch (cause) {
        throw new S3Error('ServiceUnavailable', { message: 'The audit trail cannot be written.', cause })
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
export function streamAuditTrail(stream: Writable, now: () => Date = () => new Date()): AuditTrail {
  return {
    record(entry) {
      if (!stream.writable) throw new S3Error('ServiceUnavailable', { message: 'The audit trail cannot be written.' })
      stream.write(auditLine(entry, now()))
    },
    reopen: () => undefined,
    close: () => undefined
  }
}

/** The twin for tests. */
export function memoryAuditTrail(): AuditTrail & { readonly entries: readonly AuditEntry[] } {
  const entries: AuditEntry[] = []
  return { entries, record: (entry) => { entries.push(entry) }, reopen: () => undefined, close: () => undefined }
}

/** Fields are named one by one: what an entry happens to carry besides does not get out. */
function auditLine(entry: AuditEntry, time: Date): string {
  return `${JSON.stringify({
    time: time.toISOString(),
    requestId: entry.requestId,
    principal: entry.principal,
    sourceAddress: entry.sourceAddress,
    operation: entry.operation,
    bucket: entry.bucket,
    key: entry.key,
    versionId: entry.versionId,
    masterKeyId: entry.masterKeyId,
    context: entry.context,
    action: entry.action,
    cached: entry.cached,
    outcome: entry.outcome,
    error: entry.error
  })}\n`
}

function writeWhole(file: number, bytes: Buffer): void {
  let written = 0
  while (written < bytes.length) written += writeSync(file, bytes, written)
}
