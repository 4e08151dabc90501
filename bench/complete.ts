// CompleteMultipartUpload: what each part costs, of uploads of many parts of 5 MiB that the store forgets.
import { sendParts, type BenchClient } from './client.ts'
import { MIB, row, say, type Rig } from './rig.ts'
import type { Measured } from './processes.ts'

/** @returns seconds of CPU of the gateway for the Complete alone */
async function costOf(client: BenchClient, gateway: Measured, path: string, parts: number): Promise<number> {
  const { complete } = await sendParts(client, path, { parts, partSize: 5 * MIB, atOnce: 4 })
  const cpu = gateway.cpuSeconds()
  const { status, text } = await complete()
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
    for (let round = 0; round < rounds; round += 1) costs.push(await costOf(client, gateway, `/${bucket}/parts-${round}`, parts) * 1000 / parts)
    row(bucket, ...costs.map((cost) => cost.toFixed(3)))
  }
}
