import type { KeyObject } from 'node:crypto'
import { emptySha256, signV4 } from './signing.ts'

/**
 * The chain of chunk signatures of STREAMING-AWS4-HMAC-SHA256-PAYLOAD and …-TRAILER (AWS, "Signature calculations for the
 * Authorization header: transferring payload in multiple chunks"): each signs the one before it, the first signs the
 * signature of the request. So chunks can be neither dropped, swapped nor taken from another request.
 */
export class ChunkSignatureChain {
  readonly #key: KeyObject
  readonly #place: string
  #previous: string

  /** @param timestamp ISO basic, of the request. @param seed the verified signature of the request. */
  constructor(key: KeyObject, timestamp: string, scope: string, seed: string) {
    this.#key = key
    this.#place = `${timestamp}\n${scope}`
    this.#previous = seed
  }

  /** @returns the expected hex signature of the next chunk. Advances the chain. */
  next(sha256OfChunk: Buffer): string {
    this.#previous = signV4(this.#key,
      `AWS4-HMAC-SHA256-PAYLOAD\n${this.#place}\n${this.#previous}\n${emptySha256}\n${sha256OfChunk.toString('hex')}`)
    return this.#previous
  }

  /** @returns the expected hex signature of the trailer block. Advances the chain. */
  trailer(sha256OfCanonicalTrailers: Buffer): string {
    this.#previous = signV4(this.#key,
      `AWS4-HMAC-SHA256-TRAILER\n${this.#place}\n${this.#previous}\n${sha256OfCanonicalTrailers.toString('hex')}`)
    return this.#previous
  }
}
