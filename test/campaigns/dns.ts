// The store's name gets another address while clients are at work, in about six minutes: node test/campaigns/dns.ts
// Linux: the second address is 127.0.0.2, which needs no setting up there.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { GatewayProcess, startStoreProcess } from './gateway-process.ts'

const name = 'store.test'
const workers = 16
/** Of a connection to the store, in seconds, as docs/REFERENCE.md says. */
const age = 300
/** `limits.upstreamFirstByteSeconds` of this gateway. */
const patience = 5
const Bucket = 'dns'

const store = await startStoreProcess()
const target = new URL(store.endpoint)

/** One address of the store. */
class Address {
  readonly host: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #silent = false
  /** When the gateway last sent something here, in milliseconds; 0: never. */
  lastAt = 0

  constructor(host: string) {
    this.host = host
    this.#server = createServer((socket) => {
      this.#relay(socket)
    })
  }

  async listen(port: number): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(port, this.host, resolve))
    return (this.#server.address() as AddressInfo).port
  }

  get open(): number {
    return this.#sockets.size
  }

  /** Connections break, and new ones are refused. */
  break(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Takes connections and bytes, and says nothing any more. */
  fallSilent(): void {
    this.#silent = true
  }

  #relay(socket: Socket): void {
    this.#sockets.add(socket)
    const onward = connect(Number(target.port), target.hostname)
    socket.on('data', (chunk) => {
      this.lastAt = performance.now()
      if (!this.#silent) onward.write(chunk)
    })
    onward.on('data', (chunk) => {
      if (!this.#silent) socket.write(chunk)
    })
    for (const [one, other] of [[socket, onward], [onward, socket]] as const) {
      one.on('error', () => undefined)
      one.on('close', () => {
        other.destroy()
      })
    }
    socket.on('close', () => {
      this.#sockets.delete(socket)
    })
  }
}

const [first, second] = [new Address('127.0.0.1'), new Address('127.0.0.2')]
const port = await first.listen(0)
await second.listen(port)

const folder = mkdtempSync(join(tmpdir(), 'sealgate-dns-'))
const file = join(folder, 'address')
const pointTo = ({ host }: Address): void => {
  writeFileSync(file, host)
}
pointTo(first)
const gateway = new GatewayProcess({
  endpoint: `http://${name}:${port}`,
  shell: `export STORE_NAME=${name} STORE_ADDRESS_FILE=${file} NODE_OPTIONS="--import ${join(import.meta.dirname, 'resolver.ts')}"`,
  sections: { limits: { upstreamFirstByteSeconds: patience } }
})
await gateway.prepare()
await gateway.start()
const client = gateway.client()
await client.send(new CreateBucketCommand({ Bucket }))

const counts = { ok: 0, failed: {} as Record<string, number>, wrong: 0, lastFailure: 0 }
let working = true
const work = Promise.all(Array.from({ length: workers }, async (_, worker) => {
  for (let i = 0; working; i += 1) {
    const Body = `${worker} ${i}`
    try {
      await client.send(new PutObjectCommand({ Bucket, Key: String(worker), Body }))
      const answer = await client.send(new GetObjectCommand({ Bucket, Key: String(worker) }))
      if (await answer.Body!.transformToString() === Body) counts.ok += 1
      else counts.wrong += 1
    } catch (error) {
      const code = (error as Error).name
      counts.failed[code] = (counts.failed[code] ?? 0) + 1
      counts.lastFailure = performance.now()
    }
    // Often enough that no connection is ever given up for idleness.
    await delay(100)
  }
}))

let surprises = 0
function say(what: string, expected: boolean): void {
  if (!expected) surprises += 1
  console.log(
    `${what}: ${counts.ok} pairs of PUT and GET served, failed ${JSON.stringify(counts.failed)}, ${counts.wrong} wrong${expected ? '' : '   UNEXPECTED'}`
  )
  counts.ok = 0
  counts.failed = {}
}

const failures = (): number => Object.values(counts.failed).reduce((sum, one) => sum + one, 0)
const seconds = (since: number, until: number): string => Math.max(0, (until - since) / 1000).toFixed(1)

await delay(5000)
say(`${first.host} alone, ${first.open} connections`, failures() === 0 && first.open > 0 && second.open === 0)

let changed = performance.now()
pointTo(second)
while (first.open > 0 && performance.now() < changed + (age + 30) * 1000) await delay(100)
say(
  `name changed to ${second.host}, the old address still answering: last request there ${
    seconds(changed, first.lastAt)
  } s after the change (promised: ${age} s), ` +
    `${first.open} connections left there, ${second.open} at the new one`,
  failures() === 0 && first.open === 0 && first.lastAt < changed + (age + 5) * 1000 && second.open > 0
)

changed = performance.now()
pointTo(first)
second.break()
await delay(5000)
say(
  `name changed to ${first.host}, the old address broken: last failure ${seconds(changed, counts.lastFailure)} s after the change`,
  failures() <= 2 * workers && counts.lastFailure < changed + 1000 && first.open > 0
)

await second.listen(port)
changed = performance.now()
pointTo(second)
first.fallSilent()
const dead = first.open
// More connections than workers: those a worker meets after its first failure cost it another.
await delay((Math.ceil(dead / workers) * (patience + 1) + 5) * 1000)
say(
  `name changed to ${second.host}, the old address silent with ${dead} connections: last failure ${seconds(changed, counts.lastFailure)} s after the change ` +
    `(promised: each connection fails one request, after ${patience} s)`,
  failures() > 0 && failures() <= dead && first.open === 0 && second.open > 0
)

working = false
await work
console.log(`3 changes, ${surprises} surprises`)
await gateway.remove()
rmSync(folder, { recursive: true })
store.stop()
process.exit(surprises + counts.wrong === 0 ? 0 : 1)
