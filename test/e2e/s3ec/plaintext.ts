import { createCipheriv, createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

const CHUNK = 1 << 20

/** Bytes that look random and that the seed alone decides. */
function* chunks(seed: string, size: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16), {})
  for (let left = size; left > 0; left -= CHUNK) yield cipher.update(Buffer.alloc(Math.min(CHUNK, left)))
}

/** Writes the plaintext of an object to a file. @returns its SHA-256 in hex */
export async function writePlaintext(file: string, seed: string, size: number): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(Readable.from(chunks(seed, size)), async function*(source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      hash.update(chunk)
      yield chunk
    }
  }, createWriteStream(file))
  return hash.digest('hex')
}
