import { open } from 'node:fs/promises'

/** A use of a key, as the audit trail has it. */
interface PastUse {
  readonly time: string
  readonly principal: string
  readonly operation: string
  readonly action: string
  readonly outcome: string
}

export interface PastUses {
  /** The latest first. */
  readonly uses: readonly PastUse[]
  /** The search has come to the beginning of the file. */
  readonly whole: boolean
}

const CHUNK = 1024 * 1024
/** Bytes that are searched, from the end: a trail has no bound. */
const MOST_BYTES = 256 * 1024 * 1024
/** Characters of a line that is looked at; a line has a name of 1,024 bytes and a context of 8 KiB at most. */
const MOST_LINE = 65_536

/**
 * The last uses of keys for one object in an audit file, read from its end in chunks.
 * @param most uses. @throws Error of the file system.
 */
export async function lastUses(path: string, { bucket, key }: { readonly bucket: string; readonly key: string }, most: number): Promise<PastUses> {
  const file = await open(path)
  try {
    const uses: PastUse[] = []
    const { size } = await file.stat()
    const least = Math.max(0, size - MOST_BYTES)
    // The start of a line whose end has been read.
    let rest: Buffer = Buffer.alloc(0)
    for (let end = size; end > least && uses.length < most;) {
      const start = Math.max(least, end - CHUNK)
      const chunk = Buffer.alloc(end - start)
      const { bytesRead } = await file.read(chunk, 0, chunk.length, start)
      const text = Buffer.concat([chunk.subarray(0, bytesRead), rest])
      const first = start === 0 ? 0 : text.indexOf('\n') + 1
      rest = start === 0 ? Buffer.alloc(0) : text.subarray(0, Math.min(first === 0 ? text.length : first, MOST_LINE))
      if (first > 0 || start === 0) uses.push(...usesIn(text.subarray(first), bucket, key))
      end = start
      if (end === 0) return { uses: uses.slice(0, most), whole: true }
    }
    return { uses: uses.slice(0, most), whole: size === 0 }
  } finally {
    await file.close()
  }
}

/** Those of whole lines, the last first. Lines that are none are passed over: a trail may share its file. */
function usesIn(lines: Buffer, bucket: string, key: string): PastUse[] {
  const named = JSON.stringify(key)
  return lines.toString('utf8').split('\n').toReversed().flatMap((line): PastUse[] => {
    if (!line.includes(named)) return []
    try {
      const event = JSON.parse(line) as Readonly<Record<string, unknown>>
      if (event['bucket'] !== bucket || event['key'] !== key) return []
      const text = (name: string): string => typeof event[name] === 'string' ? event[name] : ''
      return [{ time: text('time'), principal: text('principal'), operation: text('operation'), action: text('action'), outcome: text('outcome') }]
    } catch {
      return []
    }
  })
}
