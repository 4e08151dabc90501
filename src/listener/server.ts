import { createServer, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { RequestMessage } from './request-message.ts'
import { secureContext, type TlsMaterial } from './tls.ts'

export interface ServerLimits {
  /** Connections held at once. For more, those give way that are least needed (connections.ts). */
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

/** Requests come here before Fastify sees them, whatever they expect. */
export type Accept = (req: RequestMessage, res: ServerResponse) => void

/** Node's HTTP or HTTPS server with every default that matters set (docs/decisions/0003-fastify-as-carrier.md). */
export function createHttpServer(tls: TlsMaterial | null, limits: ServerLimits, accept: Accept): Server {
  const options: ServerOptions<typeof RequestMessage> = {
    IncomingMessage: RequestMessage,
    // 0: a steady upload may take as long as it takes; slow ones are cut by rate (rate-watch.ts).
    requestTimeout: 0,
    headersTimeout: limits.headersMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(5000, limits.headersMs),
    maxHeaderSize: limits.headerBytes,
    highWaterMark: limits.highWaterMark,
    insecureHTTPParser: false,
    // Node would answer for itself and go on with what is behind; the gate refuses and closes.
    requireHostHeader: false,
    joinDuplicateHeaders: false,
    noDelay: true
  }
  const server = tls === null
    ? createServer(options)
    : createTlsServer({
      ...options, ...secureContext(tls), handshakeTimeout: 10_000, ALPNProtocols: ['http/1.1'],
      requestCert: tls.clientCa !== null, rejectUnauthorized: tls.clientCa !== null
    })
  // The listener itself makes room for new ones. This is for those that come while the closed ones are on their way out.
  server.maxConnections = limits.connections + Math.max(16, Math.ceil(limits.connections / 16))
  // Among workers Node would hand a connection that one refuses to the next, round and round while all are full.
  // The types of Node do not have it yet.
  Object.assign(server, { dropMaxConnection: true })
  server.timeout = 0
  // The gate counts lines itself; Node's limit would drop the surplus silently.
  server.maxHeadersCount = 0
  server.on('request', accept)
  // With listeners of our own Node sends neither a 100 nor a 417 by itself.
  server.on('checkContinue', accept)
  server.on('checkExpectation', accept)
  return server
}
