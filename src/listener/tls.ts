import { X509Certificate } from 'node:crypto'
import { unwatchFile, watchFile } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type TLSSocket } from 'node:tls'
import type { Server } from 'node:http'
import type { Log } from '../observe/log.ts'
import { systemWords } from '../diagnosis.ts'
import { certificateFault, isSwapped, pairFault, privateKeyFault } from './pem.ts'
import { plainAddress } from './client-address.ts'

/** PEM material of the HTTPS listener. */
export interface TlsMaterial {
  readonly cert: Buffer
  readonly key: Buffer
  /** Certificates of the authorities whose client certificates are demanded; null: none demanded. */
  readonly clientCa: Buffer | null
}

interface TlsFiles {
  readonly cert: string
  readonly key: string
  readonly clientCa: string | null
}

/** The faults of the files of `listen.tls`, by option. The messages name files and quote none of their contents. */
export class TlsFileError extends Error {
  readonly faults: readonly TlsFault[]

  constructor(faults: readonly TlsFault[]) {
    super(faults.map(({ option, message }) => `listen.tls.${option}: ${message}`).join('; '))
    this.name = 'TlsFileError'
    this.faults = faults
  }
}

interface TlsFault {
  readonly option: keyof TlsFiles
  readonly message: string
}

/**
 * Reads the certificate files and checks their contents and that the key fits the certificate, so that a bad renewal is refused while the old
 * certificate still serves.
 * @throws TlsFileError with every fault found.
 */
export async function readTls(files: TlsFiles): Promise<TlsMaterial> {
  const faults: TlsFault[] = []
  const read = async (option: keyof TlsFiles): Promise<Buffer | null> => {
    const file = files[option]
    return file === null ? null : readFile(file).catch((error: unknown) => {
      faults.push({ option, message: `cannot read ${file}: ${systemWords(error)}` })
      return null
    })
  }
  // In sequence, so that faults are reported in the order of the options.
  const cert = await read('cert')
  const key = await read('key')
  const clientCa = await read('clientCa')
  faults.push(...contentFaults(files, cert, key, clientCa))
  if (faults.length > 0 || cert === null || key === null) throw new TlsFileError(faults)
  const material = { cert, key, clientCa }
  try {
    createSecureContext(secureContext(material))
  } catch (error) {
    throw new TlsFileError([{ option: 'cert', message: `${files.cert} is refused by OpenSSL: ${systemWords(error)}` }])
  }
  return material
}

function contentFaults(files: TlsFiles, cert: Buffer | null, key: Buffer | null, clientCa: Buffer | null): TlsFault[] {
  if (cert !== null && key !== null && isSwapped(cert, key)) {
    return [{ option: 'cert', message: `${files.cert} holds a private key, and ${files.key} a certificate: cert and key are swapped` }]
  }
  const faults: TlsFault[] = []
  const check = (option: keyof TlsFiles, bytes: Buffer | null, faultOf: (bytes: Buffer) => string | null): boolean => {
    const fault = bytes === null ? null : faultOf(bytes)
    if (fault !== null) faults.push({ option, message: `${files[option] ?? ''} ${fault}` })
    return bytes !== null && fault === null
  }
  const [certGood, keyGood] = [check('cert', cert, certificateFault), check('key', key, privateKeyFault)]
  check('clientCa', clientCa, certificateFault)
  if (certGood && keyGood && cert !== null) check('key', key, (bytes) => pairFault(cert, bytes))
  return faults
}

/** When the certificate that clients see ends, in seconds since 1970. */
export function expiryOf({ cert }: TlsMaterial): number {
  return new X509Certificate(cert).validToDate.getTime() / 1000
}

/** TLS 1.2 and newer, OpenSSL's default suites of those. */
export function secureContext(material: TlsMaterial): {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca?: Buffer
  readonly minVersion: 'TLSv1.2'
} {
  const { cert, key, clientCa } = material
  return { cert, key, minVersion: 'TLSv1.2', ...(clientCa === null ? {} : { ca: clientCa }) }
}

/**
 * Calls back when one of the files has changed, symbolic links followed (Kubernetes swaps a link to renew a secret). Polls every 10 s, because file
 * events get lost across such swaps.
 * @param intervalMs milliseconds between two checks.
 * @returns a function that ends the polling.
 */
export function watchTls(files: TlsFiles, changed: () => void, intervalMs = 10_000): () => void {
  const paths = [files.cert, files.key, ...(files.clientCa === null ? [] : [files.clientCa])]
  for (const path of paths) watchFile(path, { interval: intervalMs, persistent: false }, changed)
  return () => {
    for (const path of paths) unwatchFile(path, changed)
  }
}

/**
 * Why a TLS handshake failed. `certificate`: the client has none, or none that is trusted; `refused`: the client sent an alert, most often because it
 * does not trust the gateway's certificate; `protocol`: no common version or cipher, or no TLS; `timeout`: not done within 10 s; `closed`: the client
 * disconnected, as port scans do.
 */
export type HandshakeFailure = 'certificate' | 'refused' | 'protocol' | 'timeout' | 'closed'

/** Milliseconds between two lines for one reason: every peer can cause any number of failures. */
const lineEveryMs = 60_000

interface HandshakesOptions {
  readonly log: Log
  /** Called for each, for the metrics. */
  readonly failed: (reason: HandshakeFailure) => void
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
}

/** Counts the TLS handshakes that fail. Logs one of each kind per minute, with the number since the last line. */
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
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      this.#failed(error, socket)
    })
  }

  #failed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // For an untrusted certificate Node closes the connection and sets `authorizationError`, in its types an Error, to a code or null.
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
      // When the connection is gone Node no longer knows the address.
      reason,
      code,
      address: socket.remoteAddress === undefined ? null : plainAddress(socket.remoteAddress),
      failures: line.since
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
