import t from 'tap'
import { bytes, duration, many, share, span } from '../../src/page/words.ts'

await t.test('numbers as people read them', async (t) => {
  t.same([0, 999, 9999, 12_345, 4_500_000].map(many), ['0', '999', '9,999', '12.3K', '4.5M'])
  t.same([0, 1, 1023, 1024, 150_000, 2 ** 40].map(bytes), ['0 B', '1 B', '1023 B', '1.0 KiB', '146 KiB', '1.0 TiB'])
  t.same([0.00123, 0.25, 1, 59.94, 100].map(duration), ['1.2 ms', '250 ms', '1 s', '59.9 s', '1 min 40 s'])
  t.same([0, 59, 60, 3600, 3661, 90_000, 86_400, 86_460].map(span), ['0 s', '59 s', '1 min', '1 h', '1 h 1 min', '1 d 1 h', '1 d', '1 d'])
  t.same([[0, 0], [1, 1], [999_999, 1_000_000], [1, 1_000_000], [1, 3]].map(([part = 0, all = 0]) => share(part, all)), [
    '0 %',
    '100 %',
    '99.9 %',
    '0.1 %',
    '33.3 %'
  ])
})
