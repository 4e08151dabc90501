// Objects of the Amazon S3 Encryption Client (its specification, "Content Metadata" and "Metadata Strategy"): by their own metadata, or by the
// instruction file that lies beside them.
import type { HeaderList } from '../http/message.ts'
import { S3Error } from '../errors.ts'
import { S3ecError, s3ecFaults } from '../s3ec/fault.ts'
import { describe, plaintextSizeOf } from '../s3ec/description.ts'
import { type Entries, instructionsOf, type Marks, marksOf, MOST_INSTRUCTIONS, versionIn } from '../s3ec/metadata.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'

interface ClientState {
  readonly state: 's3ec-v1' | 's3ec-v2' | 's3ec-v3' | 'damaged'
  /** Bytes of plaintext; null: not known without its key. */
  readonly size?: number | null
  readonly detail?: string
}

/** By the metadata of the object itself. @param storedSize in bytes. @returns null for one without marks of that client. */
export function encryptionClientState(headers: HeaderList, storedSize: number): ClientState | null {
  let marks: Marks
  try {
    marks = marksOf(headers)
  } catch (error) {
    return damaged(error)
  }
  switch (marks.kind) {
    case 'none':
      return null
    case 'instruction-file':
      return { state: 's3ec-v2', detail: 'an instruction file: it holds the data key of another object' }
    case 'needs-instructions':
      return { state: 's3ec-v3', detail: 'its data key is in an instruction file' }
    case 'described':
      return describedState(marks.entries, storedSize)
  }
}

/** An object that this client could not read either keeps the state of its version: it is none of plaintext. */
function describedState(entries: Entries, storedSize: number): ClientState {
  const version = versionIn(entries)
  try {
    const description = describe(entries)
    return { state: `s3ec-v${description.version}`, size: plaintextSizeOf(description, storedSize) }
  } catch (error) {
    const found = damaged(error)
    return version === null || (error as S3ecError).kind === 's3ec-collision' ? found : { ...found, state: `s3ec-v${version}`, size: null }
  }
}

function damaged(error: unknown): ClientState {
  if (!(error instanceof S3ecError)) throw error
  return { state: 'damaged', detail: `of the S3 Encryption Client: ${s3ecFaults[error.kind]}` }
}

/**
 * Versions 1 and 2 may keep everything in an instruction file, and then the object has no mark. Whoever may write can put one beside any object: it is
 * a hint and no proof.
 * @param suffixes ends of their names. @returns null where there is none. @throws S3Error the store's error.
 */
export async function instructionFileState(bucket: BucketClient, key: string, suffixes: readonly string[] = ['.instruction']): Promise<ClientState | null> {
  for (const suffix of suffixes) {
    const version = await fileVersion(bucket, key + suffix)
    if (version !== null) {
      return { state: `s3ec-v${version}`, size: null, detail: 'by the instruction file beside it, which is a hint and proves nothing of its body' }
    }
  }
  return null
}

async function fileVersion(bucket: BucketClient, name: string): Promise<1 | 2 | null> {
  if (Buffer.byteLength(name) > 1024) return null
  const { status, body } = await bucket.answer(
    { method: 'GET', key: name, headers: [['range', `bytes=0-${MOST_INSTRUCTIONS - 1}`]], retry: true },
    MOST_INSTRUCTIONS
  )
  if (status === 429 || status >= 500) {
    throw new S3Error('ServiceUnavailable', { status, message: `The store answers ${status} to a GET of an instruction file` })
  }
  return status === 200 || status === 206 ? versionOfFile(body) : null
}

function versionOfFile(body: Buffer): 1 | 2 | null {
  try {
    const entries = instructionsOf(body)
    const version = entries?.has('x-amz-iv') === true ? versionIn(entries) : null
    return version === 3 ? null : version
  } catch (error) {
    if (error instanceof S3ecError) return null
    throw error
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
