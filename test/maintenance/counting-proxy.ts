import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'

/** Passes bytes to a store and counts them, independently of the command's own output. */
export interface CountingProxy {
  readonly endpoint: string
  /** Bytes to the store and back, heads included. */
  readonly sent: number
  readonly received: number
  /** Resolves with the next connection. */
  connected(): Promise<unknown>
  close(): Promise<void>
}

export async function startCountingProxy(target: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(target)
  const counts = { sent: 0, received: 0 }
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const store = connect(Number(port), hostname)
    for (const socket of [client, store]) {
      sockets.add(socket.setNoDelay(true))
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        store.destroy()
      })
      socket.on('error', () => undefined)
    }
    client.on('data', (chunk: Buffer) => {
      counts.sent += chunk.length
      store.write(chunk)
    })
    store.on('data', (chunk: Buffer) => {
      counts.received += chunk.length
      client.write(chunk)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get sent() {
      return counts.sent
    },
    get received() {
      return counts.received
    },
    connected: () => once(server, 'connection'),
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}
