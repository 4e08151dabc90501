// The gateway's own requests to the store, apart from those it makes for a client: this client of one bucket, the state bucket (state-bucket.ts),
// readiness, and the probes that find out what a store enforces in which kind of bucket (capabilities.ts).
// May read XML with `s3`; bytes and connections are in `upstream`.
import { nameOf, type Diagnosis } from '../diagnosis.ts'
import type { HeaderList } from '../http/message.ts'
import type { Upstream, UpstreamRequest, UpstreamResponse } from '../upstream/types.ts'
import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { parseErrorXml, type ParsedError } from '../s3/error-document.ts'
import { keyOf, type HistoryRow, type ListingField, type ListingRow } from '../s3/listing-rows.ts'
import { PageTurns } from '../s3/page-turns.ts'
import { openListing, type Listing } from '../s3/scanned-listing.ts'
import { childText, parseXml, upstreamDocument } from '../s3/xml.ts'

const ERROR_LIMIT_BYTES = 65_536
/** Characters of a message of the store. */
const MOST_SHOWN = 300
/** Code of a 404 without an error document. */
const WORDLESS_404 = 'Status404'

/** A request. Default: the bucket itself, no body, the control pool, no retry. */
export type Sent = Pick<UpstreamRequest, 'method'> & Partial<UpstreamRequest>

/** A small answer read whole, whatever its status. */
export interface Answer {
  readonly status: number
  readonly headers: HeaderList
  readonly body: Buffer
  /** Of an error document, also of one inside a 200 (AWS API, CopyObject). */
  readonly error: ParsedError | null
  readonly diagnosis: Diagnosis | null
}

/** Makes the error of an answer that cannot be used. */
type Refusal = (sent: Sent, answer: Pick<Answer, 'status' | 'error' | 'diagnosis'>) => S3Error

interface ListOptions {
  /** Keys up to and including this one are left out. */
  readonly after?: string | null
  /** Most rows to accept from a store. Default: any number, for callers that hold one page at a time. */
  readonly mostRows?: number
}

type Query = readonly (readonly [name: string, value: string | null])[]

/** How a listing is read page by page. */
interface Pages<T> {
  /** What every row's name begins with. */
  readonly prefix: string
  readonly query: Query
  /** The query of the first page. */
  readonly from: Query
  readonly mostRows?: number
  readonly rows: (page: Listing) => readonly T[]
  /** The query of the next page; null where the store does not name it, which is an error. Called only where there is a next page. */
  readonly next: (page: Listing) => Query | null
}

/** A bucket in the store, used with the gateway's own credentials: the only client for the gateway's own requests. */
export class BucketClient {
  readonly name: string
  readonly #upstream: Upstream
  readonly #signal: AbortSignal
  readonly #refusal: Refusal

  /** @param refusal default: the store's own code and status. */
  constructor(upstream: Upstream, name: string, signal: AbortSignal, refusal: Refusal = storesError) {
    this.name = name
    this.#upstream = upstream
    this.#signal = signal
    this.#refusal = refusal
  }

  get signal(): AbortSignal {
    return this.#signal
  }

  /** The same bucket, with another signal for its requests. */
  until(signal: AbortSignal): BucketClient {
    return new BucketClient(this.#upstream, this.name, signal, this.#refusal)
  }

  /** The headers of an object; null when there is none (also under a delete marker). @throws S3Error the store's error. */
  async head(key: string, versionId: string | null = null): Promise<HeaderList | null> {
    const { status, headers } = await this.answer({ method: 'HEAD', key, query: versionId === null ? [] : [['versionId', versionId]], retry: true })
    if (status === 404 || status === 405) return null
    if (status !== 200) throw storesError({ method: 'HEAD' }, { status, error: null, diagnosis: null })
    return headers
  }

  /** Pages of the current objects, in the order of their keys. @throws S3Error SealgateBadUpstream for a listing that does not end. */
  objects(prefix: string, { after = null, mostRows }: ListOptions = {}): AsyncGenerator<readonly ListingRow[]> {
    return this.#pages({
      prefix,
      query: [['list-type', '2']],
      from: after === null ? [] : [['start-after', after]],
      ...mostRows === undefined ? {} : { mostRows },
      rows: ({ rows }) => rows,
      next: (page) => {
        const token = page.field('NextContinuationToken')
        return token === null ? null : [['continuation-token', token]]
      }
    })
  }

  /** Pages of all versions and delete markers, in the order of the store: by key, the newest first. @throws as `objects`. */
  history(prefix: string): AsyncGenerator<readonly HistoryRow[]> {
    return this.#pages({
      prefix,
      query: [['versions', null]],
      from: [],
      rows: (page) => page.history(),
      next: (page) => nextPage(page, 'NextVersionIdMarker', 'version-id-marker')
    })
  }

  /** Pages of the uploads that are neither completed nor aborted. @throws as `objects`. */
  uploads(prefix: string): AsyncGenerator<readonly ListingRow[]> {
    return this.#pages({
      prefix,
      query: [['uploads', null]],
      from: [],
      rows: ({ rows }) => rows,
      next: (page) => nextPage(page, 'NextUploadIdMarker', 'upload-id-marker')
    })
  }

  /** A row that was on the page before is left out: versitygw repeats one, which need not be the last. */
  async *#pages<T extends Named>({ prefix, query, from, mostRows = Number.POSITIVE_INFINITY, rows, next }: Pages<T>): AsyncGenerator<readonly T[]> {
    const turns = new PageTurns(mostRows)
    let before: ReadonlySet<string> = new Set()
    for (let at: Query | null = from; at !== null;) {
      const document = await this.document({ method: 'GET', query: [...query, ['encoding-type', 'url'], ['prefix', prefix], ...at], retry: true })
      const page = await openListing(document)
      const names = new Map(rows(page).map((row) => [JSON.stringify([row.key, row.versionId, row.uploadId]), row]))
      const found = [...names].flatMap(([name, row]) => before.has(name) ? [] : [row])
      if (!found.every(({ key }) => key.startsWith(prefix))) {
        throw new S3Error('SealgateBadUpstream', { message: 'The store lists names that do not begin with the prefix that was asked for.' })
      }
      yield found
      if (!page.goesOn()) return
      at = next(page)
      const all = [...names.keys()]
      turns.turn(at === null ? null : JSON.stringify(at), found.length, JSON.stringify([all[0], all.at(-1)]))
      before = new Set(all)
    }
  }

  /** True when a write adds a version and keeps the previous one. */
  async keepsVersions(): Promise<boolean> {
    const document = await this.documentOrNull({ method: 'GET', query: [['versioning', null]], retry: true })
    return document !== null && versioningStatus(document) === 'Enabled'
  }

  /** False for a bucket that has never kept versions: true where it does, or did until versions were suspended. */
  async hasVersions(): Promise<boolean> {
    const document = await this.documentOrNull({ method: 'GET', query: [['versioning', null]], retry: true })
    return document !== null && versioningStatus(document) !== undefined
  }

  /** The document of a successful answer. @throws S3Error the store's error, also inside a 200 (AWS API, CopyObject). */
  async document(sent: Sent): Promise<Buffer> {
    const answer = await this.answer(sent, upstreamDocument.maxBytes)
    if (answer.status >= 300 || answer.error !== null) throw this.#refusal(sent, answer)
    return answer.body
  }

  /** As `document`; null where the store answers that it does not have or know it. A 404 without a document may come from a proxy and is an error. */
  async documentOrNull(sent: Sent): Promise<Buffer | null> {
    try {
      return await this.document(sent)
    } catch (error) {
      const absent = error instanceof S3Error && (error.status === 404 || error.status === 501 || error.status === 405)
      if (absent && error.code !== WORDLESS_404) return null
      throw error
    }
  }

  /** Any answer, read whole. @param maxBytes of a success. @throws S3Error SealgateBadUpstream for a longer one; of the upstream. */
  async answer(sent: Sent, maxBytes: number = ERROR_LIMIT_BYTES): Promise<Answer> {
    const { status, headers, body, diagnosis = null } = await this.send(sent)
    const read = await readAll(body, status < 300 ? maxBytes : ERROR_LIMIT_BYTES, unusable)
    return { status, headers, body: read, error: shownError(parseErrorXml(read)), diagnosis }
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

/** What ends up in logs and on terminals: a name, and a line of text without control characters. */
function shownError(error: ParsedError | null): ParsedError | null {
  if (error === null) return null
  return { ...error, code: nameOf(error.code) ?? 'UnreadableCode', message: error.message.slice(0, MOST_SHOWN).replace(/[\p{C}\s]+/gu, ' ') }
}

/** Busy, away or with a fault of its own: 501 says what the store is. @param status 0: there was no usable answer. */
export function isPassing(status: number): boolean {
  return status === 0 || status === 429 || (status >= 500 && status !== 501)
}

/** The status of a VersioningConfiguration; undefined where versions were never enabled (AWS API, GetBucketVersioning). */
export function versioningStatus(document: Buffer): string | undefined {
  return /<Status>\s*(\w+)\s*<\/Status>/.exec(document.toString('utf8'))?.[1]
}

/** Text of an element directly under the root. @throws S3Error SealgateBadUpstream when it is missing. */
export function fieldOf(document: Buffer, name: string): string {
  const xml = parseXml(document, upstreamDocument)
  const text = childText(xml, xml.root, name)
  if (text === null || text === '') throw unusable()
  return text
}

/** What tells the rows of a listing apart. */
type Named = Pick<ListingRow, 'key' | 'versionId' | 'uploadId'>

/**
 * The store encodes the marker as it encodes keys; radosgw 16 leaves it as it is. It is the name of a row of the page, mostly of its last, which tells
 * both apart: decoded twice, a name would be another, and rows would be left out.
 */
function nextPage(page: Listing, idMarker: ListingField, idName: string): Query {
  const marker = page.field('NextKeyMarker')
  if (marker === null) throw unusable()
  return [['key-marker', page.hasKey(marker) ? marker : keyOf(marker, page.isEncoded)], [idName, page.field(idMarker) ?? '']]
}

function storesError(_: Sent, { status, error, diagnosis }: Pick<Answer, 'status' | 'error' | 'diagnosis'>): S3Error {
  const code = error?.code ?? `Status${status}`
  return new S3Error('SealgateBadUpstream', {
    code,
    status: status < 300 ? 500 : status,
    message: `The store answers ${code}${error === null ? '' : `: ${error.message}`}`,
    diagnosis
  })
}

function unusable(): S3Error {
  return new S3Error('SealgateBadUpstream')
}
