// Simulations of Google Cloud KMS and of Azure Key Vault: calls for 10,000 PUTs and GETs each, then outages of five kinds under load.
// node test/campaigns/cloud-keys.ts [SECONDS [NAME]], NAME: a part of gcp-kms, azure-key-vault RSA-OAEP-256 or azure-key-vault A256KW
// Every answer is right or an error; nothing is acknowledged that does not open afterwards; service comes back by itself. Exit 1 for a fault.
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3ServiceException, type S3Client } from '@aws-sdk/client-s3'
import { FakeGcpKms } from '../support/fake-gcp-kms.ts'
import { FakeKeyVault } from '../support/fake-key-vault.ts'
import { answerJson, type FakeService } from '../support/fake-service.ts'
import { GatewayProcess, startStoreProcess } from './gateway-process.ts'

const seconds = Number(process.argv[2] ?? 90)
const only = process.argv[3] ?? ''
const Bucket = 'photos'
const OBJECTS = 10_000
const CLIENTS = 8
/** Longest that a request may take: the deadline of key requests, and time for the rest on a busy machine. */
const PATIENCE_MS = 15_000
/** After this long without a fault of the service nothing is refused any more. */
const SETTLED_MS = 6000

const folder = mkdtempSync(join(tmpdir(), 'sealgate-cloud-keys-'))
const ends: (() => Promise<void>)[] = []
const teardown = (work: () => Promise<void>): void => {
  ends.unshift(work)
}
const store = await startStoreProcess()
/** What was not as promised. */
const wrong: string[] = []

interface Subject {
  readonly name: string
  readonly service: FakeService & { readonly tokens: Set<string>; addToken(): string }
  readonly section: Readonly<Record<string, unknown>>
  readonly tokenFile: string
}

async function subjects(): Promise<Subject[]> {
  const [google, azure, hsm] = [await FakeGcpKms.start({ teardown }), await FakeKeyVault.start({ teardown }), await FakeKeyVault.start({ teardown })]
  azure.addKey('main')
  hsm.addKey('main', true)
  const at = (vault: FakeKeyVault) => ({ type: 'azure-key-vault', vault: vault.vault, key: 'main', endpoint: vault.address })
  const sections: readonly (readonly [string, Subject['service'], Record<string, unknown>])[] = [
    ['gcp-kms', google, { type: 'gcp-kms', key: google.addKey('main'), endpoint: google.address }],
    ['azure-key-vault RSA-OAEP-256', azure, at(azure)],
    ['azure-key-vault A256KW', hsm, { ...at(hsm), algorithm: 'A256KW' }]
  ]
  return sections.map(([name, service, section], i) => {
    const tokenFile = join(folder, `token-${i}`)
    writeFileSync(tokenFile, service.addToken())
    return { name, service, tokenFile, section: { ...section, auth: { method: 'token', tokenFile } } }
  })
}

async function gatewayFor({ section }: Subject, keyCache: Readonly<Record<string, number>>): Promise<GatewayProcess> {
  const gateway = new GatewayProcess({
    endpoint: store.endpoint,
    sections: { keys: { cloud: section }, buckets: { '*': { key: 'cloud', etag: 'opaque' } }, keyCache, log: { level: 'info' } }
  })
  await gateway.prepare()
  await gateway.start()
  return gateway
}

/** Kinds of calls that the service has taken. */
function kindsOf(service: FakeService): string {
  const counts = new Map<string, number>()
  for (const { method, path } of service.calls) {
    const verb = /:(\w+)$/.exec(path)?.[1] ?? /\/(sign|wrapkey|unwrapkey|versions|cryptoKeyVersions)$/.exec(path)?.[1] ?? 'key'
    counts.set(`${method} ${verb}`, (counts.get(`${method} ${verb}`) ?? 0) + 1)
  }
  return `${service.calls.length} (${[...counts].map(([kind, count]) => `${count} ${kind}`).join(', ')})`
}

async function parallel(count: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (let i = next++; i < count; i = next++) await work(i)
  }))
}

async function countCalls(subject: Subject): Promise<void> {
  const gateway = await gatewayFor(subject, { maxAgeSeconds: 300 })
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket })).catch(() => undefined)
  subject.service.calls.length = 0
  const started = performance.now()
  await parallel(OBJECTS, async (i) => {
    await s3.send(new PutObjectCommand({ Bucket, Key: `o/${i}`, Body: `body ${i}` }))
  })
  await parallel(OBJECTS, async (i) => {
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key: `o/${i}` }))
    if (await answer.Body?.transformToString() !== `body ${i}`) wrong.push(`${subject.name}: o/${i}`)
  })
  const took = ((performance.now() - started) / 1000).toFixed(0)
  console.log(`${subject.name}: ${OBJECTS} PUTs and ${OBJECTS} GETs in ${took} s, keys kept for 300 s: ${kindsOf(subject.service)}`)
  await gateway.remove()
}

const faults: Readonly<Record<string, (response: ServerResponse) => void>> = {
  reset: (response) => response.destroy(),
  silent: () => undefined,
  unavailable: (response) => {
    answerJson(response, 503, '')
  },
  throttled: (response) => {
    answerJson(response, 429, '')
  },
  garbage: (response) => {
    response.writeHead(200, { 'content-length': 4000 }).write('{"plaintext":"AAAA')
    setTimeout(() => response.destroy(), 100)
  }
}

async function outages(subject: Subject): Promise<void> {
  const gateway = await gatewayFor(subject, { maxAgeSeconds: 2, maxUses: 3 })
  const s3 = gateway.client()
  const { service } = subject
  const counts = { written: 0, read: 0, refused: 0, strange: 0, wrong: 0, slow: 0, unexpected: 0 }
  const written = new Map<string, string>()
  const stop = performance.now() + seconds * 1000
  let openSince = performance.now()
  const attempt = async (what: 'written' | 'read', work: () => Promise<void>): Promise<void> => {
    const started = performance.now()
    const settled = service.misbehave === null && started - openSince > SETTLED_MS
    try {
      await work()
      counts[what] += 1
    } catch (error) {
      if (!(error instanceof S3ServiceException) || error.$metadata.httpStatusCode !== 503) {
        counts.strange += 1
        console.log(`strange: ${what}: ${String(error)}`)
      } else {
        counts.refused += 1
        if (settled && service.misbehave === null) counts.unexpected += 1
      }
    }
    if (performance.now() - started > PATIENCE_MS) counts.slow += 1
  }
  const client = async (number: number): Promise<void> => {
    for (let i = 0; performance.now() < stop; i += 1) {
      const [name, body] = [`outage/${number}/${i}`, randomBytes(2000 + (i * 997) % 50_000)]
      await attempt('written', async () => {
        await s3.send(new PutObjectCommand({ Bucket, Key: name, Body: body }))
        written.set(name, createHash('sha256').update(body).digest('hex'))
      })
      const [other, sum] = [...written].at(Math.floor(Math.random() * written.size)) ?? []
      if (other !== undefined) {
        await attempt('read', async () => {
          if (await sumOf(s3, other) !== sum) counts.wrong += 1
        })
      }
    }
  }
  let times = 0
  const breaking = async (): Promise<void> => {
    while (performance.now() < stop - 14_000) {
      await sleep(4000 + Math.random() * 6000)
      const how = Object.values(faults)[times % Object.keys(faults).length]!
      service.misbehave = (_, response) => {
        how(response)
        return true
      }
      // Every other time the token has been replaced meanwhile, as the file with it.
      if (times % 2 === 1) {
        service.tokens.clear()
        writeFileSync(subject.tokenFile, service.addToken())
      }
      await sleep(1000 + Math.random() * 5000)
      service.misbehave = null
      openSince = performance.now()
      times += 1
    }
  }
  await Promise.all([breaking(), ...Array.from({ length: CLIENTS }, (_, i) => client(i))])
  let lost = 0
  for (const [name, sum] of written) if (await sumOf(s3, name).catch(() => null) !== sum) lost += 1
  const rss = gateway.usage().rss.toFixed(0)
  console.log(
    `${subject.name}: ${seconds} s, ${times} outages of ${Object.keys(faults).length} kinds, ${CLIENTS} clients: ${JSON.stringify(counts)}; ${rss} MiB`
  )
  console.log(`${subject.name}: ${written.size} acknowledged objects read afterwards, ${lost} lost or wrong`)
  if (lost + counts.strange + counts.wrong + counts.slow + counts.unexpected > 0 || counts.refused === 0) wrong.push(`${subject.name}: outages`)
  await gateway.remove()
}

async function sumOf(s3: S3Client, name: string): Promise<string> {
  const answer = await s3.send(new GetObjectCommand({ Bucket, Key: name }))
  return createHash('sha256').update(await answer.Body!.transformToByteArray()).digest('hex')
}

for (const subject of (await subjects()).filter(({ name }) => name.includes(only))) {
  await countCalls(subject)
  await outages(subject)
}
store.stop()
for (const end of ends) await end()
rmSync(folder, { recursive: true })
console.log(wrong.length === 0 ? 'as promised' : `NOT AS PROMISED: ${wrong.slice(0, 10).join(', ')}`)
process.exitCode = wrong.length === 0 ? 0 : 1
