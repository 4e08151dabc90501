// Files that are encrypted already, and files that a store writes for itself: by their first bytes, or by their names where those have no mark.
// What is recognised here is left unencrypted and alarms nobody: random bytes must not look like it.

interface Known {
  readonly state: 'encrypted-by-tool' | 'store-file'
  readonly detail: string
}

const tool = (detail: string): Known => ({ state: 'encrypted-by-tool', detail })

/** Names of the files of a restic repository (restic, "Repository format"): the files themselves have no mark. */
const resticName = /(?:^|\/)(?:data\/[0-9a-f]{2}|index|snapshots|keys|locks)\/[0-9a-f]{64}$/
/** Names of S3's access logs and inventories (AWS User Guide, "Log object key format", "Locating your inventory list"). */
const logName = /(?:^|[/-])\d{4}(?:-\d\d){5}-[0-9A-F]{16}$/
const inventoryName =
  /(?:^|\/)(?:\d{4}-\d\d-\d\dT\d\d-\d\dZ\/manifest\.(?:json|checksum)|data\/[0-9a-f-]{36}\.(?:csv\.gz|orc|parquet)|hive\/dt=[\d-]{16}\/symlink\.txt)$/

/** @param head the first 512 bytes, or all. @returns null for bytes and a name that nothing is known of. */
export function recognise(key: string, head: Buffer): Known | null {
  const text = head.toString('latin1')
  if (text.startsWith('age-encryption.org/v1') || text.startsWith('-----BEGIN AGE ENCRYPTED FILE-----')) return tool('age')
  if (text.startsWith('RCLONE\0\0')) return tool('rclone crypt')
  if (text.startsWith('-----BEGIN PGP MESSAGE-----') || isOpenPgp(head)) return tool('OpenPGP')
  if (text.startsWith('Salted__')) return tool('openssl enc')
  if (resticName.test(key)) return tool('restic, by its name')
  if (logName.test(key) && /^[0-9a-f]{64} [a-z0-9.-]{3,63} \[/.test(text)) return { state: 'store-file', detail: 'an access log' }
  if (inventoryName.test(key)) return { state: 'store-file', detail: 'an inventory, by its name' }
  return null
}

/**
 * An encrypted OpenPGP message: a session key, for a public key or a passphrase, then another one or encrypted data (RFC 9580, 10.3). One packet alone
 * would be seen in one of 2,000 files of random bytes; both are in less than one of 10⁷.
 */
function isOpenPgp(head: Buffer): boolean {
  const session = packetAt(head, 0)
  if (session === null || session.length === null || !isSessionKey(session, head.subarray(session.body))) return false
  const behind = session.body + session.length
  // Of an RSA key of 4,096 bits and more: the numbers in it fill it to its end.
  if (behind + MOST_HEADER > head.length) return session.type === 1 && isFilledByNumbers(head.subarray(session.body), session.length)
  const next = packetAt(head, behind)
  if (next === null) return false
  const version = head[next.body] ?? 0
  if (next.type === 18) return version === 1 || version === 2
  if (next.type === 20) return version === 1
  return next.type === 9 || isSessionKey(next, head.subarray(next.body))
}

interface Packet {
  readonly type: number
  /** Where its body begins. */
  readonly body: number
  /** null: not said here. */
  readonly length: number | null
}

/** Bytes of the longest header of a packet, and the version behind it. */
const MOST_HEADER = 7

/** Both formats of headers (RFC 9580, 4.2). @returns null for bytes that begin no packet. */
function packetAt(head: Buffer, at: number): Packet | null {
  const [tag = 0, first = 0] = head.subarray(at)
  if ((tag & 0x80) === 0 || head.length < at + MOST_HEADER) return null
  if ((tag & 0x40) === 0) {
    const type = (tag & 0x3c) >> 2
    const bytes = [1, 2, 4, 0][tag & 3] ?? 0
    return { type, body: at + 1 + bytes, length: bytes === 0 ? null : head.readUIntBE(at + 1, bytes) }
  }
  const type = tag & 0x3f
  if (first < 192) return { type, body: at + 2, length: first }
  if (first < 224) return { type, body: at + 3, length: (first - 192) * 256 + head.readUInt8(at + 2) + 192 }
  return first === 255 ? { type, body: at + 6, length: head.readUInt32BE(at + 2) } : { type, body: at + 2, length: null }
}

/** Public-key algorithms that encrypt: RSA, Elgamal, ECDH, X25519, X448, and ML-KEM with them (RFC 9580, 9.1; draft-ietf-openpgp-pqc). */
const publicKeyAlgorithms: ReadonlySet<number> = new Set([1, 2, 16, 18, 25, 26, 35, 36])

/** A session key for a public key, version 3 or 6, or of a passphrase, version 4 to 6 (RFC 9580, 5.1 and 5.3). */
function isSessionKey({ type, length }: Packet, body: Buffer): boolean {
  const [version = 0, second = 0, third = 0] = body
  if (length === null || length < 4) return false
  if (type === 1) {
    // Version 6 names the key by the version and the fingerprint of it, or not at all.
    if (version === 6) return [0, 21, 33].includes(second) && publicKeyAlgorithms.has(body[2 + second] ?? 0)
    return version === 3 && length > 10 && publicKeyAlgorithms.has(body[9] ?? 0)
  }
  // A cipher, and how the passphrase becomes a key; from version 5 on the number of the bytes that say so stands first.
  if (type !== 3 || length > 256) return false
  return version === 4 ? isCipher(second) && third <= 4 : (version === 5 && isCipher(second) && third <= 3) || (version === 6 && second < 64 && isCipher(third))
}

function isCipher(octet: number): boolean {
  return octet >= 1 && octet <= 13
}

/** RSA and Elgamal: one or two numbers, with the count of their bits in front (RFC 9580, 3.2). */
function isFilledByNumbers(body: Buffer, length: number): boolean {
  const [, , , , , , , , , algorithm = 0] = body
  const first = body.length < 12 ? 0 : 2 + Math.ceil(body.readUInt16BE(10) / 8)
  if (algorithm <= 2) return length === 10 + first
  return algorithm === 16 && Math.abs(length - 10 - 2 * first) <= 2
}
