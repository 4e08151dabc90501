import { createHash } from 'node:crypto'
import type { Header } from '../http/message.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'
import type { Tag } from '../s3/documents.ts'
import { type BucketClient, fieldOf } from '../store-client/bucket-client.ts'
import { parallelMap } from '../concurrency/parallel.ts'
import { childText, parseXml, renderXml, upstreamDocument, type XmlNode } from '../s3/xml.ts'
import { putTags, tagsOf } from '../store-client/object-properties.ts'
import type { UploadJournal } from './upload-journal.ts'

const MIB = 1024 * 1024
/** Parts of one object that are copied at once. */
const PARALLEL_PARTS = 4

export interface PartCopies {
  readonly journal: UploadJournal
  readonly key: string
  /** Stored bytes. */
  readonly size: number
  /** Bytes of a part, rounded up to whole MiB where this would give more parts than the store accepts. */
  readonly partSize: number
  /** Most parts that the store accepts in one upload. */
  readonly maxParts: number
  /** Headers that describe the new object, including the envelope. */
  readonly headers: readonly Header[]
  /** `x-amz-copy-source` and the conditions on it, sent with every part: bytes of two objects are never mixed. */
  readonly source: readonly Header[]
  /** Conditions under which the object may be replaced. */
  readonly destination: readonly Header[]
  /** The checksum that all parts have together: a destination with other bytes refuses the completion. null: none. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly type: 'COMPOSITE' | 'FULL_OBJECT'; readonly value: string } | null
  /** Called right before the object is replaced; false aborts the copy. */
  readonly unchanged: (parts: readonly CopiedPart[]) => Promise<boolean>
}

/** A part as the answer to its copy names it. */
export interface CopiedPart {
  readonly etag: string
  /** That of the upload's algorithm; null: the answer has none. */
  readonly checksum: string | null
}

/**
 * Copies a stored body onto its own name part by part, inside the store, byte for byte: for bodies above the limit of CopyObject (5 GiB; AWS API,
 * UploadPartCopy). An aborted copy leaves nothing behind, and the next run aborts the upload of one that was killed.
 * @returns the ETag of the new object; null when the copy was aborted because something changed.
 * @throws S3Error the store's error.
 */
export async function copyInParts(bucket: BucketClient, copies: PartCopies): Promise<string | null> {
  const { key, checksum } = copies
  const asked: Header[] = checksum === null ? [] : [['x-amz-checksum-algorithm', checksum.algorithm.toUpperCase()], ['x-amz-checksum-type', checksum.type]]
  return copies.journal.upload(bucket, key, [...copies.headers, ...asked], async (uploadId) => {
    const parts = await parallelMap(
      rangesOf(copies),
      { limit: PARALLEL_PARTS, signal: bucket.signal },
      (range, signal) => copyPart(bucket, copies, { uploadId, range, signal })
    )
    if (!await copies.unchanged(parts)) return null
    const list = renderXml(['CompleteMultipartUpload', parts.map((part, i) => ['Part', partNodes(part, i + 1, checksum)] as const)])
    const proof: Header[] = checksum === null ? [] : [[`x-amz-checksum-${checksum.algorithm}`, checksum.value], ['x-amz-checksum-type', checksum.type]]
    const completed = await bucket.document({
      method: 'POST',
      key,
      query: [['uploadId', uploadId]],
      headers: [['content-type', 'application/xml'], ...copies.destination, ...proof],
      body: list
    })
    return fieldOf(completed, 'ETag')
  })
}

function partNodes({ etag, checksum }: CopiedPart, number: number, of: PartCopies['checksum']): XmlNode[] {
  const sum: XmlNode[] = of === null || checksum === null ? [] : [[`Checksum${of.algorithm.toUpperCase()}`, checksum]]
  return [['PartNumber', String(number)], ['ETag', etag], ...sum]
}

interface Range {
  readonly number: number
  readonly first: number
  readonly last: number
}

/** Bytes of the parts of an object: as many as wanted, or whole MiB so that there are not too many. */
export function stepOf({ size, partSize, maxParts }: Pick<PartCopies, 'size' | 'partSize' | 'maxParts'>): number {
  return Math.max(partSize, Math.ceil(size / maxParts / MIB) * MIB)
}

function rangesOf(copies: PartCopies): Range[] {
  const { size } = copies
  const step = stepOf(copies)
  return Array.from({ length: Math.ceil(size / step) }, (_, i) => ({ number: i + 1, first: i * step, last: Math.min(size, (i + 1) * step) - 1 }))
}

interface PartCopy {
  readonly uploadId: string
  readonly range: Range
  readonly signal: AbortSignal
}

async function copyPart(bucket: BucketClient, { key, source, checksum }: PartCopies, { uploadId, range, signal }: PartCopy): Promise<CopiedPart> {
  const { number, first, last } = range
  const answer = await bucket.document({
    method: 'PUT',
    key,
    query: [['partNumber', String(number)], ['uploadId', uploadId]],
    headers: [...source, ['x-amz-copy-source-range', `bytes=${first}-${last}`]],
    signal
  })
  const document = parseXml(answer, upstreamDocument)
  const name = checksum === null ? null : `Checksum${checksum.algorithm.toUpperCase()}`
  return { etag: fieldOf(answer, 'ETag'), checksum: name === null ? null : childText(document, document.root, name) }
}

const PREFIX = 'rewrap-tags/'

interface Entry {
  readonly bucket: string
  readonly key: string
  readonly tags: readonly Tag[]
}

/**
 * For stores whose copies lose tags: the tags are saved in the state bucket before the copy and written again after it, so that a kill in between
 * loses nothing. Tags are not secret from the store, which has them in plaintext on the object.
 */
export class TagJournal {
  readonly #state: BucketClient
  readonly #bucket: BucketClient

  constructor(state: BucketClient, bucket: BucketClient) {
    this.#state = state
    this.#bucket = bucket
  }

  /** Runs a copy of the object onto itself that loses its tags. @throws what the copy throws, or the store's error. */
  async guard<T>(key: string, tags: readonly Tag[], copy: () => Promise<T>): Promise<T> {
    if (tags.length === 0) return copy()
    const entry: Entry = { bucket: this.#bucket.name, key, tags }
    await this.#state.document({ method: 'PUT', key: this.#nameOf(key), body: Buffer.from(JSON.stringify(entry)) })
    try {
      return await copy()
    } finally {
      // Even when it failed: the answer of a completed copy may have been lost.
      await this.#settle(this.#nameOf(key), entry)
    }
  }

  /** Restores the tags that a killed run has left. @returns the number of objects restored. */
  async recover(): Promise<number> {
    let recovered = 0
    for await (const page of this.#state.objects(this.#prefix)) {
      for (const { key: name } of page) {
        const body = await this.#state.documentOrNull({ method: 'GET', key: name, retry: true })
        if (body !== null && await this.#settle(name, JSON.parse(body.toString('utf8')) as Entry)) recovered += 1
      }
    }
    return recovered
  }

  /** An object that still has tags was not copied. */
  async #settle(name: string, { key, tags }: Entry): Promise<boolean> {
    const lost = await this.#bucket.head(key) !== null && (await tagsOf(this.#bucket, key, null)).length === 0
    if (lost) await putTags(this.#bucket, key, tags)
    await this.#state.document({ method: 'DELETE', key: name })
    return lost
  }

  get #prefix(): string {
    return `${PREFIX}${hash(this.#bucket.name)}/`
  }

  #nameOf(key: string): string {
    return `${this.#prefix}${hash(key)}`
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
