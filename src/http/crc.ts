/**
 * CRC-64/NVME (NVM Express NVM Command Set specification 1.0d, 5.2.1.3.4): reflected, initial value and final XOR all
 * ones. Node has no 64-bit integers that are fast, so every 64-bit word is a pair of unsigned 32-bit halves.
 */
export type Word64 = readonly [high: number, low: number]

/** The polynomial 0xad93d23594c93659 with its bits reflected. */
export const crc64NvmePolynomial: Word64 = [0x9a6c9329, 0xac4bc9b5]

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
