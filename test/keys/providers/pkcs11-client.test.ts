import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { Pkcs11Failure } from '../../../src/keys/providers/pkcs11-binding.ts'
import { Pkcs11Client } from '../../../src/keys/providers/pkcs11-client.ts'
import type { TokenTask } from '../../../src/keys/providers/pkcs11-process.ts'
import { FAKE_BINDING, FakeToken, PIN } from '../../support/fake-pkcs11.ts'

const aad = Buffer.from('here')
const never = new AbortController().signal
/** Of a process that works, no task takes this long. */
const PATIENCE_MS = 60_000

function clientOf(t: Test, fake: FakeToken, { pin = PIN, hangMs = PATIENCE_MS, startMs = PATIENCE_MS } = {}): Pkcs11Client {
  const client = new Pkcs11Client(
    {
      binding: FAKE_BINDING,
      module: fake.path,
      token: { label: 'vault 7' },
      pin,
      label: 'master',
      mechanism: 'aes-gcm',
      extractable: false
    },
    { hangMs, startMs }
  )
  t.teardown(() => {
    client.close()
  })
  return client
}

function task(kind: 'wrap' | 'unwrap', bytes: Uint8Array): TokenTask {
  return { do: kind, version: '01', bytes, aad }
}

async function failure(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'none', (error: unknown) => error instanceof Pkcs11Failure ? error.code : String(error))
}

await t.test('one process, tasks in their order, and another process after it hung or crashed', async (t) => {
  const fake = new FakeToken(t)
  const client = clientOf(t, fake, { hangMs: 200 })
  const keys = Array.from({ length: 20 }, () => randomBytes(32))
  const blobs = await Promise.all(keys.map((key) => client.run(task('wrap', key), never)))
  const opened = await Promise.all(blobs.map((blob) => client.run(task('unwrap', blob), never)))
  t.same(opened, keys, 'the bytes of a caller are not touched')
  t.equal(fake.count('load'), 1)
  const moved = await client.run({ do: 'rewrap', version: '01', bytes: blobs[0]!, aad, to: { version: '02', aad: Buffer.from('there') } }, never)
  t.same(await client.run({ do: 'unwrap', version: '02', bytes: moved, aad: Buffer.from('there') }, never), keys[0])

  fake.change({ hangs: 'C_Decrypt' })
  const stuck = client.run(task('unwrap', blobs[0]!), never)
  const gone = new AbortController()
  const behind = failure(client.run(task('unwrap', blobs[1]!), gone.signal))
  gone.abort(new Error('left'))
  t.equal(await behind, 'Busy', 'a task that has just been begun does not mean that the module is gone')
  t.equal(await failure(stuck), 'TimeoutError')
  fake.change({ hangs: null, crashes: 'C_EncryptInit' })
  t.equal(await failure(client.run(task('wrap', keys[0]!), never)), 'ProcessEnded')
  fake.change({ crashes: null })
  t.same(await client.run(task('unwrap', blobs[2]!), never), keys[2])
  t.equal(fake.count('load'), 3)
  t.equal(fake.count('C_Decrypt'), 20 + 20 + 2 + 1 + 2, 'and the task of a caller that left was never begun')
})

await t.test('a wrong PIN is tried once, whatever comes after it', async (t) => {
  const fake = new FakeToken(t)
  const client = clientOf(t, fake, { pin: 'wrong' })
  const tasks = Array.from({ length: 5 }, () => failure(client.run({ do: 'find', version: '01' }, never)))
  t.same(await Promise.all(tasks), Array(5).fill('CKR_PIN_INCORRECT'))
  t.equal(await failure(client.run({ do: 'find', version: '01' }, never)), 'CKR_PIN_INCORRECT')
  t.equal(fake.count('C_Login'), 1)
})

await t.test('closing ends a process that hangs, with all that waits for it', async (t) => {
  const fake = new FakeToken(t)
  fake.change({ hangs: 'C_Login' })
  const client = clientOf(t, fake)
  const waiting = [client.run({ do: 'find', version: '01' }, never), client.run({ do: 'find', version: '02' }, never)].map(failure)
  client.close()
  t.same(await Promise.all(waiting), ['Closed', 'Closed'])
  t.equal(await failure(client.run({ do: 'find', version: '01' }, never)), 'Closed')
  const early = new AbortController()
  early.abort(new Error('left'))
  t.match(await failure(clientOf(t, fake).run({ do: 'find', version: '01' }, early.signal)), /left/)
})
