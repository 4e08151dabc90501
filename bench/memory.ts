// Memory of the gateway: transfers of large bodies at once, and readers that have stopped reading.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { bodyOf } from './client.ts'
import { GIB, MIB, say, type Rig } from './rig.ts'
import type { Measured } from './processes.ts'

/** The highest resident set while `work` runs, in MiB, looked at ten times a second. */
async function peakOf(server: Measured, work: () => Promise<unknown>): Promise<number> {
  let peak = server.rssMiB()
  const watch = setInterval(() => {
    peak = Math.max(peak, server.rssMiB())
  }, 100)
  await work()
  clearInterval(watch)
  return peak
}

/** @param uploadSize bytes of each upload: the sink keeps nothing, so that they may be as large as S3 allows. */
async function atOnce(rig: Rig, uploadSize: number): Promise<void> {
  const size = 256 * MIB
  const down = await rig.gateway((await rig.store()).endpoint)
  const up = await rig.gateway((await rig.server('store', 'sink')).endpoint)
  const reader = rig.client(down.endpoint)
  const writer = rig.client(up.endpoint)
  await reader.send('PUT', '/opaque/large', { body: bodyOf(size), size })
  for (
    const [name, server, transfer] of [
      [`GET of ${size / MIB} MiB`, down, () => reader.send('GET', '/opaque/large')],
      [`PUT of ${uploadSize / MIB} MiB`, up, () => writer.send('PUT', '/opaque/large', { body: bodyOf(uploadSize), size: uploadSize })]
    ] as const
  ) {
    const before = server.rssMiB()
    const peak = await peakOf(server, () => Promise.all(Array.from({ length: 64 }, transfer)))
    say(`64 × ${name} at once: RSS ${before.toFixed(0)} → peak ${peak.toFixed(0)} MiB`)
  }
}

/** Readers that ask for an object larger than all buffers on the way and read nothing of it. */
async function stalled(rig: Rig, readers: number): Promise<void> {
  const size = 64 * MIB
  const gateway = await rig.gateway((await rig.store()).endpoint, { connections: readers + 16 })
  const client = rig.client(gateway.endpoint)
  await client.send('PUT', '/opaque/stalled', { body: bodyOf(size), size })
  // The base is that of a gateway that has been at work, not of one that has just started.
  await Promise.all(Array.from({ length: 64 }, () => client.send('GET', '/opaque/stalled')))
  const before = gateway.rssMiB()
  const sockets: Socket[] = []
  const peak = await peakOf(gateway, async () => {
    for (let i = 0; i < readers; i += 50) {
      sockets.push(...await Promise.all(Array.from({ length: Math.min(50, readers - i) }, () => client.stall('/opaque/stalled'))))
      await delay(200)
    }
    await delay(10_000)
  })
  const settled = gateway.rssMiB()
  const { status } = await client.send('GET', '/opaque/stalled')
  await Promise.all(sockets.map((socket) => {
    const closed = once(socket, 'close')
    socket.destroy()
    return closed
  }))
  await delay(2000)
  say(
    `${readers} stalled readers: RSS ${before.toFixed(0)} → peak ${peak.toFixed(0)}, settled ${settled.toFixed(0)} MiB; ` +
      `a reader besides them got ${status}; after they left ${gateway.rssMiB().toFixed(0)} MiB`
  )
}

export async function memory(rig: Rig, quick: boolean): Promise<void> {
  await atOnce(rig, quick ? 256 * MIB : 5 * GIB - 2 * MIB)
  await stalled(rig, 1000)
}
