import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import type { IHasher } from 'hash-wasm'
import xxhash128 from 'hash-wasm/dist/xxhash128.umd.min.js'
import xxhash3 from 'hash-wasm/dist/xxhash3.umd.min.js'
import xxhash64 from 'hash-wasm/dist/xxhash64.umd.min.js'
import { S3Error } from '../errors.ts'
import { Crc64Nvme } from './crc.ts'

export { combineCrc, isCombinable } from './crc.ts'

/**
 * The flexible checksums of S3 (AWS API, ChecksumAlgorithm; User Guide, "Checking object integrity"): names as in
 * `x-amz-checksum-<name>`, digest sizes in bytes, and which types each allows of a multipart object. Only CRCs can be combined, so only
 * they are of type FULL_OBJECT. The wire value is base64 of the big-endian digest.
 */
export const checksumAlgorithms = {
  crc32: { bytes: 4, composite: true, fullObject: true },
  crc32c: { bytes: 4, composite: true, fullObject: true },
  crc64nvme: { bytes: 8, composite: false, fullObject: true },
  sha1: { bytes: 20, composite: true, fullObject: false },
  sha256: { bytes: 32, composite: true, fullObject: false },
  md5: { bytes: 16, composite: true, fullObject: false },
  sha512: { bytes: 64, composite: true, fullObject: false },
  xxhash64: { bytes: 8, composite: true, fullObject: false },
  xxhash3: { bytes: 8, composite: true, fullObject: false },
  xxhash128: { bytes: 16, composite: true, fullObject: false }
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

/** Hex SHA-256 of no bytes. */
export const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

const prefix = 'x-amz-checksum-'
const noValues = new Set(['algorithm', 'mode', 'type'])

/**
 * @param header name in lower case, of a header, form field or trailer.
 * @returns the name of the algorithm whose value it carries, known here or not; null when it carries none.
 */
export function algorithmOfHeader(header: string): string | null {
  const name = header.startsWith(prefix) ? header.slice(prefix.length) : ''
  return name === '' || noValues.has(name) ? null : name
}

/**
 * The rule for algorithms that are not computed here (docs/decisions/0035): they are refused wherever they are named, because a checksum that nobody
 * verifies must not look verified.
 * @throws S3Error InvalidRequest, as S3 words it.
 */
export function requireChecksumAlgorithm(text: string): ChecksumAlgorithm {
  const algorithm = checksumAlgorithmNamed(text)
  if (algorithm !== undefined) return algorithm
  const known = Object.keys(checksumAlgorithms).map((name) => name.toUpperCase()).sort().join(', ')
  throw new S3Error('InvalidRequest', { message: `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${known}]` })
}

/**
 * The one checksum in these headers or form fields, its value as written.
 * @param most how many there may be: 0 where a trailer carries the checksum.
 * @returns null when there is none.
 * @throws S3Error InvalidRequest for more, and for an algorithm that is not computed here.
 */
export function singleChecksumHeader(
  headers: ReadonlyMap<string, string>,
  most: 0 | 1
): { readonly algorithm: ChecksumAlgorithm; readonly name: string; readonly text: string } | null {
  const found = [...headers].flatMap(([name, text]) => {
    const named = algorithmOfHeader(name)
    return named === null ? [] : [{ named, name, text }]
  })
  if (found.length > most) {
    throw new S3Error('InvalidRequest', { message: 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.' })
  }
  const [only] = found
  return only === undefined ? null : { algorithm: requireChecksumAlgorithm(only.named), name: only.name, text: only.text }
}

export function invalidChecksumHeader(name: string): S3Error {
  return new S3Error('InvalidRequest', { message: `Value for ${name} header is invalid.` })
}

export function createChecksum(algorithm: ChecksumAlgorithm): Checksum {
  switch (algorithm) {
    case 'crc32':
      return new RunningCrc32(crc32)
    case 'crc32c':
      return new RunningCrc32(crc32c)
    case 'crc64nvme':
      return new Crc64Nvme()
    case 'sha1':
    case 'sha256':
    case 'sha512':
    case 'md5':
      return createHash(algorithm)
    case 'xxhash64':
    case 'xxhash3':
    case 'xxhash128':
      return new XxHash(algorithm)
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
 * Reads a checksum as written in a header, a trailer or in XML.
 * @returns null unless the text is the one base64 spelling of a digest of the right size.
 */
export function parseChecksum(algorithm: ChecksumAlgorithm, text: string): Buffer | null {
  return decodeBase64(text, checksumAlgorithms[algorithm].bytes)
}

/** @returns the bytes, or null unless `text` is the one canonical base64 spelling of exactly `bytes` bytes. */
export function decodeBase64(text: string, bytes: number): Buffer | null {
  const value = Buffer.from(text, 'base64')
  // Node skips invalid base64; only a round trip shows that nothing was skipped.
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

// WebAssembly compiles asynchronously and a checksum begins synchronously: so each is compiled once, when the module is loaded.
const hashers = {
  xxhash64: await xxhash64.createXXHash64(),
  xxhash3: await xxhash3.createXXHash3(),
  xxhash128: await xxhash128.createXXHash128()
}

type XxHashName = keyof typeof hashers

/**
 * A running XXH64, XXH3 (64 bits) or XXH128, seed 0, in canonical form (xxHash specification: big-endian). All transfers share one
 * instance of each; between two chunks a checksum is its saved state of at most 580 bytes.
 */
class XxHash {
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
