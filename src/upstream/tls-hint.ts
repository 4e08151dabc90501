import { connect } from 'node:tls'
import { isIP } from 'node:net'

const PATIENCE_MS = 2000

/**
 * Whether a server that plain HTTP got no usable answer from speaks TLS at that address. Sends a TLS greeting and nothing else; whom its
 * certificate names does not matter. Never rejects: no answer is a no.
 * @param endpoint an http URL
 */
export function speaksTls(endpoint: URL, signal: AbortSignal): Promise<boolean> {
  const host = endpoint.hostname.replace(/^\[|\]$/g, '')
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({
    host, port: Number(endpoint.port === '' ? 80 : endpoint.port), rejectUnauthorized: false, ...isIP(host) === 0 ? { servername: host } : {}
  })
  const leave = (answer: boolean): void => {
    socket.destroy()
    resolve(answer)
  }
  socket.once('secureConnect', () => { leave(true) })
  // An alert is TLS too: a server may demand a client certificate, or know no common version.
  socket.on('error', (error: NodeJS.ErrnoException) => { leave(/^ERR_SSL_.*ALERT/.test(error.code ?? '')) })
  socket.once('close', () => { leave(false) })
  socket.setTimeout(PATIENCE_MS, () => { leave(false) })
  const onAbort = (): void => { leave(false) }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  return promise.finally(() => { signal.removeEventListener('abort', onAbort) })
}
