import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { Health } from '../../src/observe/health.ts'

const now = () => new Date('2026-01-02T03:04:05Z')

await t.test('not ready before every check has passed, and while any fails', async (t) => {
  let store: Error | null = new S3Error('ServiceUnavailable', { cause: new Error('connect 10.0.0.1') })
  const health = new Health([
    { name: 'store', run: async () => { if (store !== null) throw store } },
    { name: 'keys', run: async () => undefined }
  ], 5, now)
  t.same(health.report(), { ready: false, draining: false, checks: [
    { name: 'store', ok: false, at: null, error: 'NotYetRun' }, { name: 'keys', ok: false, at: null, error: 'NotYetRun' }
  ] })
  t.same(await health.run(), { ready: false, draining: false, checks: [
    { name: 'store', ok: false, at: '2026-01-02T03:04:05.000Z', error: 'ServiceUnavailable' },
    { name: 'keys', ok: true, at: '2026-01-02T03:04:05.000Z', error: null }
  ] })
  store = null
  t.equal((await health.run()).ready, true)
  store = new Error('secret address')
  t.match(await health.run(), { ready: false, checks: [{ error: 'InternalError' }] })
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
    { name: 'listening', run: async (signal) => new Promise((_, reject) => { signal.addEventListener('abort', () => {
      aborted = true
      reject(new Error('stopped'))
    }) }) }
  ], 0.02, now)
  const { checks } = await health.run()
  t.match(checks, [{ name: 'deaf', ok: false, error: 'SealgateUpstreamTimeout' }, { name: 'listening', ok: false }])
  t.ok(aborted)
})

await t.test('many askers, one run', async (t) => {
  let runs = 0
  const health = new Health([{ name: 'one', run: async () => { runs += 1 } }], 5)
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
  const health = new Health([{ name: 'one', run: async () => {
    runs += 1
    if (runs === 3) resolve(undefined)
  } }], 5)
  health.start(0.005)
  health.start(0.005)
  const alive = setTimeout(() => undefined, 10_000)
  await promise
  clearTimeout(alive)
  health.stop()
  await health.run()
  const after = runs
  await new Promise((done) => { setTimeout(done, 30) })
  t.equal(runs, after)
})
