// Listings: what a page costs the gateway, in units of a page that is passed through.
import { KIB, row, say, buckets, type Rig } from './rig.ts'
import type { BenchClient } from './client.ts'
import type { Measured } from './processes.ts'

type Kind = (typeof buckets)[number]

const body = Buffer.alloc(KIB)
const rowsOfPage = 1000

async function fill(client: BenchClient, bucket: Kind, count: number): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (let i = next++; i < count; i = next++) {
      const { status } = await client.send('PUT', `/${bucket}/folder/object-${String(i).padStart(6, '0')}.bin`, { body, size: body.length })
      if (status !== 200) throw new Error(`PUT: ${status}`)
    }
  }))
}

/** Every page of a bucket `times` over. @returns milliseconds of CPU for each page */
async function list({ client, gateway }: { client: BenchClient; gateway: Measured }, bucket: Kind, count: number, times: number): Promise<number> {
  const cpu = gateway.cpuSeconds()
  for (let time = 0; time < times; time += 1) {
    for (let i = 0; i < count; i += rowsOfPage) {
      const after = i === 0 ? {} : { 'start-after': `folder/object-${String(i - 1).padStart(6, '0')}.bin` }
      const { status, bytes } = await client.send('GET', `/${bucket}`, { query: { 'list-type': '2', ...after } })
      if (status !== 200 || bytes < 100 * rowsOfPage) throw new Error(`LIST: ${status}, ${bytes} bytes`)
    }
  }
  return (gateway.cpuSeconds() - cpu) * 1000 / (times * count / rowsOfPage)
}

export async function listings(rig: Rig, quick: boolean): Promise<void> {
  const [count, rounds, times] = quick ? [2000, 5, 20] : [10_000, 7, 10]
  const store = await rig.store()
  const gateway = await rig.gateway(store.endpoint)
  const client = rig.client(gateway.endpoint)
  for (const bucket of buckets) await fill(client, bucket, count)
  const costs = new Map<Kind, number[]>(buckets.map((bucket) => [bucket, []]))
  // The first time an md5 bucket is listed, rows may be looked up.
  for (const bucket of buckets) row(`${bucket}, the first time, ms of CPU a page`, (await list({ client, gateway }, bucket, count, 1)).toFixed(2))
  for (const bucket of buckets) await list({ client, gateway }, bucket, count, times)
  for (let round = 0; round < rounds; round += 1) for (const bucket of buckets) costs.get(bucket)?.push(await list({ client, gateway }, bucket, count, times))
  const median = (kind: Kind): number => costs.get(kind)?.toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN
  say(`Pages of ${rowsOfPage} of ${count} objects, the median of ${rounds} rounds`)
  row('', 'ms of CPU', '× off')
  for (const bucket of buckets) row(bucket, median(bucket).toFixed(2), (median(bucket) / median('off')).toFixed(2))
  say()
}
