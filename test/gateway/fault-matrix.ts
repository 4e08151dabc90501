// Scripts × every request the gateway makes for them × everything that can go wrong with it.
import { setTimeout as sleep } from 'node:timers/promises'
import { scripts } from './fault-scripts.ts'
import { FaultRig, firstByteMs, lateMs, type Leaks, type Point } from './fault-rig.ts'
import type { Script } from './fault-script.ts'
import type { Fault } from '../support/faults.ts'

const on = (header: string, change: (value: string) => string): Fault => ({
  type: 'transform',
  // A store is trusted about its own writes: there is no other source.
  change: (answer, { method }) =>
    method === 'PUT' || method === 'POST'
      ? answer
      : ({ ...answer, headers: answer.headers.map(([name, value]) => name.toLowerCase() === header ? [name, change(value)] : [name, value]) })
})

/** Each kind of fault where it makes a difference: before, in the middle of, and after the work. */
export const faults: Readonly<Record<string, Fault>> = {
  'refused': { type: 'refuse' },
  'reset before': { type: 'reset', at: 'before' },
  'reset in the upload': { type: 'mid-upload', bytes: 1, then: 'reset' },
  'reset late in the upload': { type: 'mid-upload', bytes: 66_000, then: 'reset' },
  'reset after the work': { type: 'reset', at: 'after-request' },
  'reset in the head': { type: 'reset', at: 'mid-head' },
  'reset after the head': { type: 'reset', at: 'after-head' },
  'reset in the body': { type: 'reset', at: 'mid-body', bytes: 66_000 },
  'reset at the first byte': { type: 'reset', at: 'mid-body', bytes: 1 },
  'stalled before': { type: 'stall', at: 'before' },
  'stalled in the upload': { type: 'mid-upload', bytes: 1, then: 'stall' },
  'stalled after the work': { type: 'stall', at: 'after-request' },
  'stalled in the head': { type: 'stall', at: 'mid-head' },
  'stalled after the head': { type: 'stall', at: 'after-head' },
  'stalled in the body': { type: 'stall', at: 'mid-body', bytes: 30 },
  'cut': { type: 'truncate', bytes: 30 },
  'cut to nothing': { type: 'truncate', bytes: 0 },
  'no end but the connection\'s': { type: 'close-delimited' },
  'a little late': { type: 'delay', milliseconds: 30 },
  'too late': { type: 'delay', milliseconds: firstByteMs * 2 },
  'carried out too late': { type: 'late', until: () => sleep(lateMs, undefined, { ref: false }) },
  '500': { type: 'error', status: 500, code: 'InternalError' },
  '503': { type: 'error', status: 503, code: 'SlowDown' },
  '403': { type: 'error', status: 403, code: 'SignatureDoesNotMatch' },
  '500 after the work': { type: 'lost-answer', status: 500, code: 'InternalError' },
  '503 after the work': { type: 'lost-answer', status: 503, code: 'SlowDown' },
  'longer than announced': { type: 'content-length', value: 10 },
  'shorter than announced': { type: 'content-length', value: 10_000_000 },
  'a longer body': { type: 'extra', where: 'in-body', bytes: Buffer.from('evil') },
  'another range': { type: 'shift', by: 16 },
  'another Content-Range': on('content-range', (value) => value.replace(/\d+/, (first) => String(Number(first) + 1))),
  'another ETag': on('etag', () => '"00000000000000000000000000000000"'),
  'garbage': { type: 'garbage' },
  'garbage with a status line': { type: 'garbage', bytes: Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n') },
  'an answer too many': { type: 'extra', where: 'after-response', bytes: Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil') },
  'a redirect': { type: 'redirect', status: 307, location: 'http://127.0.0.1:1/elsewhere' },
  'a header twice': { type: 'headers', add: [['ETag', '"00000000000000000000000000000000"']] },
  'bad request': { type: 'answer', status: 400, body: 'no XML at all' }
}

/** Whether a fault changes anything about a request: an upload cannot break off where there is none. */
function applies(name: string, { unsealed }: Script, { method, key, range, bodyLength }: Point): boolean {
  const fault = faults[name]!
  if (fault.type === 'mid-upload') return bodyLength >= fault.bytes
  if (name === 'another Content-Range') return range
  if (name === 'another range') return method === 'GET' && key !== '' && unsealed !== true
  // Of what only asks, a late answer is the same.
  if (fault.type === 'late') return method !== 'GET' && method !== 'HEAD'
  if (name === 'another ETag') return method === 'GET' || method === 'HEAD'
  return true
}

export interface Case {
  readonly script: Script
  /** Which request of the gateway is hit, from 1. */
  readonly nth: number
  readonly fault: string
}

export interface Matrix {
  readonly cases: readonly Case[]
  /** Requests of the scripts to the store, taken together. */
  readonly points: number
}

/** Every case there is. */
export async function wholeMatrix(): Promise<Matrix> {
  const found = await allPoints()
  const cases = found.flatMap(({ script, points }) =>
    points.flatMap((point, i) =>
      Object.keys(faults)
        .filter((fault) => applies(fault, script, point)).map((fault) => ({ script, nth: i + 1, fault }))
    )
  )
  return { cases, points: count(found) }
}

/** A case of the sample, as it is kept in fault-sample.json: the name of the script, which request of it, and the fault. */
export type Sampled = readonly [script: string, nth: number, fault: string]

/**
 * One request of each script with one fault, the requests and the faults taking turns. To find the requests costs a run of every script, so the test
 * reads what this has chosen before.
 */
export async function chooseSample(): Promise<Sampled[]> {
  const names = Object.keys(faults)
  // The least used of those that apply, so that those that apply to few requests come up, too.
  const used = new Map(names.map((name) => [name, 0]))
  return (await allPoints()).flatMap(({ script, points }, turn): Sampled[] => {
    const i = turn % points.length
    const point = points[i]
    if (point === undefined) return []
    const fault = names.filter((name) => applies(name, script, point)).reduce((a, b) => used.get(b)! < used.get(a)! ? b : a)
    used.set(fault, used.get(fault)! + 1)
    return [[script.name, i + 1, fault]]
  })
}

interface ScriptPoints {
  readonly script: Script
  readonly points: readonly Point[]
}

const count = (found: readonly ScriptPoints[]): number => found.reduce((sum, { points }) => sum + points.length, 0)

async function allPoints(): Promise<ScriptPoints[]> {
  const rig = await FaultRig.open('count')
  const found: ScriptPoints[] = []
  for (const script of scripts) found.push({ script, points: await rig.points(script) })
  await rig.rest()
  await rig.close()
  return found
}

export interface Summary {
  readonly runs: number
  readonly acknowledged: number
  readonly problems: readonly string[]
  /** Cases whose request never came: a script does not always make it. */
  readonly missed: readonly string[]
}

interface Count {
  runs: number
  acknowledged: number
  readonly problems: string[]
  readonly missed: string[]
}

/** Runs of a rig before it is looked at for what it has not let go of, and replaced: its store keeps all it was ever given. */
const runsOfRig = 60

/** Runs cases on several rigs at once: most of the time goes in waiting for timeouts. */
export async function runCases(cases: readonly Case[], rigs: number, progress: (summary: Summary) => void = () => undefined): Promise<Summary> {
  const summary: Count = { runs: 0, acknowledged: 0, problems: [], missed: [] }
  for (let from = 0; from < cases.length; from += rigs * runsOfRig) {
    await runBatch(cases.slice(from, from + rigs * runsOfRig), rigs, summary, progress)
  }
  return summary
}

async function runBatch(cases: readonly Case[], count: number, summary: Count, progress: (summary: Summary) => void): Promise<void> {
  const queue = cases.values()
  const rigs = await Promise.all(Array.from({ length: count }, (_, i) => FaultRig.open(`rig${i}`)))
  await Promise.all(rigs.map(async (rig) => {
    for (const { script, nth, fault } of queue) {
      const { fired, acknowledged, problem } = await rig.run({ script, nth, name: fault, fault: faults[fault]! })
      if (problem !== null) summary.problems.push(problem)
      if (!fired) summary.missed.push(`${script.name}, request ${nth} ${fault}`)
      summary.runs += Number(fired)
      summary.acknowledged += Number(fired && acknowledged)
      progress(summary)
    }
  }))
  const leaks = await Promise.all(rigs.map((rig) => rig.rest()))
  for (const leak of [...leaks, await FaultRig.alive()]) summary.problems.push(...described(leak))
  progress(summary)
  await Promise.all(rigs.map((rig) => rig.close()))
}

function described(leaks: Leaks): string[] {
  return Object.entries(leaks).filter(([, left]) => left > 0).map(([what, left]) => `at rest: ${left} ${what}`)
}
