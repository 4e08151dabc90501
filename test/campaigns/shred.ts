// `keys shred` beside three instances under load, once for each key service that is here: how long objects under the key still open on any of them, and
// that all others do. Then the command is killed at random moments: what it leaves must be told as what it is.
// test/e2e/openbao.sh test/e2e/softhsm.sh node test/campaigns/shred.ts [CACHE_SECONDS [KILLS]]; without the scripts a keyring and a simulation of AWS KMS.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3ServiceException, type S3Client } from '@aws-sdk/client-s3'
import { readKeyring } from '../../src/keys/keyring-file.ts'
import { openKeyServices, type ServiceKey } from '../e2e/key-services.ts'
import { runCli } from '../support/run-cli.ts'
import { GatewayProcess, startStoreProcess } from './gateway-process.ts'

const cacheSeconds = Number(process.argv[2] ?? 15)
const kills = Number(process.argv[3] ?? 40)
const OBJECTS = 40
const INSTANCES = 3
/** Readers and writers of each instance. */
const CLIENTS = 2
/** After the age of the cache, for a request that had its key before, on a busy machine. */
const SLACK_MS = 2000
const Bucket = 'shared'
const main = new URL('../../src/main.ts', import.meta.url).pathname

let failed = 0
function expect(what: string, good: boolean, detail = ''): void {
  if (!good) failed += 1
  console.log(`${good ? 'ok  ' : 'FAIL'}  ${what}${detail === '' ? '' : `: ${detail}`}`)
}

const store = await startStoreProcess()
const services = await openKeyServices()
const body = (Key: string): string => `${Key} `.repeat(50)

/** 'ok', the code of the error, or 'WRONG' for other bytes. */
async function read(s3: S3Client, Key: string): Promise<string> {
  try {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
    return await Body?.transformToString() === body(Key) ? 'ok' : 'WRONG'
  } catch (error) {
    return error instanceof S3ServiceException ? error.name : `broken: ${String(error)}`
  }
}

async function write(s3: S3Client, Key: string): Promise<boolean> {
  return s3.send(new PutObjectCommand({ Bucket, Key, Body: body(Key) })).then(() => true, () => false)
}

function shredProcess(config: string, record: string) {
  const args = [main, 'keys', 'shred', '--config', config, '--bucket', Bucket, '--key', 'tenant', '--record', record, '--confirm', 'tenant']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => said.push(text))
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, said: said.join('') }))
  return { child, ended }
}

function sectionsOf(keyring: string, tenant: object) {
  return {
    keys: { main: { type: 'local', keyring }, tenant },
    buckets: { '*': { key: 'main', etag: 'opaque', prefixes: { 'tenant/': { key: 'tenant' } } } },
    keyCache: { maxAgeSeconds: cacheSeconds },
    log: { level: 'info' }
  }
}

async function underLoad({ kind, section, destroyer }: ServiceKey): Promise<void> {
  const instances: GatewayProcess[] = []
  let keyring: string | null = null
  for (let i = 0; i < INSTANCES; i += 1) {
    const instance: GatewayProcess = new GatewayProcess({ endpoint: store.endpoint, sections: sectionsOf(keyring ?? `/tmp/none`, section) })
    instances.push(instance)
    const made: string = await instance.prepare(keyring)
    if (keyring === null) {
      keyring = made
      const config = JSON.parse(readFileSync(instance.config, 'utf8')) as object
      writeFileSync(instance.config, JSON.stringify({ ...config, ...sectionsOf(keyring, section) }))
    }
    await instance.start()
  }
  const clients = instances.map((instance) => instance.client())
  const [first] = clients
  if (first === undefined) throw new Error('no client')
  await first.send(new CreateBucketCommand({ Bucket })).catch(() => undefined)
  const names = (prefix: string): string[] => Array.from({ length: OBJECTS }, (_, i) => `${prefix}/${kind}/${i}`)
  const kept = names('kept')
  const written = names('tenant')
  for (const name of [...kept, ...written]) if (!await write(first, name)) throw new Error(`${name} could not be written`)

  /** By instance, when an object under the key was last asked for with success. Milliseconds of `performance.now`. */
  const lastOpened = instances.map(() => 0)
  const counts = { opened: 0, refused: 0, kept: 0, writtenUnder: 0, lost: 0 }
  const strange = new Map<string, number>()
  const codes = new Map<string, number>()
  const state: { destroyedAt: number | null; stop: boolean } = { destroyedAt: null, stop: false }
  const load = clients.flatMap((s3, instance) =>
    Array.from({ length: CLIENTS }, async (_, client) => {
      for (let i = client; !state.stop; i += 1) {
        const began = performance.now()
        const answer = await read(s3, written[i % OBJECTS] ?? '')
        if (answer === 'ok') {
          counts.opened += 1
          // A request has its key at its beginning.
          lastOpened[instance] = Math.max(lastOpened[instance] ?? 0, began)
        } else {
          counts.refused += 1
          codes.set(answer, (codes.get(answer) ?? 0) + 1)
          if (state.destroyedAt === null || answer === 'WRONG' || answer.startsWith('broken')) strange.set(answer, (strange.get(answer) ?? 0) + 1)
        }
        const other = await read(s3, kept[i % OBJECTS] ?? '')
        if (other === 'ok') counts.kept += 1
        else strange.set(`kept: ${other}`, (strange.get(`kept: ${other}`) ?? 0) + 1)
        const name = `tenant/${kind}/new-${instance}-${client}-${i}`
        const after = state.destroyedAt !== null
        if (await write(s3, name)) {
          counts.writtenUnder += 1
          if (after) counts.lost += 1
        }
        await sleep(10)
      }
    })
  )
  await sleep(3000)
  const config = instances[0]?.config ?? ''
  const record = join(config, '..', 'record.json')
  if (destroyer !== null) {
    const refused = await shredProcess(config, join(config, '..', 'refused.json')).ended
    expect(
      `${kind}: the gateway's own credentials do not destroy it`,
      refused.code === 1 && refused.said.includes('Access Denied'),
      refused.said.split('\n').at(-2)
    )
  }
  const destroying = join(config, '..', 'destroy.yaml')
  const document = JSON.parse(readFileSync(config, 'utf8')) as { keys: object }
  writeFileSync(destroying, JSON.stringify({ ...document, keys: { ...document.keys, tenant: destroyer ?? section } }))
  await sleep(1000)
  state.destroyedAt = performance.now()
  const ran = await shredProcess(destroying, record).ended
  const destroyedBy = performance.now()
  await sleep(cacheSeconds * 1000 + SLACK_MS + 1000)
  state.stop = true
  await Promise.all(load)

  const lasted = lastOpened.map((at) => Math.max(0, at - destroyedBy) / 1000)
  expect(`${kind}: destroyed`, ran.code === 0, ran.said.split('\n').find((line) => line.startsWith('Destroyed')) ?? ran.said)
  expect(
    `${kind}: no object opens ${cacheSeconds} s after the command has ended, on any of ${INSTANCES} instances`,
    lasted.every((seconds) => seconds <= cacheSeconds + SLACK_MS / 1000),
    `last opened after ${lasted.map((seconds) => seconds.toFixed(1)).join(', ')} s; the command took ${((destroyedBy - state.destroyedAt) / 1000).toFixed(1)} s`
  )
  let [open, other] = [0, 0]
  for (const s3 of clients) {
    for (const name of written) if (await read(s3, name) === 'ok') open += 1
    for (const name of kept) if (await read(s3, name) === 'ok') other += 1
  }
  expect(
    `${kind}: afterwards`,
    open === 0 && other === INSTANCES * OBJECTS,
    `${open} of ${INSTANCES * OBJECTS} open, and ${other} of ${INSTANCES * OBJECTS} of the bucket's key`
  )
  expect(
    `${kind}: while it happened`,
    strange.size === 0 && counts.kept > 0 && counts.refused > 0,
    `${JSON.stringify(counts)}, refused with ${[...codes].map(([code, count]) => `${code} ${count}`).join(', ')}${
      strange.size === 0 ? '' : `; STRANGE ${JSON.stringify([...strange])}`
    }`
  )
  const checked = await runCli(['report', 'check', '--config', config, '--report', record], '/')
  expect(`${kind}: the record`, checked.code === 0 && checked.out.includes(': destroyed '), checked.out.trim().split('\n').at(-1))
  for (const instance of instances) await instance.remove()
}

/** SIGKILL of the command, at any moment of its last part. */
async function killed(): Promise<void> {
  const place = new GatewayProcess({ endpoint: store.endpoint })
  const keyring = await place.prepare()
  const counts = { 'no record': 0, 'without an end': 0, 'destroyed': 0 }
  const wrong: string[] = []
  let longest = 0
  for (let i = -1; i < kills; i += 1) {
    const { section } = await services.make('local')
    const { keyring: path } = section as { keyring: string }
    const config = JSON.parse(readFileSync(place.config, 'utf8')) as object
    writeFileSync(place.config, JSON.stringify({ ...config, ...sectionsOf(keyring, section) }))
    const record = join(place.config, '..', `record-${i}.json`)
    const began = performance.now()
    const { child, ended } = shredProcess(place.config, record)
    if (i >= 0) {
      // From when it has said what it will do, everything happens within some milliseconds: half of the kills are there.
      if (i % 2 === 0) {
        await Promise.race([once(child.stdout, 'data'), ended])
        await sleep(Math.random() * 40)
      } else await sleep(longest * (0.3 + Math.random() * 0.7))
      child.kill('SIGKILL')
    }
    await ended
    if (i < 0) longest = performance.now() - began
    const live = (await readKeyring(path)).live.length > 0
    if (!existsSync(record)) {
      counts['no record'] += 1
      if (!live) wrong.push(`${i}: destroyed without a record`)
      continue
    }
    const { code, out } = await runCli(['report', 'check', '--config', place.config, '--report', record], '/')
    const told = out.includes('without an end') ? 'without an end' : 'destroyed'
    // The first is not killed: it gives the time.
    if (i >= 0) counts[told] += 1
    if (code !== 0 || (told === 'destroyed' && live)) wrong.push(`${i}: ${code} ${out.trim()}`)
  }
  expect(`${kills} times killed`, wrong.length === 0, `${JSON.stringify(counts)} ${wrong.slice(0, 3).join('; ')}`)
  await place.remove()
}

for (const kind of services.kinds) await underLoad(await services.make(kind))
await killed()
await services.close()
store.stop()
console.log(failed === 0 ? 'as promised' : `NOT AS PROMISED: ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
