// What softhsm.sh runs, in its folder WORK with a fresh token: see there.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pkcs11KeyProvider, type Pkcs11Options } from '../../src/keys/providers/pkcs11.ts'
import { parallel } from '../../src/concurrency/parallel.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { codeOf } from '../support/error-code.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import { presigned, type Presigned } from '../gateway/presigned.ts'
import { keyContext, keyUse } from '../keys/support.ts'
import { makeKey, module, pin, section, work, type Versions } from './softhsm-token.ts'

const objects = Number(process.env['OBJECTS'] ?? 10_000)
const outageMs = Number(process.env['OUTAGE'] ?? 10) * 1000
const shim = join(work, 'shim.so')
const fault = join(work, 'fault')
const agent = new Agent({ keepAlive: true })
const never = new AbortController().signal

let passed = 0
let failed = 0
function expect(what: string, good: boolean, detail = ''): void {
  if (good) passed += 1
  else failed += 1
  console.log(`${good ? 'ok  ' : 'FAIL'}  ${what}${detail === '' ? '' : `: ${detail}`}`)
}

function providerOf(more: Partial<Pkcs11Options> = {}): Pkcs11KeyProvider {
  return new Pkcs11KeyProvider({
    service: 'hsm',
    module,
    token: { label: 'sealgate-e2e' },
    pin: readFileSync(pin, 'utf8'),
    label: 'master',
    mechanism: 'aes-gcm',
    extractable: false,
    versions: [{ id: '01', state: 'enabled' }],
    selfTestContext: keyContext(),
    ...more
  })
}

function percentile(values: readonly number[], part: number): string {
  const sorted = values.toSorted((a, b) => a - b)
  return `${(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(2)} ms`
}

const ends: (() => Promise<void>)[] = []
const test = {
  teardown: (end: () => Promise<void>) => {
    ends.unshift(end)
  }
}

makeKey('master', '01', 'AES')
makeKey('mac', '01', 'GENERIC')
for (const [mechanism, label] of [['aes-gcm', 'master'], ['hmac-sha256', 'mac']] as const) {
  const provider = providerOf({ mechanism, label })
  await provider.selfTest()
  const rate = async (task: () => Promise<unknown>): Promise<string> => {
    const [count, began] = [3000, performance.now()]
    await parallel(Array(count).keys(), { limit: 16, signal: never }, async () => {
      await task()
    })
    return (count / (performance.now() - began) * 1000).toFixed(0)
  }
  const { wrapped, key } = await provider.generate(keyContext(), keyUse())
  expect(`${mechanism}: opens`, (await provider.unwrap(wrapped, keyContext(), keyUse())).equals(key), `${wrapped.blob.length} bytes`)
  expect(`${mechanism}: another bucket is refused`, await codeOf(provider.unwrap(wrapped, keyContext({ bucket: 'b' }), keyUse())) === 'SealgateIntegrityError')
  const wraps = await rate(() => provider.generate(keyContext(), keyUse()))
  console.log(`      ${wraps} wraps/s (each opened again), ${await rate(() => provider.unwrap(wrapped, keyContext(), keyUse()))} unwraps/s`)
  await provider.close()
}
const wrong = providerOf({ pin: 'wrong' })
for (let i = 0; i < 5; i++) expect('a wrong PIN', await codeOf(wrong.selfTest()) === 'AccessDenied')
await wrong.close()
const right = providerOf()
expect('does not lock the token', await right.selfTest().then(() => true, () => false))
await right.close()

const rig = await startRewrapRig(test as unknown as Parameters<typeof startRewrapRig>[0], {
  keys: { hsm: section([{ id: '01', state: 'enabled' }], { module: shim }) },
  buckets: { '*': { encryption: 'on', key: 'hsm', etag: 'opaque' } },
  keyCache: { maxAgeSeconds: 30 }
})
const reload = async (versions: Versions, more: Readonly<Record<string, unknown>> = {}): Promise<void> => {
  await rig.reload({ keys: { hsm: section(versions, { module: shim }) }, ...more })
}
const send = async (method: Presigned['method'], path: string, body?: string) => {
  const answer = await presigned(rig.gateway, { method, path: `/bucket/${path}`, agent, ...body === undefined ? {} : { body } })
  return { ...answer, code: /<Code>([^<]*)/.exec(answer.body.toString())?.[1] ?? '' }
}
/** From the metrics: successful and failed calls of the key service. */
const calls = (): number =>
  rig.gateway.gateway.metrics().split('\n').filter((line) => line.startsWith('sealgate_kms_calls_total{')).reduce(
    (sum, line) => sum + Number(line.split(' ')[1]),
    0
  )

const checked = await rig.run('config', 'check', '--online')
expect('config check --online', checked.code === 0 && checked.out.includes('wraps and unwraps'), /^key hsm.*$/m.exec(checked.out)?.[0] ?? checked.err)
const before = calls()
let wrongBodies = 0
await parallel(Array(objects).keys(), { limit: 8, signal: never }, async (i) => {
  const put = await send('PUT', `object/${i}`, `body ${i}`)
  const got = await send('GET', `object/${i}`)
  if (put.status !== 200 || got.body.toString() !== `body ${i}`) wrongBodies += 1
})
expect(`${objects} PUT and GET`, wrongBodies === 0, `${calls() - before} calls of the token`)

const every = { buckets: { '*': { encryption: 'on', key: 'hsm', etag: 'opaque', bucketKeys: false } }, keyCache: { maxAgeSeconds: 0 } }
await reload([{ id: '01', state: 'enabled' }], every)
for (const method of ['PUT', 'GET'] as const) {
  const times: number[] = []
  for (let i = 0; i < 1000; i++) {
    const began = performance.now()
    const { status } = await send(method, `cold/${i}`, method === 'PUT' ? 'cold' : undefined)
    if (status === 200) times.push(performance.now() - began)
  }
  expect(`1000 cold objects, ${method}`, times.length === 1000, `p50 ${percentile(times, 0.5)}, p99 ${percentile(times, 0.99)}`)
}

makeKey('master', '02', 'AES')
await reload([{ id: '01', state: 'decrypt-only' }, { id: '02', state: 'enabled' }])
expect('rotated: old objects open', (await send('GET', 'object/1')).body.toString() === 'body 1')
await send('PUT', 'rotated', 'new')
const idOf = (key: string): string => rig.store.object('bucket', key).metadata['sealgate-key'] ?? ''
expect('rotated: new objects have the new version', idOf('rotated') === 'pkcs11:hsm/master:02', idOf('rotated'))
const rewrapped = await rig.run('rewrap', '--bucket', 'bucket', '--prefix', 'object/1')
expect('rewrap', rewrapped.code === 0 && idOf('object/1') === 'pkcs11:hsm/master:02', `${rewrapped.out.trim().split('\n').at(-1) ?? ''} ${rewrapped.err}`)
await breakGlass('object/1')

const ring = join(work, 'keyring.json')
await createKeyring(ring, 'ring', new Date())
const keys = { hsm: section([{ id: '01', state: 'decrypt-only' }, { id: '02', state: 'enabled' }], { module: shim }), local: { type: 'local', keyring: ring } }
for (const [from, to, prefix] of [['hsm', 'local', 'local:ring:'], ['local', 'hsm', 'pkcs11:hsm/master:02']] as const) {
  await rig.reload({ keys, buckets: { '*': { encryption: 'on', key: to, openKeys: [from], etag: 'opaque' } } })
  const { code, err } = await rig.run('rewrap', '--bucket', 'bucket', '--prefix', 'object/1', '--to', to)
  expect(
    `rewrap --to ${to}`,
    code === 0 && idOf('object/1').startsWith(prefix) && (await send('GET', 'object/1')).body.toString() === 'body 1',
    err.trim().split('\n').at(-1)
  )
}
await reload([{ id: '01', state: 'disabled' }, { id: '02', state: 'enabled' }])
expect('disabled: what was re-wrapped opens', (await send('GET', 'object/1')).body.toString() === 'body 1')
expect('disabled: the rest is refused', (await send('GET', 'object/2')).code === 'KMS.DisabledException')

/** Opens an object by the programs of docs/break-glass, which share no code with the gateway. */
async function breakGlass(key: string): Promise<void> {
  const python = process.env['PYTHON']
  if (python === undefined) {
    console.log('-     break-glass: no PYTHON with cryptography and python-pkcs11')
    return
  }
  const object = rig.store.object('bucket', key)
  writeFileSync(join(work, 'body'), await object.body())
  writeFileSync(join(work, 'head.json'), JSON.stringify({ Metadata: object.metadata }))
  const programs = join(import.meta.dirname, '../../docs/break-glass')
  const open = (...more: string[]): string =>
    execFileSync(
      python,
      [join(programs, 'sealgate_open.py'), '--headers', join(work, 'head.json'), '--realm', 'test', '--bucket', 'bucket', '--object', key, ...more],
      { encoding: 'utf8' }
    )
  const token = [join(programs, 'sealgate_token.py'), '--module', module, '--token-label', 'sealgate-e2e', '--pin-file', pin]
  const bucketKey = execFileSync(python, token, { input: open('--print-pkcs11'), encoding: 'utf8' }).trim()
  open('--body', join(work, 'body'), '--bucket-key', bucketKey, '--out', join(work, 'opened'))
  expect('break-glass opens it', readFileSync(join(work, 'opened'), 'utf8') === 'body 1')
}

/** Reads and writes, each with a call of the token, while something is wrong with it. Only success and 503 may come. */
async function under(name: string, begin: () => void, end: () => void, mayWork: boolean): Promise<void> {
  await reload([{ id: '01', state: 'decrypt-only' }, { id: '02', state: 'enabled' }], every)
  const counts: Record<string, number> = {}
  const strange: string[] = []
  const waits: number[] = []
  const delay = monitorEventLoopDelay({ resolution: 5 })
  const ended = { value: false }
  const load = parallel(Array(4).keys(), { limit: 4, signal: never }, async (client) => {
    for (let i = 0; !ended.value; i++) {
      const began = performance.now()
      const [got, put] = [
        await send('GET', `object/${i % objects}`),
        await send('PUT', `outage/${encodeURIComponent(name)}/${client}/${i}`, randomBytes(8).toString('hex'))
      ]
      waits.push((performance.now() - began) / 2)
      for (const { status, code } of [got, put]) {
        counts[status] = (counts[status] ?? 0) + 1
        if (status !== 200 && status !== 503) strange.push(`${status} ${code}`)
      }
      if (got.status === 200 && got.body.toString() !== `body ${i % objects}`) strange.push('wrong bytes')
    }
  })
  await sleep(500)
  delay.enable()
  begin()
  await sleep(outageMs)
  end()
  delay.disable()
  const healed = performance.now()
  let back = 0
  while (back === 0 && performance.now() - healed < 30_000) {
    await sleep(20)
    if ((await send('PUT', 'back', 'back')).status === 200) back = performance.now() - healed
  }
  ended.value = true
  await load
  const detail =
    `${JSON.stringify(counts)}, longest wait ${(Math.max(...waits) / 1000).toFixed(1)} s, event loop p99 ${(delay.percentile(99) / 1e6).toFixed(0)} ms `
    + `(most ${(delay.max / 1e6).toFixed(0)}), back after ${(back / 1000).toFixed(1)} s`
  expect(
    `${name} for ${outageMs / 1000} s under load`,
    strange.length === 0 && back > 0 && (mayWork || (counts['503'] ?? 0) > 0),
    `${detail} ${strange.slice(0, 3).join(', ')}`
  )
}

const tokens = join(work, 'tokens')
await under('token removed', () => {
  renameSync(tokens, `${tokens}-away`)
}, () => {
  renameSync(`${tokens}-away`, tokens)
}, false)
const shimFault = (word: string) => () => {
  writeFileSync(fault, word)
}
const noFault = (): void => {
  rmSync(fault)
}
await under('module hangs', shimFault('hang'), noFault, false)
await under('module crashes', shimFault('crash'), noFault, false)
await under('module slow', shimFault('slow'), noFault, true)

writeFileSync(fault, 'hang')
const hung = send('PUT', 'at-the-end', 'x').catch(() => null)
await sleep(300)
const closing = performance.now()
agent.destroy()
for (const end of ends) await end()
await hung
expect('the gateway ends while the module hangs', performance.now() - closing < 10_000, `${((performance.now() - closing) / 1000).toFixed(1)} s`)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
