import { crc64NvmePolynomial, type Word64 } from './crc.ts'

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
