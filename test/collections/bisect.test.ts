import fc from 'fast-check'
import t from 'tap'
import { firstWhere } from '../../src/collections/bisect.ts'

await t.test('the first that passes, as a walk over all finds it, with few questions', async () => {
  fc.assert(fc.property(fc.array(fc.nat(50)), fc.nat(60), (numbers, limit) => {
    const sorted = numbers.toSorted((a, b) => a - b)
    const walked = sorted.findIndex((n) => n > limit)
    let asked = 0
    const found = firstWhere(sorted, (n) => {
      asked += 1
      return n > limit
    })
    return found === (walked === -1 ? sorted.length : walked) && asked <= Math.ceil(Math.log2(sorted.length + 1))
  }))
})
