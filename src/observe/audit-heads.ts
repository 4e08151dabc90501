import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { showHead, tailOf, type Heads } from './audit-chain.ts'

/** Bytes that are read at most for one checkpoint: a run makes one at least every MiB, so that those of 16 processes have all heads. */
const MOST_BYTES = 16 * 1024 * 1024
/** Bytes that are read at a start. */
const AT_START = 1024 * 1024
const CHUNK = 256 * 1024
/** Runs that one checkpoint names, the latest first. */
const MOST_RUNS = 256

/** What a look at the end of a file has found. */
interface Seen {
  readonly heads: Heads
  /** Bytes of the file. */
  readonly size: number
  /** Bytes up to the end of its last whole line. */
  readonly whole: number
  /** Its last line has no end. */
  readonly torn: boolean
}

/** The heads of all runs but one in the bytes of a file from an offset on, or in the last of them where there are too many. */
export function headsOf(file: number, { from, except, most = MOST_BYTES }: { readonly from: number; readonly except: string; readonly most?: number }): Seen {
  const { size } = fstatSync(file)
  const heads = new Map<string, string>()
  const chunk = Buffer.alloc(Math.min(CHUNK, Math.max(0, size - from)))
  let rest: Buffer = Buffer.alloc(0)
  let torn = false
  for (let at = Math.max(from, size - most, 0); at < size;) {
    const count = readSync(file, chunk, 0, Math.min(chunk.length, size - at), at)
    if (count === 0) break
    at += count
    const bytes = Buffer.concat([rest, chunk.subarray(0, count)])
    torn = bytes.at(-1) !== 0x0a
    const end = bytes.lastIndexOf(0x0a)
    for (let start = 0; start < end;) {
      const stop = bytes.indexOf(0x0a, start)
      const tail = tailOf(bytes.subarray(start, stop))
      if (tail !== null && tail.run !== except) {
        // Again at the end, so that the order is that of the last lines.
        heads.delete(tail.run)
        heads.set(tail.run, showHead(tail))
      }
      start = stop + 1
    }
    // What identifies a line is at its end.
    rest = Buffer.from(bytes.subarray(Math.max(end + 1, bytes.length - CHUNK)))
  }
  return { heads: Object.fromEntries([...heads].slice(-MOST_RUNS)), size, whole: size - rest.length, torn }
}

/** The heads at the end of a file, for a run that starts. */
export function headsAtStart(file: number): Seen {
  const { size } = fstatSync(file)
  return headsOf(file, { from: Math.max(0, size - AT_START), except: '' })
}

/** The heads at the end of the file that was moved away last: `audit.jsonl.1`, `audit.jsonl-20261129`. Empty where there is none that can be read. */
export function headsBefore(path: string): Heads {
  try {
    const folder = dirname(path)
    const name = basename(path)
    const moved = readdirSync(folder).filter((each) => /^[.-]\d[\w-]*$/.test(each.startsWith(name) ? each.slice(name.length) : ''))
    const [last] = moved.map((each) => join(folder, each)).map((each) => ({ each, at: statSync(each).mtimeMs })).toSorted((a, b) => b.at - a.at)
    if (last === undefined) return {}
    const file = openSync(last.each, 'r')
    try {
      return headsAtStart(file).heads
    } finally {
      closeSync(file)
    }
  } catch {
    // A link that is missing is told by the verifier where the files are given; it must not keep the gateway from its start.
    return {}
  }
}
