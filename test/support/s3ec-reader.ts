// A reader of objects of the S3 Encryption Client, written from the descriptions of its formats alone: with node:crypto and nothing of src.
// What it reads is compared with what the gateway reads. It is not made to be safe: its errors differ, and it compares without care for time.
import { constants, createDecipheriv, createHash, createPrivateKey, hkdfSync, privateDecrypt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

type Texts = Readonly<Record<string, string>>

export interface StoredS3ec {
  /** The user metadata of the object, without `x-amz-meta-`. */
  readonly metadata: Texts
  readonly body: Buffer
  /** What its instruction file holds; null without one. */
  readonly instruction: Texts | null
}

/** What `test/s3ec/vectors/keys.json` holds: secrets in hex, the RSA key as PEM. It protects nothing. */
export interface S3ecKeys {
  readonly aes: string
  /** The key of objects whose material description is `{"name":"second"}`. */
  readonly aesSecond: string
  readonly rsa: string
  /** A key of `fake-kms.ts`. */
  readonly kms: { readonly arn: string; readonly secret: string }
}

/** An object of a file of vectors: bodies and plaintext in base64. */
export interface S3ecVector {
  readonly key: string
  readonly mode: string
  readonly size: number
  readonly sha256: string
  readonly plaintext: string
  readonly body: string
  readonly metadata: Texts
  readonly contentType?: string
  /** Instruction files by suffix. */
  readonly instructions: Readonly<Record<string, { readonly body: string; readonly metadata: Texts }>>
}

export const s3ecVectors = join(import.meta.dirname, '../s3ec/vectors')
export const s3ecKeys = JSON.parse(readFileSync(join(s3ecVectors, 'keys.json'), 'utf8')) as S3ecKeys

/** Options of ciphers that have no tag. */
const NO_TAG = {}

/** @returns the plaintext. @throws for anything that does not open */
export function readS3ec({ metadata, body, instruction }: StoredS3ec, keys: S3ecKeys = s3ecKeys): Buffer {
  const all: Texts = { ...metadata, ...instruction }
  if (['x-amz-key', 'x-amz-key-v2', 'x-amz-3'].filter((name) => all[name] !== undefined).length !== 1) throw new Error('not one wrapped key')
  if (all['x-amz-3'] !== undefined) return openV3(all, body, keys)
  const cbc = (all['x-amz-cek-alg'] ?? 'AES/CBC/PKCS5Padding') === 'AES/CBC/PKCS5Padding'
  const key = dataKeyOf(all, keys)
  const iv = bytes(all['x-amz-iv'])
  if (!cbc) return gcm(key, iv, Buffer.alloc(0), body)
  const decipher = createDecipheriv('aes-256-cbc', key, iv, NO_TAG)
  return Buffer.concat([decipher.update(body), decipher.final()])
}

/** The data key of an object whose metadata says everything. */
export function dataKeyOf(all: Texts, keys: S3ecKeys = s3ecKeys): Buffer {
  if (all['x-amz-3'] === undefined) {
    return unwrap(all, bytes(all['x-amz-key-v2'] ?? all['x-amz-key']), all['x-amz-wrap-alg'] ?? null, 'AES/GCM/NoPadding', keys)
  }
  const wraps: Texts = { '02': 'AES/GCM', '12': 'kms+context', '22': 'RSA-OAEP-SHA1' }
  return unwrap(all, bytes(all['x-amz-3']), wraps[all['x-amz-w'] ?? ''] ?? 'unknown', '115', keys)
}

function openV3(all: Texts, body: Buffer, keys: S3ecKeys): Buffer {
  if (all['x-amz-c'] !== '115') throw new Error('another content algorithm')
  const dataKey = dataKeyOf(all, keys)
  const suite = Buffer.from([0x00, 0x73])
  const derive = (label: string, length: number): Buffer =>
    Buffer.from(hkdfSync('sha512', dataKey, bytes(all['x-amz-i']), Buffer.concat([suite, Buffer.from(label)]), length))
  if (!derive('COMMITKEY', 28).equals(bytes(all['x-amz-d']))) throw new Error('another commitment')
  return gcm(derive('DERIVEKEY', 32), Buffer.alloc(12, 1), suite, body)
}

/** @param algorithm the content algorithm, which newer ways of wrapping bind */
function unwrap(all: Texts, wrapped: Buffer, how: string | null, algorithm: string, keys: S3ecKeys): Buffer {
  const description = JSON.parse(all['x-amz-t'] ?? all['x-amz-m'] ?? all['x-amz-matdesc'] ?? '{}') as Texts
  const aes = Buffer.from(description['name'] === 'second' ? keys.aesSecond : keys.aes, 'hex')
  switch (how) {
    case 'AES/GCM':
      return gcm(aes, wrapped.subarray(0, 12), Buffer.from(algorithm), wrapped.subarray(12))
    case 'AESWrap': {
      const decipher = createDecipheriv('id-aes256-wrap', aes, Buffer.alloc(8, 0xa6), NO_TAG)
      return Buffer.concat([decipher.update(wrapped), decipher.final()])
    }
    case 'RSA-OAEP-SHA1': {
      const plain = privateDecrypt({ key: keys.rsa, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, wrapped)
      const length = plain[0]!
      if (plain.toString('latin1', 1 + length) !== algorithm) throw new Error('another algorithm in the wrapped key')
      return plain.subarray(1, 1 + length)
    }
    case 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding': {
      const block = privateDecrypt({ key: keys.rsa, padding: constants.RSA_NO_PADDING }, wrapped)
      // Java's own provider masks with SHA-1, Bouncy Castle with SHA-256.
      return oaep(block, 'sha1') ?? oaep(block, 'sha256')!
    }
    case 'kms+context':
      if (description['aws:x-amz-cek-alg'] !== algorithm) throw new Error('another algorithm in the context')
      return fakeKms(wrapped, description, keys)
    case 'kms':
      return fakeKms(wrapped, description, keys)
    case null: {
      if (wrapped.length !== 48) return privateDecrypt({ key: createPrivateKey(keys.rsa), padding: constants.RSA_PKCS1_PADDING }, wrapped)
      const decipher = createDecipheriv('aes-256-ecb', aes, null, NO_TAG)
      return Buffer.concat([decipher.update(wrapped), decipher.final()])
    }
    default:
      throw new Error('another way of wrapping')
  }
}

/** RFC 8017, 7.1.2, with SHA-256 and an empty label. */
function oaep(block: Buffer, mask: 'sha1' | 'sha256'): Buffer | null {
  const masked = block.subarray(33)
  const seed = xor(block.subarray(1, 33), mgf1(masked, 32, mask))
  const data = xor(masked, mgf1(seed, masked.length, mask))
  if (!data.subarray(0, 32).equals(createHash('sha256').digest())) return null
  return data.subarray(data.indexOf(1, 32) + 1)
}

function mgf1(seed: Buffer, length: number, hash: string): Buffer {
  const blocks: Buffer[] = []
  for (let counter = 0; blocks.length * 20 < length; counter += 1) {
    blocks.push(createHash(hash).update(seed).update(Buffer.from([0, 0, 0, counter])).digest())
  }
  return Buffer.concat(blocks).subarray(0, length)
}

const xor = (a: Buffer, b: Buffer): Buffer => a.map((byte, index) => byte ^ b[index]!) as Buffer

/** What `fake-kms.ts` makes: 4 bytes of the key, 12 of nonce, the ciphertext and 16 of tag; the sorted context is authenticated. */
function fakeKms(blob: Buffer, context: Texts, keys: S3ecKeys): Buffer {
  const canonical = JSON.stringify(Object.entries(context).sort(([a], [b]) => a < b ? -1 : 1))
  return gcm(Buffer.from(keys.kms.secret, 'hex'), blob.subarray(4, 16), Buffer.from(canonical), blob.subarray(16))
}

function gcm(key: Buffer, nonce: Buffer, aad: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 }).setAAD(aad).setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

const bytes = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64')
