// Completes of one upload at the same time, through one gateway and through two: node test/e2e/at-once.ts BUCKET ID SECRET ENDPOINT [ENDPOINT]
// All have to get 200 and one and the same ETag, and the object has to be the parts. Prints what it counted; ends with 1 otherwise.
import { randomBytes } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  S3Client,
  UploadPartCommand,
  type CompletedPart
} from '@aws-sdk/client-s3'

const [Bucket = '', accessKeyId = '', secretAccessKey = '', ...endpoints] = process.argv.slice(2)
const clients = endpoints.map((endpoint) =>
  new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey } })
)
const [first] = clients
if (first === undefined) throw new Error('usage: at-once.ts BUCKET ID SECRET ENDPOINT [ENDPOINT]')
const faults: string[] = []
let completes = 0

for (let round = 0; round < 10; round += 1) {
  const Key = `at-once-${round}`
  const bodies = [randomBytes(5 * 1024 * 1024), randomBytes(round % 2 === 0 ? 100 : 5 * 1024 * 1024)]
  const { UploadId } = await first.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const Parts: CompletedPart[] = []
  for (const [i, Body] of bodies.entries()) {
    const { ETag, ChecksumCRC32 } = await first.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body }))
    Parts.push({ PartNumber: i + 1, ETag, ChecksumCRC32 })
  }
  const answers = await Promise.all(
    [...clients, ...clients, ...clients, ...clients].map((client) =>
      client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
        .then(({ ETag }) => String(ETag), (error: unknown) => {
          faults.push(`${Key}: ${String(error)}`)
          return 'failed'
        })
    )
  )
  completes += answers.length
  if (new Set(answers).size !== 1) faults.push(`${Key}: ${answers.join(' ')}`)
  const { Body } = await first.send(new GetObjectCommand({ Bucket, Key }))
  if (Body === undefined || !Buffer.concat(bodies).equals(await Body.transformToByteArray())) faults.push(`${Key}: other bytes`)
}
for (const fault of faults) process.stdout.write(`${fault}\n`)
process.stdout.write(`${completes} Completes of 10 uploads through ${clients.length} gateways, ${faults.length} faults\n`)
process.exitCode = faults.length === 0 ? 0 : 1
