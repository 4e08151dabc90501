// Verifies files of an audit trail against the rules of docs/AUDIT.md: linear in time, and in memory by runs, not by lines.
import type { KeyObject } from 'node:crypto'
import { bodyOf, macOf, MOST_LINE, NO_MAC, parseHead, runKey, tailOf, type AuditKey, type Checkpoint, type Head } from './audit-chain.ts'
import { beginsAsCheckpoint, checkpointIn, isTorn, startsIn, timeIn } from './audit-lines.ts'

/**
 * `altered`: its MAC does not fit its bytes. `missing`: lines before it are not there, or stand behind it. `repeated`: it was there before, or
 * belongs before lines that were there. `foreign`: it is of no chain. `key`: its chain is under a key that was not given.
 */
type AuditFaultKind = 'altered' | 'missing' | 'repeated' | 'foreign' | 'key'

export interface AuditFault {
  readonly kind: AuditFaultKind
  readonly file: string
  /** From 1; 0: the file as a whole. */
  readonly line: number
  readonly reason: string
}

/** One process from its start to its end. */
interface VerifiedRun {
  readonly run: string
  readonly keyId: string
  /** Of its last line. */
  readonly seq: number
  /** Of its last line, as the line has it. */
  readonly time: string
  /** `stop`: in an orderly way. `open`: it runs, was killed, or its end was cut off. */
  readonly end: 'stop' | 'open'
}

export interface AuditVerdict {
  /** The first; null: none. */
  readonly fault: AuditFault | null
  /** Lines that a chain protects. */
  readonly lines: number
  readonly checkpoints: number
  /** Lines before the first of a chain: from the time before there was a key. Nothing protects them. */
  readonly plain: number
  /** Lines that were left unfinished by a crash or a full disk. Nothing in them is evidence. */
  readonly torn: number
  /** Runs that lines refer to and that stand in files that were not given, before these. */
  readonly earlier: number
  readonly runs: readonly VerifiedRun[]
}

/** A head that was kept elsewhere: in a log, or by a sink. */
export interface Witness {
  readonly run: string
  readonly head: Head
}

interface Run extends Head {
  readonly key: KeyObject
  readonly keyId: string
  readonly time: string
  readonly stopped: boolean
}

type Refusal = Pick<AuditFault, 'kind' | 'reason'>

export class AuditVerifier {
  readonly #keys: ReadonlyMap<string, AuditKey>
  readonly #witnesses: ReadonlyMap<string, Head>
  readonly #runs = new Map<string, Run>()
  readonly #earlier = new Set<string>()
  #file = ''
  #files = 0
  #line = 0
  #lines = 0
  #checkpoints = 0
  #plain = 0
  #torn = 0
  /** Fragments that need a run which was killed, or a checkpoint that tells them. */
  #unexplained = 0
  #told = 0
  #firstTorn: AuditFault | null = null
  #fault: AuditFault | null = null

  /** @param witnesses the last of each run counts. */
  constructor(keys: readonly AuditKey[], witnesses: readonly Witness[] = []) {
    this.#keys = new Map(keys.map((key) => [key.id, key]))
    const last = new Map<string, Head>()
    for (const { run, head } of witnesses) if ((last.get(run)?.seq ?? 0) < head.seq) last.set(run, head)
    this.#witnesses = last
  }

  /** Reads one file. Files are given oldest first. @returns false when there is a fault: more need not be read. */
  async read(name: string, chunks: AsyncIterable<Buffer>): Promise<boolean> {
    this.#file = name
    this.#files += 1
    this.#line = 0
    let offset = 0
    let rest: Buffer[] = []
    let waiting = 0
    for await (const chunk of chunks) {
      let start = 0
      for (let end = chunk.indexOf(0x0a); end >= 0 && this.#fault === null; end = chunk.indexOf(0x0a, start)) {
        const part = chunk.subarray(start, end)
        const line = waiting === 0 ? part : Buffer.concat([...rest, part])
        this.#take(line, offset)
        offset += line.length + 1
        rest = []
        waiting = 0
        start = end + 1
      }
      if (this.#fault !== null) return false
      const left = chunk.subarray(start)
      if (left.length > 0) rest.push(left)
      waiting += left.length
      if (waiting > MOST_LINE) return this.#refuse({ kind: 'foreign', reason: `it is longer than ${MOST_LINE} bytes` }, 1)
    }
    if (waiting > 0) this.#take(Buffer.concat(rest), offset)
    return this.#fault === null
  }

  end(): AuditVerdict {
    const open = [...this.#runs.values()].filter(({ stopped }) => !stopped).length
    if (this.#unexplained > open + this.#told) this.#fault ??= this.#firstTorn
    for (const [run, { seq }] of this.#fault === null ? this.#witnesses : []) {
      const known = this.#runs.get(run)
      if (known !== undefined && known.seq >= seq) continue
      const reason = known === undefined
        ? `run ${run} is missing, whose line ${seq} was witnessed`
        : `run ${run} ends with its line ${known.seq}; line ${seq} was witnessed`
      this.#fault ??= { kind: 'missing', file: this.#file, line: 0, reason }
    }
    if (this.#lines === 0) this.#fault ??= { kind: 'foreign', file: this.#file, line: 0, reason: 'no line is protected by a chain' }
    return {
      fault: this.#fault,
      lines: this.#lines,
      checkpoints: this.#checkpoints,
      plain: this.#plain,
      torn: this.#torn,
      earlier: this.#earlier.size,
      runs: [...this.#runs].map(([run, { keyId, seq, time, stopped }]) => ({ run, keyId, seq, time, end: stopped ? 'stop' : 'open' }))
    }
  }

  #refuse({ kind, reason }: Refusal, ahead = 0): false {
    this.#fault ??= { kind, file: this.#file, line: this.#line + ahead, reason }
    return false
  }

  #take(line: Buffer, offset: number): void {
    this.#line += 1
    if (line.length === 0) return
    const refusal = line.length > MOST_LINE ? { kind: 'foreign' as const, reason: `it is longer than ${MOST_LINE} bytes` } : this.#accept(line, offset)
    if (refusal === null || (line.length <= MOST_LINE && this.#glued(line, offset))) return
    if (refusal.kind !== 'foreign') this.#refuse(refusal)
    else if (this.#lines === 0 && this.#files === 1) this.#plain += 1
    else if (isTorn(line)) this.#fragment(line)
    else this.#refuse(refusal)
  }

  /** A line behind what a killed process has left of another one. */
  #glued(line: Buffer, offset: number): boolean {
    for (const start of startsIn(line)) {
      const [left, right] = [line.subarray(0, start), line.subarray(start)]
      if (isTorn(left)) {
        if (this.#accept(right, offset + start) !== null) continue
        this.#fragment(left)
        return true
      }
      // Only its line end was lost.
      if (this.#accept(left, offset) !== null) continue
      const refusal = this.#accept(right, offset + start)
      if (refusal !== null && isTorn(right)) this.#fragment(right)
      else if (refusal !== null) this.#refuse(refusal)
      return true
    }
    return false
  }

  #fragment(bytes: Buffer): void {
    this.#torn += 1
    // A run that was killed in its first line has left nothing else.
    if (beginsAsCheckpoint(bytes)) return
    this.#unexplained += 1
    this.#firstTorn ??= { kind: 'foreign', file: this.#file, line: this.#line, reason: 'it is no whole line, and no run was killed that could have left it' }
  }

  /** @returns null: the line continues its run. */
  #accept(line: Buffer, offset: number): Refusal | null {
    const tail = tailOf(line)
    if (tail === null) return { kind: 'foreign', reason: 'it has no place in a chain' }
    const checkpoint = checkpointIn(line)
    const known = this.#runs.get(tail.run) ?? this.#first(tail.run, tail.seq, checkpoint)
    if ('kind' in known) return known
    const of = `run ${tail.run}`
    if (tail.seq <= known.seq) return { kind: 'repeated', reason: `it is line ${tail.seq} of ${of}, behind line ${known.seq}` }
    if (tail.seq !== known.seq + 1) return { kind: 'missing', reason: `it is line ${tail.seq} of ${of}, where line ${known.seq + 1} should be` }
    if (!macOf(known.key, known.mac, bodyOf(line)).equals(tail.mac)) return { kind: 'altered', reason: `its MAC does not fit, as line ${tail.seq} of ${of}` }
    const refusal = this.#compare(tail.run, tail) ?? (checkpoint === null ? null : this.#check(checkpoint, offset))
    if (refusal !== null) return refusal
    this.#runs.set(tail.run, { ...known, seq: tail.seq, mac: tail.mac, time: timeIn(line), stopped: checkpoint?.reason === 'stop' })
    this.#lines += 1
    if (checkpoint !== null) {
      this.#checkpoints += 1
      this.#told += checkpoint.torn
    }
    return null
  }

  /** A run whose first line here this is. Its MAC is not verified yet. */
  #first(run: string, seq: number, checkpoint: Checkpoint | null): Run | Refusal {
    const from = checkpoint?.reason
    const begins = from === 'start' && seq === 1
    if (checkpoint === null || !(begins || (from === 'rotated' && this.#files === 1))) {
      return { kind: 'missing', reason: `it is line ${seq} of run ${run}, whose lines before it are missing` }
    }
    const key = this.#keys.get(checkpoint.keyId)
    if (key === undefined) return { kind: 'key', reason: `its chain is under ${checkpoint.keyId}, which was not given` }
    const mac = begins ? NO_MAC : Buffer.from(checkpoint.prev, 'base64url')
    if (!begins) this.#earlier.add(run)
    return { key: runKey(key, run), keyId: checkpoint.keyId, seq: seq - 1, mac, time: '', stopped: false }
  }

  #check({ at, heads, before }: Checkpoint, offset: number): Refusal | null {
    if (offset < at) return { kind: 'missing', reason: `it stands at byte ${offset}, and ${at} bytes were before it when it was written` }
    for (const [run, text] of Object.entries(heads)) {
      const refusal = this.#reached(run, text)
      if (refusal !== null) return refusal
    }
    for (const [run, text] of Object.entries(before)) {
      if (!this.#runs.has(run) && this.#files === 1) {
        this.#earlier.add(run)
        continue
      }
      const refusal = this.#reached(run, text)
      if (refusal !== null) return refusal
    }
    return null
  }

  /** Whether a run has come as far as a checkpoint says. */
  #reached(run: string, text: string): Refusal | null {
    const head = parseHead(text)
    const known = this.#runs.get(run)
    if (head === null) return { kind: 'altered', reason: 'it names a head that is none' }
    if (known === undefined) return { kind: 'missing', reason: `it names run ${run}, of which no line is there` }
    if (known.seq < head.seq) return { kind: 'missing', reason: `it names line ${head.seq} of run ${run}, of which line ${known.seq} is the last before it` }
    if (known.seq === head.seq && !known.mac.equals(head.mac)) return { kind: 'altered', reason: `it names another line ${head.seq} of run ${run}` }
    return null
  }

  #compare(run: string, { seq, mac }: Head): Refusal | null {
    const witnessed = this.#witnesses.get(run)
    if (witnessed === undefined || witnessed.seq !== seq || witnessed.mac.equals(mac)) return null
    return { kind: 'altered', reason: `another line ${seq} of run ${run} was witnessed` }
  }
}
