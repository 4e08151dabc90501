// CompleteMultipartUpload: what each part costs, of uploads of many parts of 5 MiB that the store forgets.
import { bodyOf, type BenchClient } from './client.ts'
import { MIB, row, say, type Rig } from './rig.ts'
import type { Measured } from './processes.ts'

const partSize = 5 * MIB
const atOnce = 4

/** @returns seconds of CPU of the gateway for the Complete alone */
async function complete(client: BenchClient, gateway: Measured, path: string, parts: number): Promise<number> {
  const created = await client.send('POST', path, { query: { uploads: '' } })
  const uploadId = /<UploadId>(.*?)<\/UploadId>/.exec(created.text)?.[1] ?? ''
  const etags: string[] = []
  let next = 1
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let number = next++; number <= parts; number = next++) {
      const { status, etag } = await client.send('PUT', path, { query: { partNumber: String(number), uploadId }, body: bodyOf(partSize), size: partSize })
      if (status !== 200) throw new Error(`UploadPart: ${status}`)
      etags[number - 1] = etag
    }
  }))
  const listed = etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag></Part>`)
  const list = Buffer.from(`<CompleteMultipartUpload>${listed.join('')}</CompleteMultipartUpload>`)
  const cpu = gateway.cpuSeconds()
  const { status, text } = await client.send('POST', path, { query: { uploadId }, body: list, size: list.length })
  if (status !== 200 || !text.includes('<ETag>')) throw new Error(`CompleteMultipartUpload: ${status} ${text}`)
  return gateway.cpuSeconds() - cpu
}

export async function completes(rig: Rig, quick: boolean): Promise<void> {
  const [parts, rounds] = quick ? [500, 3] : [2500, 3]
  const store = await rig.store('forgetful')
  const gateway = await rig.gateway(store.endpoint)
  const client = rig.client(gateway.endpoint)
  say(`CompleteMultipartUpload of ${parts} parts, milliseconds of CPU for each part, ${rounds} uploads one after the other`)
  for (const bucket of ['off', 'opaque'] as const) {
    const costs: number[] = []
    for (let round = 0; round < rounds; round += 1) costs.push(await complete(client, gateway, `/${bucket}/parts-${round}`, parts) * 1000 / parts)
    row(bucket, ...costs.map((cost) => cost.toFixed(3)))
  }
}
