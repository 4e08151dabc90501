/**
 * CRC-64/NVME (NVM Express NVM Command Set specification 1.0d, 5.2.1.3.4): reflected, initial value and final XOR all ones. Node has no fast 64-bit
 * integers, so every 64-bit word is a pair of unsigned 32-bit halves.
 */
type Word64 = readonly [high: number, low: number]

/** The polynomial 0xad93d23594c93659 with its bits reflected. */
const crc64NvmePolynomial: Word64 = [0x9a6c9329, 0xac4bc9b5]

// Slicing-by-8: row k holds the effect of a byte that is followed by k zero bytes. Eight rows let one step take 8 bytes.
const high = new Uint32Array(8 * 256)
const low = new Uint32Array(8 * 256)
for (let byte = 0; byte < 256; byte += 1) {
  let h = 0
  let l = byte
  for (let bit = 0; bit < 8; bit += 1) {
    const carry = l & 1
    l = (l >>> 1) | (h << 31)
    h >>>= 1
    if (carry === 1) {
      h ^= crc64NvmePolynomial[0]
      l ^= crc64NvmePolynomial[1]
    }
  }
  high[byte] = h
  low[byte] = l
}
for (let i = 256; i < 8 * 256; i += 1) {
  const h = at(high, i - 256)
  const l = at(low, i - 256)
  high[i] = at(high, l & 0xff) ^ (h >>> 8)
  low[i] = at(low, l & 0xff) ^ ((l >>> 8) | (h << 24))
}

function at(table: Uint32Array, index: number): number {
  return table[index] as number
}

/** Running CRC-64/NVME. */
export class Crc64Nvme {
  #high = 0xffffffff
  #low = 0xffffffff

  update(chunk: Buffer): void {
    let h = this.#high | 0
    let l = this.#low | 0
    const words = chunk.length - chunk.length % 8
    let i = 0
    for (; i < words; i += 8) {
      const a = l ^ (at8(chunk, i) | at8(chunk, i + 1) << 8 | at8(chunk, i + 2) << 16 | at8(chunk, i + 3) << 24)
      const b = h ^ (at8(chunk, i + 4) | at8(chunk, i + 5) << 8 | at8(chunk, i + 6) << 16 | at8(chunk, i + 7) << 24)
      const i7 = 1792 + (a & 0xff)
      const i6 = 1536 + (a >>> 8 & 0xff)
      const i5 = 1280 + (a >>> 16 & 0xff)
      const i4 = 1024 + (a >>> 24)
      const i3 = 768 + (b & 0xff)
      const i2 = 512 + (b >>> 8 & 0xff)
      const i1 = 256 + (b >>> 16 & 0xff)
      const i0 = b >>> 24
      h = at(high, i7) ^ at(high, i6) ^ at(high, i5) ^ at(high, i4) ^ at(high, i3) ^ at(high, i2) ^ at(high, i1) ^ at(high, i0)
      l = at(low, i7) ^ at(low, i6) ^ at(low, i5) ^ at(low, i4) ^ at(low, i3) ^ at(low, i2) ^ at(low, i1) ^ at(low, i0)
    }
    for (; i < chunk.length; i += 1) {
      const index = (l ^ at8(chunk, i)) & 0xff
      l = at(low, index) ^ ((l >>> 8) | (h << 24))
      h = at(high, index) ^ (h >>> 8)
    }
    this.#high = h >>> 0
    this.#low = l >>> 0
  }

  /** @returns 8 bytes, big-endian. */
  digest(): Buffer {
    const out = Buffer.allocUnsafe(8)
    out.writeUInt32BE(~this.#high >>> 0, 0)
    out.writeUInt32BE(~this.#low >>> 0, 4)
    return out
  }
}

function at8(bytes: Buffer, index: number): number {
  return bytes[index] as number
}

/**
 * CRCs of a concatenation from the CRCs of its pieces. Appending n zero bytes multiplies a CRC by x^(8n) modulo the
 * polynomial over GF(2), so crc(A‖B) = crc(A)·x^(8·|B|) + crc(B): the all-ones start and end values cancel out.
 * Polynomials are reflected: the highest bit of a word is the coefficient of x^0.
 */
const reflected32 = { crc32: 0xedb88320, crc32c: 0x82f63b78 } as const

export type CombinableCrc = 'crc32' | 'crc32c' | 'crc64nvme'

export function isCombinable(algorithm: string): algorithm is CombinableCrc {
  return algorithm === 'crc64nvme' || Object.hasOwn(reflected32, algorithm)
}

/**
 * @param crcA CRC of the first piece, big-endian, 4 or 8 bytes. @param crcB CRC of what follows it.
 * @param lengthB bytes of the second piece.
 * @returns the CRC of both pieces in a row, big-endian.
 * @throws RangeError when a CRC has the wrong size or the length is no safe whole number.
 */
export function combineCrc(algorithm: CombinableCrc, crcA: Buffer, crcB: Buffer, lengthB: number): Buffer {
  const bytes = algorithm === 'crc64nvme' ? 8 : 4
  if (crcA.length !== bytes || crcB.length !== bytes) throw new RangeError(`A ${algorithm} has ${bytes} bytes.`)
  if (!Number.isSafeInteger(lengthB) || lengthB < 0) throw new RangeError('The length must be a whole number of bytes.')
  const out = Buffer.allocUnsafe(bytes)
  if (algorithm === 'crc64nvme') {
    const moved = multiply64([crcA.readUInt32BE(0), crcA.readUInt32BE(4)], shift64(lengthB))
    out.writeUInt32BE((moved[0] ^ crcB.readUInt32BE(0)) >>> 0, 0)
    out.writeUInt32BE((moved[1] ^ crcB.readUInt32BE(4)) >>> 0, 4)
  } else {
    const moved = multiply32(crcA.readUInt32BE(0), shift32(algorithm, lengthB), reflected32[algorithm])
    out.writeUInt32BE((moved ^ crcB.readUInt32BE(0)) >>> 0, 0)
  }
  return out
}

// x^(2^k) for k < 56: enough to reach x^(8n) for every n a JavaScript number holds exactly.
const powers = 56
const squares32 = { crc32: squareTable32(reflected32.crc32), crc32c: squareTable32(reflected32.crc32c) }
const squares64 = squareTable64()

function squareTable32(polynomial: number): readonly number[] {
  const table = [0x40000000]
  for (let last = 0x40000000; table.length < powers;) {
    last = multiply32(last, last, polynomial)
    table.push(last)
  }
  return table
}

function squareTable64(): readonly Word64[] {
  let last: Word64 = [0x40000000, 0]
  const table = [last]
  while (table.length < powers) {
    last = multiply64(last, last)
    table.push(last)
  }
  return table
}

/** x^(8·length): the bits of the length pick the squares, from x^(2^3) on. */
function shift32(algorithm: 'crc32' | 'crc32c', length: number): number {
  let product = 0x80000000
  for (let rest = length, k = 3; rest > 0; rest = Math.floor(rest / 2), k += 1) {
    if (rest % 2 === 1) product = multiply32(product, squares32[algorithm][k] ?? 0, reflected32[algorithm])
  }
  return product
}

function shift64(length: number): Word64 {
  let product: Word64 = [0x80000000, 0]
  for (let rest = length, k = 3; rest > 0; rest = Math.floor(rest / 2), k += 1) {
    if (rest % 2 === 1) product = multiply64(product, squares64[k] ?? [0, 0])
  }
  return product
}

function multiply32(a: number, b: number, polynomial: number): number {
  let product = 0
  let moved = b
  for (let bit = 31; bit >= 0; bit -= 1) {
    if ((a >>> bit & 1) === 1) product ^= moved
    moved = (moved & 1) === 1 ? (moved >>> 1) ^ polynomial : moved >>> 1
  }
  return product >>> 0
}

function multiply64(a: Word64, b: Word64): Word64 {
  let high = 0
  let low = 0
  let [h, l] = b
  for (let bit = 63; bit >= 0; bit -= 1) {
    if (((bit > 31 ? a[0] >>> (bit - 32) : a[1] >>> bit) & 1) === 1) {
      high ^= h
      low ^= l
    }
    const carry = l & 1
    l = (l >>> 1) | (h << 31)
    h >>>= 1
    if (carry === 1) {
      h ^= crc64NvmePolynomial[0]
      l ^= crc64NvmePolynomial[1]
    }
  }
  return [high >>> 0, low >>> 0]
}
