import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import type t from 'tap'
import type { UpstreamRequest } from '../../src/upstream/types.ts'
import { createUpstream, type StoreUpstream, type UpstreamLimits, type UpstreamOptions } from '../../src/upstream/upstream.ts'

/** One message as it was on the wire. */
export interface Seen {
  readonly head: string
  readonly path: string
  readonly headers: ReadonlyMap<string, string>
  body: Buffer
  /** All bytes that Content-Length promised came. */
  complete: boolean
  /** Counts connections from 1. */
  readonly connection: number
}

export interface RawStore {
  readonly port: number
  readonly endpoint: string
  readonly seen: Seen[]
  readonly connections: () => number
  readonly open: () => number
  /** Resolves when no connection is open. */
  readonly allClosed: () => Promise<void>
}

export interface Behaviour {
  /** A message is complete. */
  readonly onRequest?: (socket: Socket, seen: Seen) => void
  /** The head of a message is there; its body may not be. */
  readonly onHead?: (socket: Socket, seen: Seen) => void
  readonly onConnection?: (socket: Socket) => void
}

/** A store made of a TCP socket, so that it can answer what no HTTP library would. */
export async function rawStore(test: Pick<typeof t, 'teardown'>, behaviour: Behaviour): Promise<RawStore> {
  const seen: Seen[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    const connection = connections
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
    behaviour.onConnection?.(socket)
    let pending = Buffer.alloc(0)
    let current: Seen | null = null
    let left = 0
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      for (;;) {
        if (current === null) {
          const end = pending.indexOf('\r\n\r\n')
          if (end < 0) return
          current = parseHead(pending.subarray(0, end).toString('latin1'), connection)
          left = Number(current.headers.get('content-length') ?? '0')
          pending = pending.subarray(end + 4)
          seen.push(current)
          behaviour.onHead?.(socket, current)
        }
        const part = pending.subarray(0, left)
        pending = pending.subarray(part.length)
        left -= part.length
        current.body = Buffer.concat([current.body, part])
        if (left > 0) return
        current.complete = true
        const done = current
        current = null
        behaviour.onRequest?.(socket, done)
        if (pending.length === 0) return
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const allClosed = async (): Promise<void> => {
    while (sockets.size > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return { port, endpoint: `http://127.0.0.1:${port}`, seen, connections: () => connections, open: () => sockets.size, allClosed }
}

function parseHead(head: string, connection: number): Seen {
  const lines = head.split('\r\n')
  const headers = new Map(
    lines.slice(1).map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    })
  )
  return { head, path: lines[0]?.split(' ')[1] ?? '', headers, body: Buffer.alloc(0), complete: false, connection }
}

export const accessKeyId = 'AKIDEXAMPLE'
export const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'

export function upstreamTo(
  test: Pick<typeof t, 'teardown'>,
  endpoint: string,
  options: UpstreamOptions = {},
  limits: Partial<UpstreamLimits> = {},
  settings: Partial<Parameters<typeof createUpstream>[0]> = {}
): StoreUpstream {
  const upstream = createUpstream(
    {
      endpoint,
      region: 'us-east-1',
      style: 'path',
      ca: null,
      sse: null,
      connections: 8,
      credentials: { accessKeyId, secretAccessKey, sessionToken: null },
      ...settings
    },
    { minRate: 0, minRateWindowSeconds: 60, upstreamFirstByteSeconds: 30, ...limits },
    options
  )
  test.teardown(() => upstream.close())
  return upstream
}

/** A request with everything not named left plain. */
export function ask(parts: Partial<UpstreamRequest> & Pick<UpstreamRequest, 'method'>): UpstreamRequest {
  return {
    bucket: 'bucket',
    key: 'key',
    query: [],
    headers: [],
    body: null,
    contentLength: Buffer.isBuffer(parts.body) ? parts.body.length : 0,
    signal: new AbortController().signal,
    retry: false,
    pool: 'data',
    ...parts
  }
}
