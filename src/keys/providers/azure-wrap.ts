import { constants, createHash, createPublicKey, createSecretKey, publicEncrypt, randomBytes, verify, type KeyObject } from 'node:crypto'
import { unwrap, wrap, WRAP_OVERHEAD } from '../../envelope/data-key.ts'
import { EnvelopeError, fields } from '../../envelope/encoding.ts'
import { Finding, S3Error } from '../../errors.ts'
import { KEY_BYTES, takeKey } from '../key-material.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Key providers).
const SIGNED = 1
const SYMMETRIC = 2
const SIGNATURE_LABEL = 'sealgate/v1/azure-wrap'
/** AES key wrap makes 8 bytes more (RFC 3394). */
const KW_BYTES = KEY_BYTES + 8
const BOX_BYTES = KEY_BYTES + WRAP_OVERHEAD
/** Of RSA keys that Key Vault has. */
const MODULUS_BYTES: readonly number[] = [256, 384, 512]

/** A wrapped bucket key, taken apart. */
export interface AzureWrap {
  /** What only the service opens: 32 random bytes, the KEK of the box. */
  readonly ciphertext: Buffer
  /** The bucket key under them, with its context as additional data. */
  readonly box: Buffer
  /** By the same RSA key: its public half is enough for the rest. null: the key is symmetric. */
  readonly signature: Buffer | null
}

/** Bytes and the KeyObject of them. */
export function newKey(): { readonly bytes: Buffer; readonly key: KeyObject } {
  const bytes = randomBytes(KEY_BYTES)
  return { bytes, key: createSecretKey(bytes) }
}

/** RSAES-OAEP with SHA-256 and MGF1 with SHA-256: RSA-OAEP-256 of Key Vault. */
export function encryptFor(publicKey: KeyObject, bytes: Buffer): Buffer {
  return publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, bytes)
}

export function makeBox(kek: KeyObject, bucketKey: Buffer, context: Buffer): Buffer {
  return wrap(kek, bucketKey, context)
}

/** What PS256 signs. @param keyId with the version */
export function signedDigest(keyId: string, { ciphertext, box }: Pick<AzureWrap, 'ciphertext' | 'box'>, context: Buffer): Buffer {
  return createHash('sha256').update(signedText(keyId, { ciphertext, box }, context)).digest()
}

function signedText(keyId: string, { ciphertext, box }: Pick<AzureWrap, 'ciphertext' | 'box'>, context: Buffer): Buffer {
  return fields(SIGNATURE_LABEL, keyId, ciphertext, box, context)
}

/** @param signature of PS256: RSASSA-PSS with SHA-256, MGF1 with SHA-256, and a salt of 32 bytes (RFC 7518, 3.5) */
export function isSigned(publicKey: KeyObject, keyId: string, wrapped: AzureWrap, context: Buffer): boolean {
  const { signature } = wrapped
  if (signature === null || wrapped.ciphertext.length !== bytesOfModulus(publicKey)) return false
  const key = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  return verify('sha256', signedText(keyId, wrapped, context), key, signature)
}

export function joined({ ciphertext, box, signature }: AzureWrap): Buffer {
  return Buffer.concat([Buffer.of(signature === null ? SYMMETRIC : SIGNED), ciphertext, box, ...signature === null ? [] : [signature]])
}

/** @throws S3Error SealgateIntegrityError for a blob that was not made so. */
export function parted(blob: Buffer, symmetric: boolean): AzureWrap {
  const body = blob.subarray(1)
  const size = symmetric ? KW_BYTES : (body.length - BOX_BYTES) / 2
  const whole = symmetric ? body.length === KW_BYTES + BOX_BYTES : MODULUS_BYTES.includes(size)
  if (blob[0] !== (symmetric ? SYMMETRIC : SIGNED) || !whole) throw changed()
  const [ciphertext, box] = [body.subarray(0, size), body.subarray(size, size + BOX_BYTES)]
  return { ciphertext, box, signature: symmetric ? null : body.subarray(size + BOX_BYTES) }
}

/** @throws S3Error SealgateIntegrityError for a box of another key or context. */
export function openBox(kek: KeyObject, box: Buffer, context: Buffer): KeyObject {
  try {
    const key = takeKey(unwrap(kek, box, context))
    if (key !== null) return key
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error
  }
  throw changed()
}

export function changed(): S3Error {
  return new S3Error('SealgateIntegrityError', { cause: new Finding('The wrapped key is not as it was made, or not for this place.') })
}

/** @throws an error of node:crypto for what is no key. */
export function publicKeyOf(n: string, e: string): KeyObject {
  return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' })
}

/** 0 for a key of another size than those of Key Vault. */
export function bytesOfModulus(publicKey: KeyObject): number {
  const bytes = (publicKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8
  return MODULUS_BYTES.includes(bytes) ? bytes : 0
}
