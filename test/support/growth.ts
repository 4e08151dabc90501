// Holds the cost of parsers and of unauthenticated requests against the length of their input: the short form in `npm test`, the
// long one in test/campaigns/growth.ts.
import { endless, placesOf, units } from './endless.ts'
import { isRefusal, type Parser } from './parsers.ts'

/** Tolerated CPU time, in microseconds per byte and for the whole. */
const freePerByte = 0.15
const freeMicroseconds = 5000
/** From n to 2n and from 2n to 4n: a linear cost doubles, a square one is four times as much; garbage collection comes at one length and not at another. */
const mostGrowth = 2.7
/** CPU time that is too much even where it grows linearly. */
const mostPerByte = 4
const repeats = 6

interface Verdict {
  readonly what: string
  readonly bytes: number
  readonly microseconds: number
}

export interface GrowthReport {
  readonly cases: number
  /** The costliest, by CPU time per byte. */
  readonly slowest: Verdict
  readonly faults: readonly string[]
}

/** CPU time of the process in microseconds that one run costs. Contention makes it longer and never shorter: the least is its own. */
async function costOf(run: () => unknown): Promise<number> {
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

async function leastCost(run: () => unknown, enough: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < repeats && least > enough; i += 1) least = Math.min(least, await costOf(run))
  return least
}

interface Judgement {
  /** Null when the cost is no more than linear. */
  readonly fault: string | null
  /** CPU time of the whole length in microseconds. */
  readonly cost: number
}

/**
 * Judges one construct at n, 2n and 4n. A fault is one when it is found twice: other work of the machine does not come at the same lengths again.
 * @param run with a length in bytes.
 */
export async function judgeGrowth(what: string, length: number, run: (length: number) => unknown): Promise<Judgement> {
  const first = await judgeOnce(what, length, run)
  return first.fault === null ? first : judgeOnce(what, length, run)
}

async function judgeOnce(what: string, length: number, run: (length: number) => unknown): Promise<Judgement> {
  const free = freeMicroseconds + freePerByte * length
  const cost = await leastCost(() => run(length), free)
  if (cost <= free) return { fault: null, cost }
  const half = await leastCost(() => run(length / 2), 0)
  const quarter = await leastCost(() => run(length / 4), 0)
  const again = Math.min(cost, await leastCost(() => run(length), 0))
  if (again <= free) return { fault: null, cost: again }
  const measured = `${what}: ${quarter} µs, ${half} µs, ${again} µs at ${length / 4}, ${length / 2} and ${length} bytes`
  const grows = again > mostGrowth * half && half > mostGrowth * quarter
  return { fault: grows || again > 10 * freeMicroseconds + mostPerByte * length ? measured : null, cost: again }
}

/**
 * Every construct at every place of every seed.
 * @param most bytes of an input, where the parser's own limit is not less. @param share 3: every third construct at each place, another
 * third at the next. The other places are filled at every second place then, else at all.
 */
export async function growthOf(parsers: readonly Parser[], most: number, share = 1): Promise<GrowthReport> {
  const faults: string[] = []
  let cases = 0
  let slowest: Verdict = { what: '', bytes: 1, microseconds: 0 }
  for (const { name, limit, seeds, run } of parsers) {
    const length = Math.min(limit, most)
    let places = 0
    for (const seed of seeds) {
      for (let place = 0; place < placesOf(seed); place += 1, places += 1) {
        for (const unit of units.filter((_, i) => (i + places) % share === 0)) {
          const others = share > 1 && places % 2 === 0 ? 'empty' : 'filled'
          const inputs = new Map([1, 2, 4].map((part) => [length / part, endless(seed, place, unit, length / part, others)]))
          const what = `${name}, ${JSON.stringify(unit)} at place ${place + 1} of ${JSON.stringify(seed.slice(0, 60))}`
          const { fault, cost } = await judgeGrowth(what, length, async (bytes) => {
            try {
              await run(inputs.get(bytes) ?? Buffer.alloc(0))
            } catch (error) {
              if (!isRefusal(error)) throw new Error(what, { cause: error })
            }
          })
          cases += 1
          if (fault !== null) {
            faults.push(fault)
          }
          if (cost / length > slowest.microseconds / slowest.bytes) slowest = { what, bytes: length, microseconds: cost }
        }
      }
    }
  }
  return { cases, slowest, faults }
}
