import fc from 'fast-check'
import t from 'tap'
import { Budget } from '../../src/concurrency/budget.ts'

const forever = new AbortController().signal

await t.test('what is there is given at once, in order, and at most half to one owner', async (t) => {
  const budget = new Budget(8)
  const first = budget.takeNow(4, 'a')
  t.equal(budget.takeNow(1, 'a'), null)
  const second = await budget.take(3, 'b', forever)
  t.equal(budget.free, 1)
  const seen: string[] = []
  const large = budget.take(4, 'c', forever).then((give) => {
    seen.push('large')
    return give
  })
  const small = budget.take(1, 'd', forever).then((give) => {
    seen.push('small')
    return give
  })
  t.equal(budget.takeNow(1, 'e'), null, 'who comes later waits behind who is waiting')
  await new Promise(setImmediate)
  t.strictSame(seen, [], 'a small one does not overtake a large one for ever')
  first?.()
  first?.()
  const gives = [second, await large, await small]
  t.strictSame(seen, ['large', 'small'])
  for (const give of gives) give()
  t.equal(budget.free, 8)
})

await t.test('who waits for its own half lets others pass', async (t) => {
  const budget = new Budget(8)
  const own = await budget.take(4, 'a', forever)
  const waiting = budget.take(2, 'a', forever)
  const other = await budget.take(2, 'b', forever)
  t.equal(budget.free, 2)
  own()
  other()
  ;(await waiting)()
})

await t.test('a signal ends the wait, and what was given in the same moment comes back', async (t) => {
  const budget = new Budget(4)
  const held = [budget.takeNow(2, 'a'), budget.takeNow(2, 'b')]
  const abort = new AbortController()
  const waiting = budget.take(2, 'c', abort.signal)
  const behind = budget.take(2, 'd', forever)
  held[0]?.()
  abort.abort(new Error('gone'))
  const outcome = await waiting.then((give) => {
    give()
    return 'given'
  }, () => 'gone')
  t.match(outcome, /given|gone/)
  held[1]?.()
  ;(await behind)()
  await new Promise(setImmediate)
  t.equal(budget.free, 4)
  await t.rejects(
    budget.take(2, 'a', AbortSignal.abort(new Error('before'))).then((give) => {
      give()
      throw new Error('given at once')
    }),
    /before|given at once/
  )
  t.equal(budget.free, 4)
})

await t.test('never more than the total, never more than half to one, and nothing is lost', async () => {
  const step = fc.record({ amount: fc.integer({ min: 1, max: 4 }), owner: fc.constantFrom('a', 'b', 'c'), abort: fc.boolean() })
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
    const budget = new Budget(8)
    const held = new Map<string, number>()
    const work = steps.map(async ({ amount, owner, abort }) => {
      const controller = new AbortController()
      if (abort) setImmediate(() => controller.abort(new Error('aborted')))
      const give = await budget.take(amount, owner, controller.signal).catch(() => null)
      if (give === null) return
      held.set(owner, (held.get(owner) ?? 0) + amount)
      if ((held.get(owner) ?? 0) > 4 || budget.free < 0) throw new Error('too much')
      await new Promise(setImmediate)
      held.set(owner, (held.get(owner) ?? 0) - amount)
      give()
    })
    await Promise.all(work)
    await new Promise(setImmediate)
    return budget.free === 8
  }))
})
