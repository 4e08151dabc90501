import { setImmediate as tick } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { both, parallel, parallelMap, rowsOf } from '../../src/concurrency/parallel.ts'

const forever = new AbortController().signal

/** A task that ends when its signal does, as a request to a store that says nothing. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error)
    }, { once: true })
  })
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await tick()
}

await t.test('results in order, never more at once than allowed, and nothing begins after a failure', async (t) => {
  const delays = fc.array(fc.nat(3), { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(delays, fc.integer({ min: 1, max: 8 }), fc.option(fc.nat(29)), async (items, limit, failing) => {
      let running = 0
      let most = 0
      let late = 0
      const work = parallelMap([...items.entries()], { limit, signal: forever }, async ([i, wait], signal) => {
        if (signal.aborted) late += 1
        running += 1
        most = Math.max(most, running)
        await turns(wait)
        running -= 1
        if (i === failing) throw new Error(String(i))
        return i
      })
      const outcome = await work.catch((error: unknown) => String(error))
      t.strictSame(outcome, failing !== null && failing < items.length ? `Error: ${failing}` : [...items.keys()])
      t.equal(late, 0, 'nothing begins after a failure')
      t.equal(running, 0, 'nothing is under way')
      t.ok(most <= limit)
    }),
    { numRuns: 60 }
  )
})

await t.test('the first failure ends what waits, and is the one that is thrown', async (t) => {
  const begun: number[] = []
  const work = parallel(Array(1000).keys(), { limit: 4, signal: forever }, async (i, signal) => {
    begun.push(i)
    if (i === 2) throw new Error('the first')
    await untilAborted(signal)
  })
  await t.rejects(work, { message: 'the first' })
  await turns(3)
  t.strictSame(begun, [0, 1, 2])
})

await t.test('an abort ends all tasks, also before they have begun', async (t) => {
  const client = new AbortController()
  let begun = 0
  const work = parallel(Array(1000).keys(), { limit: 4, signal: client.signal }, async (_, signal) => {
    begun += 1
    await untilAborted(signal)
  })
  await turns(3)
  client.abort(new Error('gone'))
  await t.rejects(work, { message: 'gone' })
  await t.rejects(
    parallel([1], { limit: 1, signal: client.signal }, async () => {
      begun += 1
    }),
    { message: 'gone' }
  )
  t.equal(begun, 4)
})

await t.test('pages are requested as their rows are needed, and a page that fails ends the rows', async (t) => {
  let asked = 0
  async function* pages(last: number): AsyncGenerator<readonly number[]> {
    for (;;) {
      asked += 1
      if (asked > last) throw new Error('no page')
      yield [asked, asked]
    }
  }
  const seen: number[] = []
  const add = async (row: number): Promise<void> => {
    seen.push(row)
  }
  await t.rejects(parallel(rowsOf(pages(2)), { limit: 3, signal: forever }, add), { message: 'no page' })
  t.strictSame(seen, [1, 1, 2, 2])
  asked = 0
  await t.rejects(
    parallel(rowsOf(pages(1000)), { limit: 2, signal: forever }, async () => {
      throw new Error('no row')
    }),
    { message: 'no row' }
  )
  t.ok(asked <= 2, `${asked} pages`)
})

await t.test('two tasks at once: each ends with the failure of the other', async (t) => {
  t.strictSame(await both(forever, async () => 1, async () => 'two'), [1, 'two'])
  const fail = async (): Promise<never> => {
    throw new Error('no')
  }
  await t.rejects(both(forever, fail, untilAborted), { message: 'no' })
  await t.rejects(both(forever, untilAborted, fail), { message: 'no' })
  const client = new AbortController()
  const work = both(client.signal, untilAborted, untilAborted)
  client.abort(new Error('gone'))
  await t.rejects(work, { message: 'gone' })
})
