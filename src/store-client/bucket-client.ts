// The gateway's own requests to the store, apart from those it makes for a client: this client of one bucket, the state bucket (state-bucket.ts),
// readiness, and the probes that find out what a store enforces in which kind of bucket (capabilities.ts).
// May read XML with `s3`; bytes and connections are in `upstream`.
import type { HeaderList } from '../http/message.ts'
import type { Upstream, UpstreamRequest, UpstreamResponse } from '../upstream/types.ts'
import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { percentDecode } from '../http/target.ts'
import { parseErrorXml } from '../s3/error-document.ts'
import { listingField, readListing, type ListingRow } from '../s3/listing.ts'
import { PageTurns } from '../s3/page-turns.ts'
import { childText, parseXml, upstreamDocument } from '../s3/xml.ts'

const ERROR_LIMIT_BYTES = 65_536
/** Code of a 404 without an error document. */
const WORDLESS_404 = 'Status404'

export type Sent = Pick<UpstreamRequest, 'method'> & Partial<UpstreamRequest>

/** A bucket as it lies in the store, used with the gateway's own credentials: what the commands work on. */
export class BucketClient {
  readonly name: string
  readonly #upstream: Upstream
  readonly #signal: AbortSignal

  constructor(upstream: Upstream, name: string, signal: AbortSignal) {
    this.name = name
    this.#upstream = upstream
    this.#signal = signal
  }

  get signal(): AbortSignal {
    return this.#signal
  }

  /** The same bucket, whose requests end with another signal. */
  until(signal: AbortSignal): BucketClient {
    return new BucketClient(this.#upstream, this.name, signal)
  }

  /** The headers of an object; null when there is none (also under a delete marker). @throws S3Error what the store says. */
  async head(key: string, versionId: string | null = null): Promise<HeaderList | null> {
    const response = await this.send({ method: 'HEAD', key, query: versionId === null ? [] : [['versionId', versionId]], retry: true })
    response.body.resume()
    if (response.status === 404 || response.status === 405) return null
    if (response.status !== 200) throw refusal(response.status, Buffer.alloc(0))
    return response.headers
  }

  /** Pages of the current objects, in the order of their keys. @throws S3Error SealgateBadUpstream for a listing that does not end. */
  async *objects(prefix: string): AsyncGenerator<readonly ListingRow[]> {
    const turns = new PageTurns(Number.POSITIVE_INFINITY)
    let token: string | null = null
    for (;;) {
      const query: [string, string][] = [['list-type', '2'], ['encoding-type', 'url'], ['prefix', prefix]]
      if (token !== null) query.push(['continuation-token', token])
      const page = await this.document({ method: 'GET', query, retry: true })
      const rows = readListing(page)
      yield rows
      if (listingField(page, 'IsTruncated') !== 'true') return
      token = listingField(page, 'NextContinuationToken')
      turns.turn(token, rows.length)
    }
  }

  /** Pages of all versions; delete markers are left out, they hold no key. */
  async *versions(prefix: string): AsyncGenerator<readonly (ListingRow & { readonly isLatest: boolean })[]> {
    const turns = new PageTurns(Number.POSITIVE_INFINITY)
    let marker: readonly [key: string, version: string] | null = null
    do {
      const query: [string, string | null][] = [['versions', null], ['encoding-type', 'url'], ['prefix', prefix]]
      if (marker !== null) query.push(['key-marker', marker[0]], ['version-id-marker', marker[1]])
      const page = await this.document({ method: 'GET', query, retry: true })
      const rows = latest(page)
      yield rows
      marker = nextMarker(page)
      if (marker !== null) turns.turn(JSON.stringify(marker), rows.length)
    } while (marker !== null)
  }

  /** True when a write adds a version and keeps the one before. */
  async keepsVersions(): Promise<boolean> {
    const document = await this.documentOrNull({ method: 'GET', query: [['versioning', null]], retry: true })
    return document !== null && /<Status>\s*Enabled\s*<\/Status>/.test(document.toString('utf8'))
  }

  /** The document of a successful answer. @throws S3Error what the store says, also inside a 200 (AWS API, CopyObject). */
  async document(sent: Sent): Promise<Buffer> {
    const response = await this.send(sent)
    const body = await readAll(response.body, response.status < 300 ? upstreamDocument.maxBytes : ERROR_LIMIT_BYTES, unusable)
    if (response.status >= 300 || parseErrorXml(body) !== null) throw refusal(response.status, body)
    return body
  }

  /** As `document`; null for what the store says it does not have or does not know. What stands before it may say 404, too. */
  async documentOrNull(sent: Sent): Promise<Buffer | null> {
    try {
      return await this.document(sent)
    } catch (error) {
      const absent = error instanceof S3Error && (error.status === 404 || error.status === 501 || error.status === 405)
      if (absent && error.code !== WORDLESS_404) return null
      throw error
    }
  }

  send(sent: Sent): Promise<UpstreamResponse> {
    return this.#upstream.request({
      bucket: this.name,
      key: null,
      query: [],
      headers: [],
      body: null,
      contentLength: sent.body instanceof Buffer ? sent.body.length : 0,
      signal: this.#signal,
      retry: false,
      pool: 'control',
      ...sent
    })
  }
}

/** Text of an element right under the root. @throws S3Error SealgateBadUpstream when it is not there. */
export function fieldOf(document: Buffer, name: string): string {
  const xml = parseXml(document, upstreamDocument)
  const text = childText(xml, xml.root, name)
  if (text === null || text === '') throw unusable()
  return text
}

function latest(page: Buffer): (ListingRow & { readonly isLatest: boolean })[] {
  const xml = parseXml(page, upstreamDocument)
  const flags = xml.root.children.filter(({ name }) => name === 'Version').map((element) => childText(xml, element, 'IsLatest') === 'true')
  return readListing(page).map((row, i) => ({ ...row, isLatest: flags[i] === true }))
}

/** Decoded: the store encodes the marker as it encodes keys. */
function nextMarker(page: Buffer): readonly [string, string] | null {
  if (listingField(page, 'IsTruncated') !== 'true') return null
  const key = listingField(page, 'NextKeyMarker')
  if (key === null) throw unusable()
  const encoded = listingField(page, 'EncodingType') === 'url'
  return [encoded ? percentDecode(key.replaceAll('+', ' ')) : key, listingField(page, 'NextVersionIdMarker') ?? '']
}

/** Error of the store, with its own code and status. */
function refusal(status: number, body: Buffer): S3Error {
  const parsed = parseErrorXml(body)
  const code = parsed?.code ?? `Status${status}`
  return new S3Error('SealgateBadUpstream', {
    code,
    status: status < 300 ? 500 : status,
    message: `The store answers ${code}${parsed === null ? '' : `: ${parsed.message}`}`
  })
}

function unusable(): S3Error {
  return new S3Error('SealgateBadUpstream')
}
