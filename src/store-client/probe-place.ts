import { randomBytes } from 'node:crypto'
import type { Upstream } from '../upstream/types.ts'
import { childText, parseXml, upstreamDocument } from '../s3/xml.ts'
import { BucketClient, fieldOf, type Answer, type Sent } from './bucket-client.ts'
import { contentMd5 } from './object-properties.ts'

/** Milliseconds that a probe may take to remove what it wrote, also after its own time is over: an upload would remain for ever. */
const CLEAN_UP_MS = 5000
/** Under which all probes write; `sealgate gc` removes from the gateway's own buckets what is old there. */
export const PROBE_PREFIX = 'probe/'

/** How much may still be asked again where a store was busy. */
export interface Repeats {
  requests: number
  /** Of bodies. */
  bytes: number
}

/** Takes the legal hold off a version, which no one can remove before. */
export function holdOff(key: string, version: string): Sent {
  const body = Buffer.from('<LegalHold xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>OFF</Status></LegalHold>')
  return { method: 'PUT', key, query: [['legal-hold', null], ['versionId', version]], headers: [contentMd5(body)], body }
}

/** A prefix of a bucket in which a probe works: the names that it used and the uploads that it began are removed by `cleanUp`. */
export class ProbePlace {
  readonly name: string
  readonly prefix: string
  readonly repeats: Repeats
  readonly #keys = new Set<string>()
  readonly #uploads = new Map<string, string>()
  #bucket: BucketClient
  /** Requests that may have made a version or a marker. */
  #writes = 0
  #held = false

  /**
   * @param prefix of every name. Default: random under `probe/`, so that instances that start together do not disturb each other.
   * @param repeats that its requests share with others
   */
  constructor(
    upstream: Upstream,
    bucket: string,
    signal: AbortSignal,
    prefix = `${PROBE_PREFIX}${randomBytes(12).toString('hex')}/`,
    repeats: Repeats = { requests: 0, bytes: 0 }
  ) {
    this.name = bucket
    this.prefix = prefix
    this.repeats = repeats
    this.#bucket = new BucketClient(upstream, bucket, signal)
  }

  get signal(): AbortSignal {
    return this.#bucket.signal
  }

  /** A key of this place, which `cleanUp` removes. */
  key(name: string): string {
    const key = this.prefix + name
    this.#keys.add(key)
    return key
  }

  /** What is written from now on has a legal hold, which `cleanUp` takes off. */
  hold(): void {
    this.#held = true
  }

  /** As BucketClient's. */
  answer(sent: Sent, maxBytes?: number): Promise<Answer> {
    this.#count(sent)
    return this.#bucket.answer(sent, maxBytes)
  }

  /** As BucketClient's. */
  document(sent: Sent): Promise<Buffer> {
    this.#count(sent)
    return this.#bucket.document(sent)
  }

  #count({ method }: Sent): void {
    if (method !== 'GET' && method !== 'HEAD') this.#writes += 1
  }

  /** CreateMultipartUpload. `id` is null when it is refused. @throws S3Error SealgateBadUpstream when the answer names none. */
  async createUpload(key: string, headers: Sent['headers'] = []): Promise<{ readonly answer: Answer; readonly id: string | null }> {
    const answer = await this.answer({ method: 'POST', key, query: [['uploads', null]], headers, body: Buffer.alloc(0) })
    const id = answer.status < 300 && answer.error === null ? fieldOf(answer.body, 'UploadId') : null
    if (id !== null) this.#uploads.set(id, key)
    return { answer, id }
  }

  /** The upload is over: there is nothing to abort. */
  ended(uploadId: string): void {
    this.#uploads.delete(uploadId)
  }

  /**
   * Removes everything, with versions and markers, in a time of its own.
   * @param ms for all of it
   * @returns what the store did not confirm as removed: keys, and uploads as `key?uploadId=ID`
   */
  async cleanUp(ms = CLEAN_UP_MS): Promise<readonly string[]> {
    this.#bucket = this.#bucket.until(AbortSignal.timeout(ms))
    const left: string[] = []
    const remove = async (key: string, query: readonly (readonly [string, string])[]): Promise<void> => {
      const gone = await this.answer({ method: 'DELETE', key, query }).then(({ status }) => status < 300 || status === 404, () => false)
      if (!gone) left.push([key, ...query.map(([name, id]) => `${name}=${encodeURIComponent(id)}`)].join('?'))
    }
    for (const [id, key] of this.#uploads) await remove(key, [['uploadId', id]])
    for (const key of this.#keys) await remove(key, [])
    for (const [key, version] of await this.#versions().catch(() => [])) {
      if (this.#held) await this.answer(holdOff(key, version)).catch(() => undefined)
      await remove(key, [['versionId', version]])
    }
    this.#uploads.clear()
    this.#keys.clear()
    return left
  }

  /**
   * What is left under the prefix after all of it was deleted: in a bucket with versions, those and their markers. A write makes at most one of them,
   * whatever the store lists.
   */
  async #versions(): Promise<readonly (readonly [key: string, version: string])[]> {
    const { status, body } = await this.answer({ method: 'GET', query: [['versions', null], ['prefix', this.prefix]] }, upstreamDocument.maxBytes)
    return status === 200 ? versionsUnder(body, this.prefix).slice(0, this.#writes) : []
  }
}

/**
 * Versions and delete markers under a prefix, from a ListVersionsResult of one page.
 * @throws S3Error SealgateBadUpstream for a document that is none
 */
function versionsUnder(document: Buffer, prefix: string): readonly (readonly [key: string, version: string])[] {
  const xml = parseXml(document, upstreamDocument)
  return xml.root.children.filter(({ name }) => name === 'Version' || name === 'DeleteMarker')
    .map((row) => [childText(xml, row, 'Key') ?? '', childText(xml, row, 'VersionId') ?? ''] as const)
    .filter(([key, version]) => key.startsWith(prefix) && version !== '')
}
