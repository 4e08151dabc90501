import t from 'tap'
import { growthOf, judgeGrowth } from '../support/growth.ts'
import { httpGrowth } from '../support/http-growth.ts'
import { parsers } from '../support/parsers.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

await t.test('a cost that grows with the square of the length is seen', async (t) => {
  let sink = 0
  const square = (length: number): void => {
    for (let i = 0; i < length; i += 1) for (let j = 0; j < length; j += 1) sink ^= i * j
  }
  const linear = (length: number): void => {
    for (let i = 0; i < 2000 * length; i += 1) sink ^= i
  }
  // The process does other work meanwhile (compiling, garbage of the files before), which counts as cost: one of a few measurements is free of it.
  // It hides a square cost in one measurement of 60 on a busy machine, and adds to a linear one far more often.
  const judged = async (name: string, run: (length: number) => void, tries: number, wanted: (fault: string | null) => boolean) => {
    for (let i = 1;; i += 1) {
      const { fault } = await judgeGrowth(name, 4096, run)
      if (i === tries || wanted(fault)) return fault
    }
  }
  t.match(await judged('square', square, 2, (fault) => fault !== null), /^square: \d+ µs/)
  t.equal(await judged('linear', linear, 6, (fault) => fault === null), null)
  t.type(sink, 'number')
})

await t.test('no parser costs more than linear time for any repeated input', async (t) => {
  const { cases, faults } = await growthOf(parsers, 4096, 6)
  t.same(faults, [])
  t.ok(cases > 1500)
  t.comment(`${cases.toLocaleString('en')} constructs that do not end in ${parsers.length} parsers, 0 of more than linear cost`)
})

await t.test('no peer that has proved nothing costs more than linear, or gets an answer of many times its request', async (t) => {
  const store = await startTestStore({ buckets: ['bucket'] })
  const gateway = await startTestGateway(store)
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  const { cases, faults, largest } = await httpGrowth(Number(new URL(gateway.endpoint).port), 8)
  t.same(faults, [])
  t.ok(cases > 200)
  t.comment(`${cases} unauthenticated requests of up to 60 KiB, the largest answer ${largest.toLocaleString('en')} bytes`)
})
