// CPU of the gateway for large bodies, against a bare relay and against the same gateway passing through.
import { spawnSync } from 'node:child_process'
import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto'
import process from 'node:process'
import { bodyOf, hashOf, sendParts, type BenchClient } from './client.ts'
import { clientAccount, GIB, MIB, row, say, storeAccount, type Rig } from './rig.ts'
import type { Account } from './client.ts'
import type { Measured } from './processes.ts'

interface Target {
  readonly name: string
  readonly server: Measured
  readonly account: Account
  readonly bucket: string
  /** The client declares the SHA-256 of the body, which the gateway then computes. */
  readonly signed?: boolean
}

/** CPU seconds of bare AES-256-GCM over one GiB in segments of 64 KiB. */
function bareCipher(): number {
  const key = createSecretKey(randomBytes(32))
  const segment = Buffer.alloc(65_520)
  const nonce = Buffer.alloc(12)
  const bytes = GIB / 4
  const from = process.cpuUsage()
  for (let i = 0; i * segment.length < bytes; i += 1) {
    nonce.writeUInt32BE(i, 8)
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
    cipher.update(segment)
    cipher.final()
    cipher.getAuthTag()
  }
  const { user, system } = process.cpuUsage(from)
  return (user + system) / 1e6 * (GIB / bytes)
}

/** The same by OpenSSL's own program, without a call from JavaScript for each segment; NaN where there is none. */
function nativeCipher(): number {
  const { stdout, error } = spawnSync('openssl', ['speed', '-seconds', '1', '-bytes', '65536', '-evp', 'aes-256-gcm'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore']
  })
  if (error !== undefined) return Number.NaN
  const [, thousands] = /^AES-256-GCM\s+([\d.]+)k$/im.exec(stdout) ?? []
  return GIB / (Number(thousands) * 1000)
}

const partsAtOnce = 4

const methods = ['PUT', 'GET', `PUT in ${partsAtOnce} parts at once`] as const
type Method = (typeof methods)[number]

async function transfer(client: BenchClient, { bucket, signed }: Target, method: Method, size: number, sha256: string): Promise<number> {
  if (method === 'PUT') return (await client.send('PUT', `/${bucket}/large`, { body: bodyOf(size), size, ...signed === true ? { sha256 } : {} })).status
  if (method !== 'GET') {
    const parts = await sendParts(client, `/${bucket}/parts`, { parts: partsAtOnce, partSize: size / partsAtOnce, atOnce: partsAtOnce })
    return (await parts.complete()).status
  }
  const { status, bytes } = await client.send('GET', `/${bucket}/large`)
  return bytes === size ? status : 0
}

/** Measures of one target, a value a round. */
interface Figures {
  readonly cpuPerGib: number[]
  readonly mibPerSecond: number[]
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

/** One transfer after the other; targets take turns, so that a busy minute of the machine meets all of them. */
async function measure(rig: Rig, targets: readonly Target[], method: Method, size: number, rounds: number): Promise<Map<Target, Figures>> {
  const sha256 = hashOf(size)
  const clients = new Map(targets.map((target) => [target, rig.client(target.server.endpoint, target.account)]))
  const figures = new Map<Target, Figures>(targets.map((target) => [target, { cpuPerGib: [], mibPerSecond: [] }]))
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [target, client] of clients) {
      const cpu = target.server.cpuSeconds()
      const from = performance.now()
      const status = await transfer(client, target, method, size, sha256)
      if (status !== 200) throw new Error(`${target.name} ${method}: ${status}`)
      if (round === 0) continue
      figures.get(target)?.cpuPerGib.push((target.server.cpuSeconds() - cpu) * GIB / size)
      figures.get(target)?.mibPerSecond.push(size / MIB / (performance.now() - from) * 1000)
    }
  }
  return figures
}

export async function large(rig: Rig, quick: boolean): Promise<void> {
  const [size, rounds] = quick ? [256 * MIB, 3] : [512 * MIB, 7]
  const store = await rig.store()
  const relay = await rig.server('relay', store.endpoint)
  const server = await rig.gateway(store.endpoint)
  const sealed = { server, account: clientAccount }
  const bare: Target = { name: 'bare undici relay', server: relay, account: storeAccount, bucket: 'off' }
  const through: Target = { name: 'gateway, passing through', ...sealed, bucket: 'off' }
  const both: readonly Target[] = [
    bare,
    through,
    { name: 'gateway, sealed, opaque', ...sealed, bucket: 'opaque' },
    { name: 'gateway, sealed, md5', ...sealed, bucket: 'md5' }
  ]
  const signed: readonly Target[] = [
    { name: 'gateway, passing through, signed', ...sealed, bucket: 'off', signed: true },
    { name: 'gateway, sealed, opaque, signed', ...sealed, bucket: 'opaque', signed: true },
    { name: 'gateway, sealed, md5, signed', ...sealed, bucket: 'md5', signed: true }
  ]
  const cipher = bareCipher()
  const native = nativeCipher()
  say(`Bodies of ${size / MIB} MiB, median of ${rounds}. Bare AES-256-GCM in 64 KiB segments: ${cipher.toFixed(2)} CPU-s/GiB, native ${native.toFixed(2)}`)
  for (const method of methods) {
    const figures = await measure(rig, method === 'PUT' ? [...both, ...signed] : method === 'GET' ? both : both.slice(1), method, size, rounds)
    row(method, 'MiB/s', 'CPU-s/GiB', '× through', 'adds, × GCM', '× native')
    for (const [target, { cpuPerGib, mibPerSecond }] of figures) {
      // Sealing is set against passing through with the same payload mode.
      const base = figures.get(target.signed === true ? signed[0] ?? through : through)
      const cpu = median(cpuPerGib)
      const adds = cpu - median(base?.cpuPerGib ?? [])
      row(
        target.name,
        median(mibPerSecond).toFixed(0),
        cpu.toFixed(2),
        (cpu / median(base?.cpuPerGib ?? [])).toFixed(2),
        ...target.bucket === 'off' ? [] : [(adds / cipher).toFixed(2), (adds / native).toFixed(2)]
      )
    }
    say()
  }
}
