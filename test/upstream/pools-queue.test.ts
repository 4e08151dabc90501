import { setImmediate as tick } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { ConnectionQueue } from '../../src/upstream/pools.ts'
import { codeOf } from '../support/error-code.ts'

const never = new AbortController().signal

await t.test('first come, first served, and never more than the limit', async (t) => {
  const slots = new ConnectionQueue(2, 10, 60_000)
  const order: number[] = []
  const releases = await Promise.all([slots.take(never), slots.take(never)])
  const late = [3, 4, 5].map(async (n) => {
    const release = await slots.take(never)
    order.push(n)
    return release
  })
  await tick()
  t.same([slots.taken, slots.waiting, order], [2, 3, []])
  releases[0]()
  releases[0]()
  await tick()
  t.same([slots.taken, slots.waiting, order], [2, 2, [3]], 'released twice counts once')
  releases[1]()
  for (const release of late) (await release)()
  t.same([slots.taken, slots.waiting, order], [0, 0, [3, 4, 5]])
})

await t.test('a full line and a long wait are SlowDown', async (t) => {
  const slots = new ConnectionQueue(1, 1, 20)
  const release = await slots.take(never)
  const waiting = codeOf(slots.take(never))
  t.equal(await codeOf(slots.take(never)), 'SlowDown')
  t.equal(await waiting, 'SlowDown')
  t.same([slots.taken, slots.waiting], [1, 0])
  release()
  t.same([slots.taken, slots.waiting], [0, 0])
})

await t.test('an abort leaves the line with its own reason', async (t) => {
  const slots = new ConnectionQueue(1, 5, 60_000)
  const release = await slots.take(never)
  const stop = new AbortController()
  const waiting = slots.take(stop.signal)
  stop.abort(new Error('gone'))
  await t.rejects(waiting, /gone/)
  await t.rejects(slots.take(stop.signal), /gone/)
  release()
  t.same([slots.taken, slots.waiting], [0, 0])
})

await t.test('no order of events loses or adds a slot', async () => {
  const step = fc.constantFrom('take', 'release', 'abort')
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const slots = new ConnectionQueue(3, 4, 60_000)
      const held: (() => void)[] = []
      const stops: AbortController[] = []
      for (const what of steps) {
        if (what === 'take') {
          const stop = new AbortController()
          stops.push(stop)
          void slots.take(stop.signal).then((release) => held.push(release), () => undefined)
        } else if (what === 'release') held.shift()?.()
        else stops.shift()?.abort(new Error('gone'))
        await tick()
        if (slots.taken > 3 || slots.waiting > 4 || slots.taken !== held.length) return false
      }
      while (held.length > 0) {
        held.shift()?.()
        await tick()
      }
      return slots.taken === 0 && slots.waiting === 0
    }),
    { numRuns: 200 }
  )
})
