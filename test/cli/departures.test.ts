import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import t, { type Test } from 'tap'
import { Departures } from '../../src/cli/departures.ts'
import type { ToWorker } from '../../src/cli/worker.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { startTestStore } from '../support/hostile.ts'
import { Served } from '../support/served.ts'
import { loadUntilClosed } from '../support/steady-load.ts'

const directory = mkdtempSync(join(tmpdir(), 'sealgate-departures-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})
await createKeyring(join(directory, 'keyring.json'), 'main', new Date())
const pem = (name: string): string => join(import.meta.dirname, '../support/tls', name)
const store = await startTestStore()
t.teardown(() => store.close())

function configured(name: string, more: string): string {
  const file = join(directory, name)
  writeFileSync(
    file,
    `
upstream: { endpoint: "${store.endpoint}", accessKeyId: ${store.accessKeyId}, secretAccessKey: ${store.secretAccessKey} }
clients: [{ accessKeyId: c, secretAccessKey: canary }]
keys: { main: { type: local, keyring: ./keyring.json } }
buckets: { "*": { publicRead: true } }
workers: 2
${more}`
  )
  return file
}

/** What one stop under steady load lost. */
async function lostInAStop(t: Test, secure: boolean): Promise<string[]> {
  const tls = secure ? `, tls: { cert: ${pem('localhost-cert.pem')}, key: ${pem('localhost-key.pem')} }` : ''
  const served = new Served(configured(`${secure ? 'tls' : 'plain'}.yaml`, `listen: { port: 0${tls} }\nlimits: { drainSeconds: 0.5, graceSeconds: 20 }`))
  t.teardown(() => {
    served.child.kill('SIGKILL')
  })
  const { port } = await served.line('workers listening')
  const { answers, lost } = await loadUntilClosed({
    port: Number(port),
    secure,
    short: 12,
    keep: 6,
    pause: 5,
    target: '/none/key',
    then: () => {
      served.child.kill('SIGTERM')
    }
  })
  t.ok(answers > 200)
  t.equal(await served.exit, 0)
  return lost
}

for (const secure of [false, true]) {
  await t.test(`a stop of two workers loses nothing that came before the port was closed, ${secure ? 'TLS' : 'HTTP'}`, async (t) => {
    // A connection that comes in the last millisecond is lost (0187), which on a busy machine happens in one stop of twenty. Before, it was some of all clients in nearly each.
    let lost = await lostInAStop(t, secure)
    for (let again = 0; again < 2 && lost.length > 0; again += 1) lost = await lostInAStop(t, secure)
    t.same(lost, [])
  })
}

await t.test('a connection that was handed to a worker which never took it ends with the worker', async (t) => {
  const served = new Served(configured('hangs.yaml', 'listen: { port: 0 }'))
  t.teardown(() => {
    served.child.kill('SIGKILL')
  })
  const { port } = await served.line('workers listening')
  const [hanging = 0] = served.workers
  process.kill(hanging, 'SIGSTOP')
  // They are handed out in turns: one goes to the worker that hangs, and waits.
  let answered = 0
  const three = Promise.withResolvers<undefined>()
  const outcomes = Array.from({ length: 4 }, async () => {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => undefined)
    socket.once('data', () => {
      answered += 1
      if (answered === 3) three.resolve(undefined)
    })
    socket.write('GET /none/key HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
    await new Promise((resolve) => {
      socket.once('close', resolve)
    })
  })
  await three.promise
  process.kill(hanging, 'SIGKILL')
  for (const outcome of outcomes) await outcome
  t.equal(answered, 3, 'regression: the fourth waited until the primary ended')
  served.child.kill('SIGTERM')
  t.equal(await served.exit, 0)
})

await t.test('the last worker leaves when the others have left, or do not answer; without a stop nobody waits', async (t) => {
  const seats = ['a', 'b', 'c'].map((name) => ({ name, listening: true }))
  const [a, b, c] = seats as [{ name: string; listening: boolean }, { name: string; listening: boolean }, { name: string; listening: boolean }]
  const told: string[] = []
  let wake: () => void = () => undefined
  const departures = new Departures(seats, ({ name }, message: ToWorker) => {
    if (message.type === 'answer') told.push(`${name} ${message.last ? 'last' : 'goes'}`)
    wake()
  }, 1)
  const heard = async (count: number): Promise<string[]> => {
    while (told.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    return told.splice(0)
  }
  departures.heard(a, 'leave')
  departures.heard(a, 'left')
  t.same(await heard(2), ['a goes', 'a goes'], 'one that is stopped alone waits for nobody')
  departures.ended(a)
  departures.heard(b, 'look')
  t.same(await heard(1), ['b goes'])
  departures.stop()
  departures.heard(b, 'leave')
  departures.heard(a, 'leave')
  t.same(await heard(2), ['b goes', 'a goes'])
  departures.heard(c, 'leave')
  await new Promise((resolve) => setImmediate(resolve))
  departures.heard(b, 'left')
  departures.heard(a, 'left')
  t.same((await heard(3)).toSorted(), ['a goes', 'b goes', 'c last'])
})
