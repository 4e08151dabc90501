import { unwatchFile, watchFile } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'

/** PEM material of the HTTPS listener. */
export interface TlsMaterial {
  readonly cert: Buffer
  readonly key: Buffer
  /** Certificates of the authorities whose client certificates are demanded; null: none demanded. */
  readonly clientCa: Buffer | null
}

export interface TlsFiles {
  readonly cert: string
  readonly key: string
  readonly clientCa: string | null
}

/**
 * Reads the certificate files and checks that the key fits the certificate, so that a bad renewal is refused while the old
 * material still serves.
 * @throws Error of node:fs or OpenSSL.
 */
export async function readTls(files: TlsFiles): Promise<TlsMaterial> {
  const [cert, key, clientCa] = await Promise.all([
    readFile(files.cert), readFile(files.key), files.clientCa === null ? null : readFile(files.clientCa)
  ])
  const material = { cert, key, clientCa }
  createSecureContext(secureContext(material))
  return material
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
 * Calls back when one of the files has changed, links followed (Kubernetes swaps a link to renew a secret). Looks every 10 s:
 * file events get lost across such swaps.
 * @param intervalMs milliseconds between looks.
 * @returns a function that ends the watching.
 */
export function watchTls(files: TlsFiles, changed: () => void, intervalMs = 10_000): () => void {
  const paths = [files.cert, files.key, ...(files.clientCa === null ? [] : [files.clientCa])]
  for (const path of paths) watchFile(path, { interval: intervalMs, persistent: false }, changed)
  return () => {
    for (const path of paths) unwatchFile(path, changed)
  }
}
