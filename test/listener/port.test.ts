import t from 'tap'
import { HeldRequests, lookUntilEmpty } from '../../src/listener/port.ts'

await t.test('looks until a short look has brought nothing, and not for ever', async (t) => {
  for (
    const { name, brings, short, looks } of [
      { name: 'nothing comes', brings: [], short: [], looks: 2 },
      { name: 'two come', brings: [1, 1], short: [], looks: 3 },
      { name: 'one comes late', brings: [0, 1], short: [], looks: 3 },
      { name: 'a look is long', brings: [], short: [true, false], looks: 3 },
      { name: 'they come all the time', brings: Array<number>(2000).fill(1), short: [], looks: 511 }
    ]
  ) {
    let [taken, looked] = [0, 0]
    await lookUntilEmpty(() => taken, async () => {
      taken += brings[looked] ?? 0
      looked += 1
      return short[looked - 1] ?? true
    })
    t.equal(looked, looks, name)
  }
  let looked = 0
  const look = async (): Promise<boolean> => {
    looked += 1
    return looked !== 3
  }
  await lookUntilEmpty(() => 0, look, 4)
  t.equal(looked, 7, 'four in a row')
  await lookUntilEmpty(() => 0, look, 4, 0)
  t.equal(looked, 7, 'no time is left')
})

await t.test('requests wait while they are held, and begin in their order', async (t) => {
  const held = new HeldRequests()
  const begun: number[] = []
  t.notOk(held.takes(() => begun.push(0)), 'nothing is held yet')
  held.hold()
  for (let i = 1; i <= 600; i += 1) {
    t.ok(held.takes(() => begun.push(i)))
  }
  t.same(begun, [])
  const released = held.release()
  t.ok(begun.length < 10, 'a few at a time')
  t.notOk(held.takes(() => begun.push(0)))
  await released
  t.same(begun, Array.from({ length: 600 }, (_, index) => index + 1))
})
