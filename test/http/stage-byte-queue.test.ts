import { Readable } from 'node:stream'
import t from 'tap'
import { ByteQueue, readAll } from '../../src/http/stage.ts'

await t.test('pieces of any size come out whole, and none of them is kept', async (t) => {
  const gathered = new ByteQueue()
  const piece = Buffer.alloc(1)
  const expected: number[] = []
  for (let i = 0; i < 1000; i += 1) {
    // One and the same piece every time: kept, it would come out a thousand times as it was last. The first may be.
    piece[0] = i % 251
    expected.push(i % 251)
    gathered.add(i === 0 ? Buffer.from(piece) : piece)
  }
  gathered.add(Buffer.alloc(0))
  gathered.add(Buffer.alloc(100_000, 7))
  t.equal(gathered.length, 101_000)
  t.ok(gathered.take().equals(Buffer.concat([Buffer.from(expected), Buffer.alloc(100_000, 7)])))
  t.equal(gathered.length, 0)
  t.equal(gathered.take().length, 0)
  const own = Buffer.from('own')
  gathered.add(own)
  gathered.add(Buffer.from(' and more'))
  t.equal(gathered.take().toString(), 'own and more')
  t.equal(own.toString(), 'own', 'what was given is not written to')
})

await t.test('what was seen stays as it was, while bytes go at the front and come at the end', async (t) => {
  const gathered = new ByteQueue()
  const all = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 253))
  const seen: (readonly [view: Buffer, from: number])[] = []
  let dropped = 0
  for (let at = 0; at < all.length; at += 1 + at % 7) {
    gathered.add(all.subarray(at, at + 1 + at % 7))
    seen.push([gathered.view, dropped])
    const drop = at % 3 === 0 ? Math.min(gathered.length, at % 11) : 0
    gathered.drop(drop)
    dropped += drop
  }
  t.ok(seen.every(([view, from]) => view.equals(all.subarray(from, from + view.length))))
  t.ok(gathered.take().equals(all.subarray(dropped)))
})

await t.test('a body is read up to its limit and not beyond', async (t) => {
  const pieces = (count: number): Readable => Readable.from(Array.from({ length: count }, () => Buffer.from('x')))
  t.equal((await readAll(pieces(10), 10, () => new RangeError())).toString(), 'x'.repeat(10))
  t.equal((await readAll(pieces(0), 10, () => new RangeError())).length, 0)
  const endless = pieces(11)
  await t.rejects(readAll(endless, 10, () => new RangeError()), RangeError)
  t.ok(endless.destroyed)
})

await t.test('a body whose length is known takes no more memory than that', async (t) => {
  const piece = 65_500
  for (const count of [1, 2, 3, 4, 5]) {
    const body = await readAll(Readable.from(Array.from({ length: count }, () => Buffer.alloc(piece, 1))), count * piece, () => new Error('too large'))
    t.equal(body.length, count * piece)
    t.equal(body.buffer.byteLength, count * piece)
  }
})
