import { createServer, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Exchange } from './exchange.ts'
import type { Connection } from './connection.ts'
import { RequestMessage } from './request-body.ts'
import { secureContext, type TlsMaterial } from './tls.ts'
import { S3Error } from '../errors.ts'
import { accessRecord, type AccessRecord } from '../observe/access-log.ts'
import { renderError } from '../s3/error-document.ts'
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
