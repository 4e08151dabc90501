import { createHash, createHmac } from 'node:crypto'
import { isAscii } from 'node:buffer'

type Secret = string | ArrayBuffer | ArrayBufferView
type State = ReturnType<typeof createHash> | ReturnType<typeof createHmac>

/** SHA-256, or HMAC-SHA-256 when made with a secret, in the shape the signing library asks for. */
export class Sha256 {
  readonly #secret: Secret | undefined
  #state: State

  constructor(secret?: Secret) {
    this.#secret = secret
    this.#state = Sha256.#start(secret)
  }

  update(chunk: Uint8Array): void {
    // The library encodes the canonical request as UTF-8. Header values here are latin1 characters that stand for the
    // bytes on the wire, and those bytes are what the store hashes.
    const wire = this.#secret === undefined && !isAscii(chunk)
    this.#state.update(wire ? Buffer.from(Buffer.from(chunk).toString('utf8'), 'latin1') : chunk)
  }

  async digest(): Promise<Uint8Array> {
    return this.#state.digest()
  }

  reset(): void {
    this.#state = Sha256.#start(this.#secret)
  }

  static #start(secret: Secret | undefined): State {
    if (secret === undefined) return createHash('sha256')
    if (typeof secret === 'string') return createHmac('sha256', secret)
    return createHmac('sha256', ArrayBuffer.isView(secret) ? bytesOf(secret) : new Uint8Array(secret))
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}
