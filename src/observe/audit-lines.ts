// What a line of an audit trail is, before its MAC is looked at. Costs no more than its length.
import { checkpointReasons, type Checkpoint, type Heads } from './audit-chain.ts'

const LINE_STARTS = ['{"time":"', '{"audit":"'] as const
/** Places in a line where another one may begin that are tried: a client may have put more of them into a context. */
const MOST_STARTS = 8

/**
 * The end of a line of a chain, also where one of its three parts was altered: two of them, in their order and as near as they stand, are in no beginning of a
 * line. A context, whose words a client chooses, has its names in order and no number: it cannot look so.
 */
const wholeEnds = [
  /,"seq":[1-9]\d{0,14},"mac":"[A-Za-z0-9_-]{43}"\}/,
  /,"run":"[A-Za-z0-9_-]{22}"[^]{1,30},"mac":"[A-Za-z0-9_-]{43}"\}/
]
const runAndSeq = /,"run":"[A-Za-z0-9_-]{22}","seq":[1-9]\d{0,14}/
const MAC_START = ',"mac":"'

/** Whether this may stand behind run and seq in a line whose rest was never written. */
function beginsMac(text: string): boolean {
  const written = text.replace(/^\d+/, '').replaceAll('\0', '')
  if (written.length <= MAC_START.length) return MAC_START.startsWith(written)
  return written.startsWith(MAC_START) && /^(?:[A-Za-z0-9_-]{0,43}|[A-Za-z0-9_-]{43}")$/.test(written.slice(MAC_START.length))
}

function hasWholeEnd(text: string): boolean {
  if (wholeEnds.some((end) => end.test(text))) return true
  const found = runAndSeq.exec(text)
  return found !== null && !beginsMac(text.slice(found.index + found[0].length))
}

export function beginsAsCheckpoint(line: Buffer): boolean {
  const [, start] = LINE_STARTS
  return line.toString('latin1', 0, start.length) === start
}

function zerosAtEnd(line: Buffer): number {
  let count = 0
  while (count < line.length - 1 && line[line.length - 1 - count] === 0) count += 1
  return count
}

/** Where another line, or zeros that a loss of power has left, may begin in a line, the last place first. */
export function startsIn(line: Buffer): number[] {
  const starts: number[] = []
  if (line.at(-1) === 0) starts.push(line.length - zerosAtEnd(line))
  for (let at = line.length - 1; at > 0 && starts.length < MOST_STARTS; at -= 1) {
    at = Math.max(...LINE_STARTS.map((start) => line.lastIndexOf(start, at)))
    if (at > 0) starts.push(at)
  }
  return starts
}

/** Whether this may be the beginning of a line whose rest was never written. After a loss of power blocks of zeros may stand there. */
export function isTorn(bytes: Buffer): boolean {
  if (bytes.every((byte) => byte === 0)) return true
  // With the end of a line in it, it is more than the beginning of one.
  if (hasWholeEnd(bytes.toString('latin1'))) return false
  if (!LINE_STARTS.some((start) => bytes.subarray(0, start.length).equals(Buffer.from(start).subarray(0, bytes.length)))) return false
  try {
    JSON.parse(bytes.toString())
    return false
  } catch {
    return true
  }
}

/** null: it is no checkpoint. What it says counts only after its MAC. */
export function checkpointIn(line: Buffer): Checkpoint | null {
  if (!line.subarray(0, 24).equals(Buffer.from('{"audit":"checkpoint","f'))) return null
  try {
    const value = JSON.parse(line.toString()) as Partial<Record<keyof Checkpoint, unknown>>
    const { keyId, prev, at, torn, heads, before } = value
    const reason = checkpointReasons.find((known) => known === value.reason)
    if (value.audit !== 'checkpoint' || value.format !== 1 || reason === undefined || typeof prev !== 'string') return null
    if (typeof keyId !== 'string' || !/^[A-Za-z0-9_:-]{1,80}$/.test(keyId)) return null
    if (typeof at !== 'number' || typeof torn !== 'number' || !isHeads(heads) || !isHeads(before)) return null
    return { audit: 'checkpoint', format: 1, time: '', reason, keyId, prev, at, torn, heads, before }
  } catch {
    return null
  }
}

function isHeads(value: unknown): value is Heads {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((text) => typeof text === 'string')
}

export function timeIn(line: Buffer): string {
  return /"time":"([0-9TZ:.+-]{1,40})"/.exec(line.toString('latin1', 0, 128))?.[1] ?? ''
}
