import type { IHasher } from 'hash-wasm'
import xxhash128 from 'hash-wasm/dist/xxhash128.umd.min.js'
import xxhash3 from 'hash-wasm/dist/xxhash3.umd.min.js'
import xxhash64 from 'hash-wasm/dist/xxhash64.umd.min.js'

// WebAssembly is compiled asynchronously and a checksum begins synchronously: so each is compiled once, when the module is loaded.
const hashers = {
  xxhash64: await xxhash64.createXXHash64(),
  xxhash3: await xxhash3.createXXHash3(),
  xxhash128: await xxhash128.createXXHash128()
}

export type XxHashName = keyof typeof hashers

/**
 * A running XXH64, XXH3 (64 bits) or XXH128, seed 0, in canonical form (xxHash specification: big-endian). All transfers share one
 * instance of each; between two chunks a checksum is its saved state of at most 580 bytes.
 */
export class XxHash {
  readonly #hasher: IHasher
  #state: Uint8Array

  constructor(name: XxHashName) {
    this.#hasher = hashers[name]
    this.#hasher.init()
    this.#state = this.#hasher.save()
  }

  update(chunk: Buffer): void {
    this.#hasher.load(this.#state)
    this.#hasher.update(chunk)
    this.#state = this.#hasher.save()
  }

  /** @returns 8 bytes; 16 of XXH128. */
  digest(): Buffer {
    this.#hasher.load(this.#state)
    return Buffer.from(this.#hasher.digest('binary'))
  }
}
