import { createChecksum, checksumAlgorithms, type Checksum, type ChecksumAlgorithm } from '../http/checksums.ts'

/** `x-amz-checksum-*` and the checksum in base64. */
export type ChecksumField = readonly [name: string, value: string]

/** The checksum of a body that follows it (AWS, "Signature calculations: including trailing headers (chunked uploads)"). */
export class ChecksumTrailer {
  /** Bytes of `line`. */
  readonly lineLength: number
  readonly #name: string
  readonly #checksum: Checksum
  #field: ChecksumField | null = null

  constructor(algorithm: ChecksumAlgorithm) {
    this.#name = `x-amz-checksum-${algorithm}`
    this.lineLength = `${this.#name}:`.length + Math.ceil(checksumAlgorithms[algorithm].bytes / 3) * 4
    this.#checksum = createChecksum(algorithm)
  }

  update(chunk: Buffer): void {
    this.#checksum.update(chunk)
  }

  /** Name and value, without a line end. Call once, after the last byte. */
  line(): string {
    this.#field = [this.#name, this.#checksum.digest().toString('base64')]
    return this.#field.join(':')
  }

  /** null until `line` has been called. */
  get field(): ChecksumField | null {
    return this.#field
  }
}
