import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Backend, BlobWriter, StoredBucket } from './backend.ts'
import type { Blob, Slice } from './records.ts'
import { firstWhere } from '../collections/bisect.ts'

/** Bodies up to this many bytes are copied into one Buffer; longer ones stay in the chunks they came in. */
const COMPACT_LIMIT = 128 * 1024

/** The chunks of a blob, and where each ends. */
interface Chunks {
  readonly buffers: readonly Buffer[]
  readonly ends: readonly number[]
}

/** Keeps everything in this process and forgets it at the end. Records live in the catalog; only bytes are kept here. */
export class MemoryBackend implements Backend {
  readonly #blobs = new Map<string, Chunks>()

  async load(): Promise<readonly StoredBucket[]> {
    return []
  }

  async createBlob(): Promise<BlobWriter> {
    const buffers: Buffer[] = []
    let size = 0
    return {
      write: (chunk) => {
        buffers.push(chunk)
        size += chunk.length
        return undefined
      },
      commit: async () => this.#keep(size <= COMPACT_LIMIT ? [Buffer.concat(buffers)] : buffers),
      abort: async () => {
        buffers.length = 0
      }
    }
  }

  async linkBlob(blob: Blob): Promise<Blob> {
    return this.#keep(this.#chunks(blob).buffers)
  }

  read(slices: readonly Slice[]): Readable {
    return new BufferReadable(slices.flatMap((slice) => [...cut(this.#chunks(slice.blob), slice)]))
  }

  async removeBlob(blob: Blob): Promise<void> {
    this.#blobs.delete(blob.id)
  }

  async saveBucket(): Promise<void> {}
  async removeBucket(): Promise<void> {}
  async saveKey(): Promise<void> {}
  async saveUpload(): Promise<void> {}
  async savePart(): Promise<void> {}
  async removeUpload(): Promise<void> {}

  #keep(buffers: readonly Buffer[]): Blob {
    const ends: number[] = []
    let size = 0
    for (const buffer of buffers) ends.push(size += buffer.length)
    const id = randomUUID()
    this.#blobs.set(id, { buffers, ends })
    return { id, size }
  }

  #chunks(blob: Blob): Chunks {
    const chunks = this.#blobs.get(blob.id)
    if (chunks === undefined) throw new Error(`blob ${blob.id} is gone`)
    return chunks
  }
}

/** The bytes of a slice, as views into the chunks. */
function* cut(chunks: Chunks, { start, end }: Slice): Generator<Buffer> {
  if (start >= end) return
  for (let i = firstWhere(chunks.ends, (ending) => ending > start); i < chunks.buffers.length; i += 1) {
    const buffer = chunks.buffers[i] as Buffer
    const offset = (chunks.ends[i] as number) - buffer.length
    if (offset >= end) return
    yield buffer.subarray(Math.max(0, start - offset), end - offset)
  }
}

/** Readable.from would wrap every chunk in a promise; this hands over as much as the reader has room for. */
class BufferReadable extends Readable {
  readonly #buffers: readonly Buffer[]
  #next = 0

  constructor(buffers: readonly Buffer[]) {
    super({ highWaterMark: 512 * 1024 })
    this.#buffers = buffers
  }

  override _read(): void {
    while (this.#next < this.#buffers.length) {
      const buffer = this.#buffers[this.#next] as Buffer
      this.#next += 1
      if (!this.push(buffer)) return
    }
    this.push(null)
  }
}
