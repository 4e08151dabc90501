import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'

const byArray = new WeakMap<object, KeyObject>()
const byText = new Map<string, KeyObject>()

/** SHA-256 and HMAC-SHA-256 for the AWS signer of the yardsticks, with keys that are made once. Not the gateway's: a yardstick does not change with it. */
export class Sha256 {
  readonly #key: KeyObject | null
  #text: Uint8Array = new Uint8Array()

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#key = secret === undefined ? null : keyOf(secret)
  }

  update(chunk: Uint8Array): void {
    this.#text = this.#text.length === 0 ? chunk : Buffer.concat([this.#text, chunk])
  }

  async digest(): Promise<Uint8Array> {
    return this.#key === null ? hash('sha256', this.#text, 'buffer') : createHmac('sha256', this.#key).update(this.#text).digest()
  }

  reset(): void {
    this.#text = new Uint8Array()
  }
}

function keyOf(secret: string | ArrayBuffer | ArrayBufferView): KeyObject {
  const known = typeof secret === 'string' ? byText.get(secret) : byArray.get(secret)
  if (known !== undefined) return known
  if (typeof secret === 'string') {
    const key = createSecretKey(secret, 'utf8')
    byText.set(secret, key)
    return key
  }
  const key = createSecretKey(ArrayBuffer.isView(secret) ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength) : new Uint8Array(secret))
  byArray.set(secret, key)
  return key
}
