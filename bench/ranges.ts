// Random ranges of a multipart object: what each costs, and how many requests the store sees.
import { request } from 'undici'
import { sendParts } from './client.ts'
import { GIB, KIB, MIB, say, type Rig } from './rig.ts'

const partSize = 16 * MIB

export async function ranges(rig: Rig, quick: boolean): Promise<void> {
  const [size, reads] = quick ? [128 * MIB, 1000] : [GIB, 10_000]
  const store = await rig.store()
  const counter = await rig.server('counter', store.endpoint)
  const gateway = await rig.gateway(counter.endpoint)
  const client = rig.client(gateway.endpoint)
  const { complete } = await sendParts(client, '/opaque/ranges', { parts: size / partSize, partSize, atOnce: 1 })
  await complete()
  const asked = async (): Promise<number> => Number(await (await request(`${counter.endpoint}/counted`)).body.text())
  const read = async (): Promise<void> => {
    const first = Math.floor(Math.random() * (size - 64 * KIB))
    const { status, bytes } = await client.send('GET', '/opaque/ranges', { headers: { range: `bytes=${first}-${first + 64 * KIB - 1}` } })
    if (status !== 206 || bytes !== 64 * KIB) throw new Error(`range: ${status}, ${bytes} bytes`)
  }
  await read()
  const before = await asked()
  const cpu = gateway.cpuSeconds()
  let next = 0
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (next++ < reads) await read()
  }))
  const perRead = (gateway.cpuSeconds() - cpu) / reads
  say(
    `${reads} random ranges of 64 KiB of a multipart object of ${size / MIB} MiB: ${(await asked() - before)} requests to the store, ` +
      `${(1 / perRead).toFixed(0)} per CPU-second`
  )
}
