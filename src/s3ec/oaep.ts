import { createHash } from 'node:crypto'

type Hash = 'sha1' | 'sha256'

/**
 * The message in a block of RSA-OAEP (RFC 8017, 7.1.2) with an empty label, whose mask may be made with another hash than the label's: OpenSSL has this,
 * Node does not offer it. Every fault is found at the same place, after the same steps (Manger, 2001).
 * @param block as long as the modulus.
 * @returns null: it is none.
 */
export function oaepMessage(block: Buffer, hash: Hash, maskHash: Hash): Buffer | null {
  const label = createHash(hash).digest()
  const size = label.length
  if (block.length < 2 * size + 2) return null
  const maskedSeed = block.subarray(1, 1 + size)
  const maskedData = block.subarray(1 + size)
  const seed = xor(maskedSeed, mask(maskHash, maskedData, size))
  const data = xor(maskedData, mask(maskHash, seed, maskedData.length))
  let wrong = block.readUInt8(0)
  for (let i = 0; i < size; i += 1) wrong |= data.readUInt8(i) ^ label.readUInt8(i)
  // Behind the label: zeros, one 0x01, and the message. `found` is 1 from the first byte that is not zero.
  let [found, start] = [0, 0]
  for (let i = size; i < data.length; i += 1) {
    const byte = data.readUInt8(i)
    const isSet = (byte | -byte) >>> 31
    const isFirst = isSet & (found ^ 1)
    wrong |= -isFirst & (byte ^ 1)
    start |= -isFirst & (i + 1)
    found |= isSet
  }
  wrong |= found ^ 1
  return wrong === 0 ? data.subarray(start) : null
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ b.readUInt8(i)))
}

/** MGF1 (RFC 8017, B.2.1). */
function mask(hash: Hash, seed: Buffer, length: number): Buffer {
  const blocks: Buffer[] = []
  for (let [i, bytes] = [0, 0]; bytes < length; i += 1) {
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(i)
    const block = createHash(hash).update(seed).update(counter).digest()
    blocks.push(block)
    bytes += block.length
  }
  return Buffer.concat(blocks, length)
}
