import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { Health } from '../../src/observe/health.ts'

const now = () => new Date('2026-01-02T03:04:05Z')

await t.test('not ready before every check has passed, and while any fails', async (t) => {
  let store: Error | null = new S3Error('ServiceUnavailable', { cause: new Error('connect 10.0.0.1') })
  const health = new Health([
    {
      name: 'store',
      run: async () => {
        if (store !== null) throw store
      }
    },
    { name: 'keys', run: async () => undefined }
  ], { timeoutSeconds: 5, againMs: 1, now })
  t.same(health.report(), {
    ready: false,
    draining: false,
    checks: [
      { name: 'store', ok: false, at: null, since: null, error: 'NotYetRun', failure: null },
      { name: 'keys', ok: false, at: null, since: null, error: 'NotYetRun', failure: null }
    ]
  })
  t.same(await health.run(), {
    ready: false,
    draining: false,
    checks: [
      {
        name: 'store',
        ok: false,
        at: '2026-01-02T03:04:05.000Z',
        since: '2026-01-02T03:04:05.000Z',
        error: 'ServiceUnavailable',
        failure: { reason: 'Service is unable to handle request.', diagnosis: null }
      },
      { name: 'keys', ok: true, at: '2026-01-02T03:04:05.000Z', since: '2026-01-02T03:04:05.000Z', error: null, failure: null }
    ]
  })
  store = null
  t.equal((await health.run()).ready, true)
  store = new Error('secret address')
  t.match(await health.run(), { ready: false, checks: [{ name: 'store', error: 'InternalError' }, { name: 'keys', ok: true }] })
  t.notMatch(JSON.stringify(health.report()), /secret|10\.0\.0\.1/)
  store = null
  await health.run()
  health.drain()
  t.match(health.report(), { ready: false, draining: true })
  t.equal((await health.run()).ready, false, 'draining is for good')
})

await t.test('a check that hangs is cut, whether it listens to its signal or not', async (t) => {
  let aborted = false
  const health = new Health([
    { name: 'deaf', run: async () => new Promise(() => undefined) },
    {
      name: 'listening',
      run: async (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true
            reject(new Error('stopped'))
          })
        })
    }
  ], { timeoutSeconds: 0.02, now })
  const { checks } = await health.run()
  t.match(checks, [{ name: 'deaf', ok: false, error: 'SealgateUpstreamTimeout' }, { name: 'listening', ok: false }])
  t.ok(aborted)
})

await t.test('a check that throws before it has begun has failed, and no more', async (t) => {
  const health = new Health([{
    name: 'rash',
    run: () => {
      throw new Error('at once')
    }
  }], { timeoutSeconds: 5 })
  t.match(await health.run(), { ready: false, checks: [{ name: 'rash', ok: false, error: 'InternalError' }] })
})

await t.test('stopping ends a check that is running', async (t) => {
  const health = new Health([{ name: 'deaf', run: async () => new Promise(() => undefined) }], { timeoutSeconds: 3600 })
  const run = health.run()
  health.stop()
  t.match(await run, { checks: [{ ok: false }] })
})

await t.test('a check that has passed gets a second try when it fails, one that has failed does not', async (t) => {
  const failures: (string | null)[] = []
  let runs = 0
  const told: (string | null)[] = []
  const health = new Health([{
    name: 'store',
    run: async () => {
      runs += 1
      const failure = failures.shift() ?? null
      if (failure !== null) throw new S3Error('ServiceUnavailable', { message: failure })
    }
  }], {
    timeoutSeconds: 5,
    againMs: 1,
    changed: (_, error) => {
      told.push(error?.message ?? null)
    }
  })
  const next = async (...answers: (string | null)[]): Promise<readonly [ready: boolean, runs: number]> => {
    failures.push(...answers)
    runs = 0
    return [(await health.run()).ready, runs]
  }
  t.same(await next('not yet'), [false, 1], 'at the start every run counts')
  t.same(await next(null), [true, 1])
  t.same(await next('busy', null), [true, 2], 'one refusal alone changes nothing')
  t.same(await next('busy', 'away'), [false, 2])
  t.same(await next('away'), [false, 1])
  t.same(await next(null), [true, 1])
  t.same(told, ['not yet', null, 'away', null])
})

await t.test('the second try has what is left of the time, and ends with the gateway', async (t) => {
  const start = async (second: () => Promise<void>, timeoutSeconds: number, againMs: number) => {
    const answers = [async () => undefined, async () => {
      throw new Error('busy')
    }, second]
    const health = new Health([{ name: 'store', run: async () => answers.shift()?.() }], { timeoutSeconds, againMs })
    await health.run()
    return { health, run: health.run(), answers }
  }
  const hanging = await start(async () => new Promise(() => undefined), 0.05, 1)
  t.match(await hanging.run, { checks: [{ ok: false, error: 'SealgateUpstreamTimeout' }] })
  const waiting = await start(async () => undefined, 3600, 3_600_000)
  // The first try has failed by then.
  await new Promise(setImmediate)
  waiting.health.stop()
  t.match(await waiting.run, { checks: [{ ok: false, error: 'InternalError' }] })
  t.equal(waiting.answers.length, 1, 'and is not begun')
})

await t.test('changes are reported with their reason, and unchanged results are not', async (t) => {
  let failure: Error | null = null
  const told: [string, string | null][] = []
  const health = new Health([{
    name: 'store',
    run: async () => {
      if (failure !== null) throw failure
    }
  }], {
    timeoutSeconds: 5,
    againMs: 1,
    changed: (check, error) => {
      told.push([check, error?.message ?? null])
    }
  })
  const runs = async (next: Error | null): Promise<void> => {
    failure = next
    await health.run()
    await health.run()
  }
  await runs(null)
  t.same(told, [], 'a good start')
  await runs(new S3Error('ServiceUnavailable', { message: 'away' }))
  await runs(new S3Error('SealgateUpstreamTimeout', { message: 'late' }))
  await runs(null)
  t.same(told, [['store', 'away'], ['store', 'late'], ['store', null]])
})

await t.test('many askers, one run', async (t) => {
  let runs = 0
  const health = new Health([{
    name: 'one',
    run: async () => {
      runs += 1
    }
  }], { timeoutSeconds: 5 })
  await Promise.all(Array.from({ length: 10 }, async () => health.run()))
  t.equal(runs, 1)
  for (let i = 0; i < 10; i += 1) health.report()
  t.equal(runs, 1)
  await health.run()
  t.equal(runs, 2)
})

await t.test('runs by itself until stopped', async (t) => {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  let runs = 0
  const health = new Health([{
    name: 'one',
    run: async () => {
      runs += 1
      if (runs === 3) resolve(undefined)
    }
  }], { timeoutSeconds: 5 })
  health.start(0.005)
  health.start(0.005)
  const alive = setTimeout(() => undefined, 10_000)
  await promise
  clearTimeout(alive)
  health.stop()
  await health.run()
  const after = runs
  await new Promise((done) => {
    setTimeout(done, 30)
  })
  t.equal(runs, after)
})

await t.test('since when a check passes or fails', async (t) => {
  const [time, up] = [{ now: 0 }, { store: true }]
  const run = async (): Promise<void> => {
    if (!up.store) throw new S3Error('ServiceUnavailable')
  }
  const health = new Health([{ name: 'store', run }], { timeoutSeconds: 5, againMs: 1, now: () => new Date(time.now) })
  const since = async (now: number, works: boolean): Promise<number> => {
    time.now = now
    up.store = works
    return Date.parse((await health.run()).checks[0]?.since ?? '')
  }
  t.same(
    [await since(1000, true), await since(2000, true), await since(3000, false), await since(4000, false), await since(5000, true)],
    [1000, 1000, 3000, 3000, 5000]
  )
  const failing = new Health([{ name: 'store', run }], { timeoutSeconds: 5, now: () => new Date(7000) })
  up.store = false
  t.match((await failing.run()).checks, [{ ok: false, since: '1970-01-01T00:00:07.000Z' }], 'from the first run on, not from before')
})
