import type { Readable } from 'node:stream'
import type { Upstream, UpstreamRequest, UpstreamResponse } from '../../upstream/types.ts'
import { Finding, S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { parseErrorXml } from '../../s3/error-document.ts'
import { listingField, readListing } from '../../s3/listing.ts'
import { MOST_ROWS, PageTurns } from '../../s3/page-turns.ts'
import { upstreamDocument, renderXml, type XmlNode } from '../../s3/xml.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'

/** S3's limit of DeleteObjects. */
const DELETE_AT_ONCE = 1000
const RECORD_LIMIT_BYTES = 65536

/** An object of the state bucket, as a listing shows it. */
export interface StateEntry {
  readonly key: string
  /** Milliseconds since 1970, by the store's clock. */
  readonly lastModified: number
}

/**
 * The gateway's own bucket, used with its own credentials (docs/MULTIPART-STATE.md). Whatever the store answers
 * that is of no use becomes ServiceUnavailable: the client's request is not at fault.
 */
export class StateBucket {
  readonly #upstream: Upstream
  readonly #bucket: string
  readonly #signal: AbortSignal

  constructor(upstream: Upstream, bucket: string, signal: AbortSignal) {
    this.#upstream = upstream
    this.#bucket = bucket
    this.#signal = signal
  }

  /** @throws S3Error ServiceUnavailable unless the bucket is there. */
  async check(): Promise<void> {
    const response = await this.#send({ method: 'HEAD', retry: true })
    response.body.resume()
    if (response.status !== 200) throw unusable(`HEAD answers ${response.status}`, response)
  }

  /** Writes a small object. @param once the store is to refuse when the object exists. */
  async put(key: string, body: Buffer, once: boolean): Promise<void> {
    const headers = once ? [['if-none-match', '*'] as const] : []
    await this.#expect({ method: 'PUT', key, headers, body, contentLength: body.length, retry: !once })
  }

  /** Writes object data of known length. @returns the store's answer, whatever its status. */
  async putStream(key: string, body: Readable, contentLength: number): Promise<UpstreamResponse> {
    return this.#send({ method: 'PUT', key, body, contentLength, pool: 'data' })
  }

  /** A small object whole; null when the store says in plain words that there is none: a 404 may come from whatever stands before it. */
  async get(key: string): Promise<Buffer | null> {
    const response = await this.#send({ method: 'GET', key, retry: true })
    if (response.status !== 200 && response.status !== 404) throw await refused('GET', response)
    const body = await readAll(response.body, RECORD_LIMIT_BYTES, () => unusable('a record is too long'))
    if (response.status === 200) return body
    if (parseErrorXml(body)?.code === 'NoSuchKey') return null
    throw unusable('GET answers 404 for another reason than NoSuchKey', response)
  }

  /** An object's bytes as they come, to be sent to the store again. @throws S3Error ServiceUnavailable when it is missing or not of this length. */
  async open(key: string, length: number): Promise<Readable> {
    const response = await this.#send({ method: 'GET', key, retry: true, pool: 'source' })
    if (response.status !== 200) throw await refused('GET', response)
    if (response.headers.get('content-length') !== String(length)) {
      response.body.destroy()
      throw unusable('a stored part has another length')
    }
    return response.body
  }

  /**
   * All objects under a prefix, in order, a page at a time.
   * @param options.after keys up to this one, itself included, are left out.
   * @param options.mostRows a store that gives more is not believed.
   * @throws S3Error SealgateBadUpstream for a listing that does not end.
   */
  async *list(prefix: string, options: { readonly after?: string | null; readonly mostRows?: number } = {}): AsyncGenerator<readonly StateEntry[]> {
    const { after = null, mostRows = MOST_ROWS } = options
    const turns = new PageTurns(mostRows)
    let from: readonly (readonly [string, string])[] = after === null ? [] : [['start-after', after]]
    for (;;) {
      const response = await this.#expect({ method: 'GET', query: [['list-type', '2'], ['prefix', prefix], ...from], retry: true })
      const rows = readListing(response)
      yield rows.map(({ key, lastModified }) => ({ key, lastModified: Date.parse(lastModified ?? '') }))
      if (listingField(response, 'IsTruncated') !== 'true') return
      const token = listingField(response, 'NextContinuationToken')
      turns.turn(token, rows.length)
      from = [['continuation-token', token ?? '']]
    }
  }

  /** @returns how many the store says it could not remove. */
  async remove(keys: readonly string[]): Promise<number> {
    let failed = 0
    for (let from = 0; from < keys.length; from += DELETE_AT_ONCE) {
      const objects = keys.slice(from, from + DELETE_AT_ONCE).map((key): XmlNode => ['Object', [['Key', key]]])
      const body = renderXml(['Delete', [['Quiet', 'true'], ...objects]])
      const answer = await this.#expect({
        method: 'POST',
        query: [['delete', null]],
        headers: [contentMd5(body), ['content-type', 'application/xml']],
        body,
        contentLength: body.length,
        retry: true
      })
      failed += answer.toString('utf8').split('<Error>').length - 1
    }
    return failed
  }

  /** Removes everything under a prefix, in order, a page at a time. */
  async removeAll(prefix: string): Promise<void> {
    for await (const page of this.list(prefix)) await this.remove(page.map(({ key }) => key))
  }

  async #expect(sent: Sent): Promise<Buffer> {
    const response = await this.#send(sent)
    if (response.status !== 200) throw await refused(sent.method, response)
    return readAll(response.body, upstreamDocument.maxBytes, () => new S3Error('SealgateBadUpstream'))
  }

  #send(sent: Sent): Promise<UpstreamResponse> {
    return this.#upstream.request({
      bucket: this.#bucket,
      key: null,
      query: [],
      headers: [],
      body: null,
      contentLength: 0,
      signal: this.#signal,
      retry: false,
      pool: 'control',
      ...sent
    })
  }
}

type Sent = Pick<UpstreamRequest, 'method'> & Partial<UpstreamRequest>

async function refused(method: string, response: UpstreamResponse): Promise<S3Error> {
  response.body.resume()
  return unusable(`${method} answers ${response.status}`, response)
}

function unusable(reason: string, response: Pick<UpstreamResponse, 'diagnosis'> = {}): S3Error {
  return new S3Error('ServiceUnavailable', {
    message: 'The state bucket of the gateway cannot be used.',
    cause: new Finding(reason),
    diagnosis: response.diagnosis ?? null
  })
}
