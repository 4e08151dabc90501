import { constants, createCipheriv, createPublicKey, hkdfSync, publicEncrypt, randomBytes, type KeyObject } from 'node:crypto'
import type { Header } from '../http/message.ts'
import type { ByteStage } from '../http/stage.ts'
import { bodyKey, COMMITTING_SUITE } from './data-key.ts'
import { TAG_BYTES, type Wrap, type WrappedDataKey } from './description.ts'

/** The versions that are written. Version 2 is for readers that know no commitment. */
export const writable = ['v2', 'v3'] as const
export type Writable = (typeof writable)[number]

/** What the wrap of a data key is bound to: the cipher of the body, in the words of the version. */
export function boundOf(version: Writable): string {
  return version === 'v3' ? '115' : 'AES/GCM/NoPadding'
}

/** Of a data key under KMS: what the client adds to the encryption context of its caller. */
export function contextOf(version: Writable): Readonly<Record<string, string>> {
  return { 'aws:x-amz-cek-alg': boundOf(version) }
}

/** A data key for one object. */
export interface NewDataKey extends WrappedDataKey {
  readonly wrap: keyof typeof codes
  /** 32 bytes. */
  readonly key: KeyObject
}

const NONCE_BYTES = 12

/** @param kek of 16, 24 or 32 bytes. @returns the blob of the wrap `AES/GCM` */
export function wrapByAes(kek: KeyObject, dataKey: KeyObject, bound: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const bits = (kek.symmetricKeySize ?? 0) * 8
  const cipher = createCipheriv(`aes-${bits}-gcm` as 'aes-256-gcm', kek, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(bound))
  return Buffer.concat([nonce, cipher.update(dataKey.export()), cipher.final(), cipher.getAuthTag()])
}

/** @param key a private key of RSA. @returns the blob of the wrap `RSA-OAEP-SHA1`: one byte of length, the data key, and what it is bound to */
export function wrapByRsa(key: KeyObject, dataKey: KeyObject, bound: string): Buffer {
  const bytes = dataKey.export()
  const message = Buffer.concat([Buffer.from([bytes.length]), bytes, Buffer.from(bound)])
  return publicEncrypt({ key: createPublicKey(key), padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, message)
}

/** In version 3. */
const codes = { 'AES/GCM': '02', 'kms+context': '12', 'RSA-OAEP-SHA1': '22' } as const satisfies Partial<Record<Wrap, string>>

/** Most stored bytes of one object: of one key of GCM, with its tag (NIST SP 800-38D, 5.2.1.1). */
export const MOST_STORED = 2 ** 36 - 32 + TAG_BYTES

/** @param size bytes of plaintext */
export function storedSizeOf(size: number): number {
  return size + TAG_BYTES
}

export interface NewObject {
  /** Metadata that the object is stored with. */
  readonly headers: readonly Header[]
  /** Of the body. */
  readonly key: KeyObject
  readonly stage: ByteStage
}

/** Bytes that no other object has: the message id of version 3, and in its first bytes the IV of version 2. */
const SALT_BYTES = 28

/**
 * One new object of the client.
 * @param dataKey of this object alone: in version 2 it is the key of the body. @param size bytes of plaintext, less than 64 GiB (NIST SP 800-38D, 5.2.1.1)
 */
export function newObject(version: Writable, dataKey: NewDataKey, size: number): NewObject {
  const salt = randomBytes(SALT_BYTES)
  const headers = headersOf(version, dataKey, salt, size)
  if (version === 'v2') return { headers, key: dataKey.key, stage: new Sealer(dataKey.key, salt.subarray(0, NONCE_BYTES), null, size) }
  const key = bodyKey(dataKey.key, { commitment: { messageId: salt, value: commitmentOf(dataKey.key, salt) } })
  return { headers, key, stage: new Sealer(key, Buffer.alloc(NONCE_BYTES, 1), COMMITTING_SUITE, size) }
}

/** Metadata of an object. @param size bytes of plaintext, which only version 2 notes. */
function headersOf(version: Writable, { key, wrap, blob, material }: NewDataKey, salt: Buffer, size: number): readonly Header[] {
  const entries = version === 'v3'
    ? {
      'x-amz-c': boundOf(version),
      'x-amz-3': blob.toString('base64'),
      'x-amz-w': codes[wrap],
      'x-amz-d': commitmentOf(key, salt).toString('base64'),
      'x-amz-i': salt.toString('base64'),
      ...wrap === 'kms+context' ? { 'x-amz-t': ascii(material) } : Object.keys(material).length > 0 ? { 'x-amz-m': ascii(material) } : {}
    }
    : {
      'x-amz-key-v2': blob.toString('base64'),
      'x-amz-iv': salt.subarray(0, NONCE_BYTES).toString('base64'),
      'x-amz-matdesc': ascii(material),
      'x-amz-wrap-alg': wrap,
      'x-amz-cek-alg': boundOf(version),
      'x-amz-tag-len': String(TAG_BYTES * 8),
      'x-amz-unencrypted-content-length': String(size)
    }
  return Object.entries(entries).map(([name, value]): Header => [`x-amz-meta-${name}`, value])
}

function commitmentOf(dataKey: KeyObject, messageId: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha512', dataKey, messageId, Buffer.concat([COMMITTING_SUITE, Buffer.from('COMMITKEY')]), messageId.length))
}

/** JSON in ASCII: S3 encodes other characters of metadata twice, and not every client undoes both. */
function ascii(material: WrappedDataKey['material']): string {
  return JSON.stringify(material).replace(/[\u007f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The stage that encrypts one body. */
class Sealer implements ByteStage {
  readonly #cipher
  #missing: number

  constructor(key: KeyObject, iv: Buffer, aad: Buffer | null, size: number) {
    this.#cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
    if (aad !== null) this.#cipher.setAAD(aad)
    this.#missing = size
  }

  update(chunk: Buffer): readonly Buffer[] {
    this.#missing -= chunk.length
    if (this.#missing < 0) throw new RangeError('More bytes than were announced.')
    return [this.#cipher.update(chunk)]
  }

  final(): readonly Buffer[] {
    if (this.#missing !== 0) throw new RangeError('Fewer bytes than were announced.')
    return [this.#cipher.final(), this.#cipher.getAuthTag()]
  }
}
