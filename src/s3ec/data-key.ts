import { constants, createDecipheriv, createHash, createHmac, createSecretKey, hkdfSync, privateDecrypt, timingSafeEqual, type KeyObject } from 'node:crypto'
import { S3ecError } from './fault.ts'
import type { Description, WrappedDataKey } from './description.ts'
import { oaepMessage } from './oaep.ts'

/** Of every data key: all suites of the client are AES-256. */
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Options of ciphers that have no tag. */
export const NO_TAG = {}

/** Which kinds of key open a wrap. */
export function keyKindOf({ wrap }: Pick<WrappedDataKey, 'wrap'>): 'kms' | 'aes' | 'rsa' {
  switch (wrap) {
    case 'kms':
    case 'kms+context':
      return 'kms'
    case 'AES/GCM':
    case 'AESWrap':
    case 'AES':
      return 'aes'
    case 'RSA-OAEP-SHA1':
    case 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding':
    case 'RSA':
      return 'rsa'
  }
}

/** @param kek of 16, 24 or 32 bytes. @throws S3ecError `s3ec-wrap`, whatever is wrong. */
export function unwrapByAes(kek: KeyObject, wrapped: WrappedDataKey): KeyObject {
  return taken(() => aesPlaintext(kek, wrapped))
}

function aesPlaintext(kek: KeyObject, { wrap, blob, bound }: WrappedDataKey): Buffer | null {
  const bits = (kek.symmetricKeySize ?? 0) * 8
  switch (wrap) {
    case 'AES/GCM': {
      if (blob.length !== NONCE_BYTES + KEY_BYTES + TAG_BYTES) return null
      const decipher = createDecipheriv(`aes-${bits}-gcm` as 'aes-256-gcm', kek, blob.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(bound))
      decipher.setAuthTag(blob.subarray(-TAG_BYTES))
      const key = decipher.update(blob.subarray(NONCE_BYTES, -TAG_BYTES))
      decipher.final()
      return key
    }
    case 'AESWrap': {
      if (blob.length !== KEY_BYTES + 8) return null
      // RFC 3394, 2.2.3.1: the initial value is the integrity check.
      const decipher = createDecipheriv(`id-aes${bits}-wrap`, kek, Buffer.alloc(8, 0xa6), NO_TAG)
      return Buffer.concat([decipher.update(blob), decipher.final()])
    }
    case 'AES': {
      if (blob.length !== KEY_BYTES + 16) return null
      const decipher = createDecipheriv(`aes-${bits}-ecb`, kek, null, NO_TAG)
      return Buffer.concat([decipher.update(blob), decipher.final()])
    }
    case 'kms':
    case 'kms+context':
    case 'RSA':
    case 'RSA-OAEP-SHA1':
    case 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding':
      return null
  }
}

/** @param key a private key of RSA. @throws S3ecError `s3ec-wrap`, whatever is wrong. */
export function unwrapByRsa(key: KeyObject, wrapped: WrappedDataKey): KeyObject {
  return taken(() => rsaPlaintext(key, wrapped))
}

function rsaPlaintext(key: KeyObject, { wrap, blob, bound }: WrappedDataKey): Buffer | null {
  const modulusBytes = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
  if (blob.length !== modulusBytes) return null
  switch (wrap) {
    case 'RSA-OAEP-SHA1': {
      const message = privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, blob)
      const [length, text] = [message[0], message.subarray(1 + KEY_BYTES)]
      const right = length === KEY_BYTES && text.equals(Buffer.from(bound))
      return right ? message.subarray(1, 1 + KEY_BYTES) : null
    }
    case 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding': {
      const block = privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, blob)
      // The name leaves open which hash is in the mask: SunJCE takes SHA-1, BouncyCastle SHA-256. Both are always tried.
      const [sun, bouncy] = [oaepMessage(block, 'sha256', 'sha1'), oaepMessage(block, 'sha256', 'sha256')]
      return sun ?? bouncy
    }
    case 'RSA': {
      // PKCS #1 v1.5 tells nothing about its padding here (Bleichenbacher, 1998): OpenSSL answers with bytes that only look like a message, and a
      // length that no data key has becomes a key that nobody knows, always the same one. Such a key fails at the body as any other wrong key does.
      const message = privateDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, blob)
      const other = createHmac('sha256', secretOf(key)).update(blob).digest()
      return message.length === KEY_BYTES ? message : other
    }
    case 'kms':
    case 'kms+context':
    case 'AES':
    case 'AES/GCM':
    case 'AESWrap':
      return null
  }
}

const secrets = new WeakMap<KeyObject, Buffer>()

function secretOf(key: KeyObject): Buffer {
  const secret = secrets.get(key) ?? createHash('sha256').update('sealgate implicit rejection').update(key.export({ type: 'pkcs8', format: 'der' })).digest()
  secrets.set(key, secret)
  return secret
}

function taken(open: () => Buffer | null): KeyObject {
  let bytes: Buffer | null
  try {
    bytes = open()
  } catch {
    bytes = null
  }
  if (bytes?.length !== KEY_BYTES) throw new S3ecError('s3ec-wrap')
  const key = createSecretKey(bytes)
  bytes.fill(0)
  return key
}

/** The number of the suite, 0x0073, as it goes into the derivation and the associated data. */
export const COMMITTING_SUITE = Buffer.from([0x00, 0x73])

/**
 * The key of the body. In version 3 it is derived from the data key, and only once the data key is the one that the object commits to: AES-GCM alone
 * opens one ciphertext under two keys, to two plaintexts, and who can replace the wrapped key could choose between them.
 * @param dataKey of 32 bytes. @throws S3ecError
 */
export function bodyKey(dataKey: KeyObject, { commitment }: Pick<Description, 'commitment'>): KeyObject {
  if (dataKey.symmetricKeySize !== KEY_BYTES) throw new S3ecError('s3ec-wrap')
  if (commitment === null) return dataKey
  const derive = (label: string, length: number): Buffer =>
    Buffer.from(hkdfSync('sha512', dataKey, commitment.messageId, Buffer.concat([COMMITTING_SUITE, Buffer.from(label)]), length))
  if (!timingSafeEqual(derive('COMMITKEY', commitment.value.length), commitment.value)) throw new S3ecError('s3ec-commitment')
  const bytes = derive('DERIVEKEY', KEY_BYTES)
  const key = createSecretKey(bytes)
  bytes.fill(0)
  return key
}
