/**
 * `fields(a, b, …)` of docs/FORMAT.md (Terminology): each as u32 length ‖ bytes, so that two lists never have the same encoding.
 * @throws EnvelopeError `place` for text that is not well-formed Unicode: Node would encode different texts alike.
 */
export function fields(...values: readonly (string | Uint8Array)[]): Buffer {
  const parts = values.map((value) => typeof value === 'string' ? utf8(value) : value)
  const out = Buffer.allocUnsafe(parts.reduce((sum, bytes) => sum + 4 + bytes.length, 0))
  let at = 0
  for (const bytes of parts) {
    at = out.writeUInt32BE(bytes.length, at)
    out.set(bytes, at)
    at += bytes.length
  }
  return out
}

/** @throws EnvelopeError `place` for text that is not well-formed Unicode. */
export function utf8(text: string): Buffer {
  if (!text.isWellFormed()) throw new EnvelopeError('place')
  return Buffer.from(text, 'utf8')
}

/** Bytewise order of the UTF-8 encodings, which is not the order of JavaScript's UTF-16 strings. */
export function byUtf8(a: string, b: string): number {
  return Buffer.compare(utf8(a), utf8(b))
}

/** Strict base64url: the one canonical spelling, no padding. Returns null for anything else. */
export function decodeBase64url(text: string): Buffer | null {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return null
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : null
}

/** Of the two halves of an integer of 64 bits. */
const WORD = 2 ** 32

/** Builds a fixed layout of big-endian integers and byte strings. */
export class ByteWriter {
  #buffer = Buffer.allocUnsafe(256)
  #size = 0

  /** @throws RangeError, as the others, for a number that has no such encoding. */
  u8(value: number): this {
    const at = this.#next(1)
    this.#buffer.writeUInt8(value, at)
    return this
  }

  u16(value: number): this {
    const at = this.#next(2)
    this.#buffer.writeUInt16BE(value, at)
    return this
  }

  u64(value: number): this {
    if (!Number.isSafeInteger(value)) throw new RangeError('A number without an encoding.')
    const at = this.#next(8)
    this.#buffer.writeUInt32BE(Math.floor(value / WORD), at)
    this.#buffer.writeUInt32BE(value % WORD, at + 4)
    return this
  }

  bytes(value: Uint8Array): this {
    const at = this.#next(value.length)
    this.#buffer.set(value, at)
    return this
  }

  end(): Buffer {
    return this.#buffer.subarray(0, this.#size)
  }

  /** Makes room for so many bytes. @returns where they begin */
  #next(bytes: number): number {
    const at = this.#size
    this.#size += bytes
    if (this.#size > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#size, 2 * this.#buffer.length))
      larger.set(this.#buffer.subarray(0, at))
      this.#buffer = larger
    }
    return at
  }
}

/** Reads such a layout. Missing, surplus or out-of-bounds bytes throw an EnvelopeError of the given kind. */
export class ByteReader {
  readonly #source: Buffer
  readonly #kind: EnvelopeErrorKind
  #offset = 0

  constructor(source: Buffer, kind: EnvelopeErrorKind) {
    this.#source = source
    this.#kind = kind
  }

  u8(): number {
    return this.bytes(1).readUInt8()
  }

  u16(): number {
    return this.bytes(2).readUInt16BE()
  }

  /** An integer of at most `limit`, which is a safe one. */
  u64(limit: number): number {
    const bytes = this.bytes(8)
    const value = bytes.readUInt32BE() * WORD + bytes.readUInt32BE(4)
    if (value > limit) throw new EnvelopeError(this.#kind)
    return value
  }

  /** A view of the next bytes, not a copy. */
  bytes(size: number): Buffer {
    const end = this.#offset + size
    if (end > this.#source.length) throw new EnvelopeError(this.#kind)
    const view = this.#source.subarray(this.#offset, end)
    this.#offset = end
    return view
  }

  /** One element of `fields`. */
  field(): Buffer {
    return this.bytes(this.bytes(4).readUInt32BE())
  }

  get done(): boolean {
    return this.#offset === this.#source.length
  }

  rest(): Buffer {
    return this.bytes(this.#source.length - this.#offset)
  }

  /** One bit per known flag; @throws when a bit at or above `known` is set. */
  flags(known: number): readonly boolean[] {
    const value = this.u8()
    if (value >= 2 ** known) throw new EnvelopeError(this.#kind)
    const flags: boolean[] = []
    for (let bit = 0; bit < known; bit += 1) flags.push((value >> bit) % 2 === 1)
    return flags
  }

  end(): void {
    if (!this.done) throw new EnvelopeError(this.#kind)
  }
}

/**
 * What failed (docs/FORMAT.md, Test vectors). For metrics and tests; never sent to a client.
 * `format`: envelope or attributes do not parse · `place`: bound to another bucket · `box`: a wrap does not open ·
 * `commitment`: other data key than the stored commitment says · `length`: stored size or byte count ·
 * `header`: stored stream header · `segment`: a tag · `truncated`, `trailing`: bytes missing or surplus ·
 * `zeros`, `footer`, `manifest`: the tail · `record`: upload or part record · `metadata`: metadata digest ·
 * `key`: SSE-C check value, the customer's key is another one.
 */
export const envelopeErrorKinds = [
  'format',
  'place',
  'box',
  'commitment',
  'length',
  'header',
  'segment',
  'truncated',
  'trailing',
  'zeros',
  'footer',
  'manifest',
  'record',
  'metadata',
  'key'
] as const
export type EnvelopeErrorKind = (typeof envelopeErrorKinds)[number]

/** Sealed data that must not be used. The message is the same for every kind, so that it may be shown to anyone. */
export class EnvelopeError extends Error {
  readonly kind: EnvelopeErrorKind

  constructor(kind: EnvelopeErrorKind) {
    super('The sealed data did not verify.')
    this.name = 'EnvelopeError'
    this.kind = kind
  }
}

/** Shared by all transfers; must not be written to. */
const block = Buffer.alloc(65536)

/** That many zeros, as views of one shared buffer. */
export function zeros(size: number): Buffer[] {
  const views: Buffer[] = []
  for (let left = size; left > 0; left -= block.length) views.push(block.subarray(0, left))
  return views
}

/** @throws EnvelopeError `zeros` when one byte is not zero. */
export function checkZeros(bytes: Buffer): void {
  for (let offset = 0; offset < bytes.length; offset += block.length) {
    const size = Math.min(block.length, bytes.length - offset)
    if (bytes.compare(block, 0, size, offset, offset + size) !== 0) throw new EnvelopeError('zeros')
  }
}
