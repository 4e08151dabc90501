import type { HeaderList } from '../http/message.ts'
import { KEY_ID_HEADER } from '../envelope/envelope.ts'
import { S3Error } from '../errors.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { unexamined, type Action } from './engine.ts'

/** Objects and stored bytes of one key id. */
interface KeyCount {
  readonly objects: number
  readonly bytes: number
}

const MOST_KEY_IDS = 10_000

/** Stands for objects without a key id: Sealgate did not write them. */
export const NOT_ENCRYPTED = '(not encrypted)'

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

  /** For JSON, in the order of the ids. */
  json(): readonly (KeyCount & { readonly keyId: string })[] {
    return this.entries().toSorted(([a], [b]) => a < b ? -1 : 1).map(([keyId, count]) => ({ keyId, ...count }))
  }

  entries(): readonly (readonly [keyId: string, count: KeyCount])[] {
    return [...this.#counts]
  }
}

/** Objects of one key id whose names have the keys of one prefix. */
export interface PlacedCount extends KeyCount {
  /** null: those of the bucket. */
  readonly prefix: string | null
  readonly keyId: string
  /** Name of the first one seen. */
  readonly example: string
}

const MOST_PLACED = 100_000

/** Counts by prefix of the configuration and key id. */
export class PlacedCounts {
  readonly #prefixOf: (key: string) => string | null
  readonly #ids = new KeyCounts()
  readonly #counts = new Map<string, PlacedCount>()

  constructor(prefixOf: (key: string) => string | null) {
    this.#prefixOf = prefixOf
  }

  /** @throws S3Error SealgateBadUpstream as KeyCounts does. */
  add(key: string, keyId: string, bytes: number): void {
    this.#ids.add(keyId, bytes)
    const prefix = this.#prefixOf(key)
    const place = JSON.stringify([prefix, keyId])
    const before = this.#counts.get(place) ?? { prefix, keyId, objects: 0, bytes: 0, example: key }
    if (this.#counts.size >= MOST_PLACED && before.objects === 0) throw new S3Error('SealgateBadUpstream', { message: 'The objects name too many key ids.' })
    this.#counts.set(place, { ...before, objects: before.objects + 1, bytes: before.bytes + bytes })
  }

  /** Those of the bucket first, then by prefix; of one place in the order of the ids. */
  rows(): readonly PlacedCount[] {
    return [...this.#counts.values()].toSorted((a, b) => {
      const [one, other] = [a, b].map(({ prefix, keyId }) => `${prefix === null ? '' : `1${prefix}`}\0${keyId}`) as [string, string]
      return one < other ? -1 : 1
    })
  }
}

/** Counts objects by the key id in their metadata. Nothing is unwrapped, so it works for lost keys as well. @throws S3Error the store's error. */
export function usageAction(bucket: BucketClient, counts: PlacedCounts): Action {
  return async (row, signal) => {
    const headers = await bucket.until(signal).head(row.key, row.versionId)
    if (headers === null) return null
    const [keyId, stored] = [keyIdOf(headers), storedBytes(headers)]
    counts.add(row.key, keyId ?? NOT_ENCRYPTED, stored)
    return { ...unexamined(row), storedBytes: stored, keyId }
  }
}

/** Readable id of the key that sealed an object; null for one that Sealgate did not write. */
export function keyIdOf(headers: HeaderList): string | null {
  return headers.get(KEY_ID_HEADER) ?? null
}

/** Bytes of the body in the store. */
export function storedBytes(headers: HeaderList): number {
  return Number(headers.get('content-length') ?? 0)
}
