import { connect } from 'node:net'
import type { Socket } from 'node:net'

export interface RawResponse {
  readonly status: number
  readonly reason: string
  /** Names in lower case; repeated fields joined with ", ". */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Everything received, status line and all. */
  readonly raw: Buffer
  /** How the connection ended: `open` when it was still there after a whole response. */
  readonly end: 'fin' | 'reset' | 'open'
}

/** A client that sends any bytes, HTTP or not, and shows the answer. */
export class RawConnection {
  readonly #socket: Socket
  /** Not taken yet: the end of what has been filled of `#space`. */
  #received = Buffer.alloc(0)
  #space = this.#received
  #end: RawResponse['end'] = 'open'
  #wake: () => void = () => undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#append(chunk)
      this.#wake()
    })
    socket.on('end', () => {
      if (this.#end === 'open') this.#end = 'fin'
      this.#wake()
    })
    socket.on('error', () => {
      this.#end = 'reset'
      this.#wake()
    })
    socket.on('close', () => {
      if (this.#end === 'open') this.#end = 'reset'
      this.#wake()
    })
  }

  /** @param endpoint `http://host:port` @throws ECONNREFUSED and the like */
  static async open(endpoint: string): Promise<RawConnection> {
    const { hostname, port } = new URL(endpoint)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawConnection(socket)
  }

  /** Local port, by which a server's log can be matched. */
  get port(): number {
    return this.#socket.localPort ?? 0
  }

  /** Resolves when the kernel has taken the bytes. Text is latin1. */
  async send(bytes: string | Buffer): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, () => {
        resolve()
      })
    })
  }

  /** Resolves when the first bytes of an answer are here. @throws when the connection has ended without. */
  async began(): Promise<void> {
    while (this.#received.length === 0) {
      if (this.#end !== 'open') throw new Error(`The connection has ended (${this.#end}) without an answer.`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Reads nothing more until `resume`: what comes fills the kernel's buffers. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Sends FIN; the other side may still answer. */
  finish(): void {
    this.#socket.end()
  }

  /** RST. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  close(): void {
    this.#socket.destroy()
  }

  /**
   * Waits for one response and takes it off what was received. 1xx responses count as responses.
   * @param bodyless the request was a HEAD
   * @throws Error when the connection ends before a whole head, or after `timeout` milliseconds
   */
  async response({ bodyless = false, timeout = 10_000 } = {}): Promise<RawResponse> {
    await this.#until(() => this.#received.includes('\r\n\r\n'), timeout)
    const headEnd = this.#received.indexOf('\r\n\r\n') + 4
    if (headEnd < 4) throw new Error(`the connection ended (${this.#end}) before a response: ${JSON.stringify(this.#received.toString('latin1'))}`)
    const { status, reason, headers } = parseHead(this.#received.toString('latin1', 0, headEnd - 4))
    const complete = bodyless || status < 200 || status === 204 || status === 304
      ? () => headEnd
      : () => messageEnd(this.#received, headEnd, headers)
    await this.#until(() => complete() !== null, timeout)
    const end = complete() ?? this.#received.length
    const raw = this.#received.subarray(0, end)
    this.#received = this.#received.subarray(end)
    const body = headers['transfer-encoding'] === 'chunked' ? dechunk(raw.subarray(headEnd)) : raw.subarray(headEnd)
    return { status, reason, headers, body, raw, end: this.#end }
  }

  /** Everything received and not yet taken, once the connection has ended. @throws Error after `timeout` milliseconds */
  async rest(timeout = 10_000): Promise<{ readonly bytes: Buffer; readonly end: RawResponse['end'] }> {
    await this.#until(() => false, timeout)
    return { bytes: this.#received, end: this.#end }
  }

  /** Twice the space where there is no room: to copy everything for every chunk costs the square of the length. */
  #append(chunk: Buffer): void {
    const from = this.#received.byteOffset - this.#space.byteOffset
    const length = this.#received.length + chunk.length
    if (from + length <= this.#space.length) {
      chunk.copy(this.#space, from + this.#received.length)
      this.#received = this.#space.subarray(from, from + length)
    } else {
      this.#space = Buffer.alloc(2 * length)
      this.#received.copy(this.#space)
      chunk.copy(this.#space, this.#received.length)
      this.#received = this.#space.subarray(0, length)
    }
  }

  async #until(done: () => boolean, timeout: number): Promise<void> {
    const deadline = Date.now() + timeout
    while (!done() && this.#end === 'open') {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`nothing more came in ${timeout} ms: ${JSON.stringify(this.#received.toString('latin1').slice(0, 500))}`))
        }, Math.max(0, deadline - Date.now()))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

/** Sends one message on a connection of its own and reads one response. */
export async function rawRequest(
  endpoint: string,
  bytes: string | Buffer,
  options: { readonly bodyless?: boolean; readonly timeout?: number } = {}
): Promise<RawResponse> {
  const connection = await RawConnection.open(endpoint)
  try {
    await connection.send(bytes)
    return await connection.response(options)
  } finally {
    connection.close()
  }
}

function parseHead(head: string): Pick<RawResponse, 'status' | 'reason' | 'headers'> {
  const [statusLine = '', ...lines] = head.split('\r\n')
  const match = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(statusLine)
  if (match === null) throw new Error(`no status line: ${JSON.stringify(statusLine)}`)
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return { status: Number(match[1]), reason: match[2] ?? '', headers }
}

/** Where a message ends; null as long as it has not, or when only the end of the connection ends it. */
function messageEnd(received: Buffer, headEnd: number, headers: Readonly<Record<string, string>>): number | null {
  if (headers['transfer-encoding'] === 'chunked') {
    const end = chunksEnd(received, headEnd)
    return end < 0 ? null : end
  }
  const length = headers['content-length']
  if (length === undefined) return null
  const end = headEnd + Number(length)
  return received.length >= end ? end : null
}

function chunksEnd(received: Buffer, from: number): number {
  let at = from
  for (;;) {
    const newline = received.indexOf('\r\n', at)
    if (newline < 0) return -1
    const size = parseInt(received.toString('latin1', at, newline), 16)
    at = newline + 2 + size + 2
    if (at > received.length) return -1
    if (size === 0) return at
  }
}

function dechunk(bytes: Buffer): Buffer {
  const pieces: Buffer[] = []
  let at = 0
  for (;;) {
    const newline = bytes.indexOf('\r\n', at)
    const size = newline < 0 ? 0 : parseInt(bytes.toString('latin1', at, newline), 16)
    if (size === 0) return Buffer.concat(pieces)
    pieces.push(bytes.subarray(newline + 2, newline + 2 + size))
    at = newline + 2 + size + 2
  }
}
