import { createServer, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Exchange } from './exchange.ts'
import { Connection, breakConnection } from './connection.ts'
import { RequestMessage } from './request-body.ts'
import { secureContext, type TlsMaterial } from './tls.ts'
import { S3Error } from '../errors.ts'
import { accessRecord, type AccessRecord } from '../observe/access-log.ts'
import { renderError } from '../s3/error-document.ts'
import { connectionId, plainAddress } from './client-address.ts'
import { newRequestId } from './request-id.ts'
import { hostId } from './respond.ts'

export interface ServerLimits {
  /** Most connections at once. For more, the least needed ones are closed (`Connections`). */
  readonly connections: number
  /** Bytes of request line and headers together. */
  readonly headerBytes: number
  /** Milliseconds from connecting, or from the first byte of a request, to the end of its headers. */
  readonly headersMs: number
  /** Milliseconds an idle connection is kept for the next request. */
  readonly keepAliveMs: number
  /** Bytes buffered per direction and connection before the other side is paused: one segment. */
  readonly highWaterMark: number
}

/** Requests come here before Fastify sees them, with any `Expect`. */
type Accept = (req: RequestMessage, res: ServerResponse) => void

/** Node's HTTP or HTTPS server with every default that matters set (docs/decisions/0003-fastify-as-carrier.md). */
export function createHttpServer(tls: TlsMaterial | null, limits: ServerLimits, accept: Accept): Server {
  const options: ServerOptions<typeof RequestMessage> = {
    IncomingMessage: RequestMessage,
    // 0: a steady upload may take any time; slow ones are cut by rate (rate-watch.ts).
    requestTimeout: 0,
    headersTimeout: limits.headersMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(5000, limits.headersMs),
    maxHeaderSize: limits.headerBytes,
    highWaterMark: limits.highWaterMark,
    insecureHTTPParser: false,
    // Node would answer by itself and read the next request; request validation refuses and closes.
    requireHostHeader: false,
    joinDuplicateHeaders: false,
    noDelay: true
  }
  const server = tls === null
    ? createServer(options)
    : createTlsServer({
      ...options,
      ...secureContext(tls),
      handshakeTimeout: 10_000,
      ALPNProtocols: ['http/1.1'],
      requestCert: tls.clientCa !== null,
      rejectUnauthorized: tls.clientCa !== null
    })
  // Among workers Node would pass a refused connection on to the next worker, without end while all are full.
  // The types of Node do not have it yet.
  Object.assign(server, { dropMaxConnection: true })
  server.timeout = 0
  // Request validation counts lines itself; Node's limit would drop the surplus silently.
  server.maxHeadersCount = 0
  server.on('request', accept)
  // With listeners of our own Node sends neither a 100 nor a 417 by itself.
  server.on('checkContinue', accept)
  server.on('checkExpectation', accept)
  return server
}

/** How long the remaining bytes of a refused client are read and dropped, in milliseconds. */
const lingerMs = 1000

/**
 * Requests that Node's parser refused: a head that is not HTTP, broken chunk framing, headers too large or too slow. Answered with an error document
 * when no other request is in progress on the connection, which is closed in any case.
 * @returns the access record of the answer; null where there was none, or where the record is that of the request in progress.
 */
export function refuseUnparsed(error: NodeJS.ErrnoException, socket: Socket, connection: Connection<Exchange> | undefined): AccessRecord | null {
  if (connection === undefined || error.code === 'ECONNRESET') {
    socket.destroy()
    return null
  }
  connection.close()
  if (connection.current !== null) {
    // A body with broken framing: never an end.
    connection.current.fail(new S3Error('IncompleteBody', { message: 'The framing of the request body is not valid.' }))
    return null
  }
  if (!socket.writable || connection.silent) {
    socket.destroy()
    return null
  }
  const refused = refusal(error.code)
  const requestId = newRequestId()
  const sourceAddress = connection.address
  const document = renderError(refused, { resource: '', requestId, hostId })
  socket.end(head(refused, requestId, document.length) + document.toString('utf8'))
  // Unread bytes would turn the close into a reset that overtakes the answer.
  socket.resume()
  setTimeout(() => {
    socket.destroy()
  }, lingerMs).unref()
  return accessRecord({
    requestId,
    principal: null,
    sourceAddress,
    secure: socket instanceof TLSSocket,
    method: '',
    operation: null,
    upstream: null,
    bucket: null,
    key: null,
    status: refused.status,
    code: refused.code,
    bytesIn: 0,
    bytesOut: document.length,
    seconds: 0,
    firstByteSeconds: 0,
    userAgent: null
  }, { by: 'client', in: 'head' })
}

function refusal(code: string | undefined): S3Error {
  if (code === 'HPE_HEADER_OVERFLOW') return new S3Error('MaxMessageLengthExceeded', { message: 'Your request header section is too large.' })
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new S3Error('RequestTimeout')
  return new S3Error('BadRequest', { message: 'An error occurred when parsing the HTTP request.' })
}

function head(error: S3Error, requestId: string, length: number): string {
  return `HTTP/1.1 ${error.status} Bad Request\r\nx-amz-id-2: ${hostId}\r\nx-amz-request-id: ${requestId}\r\nServer: Sealgate\r\n`
    + `Date: ${new Date().toUTCString()}\r\nContent-Type: application/xml\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`
}

/**
 * The connections of one listener, including those in their TLS handshake, up to a limit. At the limit one is closed for a new one: the oldest
 * without an authenticated request, else an idle one. So connections that do nothing, or nothing signed, do not keep others out.
 */
export class Connections {
  #limit: number
  #server: Server | null = null
  readonly #admitted: (exchange: Exchange) => boolean
  readonly #displaced: () => void
  /** Addresses that PROXY headers have named, by connection. */
  readonly #named = new Map<string, string>()
  readonly #addressOf = (socket: Socket): string =>
    (this.#named.size === 0 ? undefined : this.#named.get(connectionId(socket))) ?? plainAddress(socket.remoteAddress)
  /** Without an authenticated request so far. The oldest first, in all these maps. */
  readonly #strangers = new Map<Socket, Connection<Exchange>>()
  readonly #clients = new Map<Socket, Connection<Exchange>>()
  /** By their addresses: Node does not expose the TCP socket below a TLS socket. */
  readonly #handshakes = new Map<string, Socket>()
  #taken = 0
  #closing = false

  /**
   * @param admitted whether a request has been admitted (see Admission)
   * @param displaced called for every connection that is closed to make room, or because there is none
   */
  constructor(limit: number, admitted: (exchange: Exchange) => boolean, displaced: () => void) {
    this.#limit = limit
    this.#admitted = admitted
    this.#displaced = displaced
  }

  get count(): number {
    return this.#strangers.size + this.#clients.size + this.#handshakes.size
  }

  /** How many have been taken from the port so far. */
  get taken(): number {
    return this.#taken
  }

  /** State of a connection; undefined when it is gone, or its handshake has not ended. */
  of(socket: Socket): Connection<Exchange> | undefined {
    return this.#strangers.get(socket) ?? this.#clients.get(socket)
  }

  /** At most so many from now on. None is closed before a new one comes. */
  limitTo(limit: number): void {
    this.#limit = limit
    // The listener itself makes room for new connections. This limit is for those that come while the closed ones still end.
    if (this.#server !== null) this.#server.maxConnections = limit + Math.max(16, Math.ceil(limit / 16))
  }

  follow(server: Server, secure: boolean): void {
    this.#server = server
    this.limitTo(this.#limit)
    server.on('connection', (socket: Socket) => {
      this.#taken += 1
      if (secure) this.#begin(socket)
    })
    server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#add(socket)
    })
  }

  /** A PROXY header has named the client of a connection. */
  name(socket: Socket, address: string): void {
    const id = connectionId(socket)
    this.#named.set(id, plainAddress(address))
    socket.once('close', () => {
      this.#named.delete(id)
    })
  }

  /** A request on this connection has been authenticated. */
  trust(connection: Connection<Exchange>): void {
    if (this.#strangers.delete(connection.socket)) this.#clients.set(connection.socket, connection)
  }

  /** Closes every connection that has had its requests and waits for another one. */
  closeIdle(): void {
    for (const { current, socket, unused } of this.#open()) if (current === null && !unused) socket.destroy()
  }

  /** Closes those too that have had no request, or are in their handshake, and new ones. */
  closeUnused(): void {
    this.#closing = true
    for (const socket of this.#handshakes.values()) socket.destroy()
    for (const { current, socket } of this.#open()) if (current === null) socket.destroy()
  }

  /** Breaks every connection, visibly for a client that waits for an answer. */
  breakAll(): void {
    for (const { current, socket } of this.#open()) {
      if (current === null) breakConnection(socket)
      else current.breakOff('gateway')
    }
  }

  #open(): Connection<Exchange>[] {
    return [...this.#strangers.values(), ...this.#clients.values()]
  }

  #begin(socket: Socket): void {
    if (this.#closing || !this.#makeRoom()) {
      socket.destroy()
      return
    }
    const name = connectionId(socket)
    this.#handshakes.set(name, socket)
    socket.once('close', () => {
      if (this.#handshakes.get(name) === socket) this.#handshakes.delete(name)
    })
  }

  #add(socket: Socket): void {
    this.#handshakes.delete(connectionId(socket))
    socket.on('error', () => undefined)
    if (this.#closing || !this.#makeRoom()) {
      socket.destroy()
      return
    }
    this.#strangers.set(socket, new Connection(socket, this.#addressOf))
    socket.once('close', () => {
      this.#forget(socket)
    })
  }

  /** @returns false when every connection carries an admitted request */
  #makeRoom(): boolean {
    while (this.count >= this.#limit) if (!this.#closeOne()) return false
    return true
  }

  #closeOne(): boolean {
    this.#displaced()
    const [handshake] = this.#handshakes
    // A handshake is short: when half of all connections are in their handshake, it is an attack.
    const unfinished = handshake !== undefined && (this.#handshakes.size > this.#limit / 2 || this.#strangers.size === 0)
    const socket = unfinished ? handshake[1] : this.#leastNeeded()
    if (unfinished) this.#handshakes.delete(handshake[0])
    if (socket === undefined) return false
    this.#forget(socket)
    socket.destroy()
    return true
  }

  #leastNeeded(): Socket | undefined {
    for (const [socket, { current }] of this.#strangers) if (current === null || !this.#admitted(current)) return socket
    for (const [socket, { current, idle }] of this.#clients) if (idle || current?.responseSent === true) return socket
    return undefined
  }

  #forget(socket: Socket): void {
    this.#strangers.delete(socket)
    this.#clients.delete(socket)
  }
}
