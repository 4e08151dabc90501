import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { HttpRequest, HttpResponse } from '../../src/http/message.ts'
import { createListener, type Listener, type ListenerOptions } from '../../src/listener/listener.ts'
import { createLog } from '../../src/observe/log.ts'

/** A listener on a free port, with the lines it logged. */
export interface Started {
  readonly listener: Listener
  readonly port: number
  readonly lines: Record<string, unknown>[]
}

export const roomyLimits: ListenerOptions['limits'] = {
  connections: 200,
  headerBytes: 16_384,
  headersMs: 20_000,
  keepAliveMs: 20_000,
  highWaterMark: 65_536,
  requestsInFlight: 100,
  unauthenticatedRequests: 256,
  anonymousRequests: 128,
  formFieldsMs: 10_000,
  minRate: 1,
  minRateWindowMs: 60_000
}

export async function startListener(
  handle: (request: HttpRequest) => Promise<HttpResponse>,
  changes: Partial<ListenerOptions> = {}
): Promise<Started> {
  const lines: Record<string, unknown>[] = []
  const listener = createListener({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    trustedProxies: [],
    clientAddress: 'peer',
    limits: roomyLimits,
    heartbeatMs: 20_000,
    log: createLog({
      level: 'info',
      write: (line) => {
        lines.push(JSON.parse(line) as Record<string, unknown>)
      }
    }),
    observe: () => undefined,
    ...changes
  }, handle)
  const { port } = await listener.start()
  return { listener, port, lines }
}

export interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
  /** False when the connection ended before the announced body did. */
  readonly whole: boolean
}

/** A client that sends exactly the given bytes, and reads the answer as a strict client would. */
export class WireClient {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #closed = false
  #wake: () => void = () => undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#closed = true
      this.#wake()
    })
  }

  static async open(port: number): Promise<WireClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new WireClient(socket)
  }

  write(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** Resolves when a text has come in, or the connection is gone. */
  async until(text: string): Promise<boolean> {
    while (!this.#received.includes(text) && !this.#closed) await this.#more()
    return this.#received.includes(text)
  }

  /** The next answer; null when the connection is closed without one. Skips nothing: bytes that are no answer throw. */
  async answer(method = 'GET'): Promise<Answer | null> {
    let head: number
    while ((head = this.#received.indexOf('\r\n\r\n')) < 0) {
      if (this.#closed) {
        if (this.#received.length > 0) throw new Error('bytes that are no answer')
        return null
      }
      await this.#more()
    }
    const [first = '', ...lines] = this.#received.subarray(0, head).toString('latin1').split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? Number.NaN)
    if (Number.isNaN(status)) throw new Error(`no status line: ${first}`)
    const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
    this.#received = this.#received.subarray(head + 4)
    if (status === 100) return { status, headers, body: Buffer.alloc(0), whole: true }
    if (headers.get('transfer-encoding') === 'chunked') return { status, headers, ...await this.#chunked() }
    const length = method === 'HEAD' ? 0 : Number(headers.get('content-length') ?? 0)
    while (this.#received.length < length && !this.#closed) await this.#more()
    const body = Buffer.from(this.#received.subarray(0, length))
    this.#received = this.#received.subarray(body.length)
    return { status, headers, body, whole: body.length === length }
  }

  async closed(): Promise<void> {
    while (!this.#closed) await this.#more()
  }

  async #chunked(): Promise<{ body: Buffer; whole: boolean }> {
    const parts: Buffer[] = []
    for (;;) {
      let line: number
      while ((line = this.#received.indexOf('\r\n')) < 0 && !this.#closed) await this.#more()
      if (line < 0) return { body: Buffer.concat(parts), whole: false }
      const size = parseInt(this.#received.subarray(0, line).toString('latin1'), 16)
      while (this.#received.length < line + size + 4 && !this.#closed) await this.#more()
      if (this.#received.length < line + size + 4) return { body: Buffer.concat(parts), whole: false }
      parts.push(Buffer.from(this.#received.subarray(line + 2, line + 2 + size)))
      this.#received = this.#received.subarray(line + size + 4)
      if (size === 0) return { body: Buffer.concat(parts), whole: true }
    }
  }

  async #more(): Promise<void> {
    if (this.#closed) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }
}

/** Everything a request body gives, or the error it fails with. */
export async function readAll(request: HttpRequest): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request.body as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** As the pipeline does once a signature has verified. */
export function asClient(request: HttpRequest, id = 'client'): void {
  request.admit?.({ kind: 'client', id, limits: { requests: null, requestsPerSecond: null, bytesPerSecond: null } })
}

export function text(body: string, status = 200): HttpResponse {
  return { status, headers: [['Content-Type', 'text/plain']], body: Buffer.from(body) }
}
