import type { HeaderList } from '../http/message.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { KEY_ID_HEADER } from '../envelope/envelope.ts'
import { S3Error } from '../errors.ts'
import { parallel, rowsOf } from '../concurrency/parallel.ts'
import { allVersions, currentObjects } from './sources.ts'

/** Objects and stored bytes of one key id. */
interface KeyCount {
  readonly objects: number
  readonly bytes: number
}

const MOST_KEY_IDS = 10_000

/** Stands for objects without a key id: Sealgate did not write them. */
const NOT_ENCRYPTED = '(not encrypted)'

/** Counts by key id, in the order first seen. */
export class KeyCounts {
  readonly #counts = new Map<string, KeyCount>()

  /** @throws S3Error SealgateBadUpstream for more key ids than anybody has: a store could invent one for every object. */
  add(keyId: string, bytes: number): void {
    const before = this.#counts.get(keyId) ?? { objects: 0, bytes: 0 }
    if (this.#counts.size >= MOST_KEY_IDS && before.objects === 0) {
      throw new S3Error('SealgateBadUpstream', { message: `The objects name more than ${MOST_KEY_IDS} key ids.` })
    }
    this.#counts.set(keyId, { objects: before.objects + 1, bytes: before.bytes + bytes })
  }

  entries(): readonly (readonly [keyId: string, count: KeyCount])[] {
    return [...this.#counts]
  }
}

export interface UsageOptions {
  readonly prefix: string
  /** Every version, not only the current ones. */
  readonly versions: boolean
  readonly concurrency: number
  /** Called for every object that has been examined. */
  readonly onObject?: () => void
}

/**
 * Counts objects and stored bytes by the key id in the metadata of each object. Nothing is unwrapped, so it works for lost keys as well.
 * @throws S3Error the store's error.
 */
export async function countKeyUsage(bucket: BucketClient, { prefix, versions, concurrency, onObject }: UsageOptions): Promise<KeyCounts> {
  const counts = new KeyCounts()
  const rows = rowsOf(versions ? allVersions(bucket, prefix) : currentObjects(bucket, prefix))
  await parallel(rows, { limit: concurrency, signal: bucket.signal }, async (row, signal) => {
    if (row.deleteMarker) return
    const headers = await bucket.until(signal).head(row.key, row.versionId)
    // Deleted since the listing was made.
    if (headers !== null) counts.add(keyIdOf(headers) ?? NOT_ENCRYPTED, storedBytes(headers))
    onObject?.()
  })
  return counts
}

/** Readable id of the key that sealed an object; null for one that Sealgate did not write. */
export function keyIdOf(headers: HeaderList): string | null {
  return headers.get(KEY_ID_HEADER) ?? null
}

/** Bytes of the body in the store. */
export function storedBytes(headers: HeaderList): number {
  return Number(headers.get('content-length') ?? 0)
}
