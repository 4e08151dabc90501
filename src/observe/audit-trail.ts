import type { KeyObject } from 'node:crypto'
import { diagnosis, systemCodeOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import type { AuditEvent } from '../keys/types.ts'
import type { AuditSinkQueue } from './audit-sink.ts'
import { AuditFile, type FileFault, type Place } from './audit-file.ts'
import { chainLine, newRun, NO_MAC, runKey, type AuditKey, type Checkpoint, type CheckpointReason, type Head } from './audit-chain.ts'

export interface AuditTrail {
  /**
   * Returns when the operating system has the line.
   * @throws S3Error ServiceUnavailable when it cannot be written: a key use without a record must not happen
   */
  record(event: AuditEvent): void
  /** Reopens a rotated file. Keeps the old one and throws when the new one cannot be opened. */
  reopen(): void
  /** What takes the lines beside the file. */
  readonly sinks: readonly AuditSinkQueue[]
  /** Ends the chain in an orderly way, and waits for the sinks. */
  close(): Promise<void>
}

export interface AuditTrailOptions {
  /** null: no file; the sinks alone have the lines. */
  readonly file: string | null
  /** Each line is on the disk before the key is used. */
  readonly sync?: boolean
  /** null: lines stand alone, and nothing shows that one was changed. */
  readonly chain?: { readonly key: AuditKey; readonly intervalMs: number } | null
  readonly sinks?: readonly AuditSinkQueue[]
  /** Called with the head after each checkpoint, and with faults of the file. */
  readonly notice?: (notice: Notice) => void
}

type Notice =
  | {
    readonly kind: 'checkpoint'
    readonly reason: CheckpointReason
    readonly run: string
    readonly seq: number
    readonly mac: string
    /** Uses of keys since the checkpoint before. */
    readonly uses: number
  }
  | { readonly kind: FileFault | 'unwritten' }

/** Bytes of lines after which a checkpoint is made before its time. */
const CHECKPOINT_BYTES = 1024 * 1024

/**
 * Writes JSON lines to a file that several processes share, and to sinks. With a key, each line continues a keyed chain (docs/AUDIT.md).
 * @throws Error of the file system when the file cannot be opened
 */
export function openAuditTrail(options: AuditTrailOptions): AuditTrail {
  return new Trail(options)
}

interface Chain {
  readonly key: KeyObject
  readonly keyId: string
  readonly run: string
  head: Head
  /** Bytes of lines since the last checkpoint. */
  since: number
  /** Uses of keys since then. */
  uses: number
  readonly timer: NodeJS.Timeout
}

class Trail implements AuditTrail {
  readonly #file: AuditFile | null
  readonly sinks: readonly AuditSinkQueue[]
  readonly #notice: (notice: Notice) => void
  readonly #chain: Chain | null
  #closed = false

  constructor({ file, sync = false, chain = null, sinks = [], notice = () => undefined }: AuditTrailOptions) {
    this.#file = file === null ? null : new AuditFile(file, sync)
    this.sinks = sinks
    this.#notice = notice
    this.#chain = chain === null ? null : this.#begin(chain)
    if (this.#chain !== null) this.#checkpoint('start', this.#file?.begin() ?? nowhere)
  }

  record(event: AuditEvent): void {
    try {
      for (const sink of this.sinks) refuseWhile(sink)
      if (this.#file?.torn === true && this.#chain !== null) this.#checkpoint('torn')
      this.#append(fieldsOf(event))
      if (this.#chain !== null) this.#chain.uses += 1
    } catch (cause) {
      if (cause instanceof S3Error) throw cause
      throw new S3Error('ServiceUnavailable', {
        message: 'The audit trail cannot be written.',
        endedBy: 'gateway',
        cause,
        diagnosis: diagnosis('files', 'write audit.file', { system: systemCodeOf(cause) })
      })
    }
    if (this.#chain !== null && this.#chain.since > CHECKPOINT_BYTES) this.#tryCheckpoint()
  }

  reopen(): void {
    const file = this.#file
    if (file === null) return
    const moved = file.reopen(() => {
      this.#tryCheckpoint('rotating')
    })
    if (moved) this.#checkpoint('rotated')
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#chain?.timer)
    this.#tryCheckpoint('stop')
    this.#file?.close()
    await Promise.all(this.sinks.map((sink) => sink.close()))
  }

  #begin({ key, intervalMs }: { readonly key: AuditKey; readonly intervalMs: number }): Chain {
    const run = newRun()
    let before: FileFault | null = null
    const timer = setInterval(() => {
      const fault = this.#file?.fault() ?? null
      // Between the move and the signal a file has no name for a moment.
      if (fault === 'cut' || (fault !== null && fault === before)) this.#notice({ kind: fault })
      before = fault
      this.#tryCheckpoint()
    }, intervalMs)
    timer.unref()
    return { key: runKey(key, run), keyId: key.id, run, head: { seq: 0, mac: NO_MAC }, since: 0, uses: 0, timer }
  }

  #tryCheckpoint(reason: CheckpointReason = 'interval'): void {
    if (this.#chain === null) return
    try {
      this.#checkpoint(reason)
    } catch {
      // The next key use tells the reason.
      this.#notice({ kind: 'unwritten' })
    }
  }

  #checkpoint(reason: CheckpointReason, place: Place & { readonly fragments?: number } = this.#file?.look(this.#chain?.run ?? '') ?? nowhere): void {
    const chain = this.#chain
    if (chain === null) return
    const { at, heads, before, fragments = 0 } = place
    const checkpoint: Checkpoint = {
      audit: 'checkpoint',
      format: 1,
      time: new Date().toISOString(),
      reason,
      keyId: chain.keyId,
      prev: chain.head.mac.toString('base64url'),
      at,
      torn: fragments,
      heads,
      before
    }
    this.#append(checkpoint)
    this.#file?.told(fragments)
    const { uses } = chain
    chain.since = 0
    chain.uses = 0
    this.#notice({ kind: 'checkpoint', reason, run: chain.run, seq: chain.head.seq, mac: chain.head.mac.toString('base64url'), uses })
  }

  #append(fields: object): void {
    const chain = this.#chain
    const { line, head } = chain === null ? { line: `${JSON.stringify(fields)}\n`, head: null } : chainLine(fields, chain.run, chain.key, chain.head)
    this.#file?.append(line)
    if (chain !== null && head !== null) {
      chain.head = head
      chain.since += line.length
    }
    this.#file?.flush()
    if (this.sinks.length === 0) return
    const bytes = Buffer.from(line)
    for (const sink of this.sinks) sink.offer(bytes)
  }
}

const nowhere: Place = { at: 0, heads: {}, before: {} }

function refuseWhile(sink: AuditSinkQueue): void {
  const refusal = sink.refusal()
  if (refusal === null) return
  throw new S3Error('ServiceUnavailable', { message: 'The audit trail cannot be written.', endedBy: 'gateway', diagnosis: refusal })
}

/** Fields are named one by one, so that further properties of an event are not written. */
function fieldsOf(event: AuditEvent): AuditEvent {
  return {
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
  }
}
