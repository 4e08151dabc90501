// What a request allocates dies young (docs/decisions/0014): measured by what the old generation of a gateway gains.
import t from 'tap'
import { garbage } from './garbage-run.ts'

/** Bytes of the old generation that one of so few requests may cost. One that drags others along costs all that it allocated, 10,000 to 20,000. */
const allowance = 6000

void t.test('a request leaves nothing in the old generation, and no full collection leads to the next while bodies pass', async (t) => {
  const { left, full, bodyBytes } = await garbage(40, 2, allowance)
  for (const [name, bytes] of left) t.ok(bytes < allowance, `${name} leaves ${bytes.toFixed(0)} bytes`)
  // Where each led to the next there were 22 in 512 MiB.
  t.ok(full < 3, `${full} full collections in ${bodyBytes} bytes`)
  t.comment(`bytes left by a request: ${[...left].map(([name, bytes]) => `${name} ${bytes.toFixed(0)}`).join(', ')}`)
})
