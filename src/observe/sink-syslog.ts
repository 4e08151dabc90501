import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { readFile } from 'node:fs/promises'
import { connect, isIP, type Socket } from 'node:net'
import { hostname } from 'node:os'
import process from 'node:process'
import { connect as connectTls } from 'node:tls'
import { LineRefused, type SinkReach, type SinkTransport } from './audit-sink.ts'

/** Facility 13, log audit; severity 6, informational (RFC 5424 6.2.1). */
const PRIORITY = 13 * 8 + 6
/** Bytes of one datagram over IPv4, without its headers. */
const MOST_DATAGRAM = 65_507
const KEEP_ALIVE_MS = 30_000

/** A message of RFC 5424 with the line as its MSG. @param line with its line end. */
export function syslogMessage(line: Buffer, now: Date): Buffer {
  const host = hostname().replace(/[^\x21-\x7e]/g, '').slice(0, 255)
  return Buffer.concat([
    Buffer.from(`<${PRIORITY}>1 ${now.toISOString()} ${host === '' ? '-' : host} sealgate ${process.pid} audit - `),
    line.subarray(0, line.length - 1)
  ])
}

/** @param url `udp://HOST:PORT`, `tcp://HOST:PORT`, `tls://HOST:PORT`, or `unix:///PATH` of a stream socket. @param ca file of authorities in PEM. */
export function syslogTransport(url: URL, ca: string | null): SinkTransport {
  return url.protocol === 'udp:' ? new Datagrams(url) : new Stream(url, ca)
}

function hostOf({ hostname: host }: URL): string {
  return host.replace(/^\[|\]$/g, '')
}

class Datagrams implements SinkTransport {
  readonly name: string
  readonly batch = { lines: 1, bytes: MOST_DATAGRAM }
  readonly #url: URL
  #socket: UdpSocket | null = null
  /** What the system has told of an earlier datagram. */
  #failure: Error | null = null

  constructor(url: URL) {
    this.name = `udp://${url.host}`
    this.#url = url
  }

  async send([line]: readonly Buffer[], signal: AbortSignal): Promise<void> {
    const failure = this.#failure
    this.#failure = null
    if (failure !== null) throw failure
    signal.throwIfAborted()
    if (line === undefined) return
    const message = syslogMessage(line, new Date())
    if (message.length > MOST_DATAGRAM) throw new LineRefused()
    this.#socket ??= await this.#open()
    const socket = this.#socket
    await new Promise<void>((resolve, reject) => {
      socket.send(message, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  async reach(signal: AbortSignal): Promise<SinkReach> {
    signal.throwIfAborted()
    this.#socket ??= await this.#open()
    return { ok: null, detail: 'the name is known; who sends datagrams is not told whether anybody takes them' }
  }

  close(): void {
    this.#socket?.close()
    this.#socket = null
  }

  async #open(): Promise<UdpSocket> {
    const host = hostOf(this.#url)
    const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4')
    socket.on('error', (error) => {
      this.#failure = error
    })
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.connect(Number(this.#url.port), host, () => {
        socket.off('error', reject)
        resolve()
      })
    }).catch((error: unknown) => {
      socket.close()
      throw error
    })
    return socket
  }
}

class Stream implements SinkTransport {
  readonly name: string
  readonly batch = { lines: 1000, bytes: 256 * 1024 }
  readonly #url: URL
  readonly #ca: string | null
  #socket: Socket | null = null

  constructor(url: URL, ca: string | null) {
    this.name = url.protocol === 'unix:' ? `unix:${url.pathname}` : `${url.protocol}//${url.host}`
    this.#url = url
    this.#ca = ca
  }

  async send(lines: readonly Buffer[], signal: AbortSignal): Promise<void> {
    const now = new Date()
    const messages = lines.map((line) => syslogMessage(line, now))
    // Octet counting (RFC 6587 3.4.1; RFC 5425 4.3 demands it); on a local socket lines, which its readers know.
    const frames = this.#url.protocol === 'unix:'
      ? messages.flatMap((message) => [message, Buffer.from('\n')])
      : messages.flatMap((message) => [Buffer.from(`${message.length} `), message])
    const socket = this.#socket ?? await this.#open(signal)
    await this.#settled(socket, signal, (done) => {
      socket.write(Buffer.concat(frames), done)
    })
  }

  async reach(signal: AbortSignal): Promise<SinkReach> {
    if (this.#socket === null) await this.#open(signal)
    return { ok: true, detail: this.#url.protocol === 'tls:' ? 'takes a connection, and its certificate is good' : 'takes a connection' }
  }

  close(): void {
    // What was written is delivered first.
    this.#socket?.end()
    this.#socket = null
  }

  async #open(signal: AbortSignal): Promise<Socket> {
    const { protocol, port, pathname } = this.#url
    const host = hostOf(this.#url)
    const ca = this.#ca === null ? undefined : await readFile(this.#ca)
    const socket = protocol === 'unix:'
      ? connect({ path: decodeURIComponent(pathname) })
      : protocol === 'tls:'
      ? connectTls({ host, port: Number(port), ca, minVersion: 'TLSv1.2', ...isIP(host) === 0 ? { servername: host } : {} })
      : connect({ host, port: Number(port) })
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    // Syslog has no answers. Read, so that the end of the other side is seen.
    socket.resume()
    socket.unref()
    await this.#settled(socket, signal, (done) => {
      socket.once(protocol === 'tls:' ? 'secureConnect' : 'connect', () => {
        done()
      })
    })
    this.#socket = socket
    const gone = (): void => {
      socket.destroy()
      if (this.#socket === socket) this.#socket = null
    }
    socket.on('error', gone)
    socket.on('end', gone)
    socket.on('close', gone)
    return socket
  }

  /** Resolves when `work` calls its callback; the connection is given up when it fails, ends, or takes too long. */
  async #settled(socket: Socket, signal: AbortSignal, work: (done: (error?: Error | null) => void) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    const closed = (): void => {
      reject(Object.assign(new Error('The connection was closed.'), { code: 'ECONNRESET' }))
    }
    const late = (): void => {
      reject(signal.reason as Error)
    }
    socket.once('error', reject)
    socket.once('close', closed)
    signal.addEventListener('abort', late, { once: true })
    try {
      signal.throwIfAborted()
      work((error) => {
        if (error === undefined || error === null) resolve(undefined)
        else reject(error)
      })
      await promise
    } catch (error) {
      socket.on('error', () => undefined)
      socket.destroy()
      if (this.#socket === socket) this.#socket = null
      throw error
    } finally {
      socket.off('error', reject)
      socket.off('close', closed)
      signal.removeEventListener('abort', late)
    }
  }
}
