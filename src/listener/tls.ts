import { X509Certificate } from 'node:crypto'
import { unwatchFile, watchFile } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { systemWords } from '../system-words.ts'
import { certificateFault, isSwapped, pairFault, privateKeyFault } from './pem.ts'

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

/** What is wrong with the files of `listen.tls`, by option. The texts name files and quote nothing of them. */
export class TlsFileError extends Error {
  readonly faults: readonly TlsFault[]

  constructor(faults: readonly TlsFault[]) {
    super(faults.map(({ option, message }) => `listen.tls.${option}: ${message}`).join('; '))
    this.name = 'TlsFileError'
    this.faults = faults
  }
}

export interface TlsFault {
  readonly option: keyof TlsFiles
  readonly message: string
}

/**
 * Reads the certificate files and checks what they hold and that the key fits the certificate, so that a bad renewal is refused
 * while the old material still serves.
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
  // One after the other: faults are told in the order of the options.
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

/** When the certificate that clients are shown ends, in seconds since 1970. */
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
