// An audit trail of several runs in several files, and every way to tamper with it.
import { randomBytes, randomInt } from 'node:crypto'
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { auditKeyOf, type AuditKey } from '../../src/observe/audit-chain.ts'
import { openAuditTrail, type AuditTrail } from '../../src/observe/audit-trail.ts'
import { AuditVerifier, type AuditVerdict, type Witness } from '../../src/observe/audit-verify.ts'
import { takeKey } from '../../src/keys/key-material.ts'
import type { AuditEvent } from '../../src/keys/types.ts'

export const auditEntry: AuditEvent = {
  time: '2026-01-02T03:04:05.678Z',
  requestId: 'R1',
  principal: 'AKID',
  sourceAddress: '10.0.0.1',
  operation: 'PutObject',
  bucket: 'b',
  key: 'line\nbreak "ü"',
  versionId: null,
  masterKeyId: 'local:main:1',
  context: { realm: 'default' },
  action: 'generate',
  cached: false,
  outcome: 'ok',
  error: null
}

export function newAuditKey(id = 'local:main:1'): AuditKey {
  const master = takeKey(randomBytes(32))
  if (master === null) throw new Error('The random generator gave zeros.')
  return auditKeyOf(id, master)
}

/** Long enough that no checkpoint comes by time. */
export const NEVER_MS = 2 ** 31 - 1

export interface ChainedTrail extends AuditTrail {
  readonly witnesses: readonly Witness[]
}

/** One process, as far as the trail is concerned. */
export function chained(file: string, key: AuditKey, sync = false): ChainedTrail {
  const witnesses: Witness[] = []
  const trail = openAuditTrail({
    file,
    sync,
    chain: { key, intervalMs: NEVER_MS },
    notice: (notice) => {
      if (notice.kind === 'checkpoint') witnesses.push({ run: notice.run, head: { seq: notice.seq, mac: Buffer.from(notice.mac, 'base64url') } })
    }
  })
  return Object.assign(trail, { witnesses })
}

export interface Written {
  readonly key: AuditKey
  /** Oldest first. */
  readonly files: readonly Buffer[]
  /** Of all checkpoints. */
  readonly witnesses: readonly Witness[]
}

/**
 * Three files: two processes throughout, one that starts in the second file, and commands that run for a few lines. All end in an orderly way.
 * @param lines of each process in each file
 */
export async function writeTrail(folder: string, key: AuditKey, lines = 12): Promise<Written> {
  const path = join(folder, 'audit.jsonl')
  const parts: ChainedTrail[] = [chained(path, key), chained(path, key)]
  const all = [...parts]
  const use = (trail: AuditTrail): void => {
    trail.record({ ...auditEntry, requestId: randomBytes(6).toString('hex'), key: 'k'.repeat(randomInt(1, 40)) })
  }
  for (let file = 1; file <= 3; file += 1) {
    for (let i = 0; i < lines * parts.length; i += 1) use(parts[randomInt(parts.length)]!)
    const command = chained(path, key)
    all.push(command)
    use(command)
    use(parts[0]!)
    await command.close()
    for (let i = 0; i < lines; i += 1) use(parts[i % parts.length]!)
    if (file === 3) break
    renameSync(path, `${path}.${3 - file}`)
    use(parts[0]!)
    for (const trail of parts) trail.reopen()
    if (file === 1) {
      const third = chained(path, key)
      parts.push(third)
      all.push(third)
    }
  }
  for (const trail of parts) await trail.close()
  const files = [`${path}.2`, `${path}.1`, path].map((each) => readFileSync(each))
  return { key, files, witnesses: all.flatMap(({ witnesses }) => witnesses) }
}

export async function verifyFiles(files: readonly Buffer[], keys: readonly AuditKey[], witnesses: readonly Witness[] = []): Promise<AuditVerdict> {
  const verifier = new AuditVerifier(keys, witnesses)
  for (const [i, bytes] of files.entries()) {
    // In two pieces, so that lines cross them.
    const at = bytes.length === 0 ? 0 : randomInt(bytes.length)
    if (!await verifier.read(`file ${i + 1}`, pieces([bytes.subarray(0, at), bytes.subarray(at)]))) break
  }
  return verifier.end()
}

async function* pieces(all: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* all
}

/** Tampered files. `witnessed`: only what was kept elsewhere shows it. */
export interface Tampered {
  readonly files: readonly Buffer[]
  readonly witnessed?: true
}

type Tamper = (trail: Written, folder: string) => Tampered | Promise<Tampered>

const lf = Buffer.from('\n')
const linesOf = (bytes: Buffer): Buffer[] => bytes.toString('latin1').split('\n').slice(0, -1).map((line) => Buffer.from(line, 'latin1'))
const fileOf = (lines: readonly Buffer[]): Buffer => Buffer.concat(lines.flatMap((line) => [line, lf]))
const runOf = (line: Buffer): string => /"run":"([\w-]{22})"/.exec(line.toString('latin1').slice(-140))?.[1] ?? ''

/** Changes the lines of a file that is chosen at random. */
function within(change: (lines: Buffer[], last: boolean) => void): Tamper {
  return ({ files }) => {
    const which = randomInt(files.length)
    const before = files[which]!
    for (;;) {
      const lines = linesOf(before)
      change(lines, which === files.length - 1)
      const after = fileOf(lines)
      if (!after.equals(before)) return { files: files.with(which, after) }
    }
  }
}

const any = (lines: readonly Buffer[]): number => randomInt(lines.length)
/** But not the last line of all, whose loss is a tail that was cut off. */
const covered = (lines: readonly Buffer[], last: boolean): number => randomInt(last ? lines.length - 1 : lines.length)

function forged(like: Buffer, change: Readonly<Record<string, unknown>>): Buffer {
  return Buffer.from(JSON.stringify({ ...JSON.parse(like.toString()) as object, ...change }))
}

/** A line without its place in the chain. */
function stripped(line: Buffer): Buffer {
  return Buffer.from(line.toString('utf8').replace(/,"run":"[\w-]{22}","seq":\d+,"mac":"[\w-]{43}"\}$/, '}'))
}

export const tamperings: Readonly<Record<string, Tamper>> = {
  'one line deleted': within((lines, last) => {
    lines.splice(covered(lines, last), 1)
  }),
  'several lines deleted': within((lines, last) => {
    const from = covered(lines, last)
    lines.splice(from, Math.min(randomInt(2, 20), lines.length - from - (last ? 1 : 0)))
  }),
  'every line of one run in a file deleted': within((lines, last) => {
    const run = runOf(lines[covered(lines, last)]!)
    const kept = lines.filter((line, i) => runOf(line) !== run || (last && i === lines.length - 1))
    lines.splice(0, lines.length, ...kept)
  }),
  'the beginning of a file cut off': within((lines, last) => {
    lines.splice(0, 1 + covered(lines, last))
  }),
  'the end of a file cut off that others follow': ({ files }) => {
    const which = randomInt(files.length - 1)
    const bytes = files[which]!
    return { files: files.with(which, bytes.subarray(0, randomInt(bytes.length - 1))) }
  },
  'one bit changed': ({ files }) => {
    const which = randomInt(files.length)
    const bytes = Buffer.from(files[which]!)
    let at = randomInt(bytes.length)
    while (bytes[at] === 0x0a) at = randomInt(bytes.length)
    bytes[at]! ^= 1 << randomInt(8)
    return { files: files.with(which, bytes) }
  },
  'one bit of the last line changed': ({ files }) => {
    const bytes = Buffer.from(files.at(-1)!)
    const from = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1
    bytes[randomInt(from, bytes.length - 1)]! ^= 1 << randomInt(8)
    return { files: files.with(-1, bytes) }
  },
  'a field changed, still JSON': within((lines) => {
    const at = any(lines)
    const fields: Record<string, unknown>[] = [{ principal: 'EVE' }, { time: '2026-01-02T03:04:05.679Z' }, { bucket: 'c' }, { outcome: 'failed' }, {
      at: 0,
      heads: {}
    }]
    lines[at] = forged(lines[at]!, fields[randomInt(fields.length)]!)
  }),
  'a number of a line changed': within((lines) => {
    const at = any(lines)
    lines[at] = forged(lines[at]!, { seq: randomInt(1, 1000) })
  }),
  'bytes removed from a line': within((lines, last) => {
    const at = covered(lines, last)
    const line = lines[at]!
    const from = randomInt(line.length - 1)
    lines[at] = Buffer.concat([line.subarray(0, from), line.subarray(from + randomInt(1, 10))])
  }),
  'bytes put behind a line': within((lines, last) => {
    const at = covered(lines, last)
    lines[at] = Buffer.concat([lines[at]!, Buffer.from(randomBytes(randomInt(1, 30)).toString('hex'))])
  }),
  'bytes put before a line': within((lines, last) => {
    const at = covered(lines, last)
    lines[at] = Buffer.concat([Buffer.from(randomBytes(randomInt(1, 30)).toString('hex')), lines[at]!])
  }),
  'two lines of a run exchanged': within((lines) => {
    for (;;) {
      const [a, b] = [any(lines), any(lines)]
      if (a === b || runOf(lines[a]!) !== runOf(lines[b]!)) continue
      const held = lines[a]!
      lines[a] = lines[b]!
      lines[b] = held
      return
    }
  }),
  'a line moved behind a later one of its run': within((lines) => {
    for (;;) {
      const at = any(lines)
      const later = lines.findLastIndex((line) => runOf(line) === runOf(lines[at]!))
      if (later === at) continue
      const [line] = lines.splice(at, 1)
      lines.splice(later, 0, line!)
      return
    }
  }),
  'a line moved into another file': ({ files }) => {
    const [from, to] = files.length === 3 ? [[0, 1], [0, 2], [1, 0], [1, 2]][randomInt(4)]! : [0, 1]
    const [source, target] = [linesOf(files[from!]!), linesOf(files[to!]!)]
    const [line] = source.splice(any(source), 1)
    target.splice(any(target), 0, line!)
    return { files: files.with(from!, fileOf(source)).with(to!, fileOf(target)) }
  },
  'a line repeated at once': within((lines) => {
    const at = any(lines)
    lines.splice(at, 0, lines[at]!)
  }),
  'a line repeated later': within((lines) => {
    const line = lines[any(lines)]!
    lines.splice(lines.indexOf(line) + 1 + randomInt(lines.length - lines.indexOf(line)), 0, line)
  }),
  'a block repeated': within((lines) => {
    const from = any(lines)
    lines.splice(from, 0, ...lines.slice(from, from + randomInt(1, 10)))
  }),
  'a line without a chain put in': within((lines, last) => {
    lines.splice(1 + covered(lines, last), 0, stripped(forged(lines[0]!, { principal: 'EVE' })))
  }),
  'a line with a MAC of its own put in': within((lines, last) => {
    const at = 1 + covered(lines, last)
    const like = lines[at - 1]!
    const { seq } = JSON.parse(like.toString()) as { seq: number }
    lines.splice(at, 0, forged(like, { seq: seq + 1, mac: randomBytes(32).toString('base64url') }))
  }),
  'a run that was made up put in': within((lines, last) => {
    const start = { ...JSON.parse(lines[0]!.toString()) as object, reason: 'start', prev: Buffer.alloc(32).toString('base64url'), at: 0, heads: {}, before: {} }
    const text = JSON.stringify({ ...start, run: randomBytes(16).toString('base64url'), seq: 1, mac: randomBytes(32).toString('base64url') })
    lines.splice(covered(lines, last), 0, Buffer.from(text))
  }),
  'an unfinished line put in': within((lines, last) => {
    const like = stripped(forged(lines.find((line) => line.subarray(0, 8).toString() === '{"time":')!, { principal: 'EVE' }))
    lines.splice(1 + covered(lines, last), 0, like.subarray(0, randomInt(10, like.length - 1)))
  }),
  'garbage put in': within((lines, last) => {
    lines.splice(1 + covered(lines, last), 0, Buffer.from(randomBytes(randomInt(1, 200)).toString('base64')))
  }),
  'the chain taken off a line': within((lines, last) => {
    const at = covered(lines, last)
    lines[at] = stripped(lines[at]!)
  }),
  'the chain taken off a whole file': within((lines) => {
    lines.splice(0, lines.length, ...lines.map(stripped))
  }),
  'the chain taken off the beginning of a file': within((lines) => {
    const until = 1 + any(lines)
    lines.splice(0, until, ...lines.slice(0, until).map(stripped))
  }),
  'a line given to another run': within((lines) => {
    for (;;) {
      const [a, b] = [any(lines), any(lines)]
      if (runOf(lines[a]!) === runOf(lines[b]!)) continue
      lines[a] = forged(lines[a]!, { run: runOf(lines[b]!) })
      return
    }
  }),
  'a file left out between others': ({ files }) => ({ files: files.toSpliced(1, 1) }),
  'files in another order': ({ files }) => ({ files: [[1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]][randomInt(5)]!.map((i) => files[i]!) }),
  'a file given twice': ({ files }) => {
    const at = randomInt(files.length)
    return { files: files.toSpliced(at, 0, files[at]!) }
  },
  'a file of another trail under the same key': async ({ files, key }, folder) => {
    const other = await writeTrail(folder, key, 4)
    const at = randomInt(files.length)
    return { files: files.with(at, other.files[at]!) }
  },
  'a file of a trail under another key': async ({ files }, folder) => {
    const other = await writeTrail(folder, newAuditKey(), 4)
    const at = randomInt(files.length)
    return { files: files.with(at, other.files[at]!) }
  },
  'the end cut off while the gateway writes': async ({ key }, folder) => {
    const path = join(folder, `running-${randomBytes(6).toString('hex')}`)
    const trail = chained(path, key)
    for (let i = 0; i < 20; i += 1) trail.record(auditEntry)
    const whole = readFileSync(path)
    const cut = whole.subarray(0, randomInt(whole.indexOf(0x0a) + 2, whole.length - 1))
    trail.record(auditEntry)
    const next = readFileSync(path).subarray(whole.length)
    await trail.close()
    return { files: [Buffer.concat([cut, next])] }
  },
  'an older copy put back while the gateway writes': async ({ key }, folder) => {
    const path = join(folder, `older-${randomBytes(6).toString('hex')}`)
    const [one, two] = [chained(path, key), chained(path, key)]
    for (let i = 0; i < 10; i += 1) one.record(auditEntry)
    const older = readFileSync(path)
    for (let i = 0; i < randomInt(1, 10); i += 1) [one, two][i % 2]!.record(auditEntry)
    writeFileSync(path, older)
    for (const trail of [one, two]) trail.record(auditEntry)
    await one.close()
    await two.close()
    return { files: [readFileSync(path)] }
  },
  'the end of the last file cut off': ({ files }) => {
    const bytes = files.at(-1)!
    return { files: files.with(-1, bytes.subarray(0, randomInt(1, bytes.length - 1))), witnessed: true }
  },
  'the last file removed': ({ files }) => ({ files: files.slice(0, -1), witnessed: true }),
  'an older copy put back while nothing runs, and a start after it': async ({ key, files }, folder) => {
    const path = join(folder, `back-${randomBytes(6).toString('hex')}`)
    const bytes = files[0]!
    const end = bytes.lastIndexOf(0x0a, randomInt(bytes.indexOf(0x0a) + 1, bytes.length - 1)) + 1
    appendFileSync(path, bytes.subarray(0, end))
    const trail = chained(path, key)
    trail.record(auditEntry)
    await trail.close()
    return { files: [readFileSync(path)], witnessed: true }
  }
}
