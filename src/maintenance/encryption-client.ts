// Objects of the Amazon S3 Encryption Client (its specification, "Content Metadata" and "Metadata Strategy"): by their own metadata, or by the
// instruction file that lies beside them.
import type { HeaderList } from '../http/message.ts'
import { S3Error } from '../errors.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'

interface ClientState {
  readonly state: 's3ec-v1' | 's3ec-v2' | 's3ec-v3' | 'damaged'
  /** Bytes of plaintext, as that client has noted them; null: not noted. */
  readonly size?: number | null
  readonly detail?: string
}

/** Metadata names of the S3 Encryption Client (its specification, "Content Metadata"). More than one key is an error there, and damaged here. */
const clientKeys = { 'x-amz-key': 's3ec-v1', 'x-amz-key-v2': 's3ec-v2', 'x-amz-3': 's3ec-v3' } as const

/** By the metadata of the object itself. @returns null for one without marks of that client. */
export function encryptionClientState(headers: HeaderList): ClientState | null {
  const has = (name: string): boolean => headers.has(`x-amz-meta-${name}`)
  const held = Object.entries(clientKeys).filter(([name]) => has(name)).map(([, state]) => state)
  if (held.length > 1) return { state: 'damaged', detail: 'entries of several versions of the S3 Encryption Client' }
  if (has('x-amz-crypto-instr-file')) return { state: held[0] ?? 's3ec-v2', detail: 'an instruction file: it holds the data key of another object' }
  // Version 3 keeps the data key in an instruction file, and its algorithm and commitment on the object.
  if (held.length === 0 && has('x-amz-c') && has('x-amz-d') && has('x-amz-i')) return { state: 's3ec-v3', detail: 'its data key is in an instruction file' }
  const length = headers.get('x-amz-meta-x-amz-unencrypted-content-length')
  return held[0] === undefined ? null : { state: held[0], size: length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : null }
}

/** Bytes of an instruction file: a wrapped key, an IV and a description of the key. */
const MOST_INSTRUCTIONS = 16_384

/**
 * Versions 1 and 2 may keep everything in an instruction file, and then the object has no mark. Whoever may write can put one beside any object: it is
 * a hint and no proof.
 * @returns null where there is none. @throws S3Error the store's error.
 */
export async function instructionFileState(bucket: BucketClient, key: string): Promise<ClientState | null> {
  const name = `${key}.instruction`
  if (Buffer.byteLength(name) > 1024) return null
  const { status, body } = await bucket.answer(
    { method: 'GET', key: name, headers: [['range', `bytes=0-${MOST_INSTRUCTIONS - 1}`]], retry: true },
    MOST_INSTRUCTIONS
  )
  if (status === 429 || status >= 500) {
    throw new S3Error('ServiceUnavailable', { status, message: `The store answers ${status} to a GET of an instruction file` })
  }
  const held = status === 200 || status === 206 ? keyIn(body) : null
  return held === null ? null : { state: held, size: null, detail: 'by the instruction file beside it, which is a hint and proves nothing of its body' }
}

function keyIn(body: Buffer): 's3ec-v1' | 's3ec-v2' | null {
  try {
    const entries = (JSON.parse(body.toString('utf8')) ?? {}) as Readonly<Record<string, unknown>>
    if (typeof entries['x-amz-iv'] !== 'string') return null
    return typeof entries['x-amz-key-v2'] === 'string' ? 's3ec-v2' : typeof entries['x-amz-key'] === 'string' ? 's3ec-v1' : null
  } catch {
    return null
  }
}

/** First bytes of files that are compressed: they look random as well. */
const compressed = ['1f8b08', '504b0304', '89504e47', 'ffd8ff', '28b52ffd', 'fd377a58', '425a68', '377abcaf', '4f676753', '52494646', '25504446'].map((hex) =>
  Buffer.from(hex, 'hex')
)
/** Bytes below which nothing is said: AES in CBC and in GCM makes at least 16. */
const FEWEST = 16

/**
 * Whether bytes can be ciphertext: almost as many different ones as random bytes have. Text, records and what begins as a compressed file do not.
 * @param head the first 512 bytes, or all.
 */
export function looksRandom(head: Buffer): boolean {
  if (head.length < FEWEST || compressed.some((magic) => head.subarray(0, magic.length).equals(magic))) return false
  const expected = 256 * (1 - (255 / 256) ** head.length)
  return new Set(head).size >= expected * 0.8
}
