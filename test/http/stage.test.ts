import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { StagedReadable, type ByteStage } from '../../src/http/stage.ts'

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
