// For audit-trail.sh: `store` runs a test store and prints how to reach it; `load ENDPOINT…` writes and reads through gateways until SIGTERM, from two addresses.
import { Agent } from 'node:http'
import process from 'node:process'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { startTestStore } from '../support/hostile.ts'

const [what, ...endpoints] = process.argv.slice(2)
if (what === 'store') {
  const { endpoint, accessKeyId, secretAccessKey } = await startTestStore({ buckets: ['bucket'], keepBodies: false })
  console.log(JSON.stringify({ endpoint, accessKeyId, secretAccessKey }))
} else {
  let [done, failed, stop] = [0, 0, false]
  process.on('SIGTERM', () => {
    stop = true
  })
  await Promise.all(Array.from({ length: 6 }, async (_, i) => {
    const s3 = new S3Client({
      endpoint: endpoints[i % endpoints.length]!,
      region: 'us-east-1',
      forcePathStyle: true,
      maxAttempts: 1,
      credentials: { accessKeyId: 'client', secretAccessKey: 'secretsecret' },
      requestHandler: { httpAgent: new Agent({ keepAlive: true, localAddress: `127.0.0.${77 + (i % 2)}` }) }
    })
    for (let n = 0; !stop; n += 1) {
      const at = { Bucket: 'bucket', Key: `${i}-${n % 50}` }
      try {
        await s3.send(new PutObjectCommand({ ...at, Body: 'x'.repeat(100) }))
        await (await s3.send(new GetObjectCommand(at))).Body?.transformToString()
        done += 1
      } catch {
        // Requests of a process that is killed.
        failed += 1
      }
    }
    s3.destroy()
  }))
  console.log(`${done} objects written and read, ${failed} requests failed`)
}
