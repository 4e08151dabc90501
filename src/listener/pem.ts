import { createPrivateKey, X509Certificate } from 'node:crypto'

/** The fault of a file that must hold certificates in PEM form; null: it holds at least one, and each can be parsed. */
export function certificateFault(bytes: Buffer): string | null {
  const certificates = certificatesIn(bytes)
  if (certificates.length === 0) return `holds ${contents(bytes)}, not a certificate in PEM form (-----BEGIN CERTIFICATE-----)`
  return certificates.every((text) => parse(text) !== null) ? null : 'holds a certificate that is damaged'
}

/** The fault of a file that must hold a private key in PEM form. */
export function privateKeyFault(bytes: Buffer): string | null {
  const text = bytes.toString('latin1')
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    return 'holds a private key under a passphrase, which cannot be given: write it without ("openssl pkey -in FILE -out NEW")'
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) return `holds ${contents(bytes)}, not a private key in PEM form (-----BEGIN PRIVATE KEY-----)`
  try {
    createPrivateKey(bytes)
    return null
  } catch {
    return 'holds a private key that is damaged'
  }
}

/** The fault of a pair of certificate file and key file, each valid by itself. */
export function pairFault(cert: Buffer, key: Buffer): string | null {
  const privateKey = createPrivateKey(key)
  const fits = certificatesIn(cert).map((text) => parse(text)?.checkPrivateKey(privateKey) === true)
  if (fits[0] === true) return null
  return fits.includes(true)
    ? 'its certificate is not the first in the file of listen.tls.cert: put it before the intermediates'
    : 'is not the key of the certificate in listen.tls.cert'
}

/** True when each file has the content of the other. */
export function isSwapped(cert: Buffer, key: Buffer): boolean {
  return certificateFault(cert) !== null && privateKeyFault(cert) === null && certificateFault(key) === null
}

function certificatesIn(bytes: Buffer): string[] {
  return bytes.toString('latin1').match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g) ?? []
}

function parse(text: string): X509Certificate | null {
  try {
    return new X509Certificate(text)
  } catch {
    return null
  }
}

function contents(bytes: Buffer): string {
  const label = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(bytes.toString('latin1'))?.[1]
  if (bytes.length === 0) return 'nothing'
  if (label?.endsWith('PRIVATE KEY') === true) return 'a private key'
  if (label?.endsWith('CERTIFICATE REQUEST') === true) return 'a certificate request, which an authority has still to sign'
  if (label?.endsWith('CERTIFICATE') === true) return 'a certificate'
  if (label !== undefined) return `"${label}"`
  // DER begins with a SEQUENCE of more than 127 bytes (X.690, 8.1.3.5).
  if (bytes[0] === 0x30 && (bytes[1] ?? 0) > 0x80) return 'DER, which is binary'
  return /^\s*\{/.test(bytes.toString('latin1', 0, 64)) ? 'JSON (a keyring?)' : 'something else'
}
