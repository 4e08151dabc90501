import type { Readable } from '../s3ec/description.ts'
import type { Writable } from '../s3ec/seal.ts'

/** How a bucket reads objects of the Amazon S3 Encryption Client (docs/S3-ENCRYPTION-CLIENT.md). */
export interface S3ecPolicy {
  /** What is opened: `readable` of src/s3ec/description.ts. */
  readonly read: readonly Readable[]
  /** Names in `keys`. */
  readonly keys: readonly string[]
  /** `require`: `read` names nothing but what commits to its data key. */
  readonly commitment: 'require' | 'allow'
  /** Ends of the names of instruction files, the first that exists is taken. Such names are the gateway's. */
  readonly instructionSuffixes: readonly string[]
  /** Ranges of bytes that no tag verifies. */
  readonly unauthenticatedRanges: boolean
  /** New objects are written so, under the first of `keys`; null: sealed. */
  readonly write: Writable | null
}
