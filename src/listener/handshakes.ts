import type { Server } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Log } from '../observe/log.ts'
import { plainAddress } from './client-address.ts'

/**
 * Why a TLS handshake came to nothing. `certificate`: the client has none, or none that is trusted; `refused`: the client sent an
 * alert, most often because it does not trust the gateway's certificate; `protocol`: no common version or cipher, or no TLS at
 * all; `timeout`: not done within 10 s; `closed`: the client went away, as port probes do.
 */
export type HandshakeFailure = 'certificate' | 'refused' | 'protocol' | 'timeout' | 'closed'

/** Milliseconds between two lines for one reason: whoever can connect can fail as often as it likes. */
const lineEveryMs = 60_000

export interface HandshakesOptions {
  readonly log: Log
  /** Told of each: the metrics. */
  readonly failed: (reason: HandshakeFailure) => void
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
}

/** Counts the TLS handshakes that fail, and logs of each kind one a minute, with how many there were since the last. */
export class Handshakes {
  readonly #options: HandshakesOptions
  readonly #now: () => number
  readonly #lines = new Map<HandshakeFailure, { at: number; since: number }>()

  constructor(options: HandshakesOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** @param server an HTTPS server; nothing happens on another one. */
  follow(server: Server): void {
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => { this.#failed(error, socket) })
  }

  #failed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // An untrusted certificate is no error to Node: it closes the connection, and tells of that.
    // The types say Error; it is the code of one, or null.
    const distrust = socket.authorizationError as unknown
    const code = typeof distrust === 'string' ? distrust : error.code ?? 'unknown'
    const reason = typeof distrust === 'string' ? 'certificate' : reasonOf(code)
    this.#options.failed(reason)
    if (reason === 'closed') return
    const line = this.#lines.get(reason) ?? { at: -Infinity, since: 0 }
    this.#lines.set(reason, line)
    line.since += 1
    const now = this.#now()
    if (now - line.at < lineEveryMs) return
    this.#options.log.event('warn', 'TLS handshake failed', {
      // Node does not know any more who it was when the connection is gone.
      reason, code, address: socket.remoteAddress === undefined ? null : plainAddress(socket.remoteAddress), failures: line.since
    })
    line.at = now
    line.since = 0
  }
}

function reasonOf(code: string): HandshakeFailure {
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return 'timeout'
  if (!code.startsWith('ERR_SSL_')) return 'closed'
  if (code.includes('_ALERT_')) return 'refused'
  return code.includes('CERTIFICATE') ? 'certificate' : 'protocol'
}
