import { EnvelopeError } from './error.ts'

/** Shared by every transfer; nobody may write to it. */
const block = Buffer.alloc(65536)

/** That many zeros, as views on one shared buffer. */
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
