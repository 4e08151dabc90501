import { closeSync, fdatasyncSync, fstatSync, openSync, statSync, writeSync } from 'node:fs'
import { headsAtStart, headsBefore, headsOf } from './audit-heads.ts'
import type { Heads } from './audit-chain.ts'

/** What was found at the end of a file, for a checkpoint. */
export interface Place {
  /** Bytes of the file. */
  readonly at: number
  readonly heads: Heads
  readonly before: Heads
}

/** What is wrong with a file that lines are appended to. `moved`: its name is another file's or nobody's; `cut`: it is shorter than it was. */
export type FileFault = 'moved' | 'cut'

/**
 * A file that only its owner reads, to which several processes append lines. Each line is one write at the end of the file, so that a crash loses
 * nothing that was recorded.
 */
export class AuditFile {
  readonly #path: string
  readonly #sync: boolean
  #file: number
  /** Where heads of other runs have been looked for so far. */
  #looked = 0
  /** Bytes that were appended here since then. */
  #own = 0
  /** A line was left unfinished at the end of the file. */
  #torn = false
  #fragments = 0

  /** @param sync each line is on the disk before `append` returns. @throws Error of the file system when the file cannot be opened. */
  constructor(path: string, sync: boolean) {
    this.#path = path
    this.#sync = sync
    this.#file = open(path)
  }

  get torn(): boolean {
    return this.#torn
  }

  /** Looks at the end of a file that was opened now, whose last line may have no end: that of another run, which was killed. */
  begin(): Place {
    const { heads, size, torn } = headsAtStart(this.#file)
    this.#looked = size
    this.#own = 0
    this.#torn = torn
    return { at: size, heads, before: size === 0 ? headsBefore(this.#path) : {} }
  }

  /** What other runs have appended since the last look. @param except the run that looks */
  look(except: string): Place & { readonly fragments: number } {
    const { size } = fstatSync(this.#file)
    const fragments = this.#fragments
    const seen = size - this.#looked === this.#own ? null : headsOf(this.#file, { from: Math.min(this.#looked, size), except })
    this.#looked = seen?.whole ?? size
    this.#own = 0
    return { at: size, heads: seen?.heads ?? {}, before: {}, fragments }
  }

  /** null: none. */
  fault(): FileFault | null {
    const { size, ino } = fstatSync(this.#file)
    if (size < this.#looked + this.#own) return 'cut'
    return statSync(this.#path, { throwIfNoEntry: false })?.ino === ino ? null : 'moved'
  }

  /** @param line with its line end. @throws Error of the file system; the line then is not in the file, or only its beginning. */
  append(line: string): void {
    const lead = this.#torn ? 1 : 0
    const bytes = Buffer.from(lead === 1 ? `\n${line}` : line)
    let written = 0
    try {
      while (written < bytes.length) written += writeSync(this.#file, bytes, written)
    } catch (error) {
      // A line that lacks its end alone is there: to write it again would repeat it.
      if (written < bytes.length - 1) throw error
    } finally {
      this.#own += written
      if (written > 0) this.#torn = written > lead && written < bytes.length
      if (this.#torn && written > lead && written < bytes.length - 1) this.#fragments += 1
    }
  }

  /** With `sync`: what was appended is on the disk afterwards. @throws Error of the file system. */
  flush(): void {
    if (this.#sync) fdatasyncSync(this.#file)
  }

  /** The fragments so far are told in the file. */
  told(fragments: number): void {
    this.#fragments -= fragments
  }

  /**
   * Opens the path again, and uses it where it is another file now. The old file stays in use when that fails.
   * @param between runs before the first use of another file.
   * @returns false: it is the same file.
   */
  reopen(between: () => void = () => undefined): boolean {
    const fresh = open(this.#path)
    if (fstatSync(fresh).ino === fstatSync(this.#file).ino) {
      closeSync(fresh)
      return false
    }
    between()
    closeSync(this.#file)
    this.#file = fresh
    this.#looked = 0
    this.#own = 0
    this.#torn = false
    return true
  }

  close(): void {
    closeSync(this.#file)
  }
}

function open(path: string): number {
  // Read as well: for the heads of other runs.
  return openSync(path, 'a+', 0o600)
}
