// HTTP towards clients. A request passes admission.ts (limits), request-validation.ts (strict checks of head and target) and request-body.ts, and
// is answered by respond.ts; exchange.ts is its state. Fastify is only the carrier (docs/decisions/0003-fastify-as-carrier.md).
// This room knows no S3 operation: it hands an HttpRequest to the pipeline and writes an HttpResponse.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Admittance, HttpRequest, HttpResponse } from '../http/message.ts'
import type { AccessRecord } from '../observe/access-log.ts'
import type { Log } from '../observe/log.ts'
import type { RequestMessage } from './request-body.ts'
import type { Connection } from './connection.ts'
import { S3Error } from '../errors.ts'
import { Admission, type AdmissionLimits, type Limit } from './admission.ts'
import { ResponseLifecycle } from './answers.ts'
import { carrier } from './carrier.ts'
import { Connections } from './connections.ts'
import { createHttpServer, type ServerLimits, refuseUnparsed } from './server.ts'
import { Exchange } from './exchange.ts'
import { admit } from './request-validation.ts'
import { Handshakes, type HandshakeFailure, secureContext, type TlsMaterial } from './tls.ts'
import { type ClientAddressSource, plainAddress, TrustedProxies } from './client-address.ts'
import { expectProxyHeaders } from './proxy-protocol.ts'
import { HeldRequests, ownPort, type Port } from './port.ts'

export interface ListenerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly tls: TlsMaterial | null
  /** Addresses or CIDR ranges of front ends whose X-Forwarded-Proto is trusted. */
  readonly trustedProxies: readonly string[]
  /** What else these are believed: the address of the client. */
  readonly clientAddress: ClientAddressSource
  readonly limits: ServerLimits & AdmissionLimits & {
    /** Bytes per second. */
    readonly minRate: number
    readonly minRateWindowMs: number
  }
  /** Milliseconds between the heartbeats of an answer that takes long. */
  readonly heartbeatMs: number
  readonly log: Log
  /** Called for every finished request, for the metrics. */
  readonly observe: (record: AccessRecord) => void
  /** Called for every TLS handshake that failed. */
  readonly handshakeFailed?: (reason: HandshakeFailure) => void
  /** Called for every request and connection that a limit refuses or ends. */
  readonly limited?: (limit: Limit) => void
  /** Where several processes share it. */
  readonly sharedPort?: Port | undefined
}

/** Limits that depend on the stores of the configuration, which a reload may change. */
export type ReloadableLimits = Pick<ListenerOptions['limits'], 'connections' | 'anonymousRequests'>

export interface Listener {
  /** @returns the address it listens on. @throws when the address cannot be bound. */
  start(): Promise<{ readonly host: string; readonly port: number }>
  /**
   * From now on every answer ends its connection. New ones are taken for `ms` milliseconds more: balancers need a while to notice that it is not ready.
   * @param cut ends the wait early.
   */
  drain(ms: number, cut: Promise<unknown>): Promise<void>
  /**
   * Stops accepting, lets requests in progress finish for `graceMs` milliseconds, then breaks them. A connection that has had no request yet may begin one
   * for `firstRequestMs` more, half of `graceMs` at most: whoever has just opened it does not know of the stop.
   * @returns `cut` when something had to be broken.
   */
  stop(graceMs: number, firstRequestMs?: number): Promise<'drained' | 'cut'>
  /** New certificates for new connections; existing ones keep theirs. @throws when the listener has no TLS. */
  reloadTls(material: TlsMaterial): void
  /** For requests and connections from now on: what is under way is not ended. */
  reloadLimits(limits: ReloadableLimits): void
  /** For the metrics. */
  counts(): { readonly connections: number; readonly requestsInFlight: number; readonly unauthenticated: number }
}

const PROXY_HEADER_MS = 5000
/** Milliseconds from the end of the port to the first request of a connection that was there before: a TLS handshake and two ways over a slow network. */
const FIRST_REQUEST_MS = 2000

/** Fastify's own request listener. */
type Carry = (req: IncomingMessage, res: ServerResponse) => void

type Handle = (request: HttpRequest) => Promise<HttpResponse>

/**
 * The HTTP server of the gateway. Fastify carries the connection and gets the request only after it has passed validation. Its router, parsers and
 * replies are not used, so URL, headers and body stay as received.
 */
export function createListener(options: ListenerOptions, handle: Handle): Listener {
  return new HttpListener(options, handle)
}

class HttpListener implements Listener {
  readonly #options: ListenerOptions
  readonly #handle: Handle
  readonly #app: FastifyInstance
  readonly #answers: ResponseLifecycle
  readonly #trusted: TrustedProxies
  readonly #connections: Connections
  readonly #admission: Admission
  readonly #held = new HeldRequests()
  #inFlight = 0
  #stopping = false
  #closed: Promise<void> | null = null

  constructor(options: ListenerOptions, handle: Handle) {
    this.#options = options
    this.#handle = handle
    this.#trusted = new TrustedProxies(options.trustedProxies, options.clientAddress)
    const limited = (limit: Limit): void => {
      options.limited?.(limit)
    }
    this.#admission = new Admission(options.limits, limited)
    this.#connections = new Connections(options.limits.connections, (exchange) => this.#admission.holds(exchange), () => {
      limited('connections')
    })
    const { limits: { minRate, minRateWindowMs }, heartbeatMs, log, observe } = options
    this.#answers = new ResponseLifecycle({
      minRate,
      minRateWindowMs,
      heartbeatMs,
      log,
      observe,
      stopping: () => this.#stopping,
      sent: (exchange) => {
        exchange.left()
        this.#settle(exchange)
      }
    })
    this.#app = this.#build()
  }

  async start(): Promise<{ host: string; port: number }> {
    await this.#app.listen({ host: this.#options.host, port: this.#options.port })
    const { address, port } = this.#app.server.address() as AddressInfo
    return { host: address, port }
  }

  async drain(ms: number, cut: Promise<unknown>): Promise<void> {
    this.#stopping = true
    const patience = new AbortController()
    await Promise.race([delay(ms, undefined, { signal: patience.signal }).catch(() => undefined), cut])
    patience.abort()
  }

  async stop(graceMs: number, firstRequestMs = FIRST_REQUEST_MS): Promise<'drained' | 'cut'> {
    this.#stopping = true
    const patience = new AbortController()
    void delay(Math.min(graceMs / 2, firstRequestMs), undefined, { signal: patience.signal }).catch(() => undefined).then(() => {
      this.#connections.closeUnused()
    })
    const late = delay(graceMs, 'cut' as const, { signal: patience.signal }).catch(() => 'cut' as const)
    this.#closed ??= this.#close()
    const closed = this.#closed.then(() => 'drained' as const)
    const outcome = await Promise.race([closed, late])
    patience.abort()
    // A short grace period may end while the port is looked at.
    const held = this.#held.some
    const broken = this.#connections.breakAll() || held
    await closed
    this.#answers.stop()
    return broken ? outcome : 'drained'
  }

  reloadTls(material: TlsMaterial): void {
    const server = this.#app.server as Server | TlsServer
    if (!('setSecureContext' in server)) throw new TypeError('The listener has no TLS.')
    server.setSecureContext(secureContext(material))
  }

  reloadLimits({ connections, anonymousRequests }: ReloadableLimits): void {
    this.#connections.limitTo(connections)
    this.#admission.limitAnonymousTo(anonymousRequests)
  }

  counts(): { connections: number; requestsInFlight: number; unauthenticated: number } {
    return { connections: this.#connections.count, requestsInFlight: this.#inFlight, unauthenticated: this.#admission.unauthenticated }
  }

  /** Closes the port. Resolves when the last connection has gone. */
  async #close(): Promise<void> {
    const { sharedPort: port = ownPort } = this.#options
    this.#held.hold()
    await port.emptied(() => this.#connections.taken)
    // Not by Fastify: it does other things first, and what comes meanwhile is lost.
    const { promise, resolve } = Promise.withResolvers<undefined>()
    this.#app.server.close(() => {
      resolve(undefined)
    })
    await port.left()
    await this.#held.release()
    this.#connections.closeIdle()
    await promise
    await this.#app.close()
  }

  #build(): FastifyInstance {
    const app = carrier({
      exposeHeadRoutes: false,
      return503OnClosing: false,
      forceCloseConnections: 'idle',
      // The router sees one path only: keys never pass through its decoding and limits.
      rewriteUrl: () => '/',
      clientErrorHandler: (error, socket) => {
        const refused = refuseUnparsed(error, socket, this.#connections.of(socket))
        if (refused !== null) this.#answers.log(refused)
      },
      serverFactory: (handler) => this.#createServer(handler)
    })
    app.addHook('onRequest', (request, reply) => {
      // Fastify waits for `done`, which is never called: it does nothing with the request.
      reply.hijack()
      const exchange = this.#connections.of(request.raw.socket)?.current
      if (exchange?.req === request.raw && exchange.request !== null) void this.#run(exchange, exchange.request)
    })
    return app
  }

  #createServer(carry: Carry): Server {
    const { tls, limits, log, handshakeFailed } = this.#options
    const server = createHttpServer(tls, limits, (req, res) => {
      this.#accept(req, res, carry)
    })
    if (this.#options.clientAddress === 'proxy-protocol') this.#expectProxyHeaders(server)
    this.#connections.follow(server, tls !== null)
    new Handshakes({
      log,
      failed: (reason) => {
        handshakeFailed?.(reason)
      }
    }).follow(server)
    return server
  }

  #expectProxyHeaders(server: Server): void {
    expectProxyHeaders(server, {
      deadlineMs: Math.min(this.#options.limits.headersMs, PROXY_HEADER_MS),
      trusted: ({ remoteAddress }) => this.#trusted.has(plainAddress(remoteAddress)),
      named: (socket, source) => {
        this.#connections.name(socket, source)
      },
      refused: () => this.#options.limited?.('PROXY headers')
    })
  }

  #accept(req: RequestMessage, res: ServerResponse, carry: Carry): void {
    if (this.#held.takes(() => this.#accept(req, res, carry))) return
    const connection = this.#connections.of(req.socket)
    if (connection === undefined || connection.closing) return
    if (!connection.take(() => this.#begin(req, res, connection, carry))) connection.socket.destroy()
  }

  /** Validation, then Fastify. Resolves when the exchange has ended. */
  async #begin(req: RequestMessage, res: ServerResponse, connection: Connection<Exchange>, carry: Carry): Promise<void> {
    const exchange = new Exchange(req, res, connection)
    connection.begin(exchange)
    try {
      const admitted = admit({ method: req.method ?? '', url: req.url ?? '', httpVersion: req.httpVersion, rawHeaders: req.rawHeaders })
      exchange.admit(admitted, this.#facts(req), (as) => {
        this.#admit(exchange, as)
      })
    } catch (error) {
      connection.close()
      await this.#answers.perform(exchange, Promise.reject(error instanceof Error ? error : new S3Error('InternalError')))
      return
    }
    carry(req, res)
    await exchange.performed
  }

  async #run(exchange: Exchange, request: HttpRequest): Promise<void> {
    this.#inFlight += 1
    const handled = (async () => this.#handle(request))()
    exchange.perform(this.#answers.perform(exchange, handled))
    await exchange.performed
    // A handler that outlives its client still counts against the limits.
    await handled.then(({ pending }) => pending?.document).catch(() => undefined)
    this.#settle(exchange)
  }

  #admit(exchange: Exchange, as: Admittance): void {
    this.#admission.admit(exchange, as)
    if (as.kind === 'client') this.#connections.trust(exchange.connection)
  }

  #settle(exchange: Exchange): void {
    this.#admission.leave(exchange)
    if (exchange.settle()) this.#inFlight -= 1
  }

  #facts(req: RequestMessage): { secure: boolean; remoteAddress: string } {
    return { secure: this.#trusted.secure(req), remoteAddress: this.#trusted.client(req.rawHeaders, this.#connections.of(req.socket)?.address ?? '') }
  }
}
