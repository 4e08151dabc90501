// Which rows of a run are done, in a file, so that a run that was killed goes on faster. It saves requests and decides nothing: a row that it does not
// know is examined, and a row counts as known only while the source shows the same object. docs/decisions/0125-ledgers.md.
import { hash } from 'node:crypto'
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import type { Finding, Row } from './engine.ts'

/** What a ledger is of: a run with another of these has another ledger. */
export type LedgerSubject = Readonly<Record<string, string | boolean>>

/** The ledger is of another run, or is none. The message says what differs. */
export class WrongLedger extends Error {}

/** Bytes of a record: of a SHA-256, so that nobody can choose a name that is taken for another. */
const RECORD = 16
const MOST_HEADER = 65_536
/** Bytes and milliseconds after which records are written: what a kill may cost. */
const GATHER = 4096
const GATHER_MS = 1000
const CHUNK = 65_536

export class Ledger {
  /** When the run began that this one goes on with, in milliseconds since 1970. */
  readonly begun: number
  readonly #path: string
  readonly #file: number
  readonly #salt: string
  readonly #known: Known | null
  #gathered: Buffer[] = []
  #written = performance.now()

  /**
   * @param resume true: goes on with the file where there is one; false: it must be new.
   * @throws WrongLedger; Error of the file system.
   */
  constructor(path: string, subject: LedgerSubject, resume: boolean) {
    this.#path = path
    this.#file = openSync(path, resume ? 'a+' : 'ax+', 0o600)
    try {
      const { size } = fstatSync(this.#file)
      const header = size === 0 ? null : readHeader(this.#file)
      // Killed before the first line was whole: then there is no record either.
      if (header === null) ftruncateSync(this.#file, 0)
      this.begun = header?.begun ?? Date.now()
      if (header === null) writeSync(this.#file, `${JSON.stringify({ ...fixed, ...subject, begun: this.begun })}\n`)
      else compare(header.fields, subject)
      const start = header?.bytes ?? 0
      // A record that a kill has torn: what follows would be read from the wrong byte.
      const whole = Math.floor((size - start) / RECORD) * RECORD
      if (header !== null) ftruncateSync(this.#file, start + whole)
      this.#salt = hash('sha256', JSON.stringify(subject))
      this.#known = header === null || whole === 0 ? null : new Known(path, this.#file, start, whole / RECORD)
    } catch (error) {
      closeSync(this.#file)
      throw error
    }
  }

  /** Whether a run before has done with the object that the row shows. */
  has({ key, versionId, etag, size }: Row): boolean {
    return this.#known?.has(this.#record(key, versionId, etag, size)) === true
  }

  /** Notes that a row is done. What the source does not say of a row is not said of its object. */
  note(row: Row, { etag, storedBytes }: Finding): void {
    const record = this.#record(row.key, row.versionId, row.etag === null ? null : etag, row.size === null ? null : storedBytes)
    this.#gathered.push(record)
    if (this.#gathered.length * RECORD >= GATHER || performance.now() - this.#written > GATHER_MS) this.#write()
  }

  /** @param complete the run has seen every row: the ledger is removed, so that the next run is a new one. */
  close(complete: boolean): void {
    this.#write()
    this.#known?.close()
    closeSync(this.#file)
    if (complete) unlinkSync(this.#path)
  }

  #record(key: string, versionId: string | null, etag: string | null, size: number | null): Buffer {
    return hash('sha256', this.#salt + JSON.stringify([key, versionId, etag, size]), 'buffer').subarray(0, RECORD)
  }

  #write(): void {
    const bytes = Buffer.concat(this.#gathered)
    this.#gathered = []
    this.#written = performance.now()
    for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at)
  }
}

const empty = Buffer.alloc(RECORD)
const fixed = { sealgate: 'ledger', format: 1 } as const

interface Header {
  readonly fields: Readonly<Record<string, unknown>>
  readonly begun: number
  /** With the line end. */
  readonly bytes: number
}

/** @returns null for a line that was never finished. @throws WrongLedger for a file that is no ledger. */
function readHeader(file: number): Header | null {
  const buffer = Buffer.alloc(MOST_HEADER)
  const text = buffer.subarray(0, readSync(file, buffer, 0, buffer.length, 0))
  const end = text.indexOf('\n')
  if (end < 0 && '{"sealgate":"ledger"'.startsWith(text.subarray(0, 20).toString('latin1'))) return null
  try {
    const fields = JSON.parse(text.subarray(0, end).toString('utf8')) as Readonly<Record<string, unknown>> | null
    const begun = fields?.['begun']
    if (fields !== null && fields['sealgate'] === fixed.sealgate && typeof begun === 'number') return { fields, begun, bytes: end + 1 }
  } catch {
    // Not ours.
  }
  throw new WrongLedger('it is not a ledger')
}

/** @throws WrongLedger */
function compare(fields: Header['fields'], subject: LedgerSubject): void {
  const wanted: Readonly<Record<string, unknown>> = { ...fixed, ...subject }
  const names = new Set([...Object.keys(fields), ...Object.keys(wanted)])
  names.delete('begun')
  const other = [...names].find((name) => fields[name] !== wanted[name])
  if (other !== undefined) throw new WrongLedger(`it is of a run with another ${other}`)
}

/**
 * The records of a ledger as a hash table in a file without a name: memory is the same for any number of them, the source may have any order, and each
 * question costs one read of a page that the system keeps.
 */
class Known {
  readonly #table: number
  readonly #slots: number
  readonly #cell = Buffer.alloc(RECORD)

  constructor(path: string, ledger: number, start: number, records: number) {
    this.#slots = 2 ** Math.ceil(Math.log2(records * 2))
    const name = `${path}.table`
    this.#table = openSync(name, 'w+', 0o600)
    unlinkSync(name)
    ftruncateSync(this.#table, this.#slots * RECORD)
    const chunk = Buffer.alloc(CHUNK)
    for (let at = 0; at < records * RECORD;) {
      const read = readSync(ledger, chunk, 0, Math.min(CHUNK, records * RECORD - at), start + at)
      if (read < RECORD) break
      for (let i = 0; i + RECORD <= read; i += RECORD) this.#add(chunk.subarray(i, i + RECORD))
      at += Math.floor(read / RECORD) * RECORD
    }
  }

  has(record: Buffer): boolean {
    return this.#slotOf(record) === null
  }

  close(): void {
    closeSync(this.#table)
  }

  #add(record: Buffer): void {
    const slot = this.#slotOf(record)
    if (slot !== null) writeSync(this.#table, record, 0, RECORD, slot * RECORD)
  }

  /** The free slot where a record belongs; null: it is there. Half of the slots are free. */
  #slotOf(record: Buffer): number | null {
    for (let slot = record.readUInt32LE(0) % this.#slots;; slot = (slot + 1) % this.#slots) {
      readSync(this.#table, this.#cell, 0, RECORD, slot * RECORD)
      if (this.#cell.equals(record)) return null
      if (this.#cell.equals(empty)) return slot
    }
  }
}
