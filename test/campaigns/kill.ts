// kill -9 under load with two instances: nothing acknowledged may be lost. node test/campaigns/kill.ts [seconds]
import { createHash, randomBytes, randomInt } from 'node:crypto'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { GatewayProcess, startStoreProcess } from './gateway-process.ts'

const seconds = Number(process.argv[2] ?? 30)
const writers = 8
const names = 40
const Bucket = 'kill'

const store = await startStoreProcess()
const gateways = [new GatewayProcess({ endpoint: store.endpoint }), new GatewayProcess({ endpoint: store.endpoint })]
let keyring: string | null = null
for (const gateway of gateways) {
  keyring = await gateway.prepare(keyring)
  await gateway.start()
}
const clients = gateways.map((gateway) => gateway.client())
await clients[0]!.send(new CreateBucketCommand({ Bucket }))

/** By name: what may stand there. Acknowledged writes drop what came before; failed ones may or may not have happened. */
const possible = new Map<string, Set<string>>()
const busy = new Set<string>()
const counts = { acknowledged: 0, failed: 0, kills: 0, parts: 0 }
const until = Date.now() + seconds * 1000
const hash = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
const any = (): S3Client => clients[randomInt(clients.length)]!

async function put(Key: string, body: Buffer): Promise<void> {
  if (body.length < 2_000_000) {
    await any().send(new PutObjectCommand({ Bucket, Key, Body: body }))
    return
  }
  // Every step through another instance, with retries of a part, as clients do it.
  const { UploadId } = await any().send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const parts: { PartNumber: number; ETag: string | undefined }[] = []
  for (const [PartNumber, Body] of [[1, body.subarray(0, 5 * 1024 * 1024)], [2, body.subarray(5 * 1024 * 1024)]] as const) {
    for (let attempt = 0;; attempt += 1) {
      try {
        const { ETag } = await any().send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
        parts.push({ PartNumber, ETag })
        counts.parts += 1
        break
      } catch (error) {
        if (attempt === 3) throw error
        await delay(300)
      }
    }
  }
  await any().send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts } }))
}

async function write(): Promise<void> {
  while (Date.now() < until) {
    const key = `object-${randomInt(names)}`
    if (busy.has(key)) {
      await delay(1)
      continue
    }
    busy.add(key)
    const body = randomInt(20) === 0 ? randomBytes(5 * 1024 * 1024 + randomInt(200_000)) : randomBytes(randomInt(200_000))
    const before = possible.get(key) ?? new Set(['none'])
    try {
      await put(key, body)
      possible.set(key, new Set([hash(body)]))
      counts.acknowledged += 1
    } catch {
      possible.set(key, new Set([...before, hash(body)]))
      counts.failed += 1
      await delay(50)
    } finally {
      busy.delete(key)
    }
  }
}

async function killer(): Promise<void> {
  while (Date.now() < until) {
    await delay(300 + randomInt(1200))
    const victim = gateways[randomInt(gateways.length)]!
    await victim.kill()
    counts.kills += 1
    await victim.start()
  }
}

await Promise.all([killer(), ...Array.from({ length: writers }, write)])
let wrong = 0
for (const [Key, hashes] of possible) {
  const found = await clients[0]!.send(new GetObjectCommand({ Bucket, Key })).then(
    async ({ Body }) => hash(Buffer.from(await Body!.transformToByteArray())),
    (error: unknown) => (error as Error).name === 'NoSuchKey' ? 'none' : `error ${(error as Error).name}`
  )
  if (!hashes.has(found)) {
    wrong += 1
    console.log(`${Key}: ${found}`)
  }
}
const { Contents = [] } = await clients[0]!.send(new ListObjectsV2Command({ Bucket }))
console.log(
  `${counts.kills} kills of ${gateways.length} instances; ${counts.acknowledged} writes acknowledged (${counts.parts} parts), ${counts.failed} failed; ` +
    `${possible.size} names read again (${Contents.length} listed): ${wrong} lost, mixed or broken`
)
for (const gateway of gateways) await gateway.remove()
store.stop()
process.exit(wrong === 0 ? 0 : 1)
