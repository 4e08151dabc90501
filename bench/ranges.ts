// Random ranges of a multipart object: what each costs, beside the same passing through, and how many requests the store sees.
import { request } from 'undici'
import { sendParts, type BenchClient } from './client.ts'
import { GIB, KIB, MIB, row, say, type Rig } from './rig.ts'

const partSize = 16 * MIB
const rangeSize = 64 * KIB
const atOnce = 16
const rounds = 5

async function read(client: BenchClient, bucket: string, size: number, reads: number): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next++ < reads) {
      const first = Math.floor(Math.random() * (size - rangeSize))
      const { status, bytes } = await client.send('GET', `/${bucket}/ranges`, { headers: { range: `bytes=${first}-${first + rangeSize - 1}` } })
      if (status !== 206 || bytes !== rangeSize) throw new Error(`range: ${status}, ${bytes} bytes`)
    }
  }))
}

export async function ranges(rig: Rig, quick: boolean): Promise<void> {
  const [size, reads] = quick ? [128 * MIB, 1000] : [GIB, 10_000]
  const store = await rig.store()
  const counter = await rig.server('counter', store.endpoint)
  const gateway = await rig.gateway(counter.endpoint)
  const client = rig.client(gateway.endpoint)
  const asked = async (): Promise<number> => Number(await (await request(`${counter.endpoint}/counted`)).body.text())
  const buckets = ['off', 'opaque'] as const
  for (const bucket of buckets) {
    const { complete } = await sendParts(client, `/${bucket}/ranges`, { parts: size / partSize, partSize, atOnce: 1 })
    await complete()
    await read(client, bucket, size, reads)
  }
  const before = await asked()
  const costs = { off: [] as number[], opaque: [] as number[] }
  for (let round = 0; round < rounds; round += 1) {
    for (const bucket of buckets) {
      const cpu = gateway.cpuSeconds()
      await read(client, bucket, size, reads / rounds)
      costs[bucket].push((gateway.cpuSeconds() - cpu) / (reads / rounds))
    }
  }
  say(
    `${reads} random ranges of 64 KiB of a multipart object of ${size / MIB} MiB, ${atOnce} at once, passing through and sealed: ${
      await asked() - before
    } requests to the store for the sealed ones`
  )
  row('median of 5 rounds in turns', 'per CPU-s', '× through')
  const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
  for (const bucket of buckets) {
    row(bucket === 'off' ? 'passing through' : 'sealed', (1 / median(costs[bucket])).toFixed(0), (median(costs[bucket]) / median(costs.off)).toFixed(2))
  }
}
