import { Readable } from 'node:stream'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { HeaderList, HttpRequest } from '../../src/http/message.ts'
import type { Query } from '../../src/http/target.ts'
import { resetConnection, type Fault } from './faults.ts'

/** A request to a test store and its answer. Filled in while the request runs. */
export interface RecordedRequest {
  readonly method: string
  readonly bucket: string
  readonly key: string
  /** As it stood on the request line. */
  readonly path: string
  readonly query: Query
  readonly headers: HeaderList
  /** The client's port: requests with the same one came over the same connection. */
  readonly remotePort: number
  /** Bytes of the body that were read, aws-chunked framing included. */
  readonly bodyLength: number
  /** null unless the store keeps bodies. */
  readonly body: Buffer | null
  /** Whether the body was read to its end. */
  readonly complete: boolean
  /** null as long as there is no answer, and when a fault gave none. */
  readonly status: number | null
  /** Bytes of body the answer announced. */
  readonly responseLength: number | null
  readonly fault: Fault['type'] | null
}

/** Writable side of a RecordedRequest. */
export class Recording implements RecordedRequest {
  readonly method: string
  readonly bucket: string
  readonly key: string
  readonly path: string
  readonly query: Query
  readonly headers: HeaderList
  readonly remotePort: number
  status: number | null = null
  responseLength: number | null = null
  fault: Fault['type'] | null = null
  complete = false
  bodyLength = 0
  readonly #chunks: Buffer[] | null

  constructor(request: HttpRequest, address: { readonly bucket: string; readonly key: string }, remotePort: number, keepBodies: boolean) {
    this.method = request.method
    this.bucket = address.bucket
    this.key = address.key
    this.path = request.target.rawPath
    this.query = request.target.query
    this.headers = request.headers
    this.remotePort = remotePort
    this.#chunks = keepBodies ? [] : null
  }

  get body(): Buffer | null {
    return this.#chunks === null ? null : Buffer.concat(this.#chunks)
  }

  /** The request with a body that is written down while it is read. `limit`: bytes after which `atLimit` is called instead. */
  watch(request: HttpRequest, limit: number, atLimit: () => Promise<never>): HttpRequest {
    return { ...request, body: Readable.from(this.#tap(request.body, limit, atLimit), { objectMode: false, highWaterMark: 65536 }) }
  }

  async *#tap(body: Readable, limit: number, atLimit: () => Promise<never>): AsyncGenerator<Buffer> {
    for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      this.bodyLength += chunk.length
      this.#chunks?.push(chunk)
      if (this.bodyLength >= limit) await atLimit()
      if (chunk.length > 0) yield chunk
    }
    this.complete = true
  }
}

/** Bytes on the wire and open connections of a server. */
export class Traffic {
  readonly #sockets = new Set<Socket>()
  #received = 0
  #sent = 0
  #connections = 0

  constructor(server: Server) {
    server.on('connection', (socket) => {
      this.#connections += 1
      this.#sockets.add(socket)
      socket.once('close', () => {
        this.#sockets.delete(socket)
        this.#received += socket.bytesRead
        this.#sent += socket.bytesWritten
      })
    })
  }

  /** Bytes from clients, heads and framing included. */
  get received(): number {
    return this.#received + this.#sum((socket) => socket.bytesRead)
  }

  get sent(): number {
    return this.#sent + this.#sum((socket) => socket.bytesWritten)
  }

  /** Connections ever made. */
  get connections(): number {
    return this.#connections
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size
  }

  breakAll(): void {
    for (const socket of this.#sockets) resetConnection(socket)
  }

  #sum(count: (socket: Socket) => number): number {
    return [...this.#sockets].reduce((sum, socket) => sum + count(socket), 0)
  }
}
