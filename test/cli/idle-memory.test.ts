import { spawn } from 'node:child_process'
import { once } from 'node:events'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { giveIdleMemoryBack } from '../../src/cli/idle-memory.ts'
import { replaceNativeCore, type NativeCore } from '../../src/native/core.ts'

/** Some CPU time, so that there is something to give back. */
function work(): void {
  const before = process.cpuUsage()
  for (let used = 0; used < 250_000;) {
    const { user, system } = process.cpuUsage(before)
    used = user + system
  }
}

await t.test('at once, and again where the process has worked and serves nobody', async (t) => {
  let trims = 0
  replaceNativeCore({ trim: () => (trims += 1) > 0 } as NativeCore)
  t.teardown(() => {
    replaceNativeCore(null)
  })
  let busy = true
  const end = giveIdleMemoryBack(() => busy, 20)
  t.equal(trims, 1, 'at once')
  work()
  await sleep(100)
  t.equal(trims, 1, 'not while it serves somebody')
  busy = false
  while (trims < 2) await sleep(5)
  const idle = trims
  await sleep(100)
  // This test itself uses some CPU, but not a fifth of a second of it in that time.
  t.equal(trims, idle, 'not where nothing was done')
  end()
  work()
  await sleep(60)
  t.equal(trims, idle, 'not after its end')
})

await t.test('what transfers have left is collected', async (t) => {
  let trims = 0
  replaceNativeCore({ trim: () => (trims += 1) > 0 } as NativeCore)
  t.teardown(() => {
    replaceNativeCore(null)
  })
  let dead = 0
  const registry = new FinalizationRegistry(() => {
    dead += 1
  })
  let busy = true
  t.teardown(giveIdleMemoryBack(() => busy, 20))
  // More than a process without requests has for itself.
  const left = Array.from({ length: 640 }, () => Buffer.allocUnsafeSlow(65_536))
  for (const bytes of left) registry.register(bytes, null)
  left.length = 0
  busy = false
  // A collection that V8 had begun before takes them for alive: the next one finds them.
  while (dead < 600) {
    work()
    await sleep(50)
  }
  while (trims < 2) await sleep(5)
  t.pass('and then given back')
})

await t.test('it keeps no process alive', async (t) => {
  const file = new URL('../../src/cli/idle-memory.ts', import.meta.url).href
  const child = spawn(process.execPath, ['--input-type=module', '-e', `(await import(${JSON.stringify(file)})).giveIdleMemoryBack(() => false)`], {
    stdio: 'inherit'
  })
  t.same(await once(child, 'exit'), [0, null])
})
