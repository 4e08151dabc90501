import { isIP } from 'node:net'
import { connect } from 'node:tls'

/** What a TLS server says of itself. */
export interface TlsFacts {
  /** `TLSv1.2`, `TLSv1.3`. */
  readonly protocol: string
  /** The end of the server's own certificate. */
  readonly expires: Date
  /** Why the certificate is not accepted for this name, as Node names it; null: it is. */
  readonly fault: string | null
}

const PATIENCE_MS = 5000

/**
 * Greets a server, under the rules for certificates that hold for requests to the store, and asks nothing.
 * @param endpoint an https URL. @param host the name that the certificate must have; differs from the URL's for a bucket in virtual-host style.
 * @param ca certificates of the authority in PEM; null: those that Node knows.
 * @returns null where there is no TLS server, or it does not answer within 5 s.
 */
export function tlsFactsOf(endpoint: URL, host: string, ca: string | null, signal: AbortSignal): Promise<TlsFacts | null> {
  const { promise, resolve } = Promise.withResolvers<TlsFacts | null>()
  const socket = connect({
    host,
    port: Number(endpoint.port === '' ? 443 : endpoint.port),
    minVersion: 'TLSv1.2',
    // A certificate that is not accepted is to be described; nothing is sent over this connection.
    rejectUnauthorized: false,
    ...isIP(host) === 0 ? { servername: host } : {},
    ...ca === null ? {} : { ca }
  })
  const leave = (facts: TlsFacts | null): void => {
    socket.destroy()
    resolve(facts)
  }
  socket.once('secureConnect', () => {
    const { authorized, authorizationError: fault } = socket
    leave({
      protocol: socket.getProtocol() ?? 'unknown',
      expires: new Date(socket.getPeerCertificate().valid_to),
      // A text, whatever its type says.
      fault: authorized ? null : String(fault)
    })
  })
  socket.on('error', () => {
    leave(null)
  })
  socket.setTimeout(PATIENCE_MS, () => {
    leave(null)
  })
  const onAbort = (): void => {
    leave(null)
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  return promise.finally(() => {
    signal.removeEventListener('abort', onAbort)
  })
}
