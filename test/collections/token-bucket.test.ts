import fc from 'fast-check'
import t from 'tap'
import { TokenBucket } from '../../src/collections/token-bucket.ts'

await t.test('a burst, then the rate', async (t) => {
  let now = 0
  const bucket = new TokenBucket(2, 3, () => now)
  t.same([1, 2, 3, 4].map(() => bucket.take(1)), [true, true, true, false])
  now += 500
  t.same([bucket.take(1), bucket.take(1)], [true, false])
  bucket.spend(5)
  t.equal(bucket.secondsUntil(0), 2.5, 'a debt is paid by time')
  t.equal(bucket.secondsUntil(100), 4, 'no more than a burst is waited for')
  now += 1e9
  t.equal(bucket.secondsUntil(3), 0)
})

await t.test('over any time no more is taken than the burst and the rate give', async () => {
  fc.assert(fc.property(fc.array(fc.nat(300), { maxLength: 100 }), (pauses) => {
    let now = 0
    let taken = 0
    const bucket = new TokenBucket(10, 5, () => now)
    for (const pause of pauses) {
      now += pause
      if (bucket.take(1)) taken += 1
    }
    return taken <= 5 + now / 100 + 1e-6
  }))
})
