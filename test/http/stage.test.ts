import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { readAll, readThrough, StagedReadable, type ByteStage } from '../../src/http/stage.ts'

const through: ByteStage = { update: (chunk) => [chunk], final: () => [] }

/** A source that counts what is taken from it, a chunk of 1,000 bytes a turn. */
function counted(): { readonly source: Readable; taken: () => number } {
  let taken = 0
  const source = new Readable({
    highWaterMark: 0,
    read() {
      setImmediate(() => {
        taken += 1000
        this.push(Buffer.alloc(1000))
      })
    }
  })
  return { source, taken: () => taken }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await turn()
}

await t.test('nothing is fetched for a reader that has stopped reading', async (t) => {
  const { source, taken } = counted()
  const staged = new StagedReadable(source, [through], { destroySource: true })
  let seen = 0
  staged.on('data', (chunk: Buffer) => {
    seen += chunk.length
    if (seen === 3000) staged.pause()
  })
  await turns(50)
  t.equal(seen, 3000)
  t.equal(staged.readableLength, 0, 'no read-ahead waits here')
  t.ok(taken() <= 4000, `the source gave ${taken()} bytes: at most one chunk was on its way`)
  staged.resume()
  await turns(50)
  t.ok(seen > 3000, 'and it goes on where it stopped')
  staged.destroy()
})

await t.test('empty chunks do not stall a transfer', async (t) => {
  const chunks = [Buffer.from('a'), Buffer.alloc(0), Buffer.from('b'), Buffer.alloc(0)]
  const staged = new StagedReadable(Readable.from(chunks), [through], { destroySource: true })
  const got: Buffer[] = []
  for await (const chunk of staged) got.push(chunk as Buffer)
  t.equal(Buffer.concat(got).toString(), 'ab')
})

const tooLarge = (): Error => new Error('too large')
const given = (...pieces: readonly string[]): Readable => Readable.from(pieces.map((piece) => Buffer.from(piece)), { objectMode: false })

await t.test('a stream is read into one Buffer, also where somebody had paused it', async (t) => {
  t.equal((await readAll(given('a', 'bc', 'def'), 6, tooLarge)).toString(), 'abcdef')
  t.equal((await readAll(given(), 0, tooLarge)).length, 0)
  const paused = given('abc')
  paused.pause()
  t.equal((await readAll(paused, 3, tooLarge)).toString(), 'abc')
  const over = given('abc')
  await readAll(over, 3, tooLarge)
  t.equal((await readAll(over, 3, tooLarge)).length, 0, 'one that has ended')
})

await t.test('no short Buffer: what fails, closes or is too long rejects, and the stream is destroyed', async (t) => {
  const long = given('abc', 'd')
  await t.rejects(readAll(long, 3, tooLarge), { message: 'too large' })
  t.ok(long.destroyed)
  const stalled = (): Readable => new Readable({ read: () => undefined })
  const failing = stalled()
  failing.push('ab')
  const reading = readAll(failing, 9, tooLarge)
  failing.destroy(new Error('broken'))
  await t.rejects(reading, { message: 'broken' })
  const closing = stalled()
  closing.push('ab')
  const waiting = readAll(closing, 9, tooLarge)
  closing.destroy()
  await t.rejects(waiting, { message: 'The source of the transfer closed before its end.' })
  await t.rejects(readAll(closing, 9, tooLarge), { message: 'The source of the transfer closed before its end.' }, 'and one that had closed before')
})

await t.test('a stage that refuses pauses the stream and leaves it open: a request must carry its answer', async (t) => {
  const refuses: ByteStage = {
    update: () => {
      throw new Error('refused')
    },
    final: () => []
  }
  const source = given('ab', 'cd')
  await t.rejects(readThrough(source, refuses, 9, tooLarge), { message: 'refused' })
  t.strictSame([source.destroyed, source.isPaused()], [false, true])
  const late: ByteStage = { update: (chunk) => [chunk], final: async () => Promise.reject(new Error('late')) }
  await t.rejects(readThrough(given('ab'), late, 9, tooLarge), { message: 'late' })
  const more: ByteStage = { update: () => [], final: () => [Buffer.from('xyz')] }
  await t.rejects(readThrough(given('ab'), more, 2, tooLarge), { message: 'too large' })
  t.equal((await readThrough(given('ab'), more, 3, tooLarge)).toString(), 'xyz')
})
