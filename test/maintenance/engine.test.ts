import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { runEngine, unexamined, withRetries, type Finding, type Row, type Run, type Totals } from '../../src/maintenance/engine.ts'

const row = (i: number, more: Partial<Row> = {}): Row => ({
  key: `k${String(i).padStart(5, '0')}`,
  versionId: null,
  isLatest: true,
  deleteMarker: false,
  size: i,
  etag: null,
  lastModified: 1000 + i,
  storageClass: null,
  ...more
})
const rows = (count: number): Row[] => Array.from({ length: count }, (_, i) => row(i))
async function* pages(all: readonly Row[], size = 7) {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size)
  await Promise.resolve()
}
const run = (more: Partial<Run>): Run => ({
  source: pages(rows(50)),
  filter: () => true,
  action: (each) => Promise.resolve({ ...unexamined(each), state: 'sealed' }),
  limits: { concurrency: 5, perSecond: null, bytesPerSecond: null },
  shard: null,
  onFinding: () => undefined,
  signal: new AbortController().signal,
  ...more
})
const turn = () => new Promise((resolve) => setImmediate(resolve))

await t.test('rows begin in the order of the source, at most so many at once, and are told in that order', async (t) => {
  const [begun, told]: [string[], string[]] = [[], []]
  let [now, most] = [0, 0]
  const { states } = await runEngine(run({
    action: async (each) => {
      begun.push(each.key)
      most = Math.max(most, now += 1)
      // The earlier end later, among those that run at once.
      for (let i = 0; i < (each.size ?? 0) % 5 * 3; i += 1) await turn()
      now -= 1
      return { ...unexamined(each), state: 'sealed' }
    },
    onFinding: async ({ key }) => {
      await turn()
      told.push(key)
    }
  }))
  const keys = rows(50).map(({ key }) => key)
  t.strictSame([begun, told, most], [keys, keys, 5])
  t.match(states.get('sealed'), { objects: 50, oldest: 1000, examples: keys.slice(0, 10) })
})

await t.test('pages are asked for only when their rows are needed', async (t) => {
  let asked = 0
  async function* source() {
    for (let page = 0; page < 100; page += 1) {
      asked += 1
      yield rows(10)
    }
    await Promise.resolve()
  }
  const stop = new AbortController()
  let seen = 0
  const ended = runEngine(run({
    source: source(),
    signal: stop.signal,
    onFinding: () => {
      seen += 1
      if (seen === 15) stop.abort(new Error('enough'))
    }
  }))
  await t.rejects(ended, { message: 'enough' })
  t.ok(asked <= 3, `${asked} pages`)
})

await t.test('stopped: work that runs is aborted, none is begun, and everything that was done is told and counted', async (t) => {
  const stop = new AbortController()
  const [told, hanging]: [string[], string[]] = [[], []]
  let totals: Totals | null = null
  const ended = runEngine(run({
    signal: stop.signal,
    action: async (each, signal) => {
      // Those in between are done before the one in front of them.
      if (each.size !== 3 && each.size !== 9) return { ...unexamined(each), state: 'sealed' }
      hanging.push(each.key)
      if (hanging.length === 2) stop.abort(new Error('stop'))
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error)
        })
        if (signal.aborted) reject(signal.reason as Error)
      })
      return null
    },
    onFinding: ({ key }) => {
      told.push(key)
    },
    onTotals: (current) => {
      totals = current
    }
  }))
  await t.rejects(ended, { message: 'stop' })
  t.ok(told.length >= 7 && !told.includes('k00003') && told.includes('k00008'), told.join())
  t.strictSame(told, told.toSorted())
  t.equal((totals as Totals | null)?.states.get('sealed')?.objects, told.length)
  t.ok(((totals as Totals | null)?.rows ?? 0) < 20)
})

await t.test('a row that fails is a finding; 25 in a row end the run; an error that is none of the store ends it at once', async (t) => {
  const failing = (fails: (i: number) => boolean) =>
    runEngine(run({
      source: pages(rows(100)),
      limits: { concurrency: 1, perSecond: null, bytesPerSecond: null },
      action: (each) => fails(each.size ?? 0) ? Promise.reject(new S3Error('SlowDown')) : Promise.resolve({ ...unexamined(each), state: 'sealed' })
    }))
  t.match((await failing((i) => i % 25 !== 0)).states.get('failed'), { objects: 96 })
  await t.rejects(failing((i) => i >= 70), { code: 'SlowDown' })
  await t.rejects(failing((i) => i < 30), { code: 'SlowDown' })
  await t.rejects(runEngine(run({ action: () => Promise.reject(new TypeError('a fault of the program')) })), { message: 'a fault of the program' })
  await t.rejects(runEngine(run({ onFinding: () => Promise.reject(new Error('ENOSPC')) })), { message: 'ENOSPC' }, 'a report that cannot be written')
})

await t.test('shards divide the objects, whatever their number; rows that are gone, done or filtered are counted apart', async (t) => {
  const found: string[] = []
  for (let index = 1; index <= 3; index += 1) {
    await runEngine(run({
      shard: { index, of: 3 },
      onFinding: ({ key }) => {
        found.push(key)
      }
    }))
  }
  t.strictSame(found.toSorted(), rows(50).map(({ key }) => key))
  const totals = await runEngine(run({
    filter: ({ size }) => size !== 0,
    isDone: ({ size }) => size === 1 || size === 2,
    action: (each): Promise<Finding | null> => Promise.resolve(each.size === 3 ? null : unexamined(each))
  }))
  t.match(totals, { rows: 49, skipped: 2, skippedBytes: 3, gone: 1 })
  t.equal(totals.states.size, 0)
})

await t.test('SlowDown is waited for and tried again, six times at most; what lasts is not', async (t) => {
  const { signal } = new AbortController()
  const attempts = async (code: 'SlowDown' | 'AccessDenied' | 'SealgateIntegrityError', failures: number): Promise<readonly [number, boolean]> => {
    let tries = 0
    const done = await withRetries(
      async () => {
        tries += 1
        if (tries <= failures) throw new S3Error(code)
        return true
      },
      signal,
      8
    ).catch(() => false)
    return [tries, done]
  }
  t.strictSame(await attempts('SlowDown', 3), [4, true])
  t.strictSame(await attempts('SlowDown', 99), [6, false])
  t.strictSame(await attempts('AccessDenied', 99), [1, false])
  t.strictSame(await attempts('SealgateIntegrityError', 99), [1, false])
  const stop = new AbortController()
  const stopped = withRetries(
    () => {
      stop.abort(new Error('stop'))
      return Promise.reject(new S3Error('SlowDown'))
    },
    stop.signal,
    1_000_000
  )
  await t.rejects(stopped, { name: 'AbortError' }, 'a wait ends with the run')
})
