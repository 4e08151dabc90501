// The gateway's clock jumps while it serves. node test/campaigns/clock.ts
import process from 'node:process'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { startTestGateway } from '../support/gateway.ts'
import { startStoreProcess } from './gateway-process.ts'

const RealDate = Date
let offset = 0
/** The clock of this process, and so of the gateway in it. The store and its clock are elsewhere. */
class ShiftedDate extends RealDate {
  constructor(...given: [] | [number | string]) {
    if (given.length === 0) super(RealDate.now() + offset)
    else super(given[0])
  }

  static override now(): number {
    return RealDate.now() + offset
  }
}
globalThis.Date = ShiftedDate as DateConstructor

const store = await startStoreProcess()
const gateway = await startTestGateway({ endpoint: store.endpoint, region: 'us-east-1', accessKeyId: 'store', secretAccessKey: 'store-secret' })
const Bucket = 'clock'

/** A client whose clock is right, whatever the gateway's says. */
function client(): S3Client {
  return new S3Client({
    endpoint: gateway.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    systemClockOffset: -offset,
    credentials: { accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }
  })
}

async function attempt(clockOfClient: 'right' | 'of the gateway'): Promise<string> {
  const s3 = clockOfClient === 'right' ? client() : new S3Client({
    endpoint: gateway.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }
  })
  try {
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'body' }))
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
    return await Body!.transformToString() === 'body' ? 'ok' : 'WRONG'
  } catch (error) {
    return (error as Error).name
  } finally {
    s3.destroy()
  }
}

await client().send(new CreateBucketCommand({ Bucket }))
const minute = 60_000
let failures = 0
let jumps = 0
for (const minutes of [0, 5, -5, 14, -14, 60, -60, 60 * 24, -60 * 24, 60 * 24 * 3650, -60 * 24 * 3650, 0]) {
  offset = minutes * minute
  jumps += 1
  const right = await attempt('right')
  const same = await attempt('of the gateway')
  const near = Math.abs(minutes) < 15
  const expected = near ? ['ok', 'ok'] : ['RequestTimeTooSkewed', 'SealgateBadUpstream']
  const fine = right === expected[0] && same === expected[1]
  if (!fine) failures += 1
  console.log(
    `gateway ${minutes} min ahead: client with the right clock ${right}, client with the gateway's ${same}${fine ? '' : `   EXPECTED ${expected.join(', ')}`}`
  )
}
console.log(`${jumps} jumps, ${failures} surprises; the last one back to the right time`)
await gateway.close()
store.stop()
process.exit(failures === 0 ? 0 : 1)
