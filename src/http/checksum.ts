import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import { Crc64Nvme } from './crc64.ts'

export { combineCrc, type CombinableCrc } from './crc-combine.ts'

/**
 * The flexible checksums of S3 (AWS, "Checking object integrity"): names as in `x-amz-checksum-<name>`, digest sizes in
 * bytes, and which multipart types each allows. The wire value is base64 of the big-endian digest.
 */
export const checksumAlgorithms = {
  crc32: { bytes: 4, composite: true, fullObject: true },
  crc32c: { bytes: 4, composite: true, fullObject: true },
  crc64nvme: { bytes: 8, composite: false, fullObject: true },
  sha1: { bytes: 20, composite: true, fullObject: false },
  sha256: { bytes: 32, composite: true, fullObject: false }
} as const

export type ChecksumAlgorithm = keyof typeof checksumAlgorithms

/** A checksum being computed. `digest` is called once, at the end. */
export interface Checksum {
  update(chunk: Buffer): void
  /** @returns the digest, big-endian, of the size that `checksumAlgorithms` gives. */
  digest(): Buffer
}

/** @param text as in a header name or in XML, any case. @returns undefined for algorithms that are not computed here. */
export function checksumAlgorithmNamed(text: string): ChecksumAlgorithm | undefined {
  const name = text.toLowerCase()
  return Object.hasOwn(checksumAlgorithms, name) ? name as ChecksumAlgorithm : undefined
}

export function createChecksum(algorithm: ChecksumAlgorithm): Checksum {
  switch (algorithm) {
    case 'crc32': return new RunningCrc32(crc32)
    case 'crc32c': return new RunningCrc32(crc32c)
    case 'crc64nvme': return new Crc64Nvme()
    case 'sha1':
    case 'sha256': return createHash(algorithm)
  }
}

class RunningCrc32 implements Checksum {
  readonly #next: (chunk: Buffer, value: number) => number
  #value = 0

  constructor(next: (chunk: Buffer, value: number) => number) {
    this.#next = next
  }

  update(chunk: Buffer): void {
    this.#value = this.#next(chunk, this.#value)
  }

  digest(): Buffer {
    const out = Buffer.allocUnsafe(4)
    out.writeUInt32BE(this.#value >>> 0)
    return out
  }
}

/**
 * Reads a checksum as it stands in a header, a trailer or in XML.
 * @returns null unless the text is the one base64 spelling of a digest of the right size.
 */
export function parseChecksum(algorithm: ChecksumAlgorithm, text: string): Buffer | null {
  return decodeBase64(text, checksumAlgorithms[algorithm].bytes)
}

/** @returns the bytes, or null unless `text` is the one canonical base64 spelling of exactly `bytes` bytes. */
export function decodeBase64(text: string, bytes: number): Buffer | null {
  const value = Buffer.from(text, 'base64')
  // Node skips what is not base64; only a round trip shows that nothing was skipped.
  return value.length === bytes && value.toString('base64') === text ? value : null
}

/**
 * The checksum of a multipart object of type COMPOSITE (AWS, "Checking object integrity"): the same algorithm over the
 * digests of the parts. On the wire S3 appends `-N`, the number of parts, after the base64 text.
 * @param parts digests in order of part number.
 */
export function compositeChecksum(algorithm: ChecksumAlgorithm, parts: readonly Buffer[]): Buffer {
  const checksum = createChecksum(algorithm)
  for (const part of parts) checksum.update(part)
  return checksum.digest()
}
