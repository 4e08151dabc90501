import { authorityOf } from './authority.ts'
import { Readable } from 'node:stream'
import type { Config, UpstreamConfig } from '../config/config.ts'
import type { StoreFeature } from '../config/store-profiles.ts'
import { createUpstream, type StoreUpstream, type PoolStats, type UpstreamOptions } from '../upstream/upstream.ts'
import type { UpstreamRequest, UpstreamResponse } from '../upstream/types.ts'
import { parallelMap } from '../concurrency/parallel.ts'
import { S3Error, type S3ErrorCode } from '../errors.ts'
import { HeaderList, type Header } from '../http/message.ts'
import { readAll } from '../http/stage.ts'
import { clientDocument, parseDelete, type DeleteEntry } from '../s3/documents.ts'
import { parseErrorXml, renderError } from '../s3/error-document.ts'
import { listingAsV2, markerOfToken } from '../s3/listing.ts'
import { renderXml, upstreamDocument, type XmlNode } from '../s3/xml.ts'
import { isPassing } from './bucket-client.ts'

/** Requests for one DeleteObjects at once, of the 64 and more that small requests have. */
const PARALLEL_DELETES = 16
const ERROR_LIMIT_BYTES = 65_536
const COPY_SOURCE = 'x-amz-copy-source'

/** Sub-resources that are the operations of a feature. */
const subresources: Readonly<Partial<Record<StoreFeature, readonly string[]>>> = {
  acl: ['acl'],
  cors: ['cors'],
  lifecycle: ['lifecycle'],
  lock: ['legal-hold', 'object-lock', 'retention'],
  policy: ['policy', 'policyStatus'],
  tagging: ['tagging'],
  versioning: ['versioning', 'versions'],
  website: ['website']
}

/**
 * What a GET of these sub-resources is answered with where nothing was ever set (AWS API): a store without the feature has nothing set, and programs
 * that copy (`aws s3 cp`) or show an object ask for its tags before they go on.
 */
const unset: Readonly<Record<'bucket' | 'object', Readonly<Record<string, S3ErrorCode | { readonly document: XmlNode }>>>> = {
  bucket: {
    cors: 'NoSuchCORSConfiguration',
    lifecycle: 'NoSuchLifecycleConfiguration',
    'object-lock': 'ObjectLockConfigurationNotFoundError',
    policy: 'NoSuchBucketPolicy',
    policyStatus: 'NoSuchBucketPolicy',
    tagging: 'NoSuchTagSet',
    versioning: { document: ['VersioningConfiguration', []] },
    website: 'NoSuchWebsiteConfiguration'
  },
  object: { tagging: { document: ['Tagging', [['TagSet', []]]] } }
}

/** How the documents begin that a store with these settings answers with (AWS API). */
const settingsDocuments: Readonly<Record<string, RegExp>> = {
  cors: /<CORSConfiguration[\s/>]/,
  lifecycle: /<LifecycleConfiguration[\s/>]/,
  'object-lock': /<ObjectLockConfiguration[\s/>]/,
  policy: /^\s*\{/,
  policyStatus: /<PolicyStatus[\s/>]/,
  tagging: /<Tagging[\s/>]/,
  versioning: /<VersioningConfiguration[\s/>]/,
  website: /<WebsiteConfiguration[\s/>]/
}

/** Headers that ask for a feature. */
const headers: Readonly<Partial<Record<StoreFeature, RegExp>>> = {
  acl: /^x-amz-(acl|grant-.*)$/,
  lock: /^x-amz-(bucket-)?object-lock-/,
  tagging: /^x-amz-tagging$/
}

/** Headers that change nothing where the feature is not there: left out with these values, or null: with any. */
export const idleHeaders: Readonly<Partial<Record<StoreFeature, { readonly name: string; readonly values: readonly string[] | null }>>> = {
  // Without ACLs, whoever owns the bucket owns its objects, and nobody else reads them.
  acl: { name: 'x-amz-acl', values: ['private', 'bucket-owner-full-control'] },
  lock: { name: 'x-amz-bypass-governance-retention', values: null },
  tagging: { name: 'x-amz-tagging-directive', values: null }
}

/**
 * A store of the configuration, with the gateway's own credentials.
 * @throws Error of the file system when the certificate of its authority cannot be read.
 */
export function openUpstream(settings: UpstreamConfig, limits: Config['limits'], options: UpstreamOptions = {}): StoreUpstream {
  return adaptStore(createUpstream({ ...settings, ca: authorityOf(settings) }, limits, options), settings)
}

/** A store that has less than all of S3 (`upstream.lacks`), with what can be done by other requests. Closes the store. */
export function adaptStore(store: StoreUpstream, { lacks }: { readonly lacks: readonly StoreFeature[] }): StoreUpstream {
  return lacks.length === 0 ? store : new StoreAdapter(store, lacks)
}

class StoreAdapter implements StoreUpstream {
  readonly #store: StoreUpstream
  readonly #lacks: ReadonlySet<StoreFeature>

  constructor(store: StoreUpstream, lacks: readonly StoreFeature[]) {
    this.#store = store
    this.#lacks = new Set(lacks)
  }

  retire(): Promise<void> {
    return this.#store.retire()
  }

  stats(): readonly PoolStats[] {
    return this.#store.stats()
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  /**
   * As for every store. A feature that is not there is answered with 501, as a store does that says so itself, and a read of its settings as if
   * none were set.
   */
  async request(request: UpstreamRequest): Promise<UpstreamResponse> {
    const asked = this.#withoutIdle(request)
    const settings = this.#settingsOf(asked)
    if (settings !== null) return this.#unset(asked, settings)
    const lacking = this.#lacking(asked)
    if (lacking !== null) {
      if (asked.body instanceof Readable) asked.body.destroy()
      return errorAnswer(asked, lacking)
    }
    const { method, key, query, body } = asked
    if (method === 'POST' && key === null && query.some(([name]) => name === 'delete') && body instanceof Buffer && this.#mustDeleteEach(body)) {
      return this.#deleteEach(asked, body)
    }
    if (this.#lacks.has('listV2') && method === 'GET' && key === null && query.some(([name, value]) => name === 'list-type' && value === '2')) {
      return this.#listByV1(asked)
    }
    return this.#withoutVersion(await this.#store.request(asked))
  }

  /** Garage names a version of its own with each write: a client (rclone) that asks for it would get whatever object is current. */
  #withoutVersion(response: UpstreamResponse): UpstreamResponse {
    if (!this.#lacks.has('versioning') || !response.headers.has('x-amz-version-id')) return response
    return { ...response, headers: new HeaderList(response.headers.entries.filter(([name]) => name.toLowerCase() !== 'x-amz-version-id')) }
  }

  #withoutIdle(request: UpstreamRequest): UpstreamRequest {
    const idle = [...this.#lacks].flatMap((feature) => idleHeaders[feature] ?? [])
    const kept = request.headers.filter(([name, value]) => !idle.some((one) => one.name === name && one.values?.includes(value) !== false))
    if (!this.#lacks.has('versioning')) return kept.length === request.headers.length ? request : { ...request, headers: kept }
    // Where there are no versions, the one there is has this id (AWS S3 User Guide, "How S3 Versioning works").
    const current = kept.map(([name, value]): Header => [name, name === COPY_SOURCE ? value.replace(/\?versionId=null$/, '') : value])
    return { ...request, headers: current, query: request.query.filter(([name, value]) => name !== 'versionId' || value !== 'null') }
  }

  /** The sub-resource of a read of settings that the store cannot have; null: the request is another one. */
  #settingsOf({ method, key, query }: UpstreamRequest): string | null {
    if (method !== 'GET') return null
    const known = unset[key === null ? 'bucket' : 'object']
    const features = [...this.#lacks].flatMap((feature) => subresources[feature] ?? [])
    return query.find(([name]) => known[name] !== undefined && features.includes(name))?.[0] ?? null
  }

  /**
   * What the store itself says of a bucket has precedence: a profile or an operator may be wrong about it, and a lock, a policy or versions that are
   * there must not be reported as absent. Otherwise one HEAD tells whether the bucket or object is there, and whether this identity may know.
   */
  async #unset(request: UpstreamRequest, settings: string): Promise<UpstreamResponse> {
    const level = request.key === null ? 'bucket' : 'object'
    const said = level === 'bucket' ? await this.#said(request, settings) : null
    if (said !== null) return said
    const there = await this.#store.request({ ...request, method: 'HEAD', query: request.query.filter(([name]) => name !== settings) })
    there.body.resume()
    if (there.status === 404) return errorAnswer(request, new S3Error(level === 'bucket' ? 'NoSuchBucket' : 'NoSuchKey'))
    if (there.status >= 300) return { status: there.status, headers: new HeaderList([]), body: Readable.from([]) }
    const answer = unset[level][settings]
    if (typeof answer === 'object') return documentAnswer(200, renderXml(answer.document))
    return errorAnswer(request, new S3Error(answer ?? 'NotImplemented'))
  }

  /** The store's answer to a read of settings; null where it shows only that the store does not know the request. */
  async #said(request: UpstreamRequest, settings: string): Promise<UpstreamResponse | null> {
    const answer = await this.#store.request(request)
    const { status } = answer
    if (isPassing(status) || (status >= 300 && status < 400) || status === 401 || status === 403) return answer
    // A store that ignores the sub-resource lists the bucket.
    const document = await readAll(answer.body, upstreamDocument.maxBytes, () => new S3Error('SealgateBadUpstream'))
    const known = status === 200
      ? settingsDocuments[settings]?.test(document.toString('latin1', 0, 1024))
      : parseErrorXml(document)?.code === unset.bucket[settings]
    return known === true ? withBody(answer, document) : null
  }

  /** The error of a request for what the store does not have; null: it has all of it. */
  #lacking({ method, query, headers: sent }: UpstreamRequest): S3Error | null {
    for (const feature of this.#lacks) {
      const header = sent.find(([name]) => headers[feature]?.test(name) === true)
      if (header !== undefined) return new S3Error('NotImplemented', { fields: { Header: header[0] } })
      const asked = query.some(([name]) => subresources[feature]?.includes(name) === true)
      if (asked || (feature === 'cors' && method === 'OPTIONS') || (feature === 'partCopy' && copiesPart(query, sent))) {
        return new S3Error('NotImplemented', { message: `The store behind this gateway does not have this operation (upstream.lacks: ${feature}).` })
      }
    }
    const ofVersion = query.some(([name]) => name === 'versionId') || sent.some(([name, value]) => name === COPY_SOURCE && value.includes('?versionId='))
    if (!this.#lacks.has('versioning') || !ofVersion) return null
    return new S3Error('InvalidArgument', { message: 'Invalid version id specified', fields: { ArgumentName: 'versionId' } })
  }

  /** A store that ignores the version that a key of the document names would remove the only one there is. */
  #mustDeleteEach(document: Buffer): boolean {
    if (this.#lacks.has('multiDelete')) return true
    return this.#lacks.has('versioning') && parseDelete(document, clientDocument(upstreamDocument.maxBytes)).objects.some(({ versionId }) => versionId !== null)
  }

  /**
   * DeleteObjects as single requests, with its results in the order of the document. Only what the store has answered is a result: where it
   * gives no answer to one, all of it ends with that error, as if the one request had got none.
   */
  async #deleteEach(request: UpstreamRequest, body: Buffer): Promise<UpstreamResponse> {
    const { objects, quiet } = parseDelete(body, clientDocument(upstreamDocument.maxBytes))
    const kept = request.headers.filter(([name]) => !/^(content-|x-amz-(sdk-)?checksum-)/.test(name))
    const results = await parallelMap(objects, { limit: PARALLEL_DELETES, signal: request.signal }, async (entry, signal) => {
      const conditions = conditionsOf(entry)
      // Adapted as a request of its own: the version may be one that the store would ignore.
      const answer = await this.request({
        ...request,
        method: 'DELETE',
        key: entry.key,
        query: entry.versionId === null ? [] : [['versionId', entry.versionId]],
        headers: [...kept, ...conditions],
        body: null,
        contentLength: 0,
        checksum: null,
        signal,
        retry: request.retry && conditions.length === 0
      })
      return resultOf(entry, answer)
    })
    const noBucket = results.find((result) => 'answer' in result)
    if (noBucket !== undefined) return noBucket.answer
    const shown = results.flatMap((result) => 'node' in result && !(quiet && result.node[0] === 'Deleted') ? [result.node] : [])
    return documentAnswer(200, renderXml(['DeleteResult', shown]))
  }

  async #listByV1(request: UpstreamRequest): Promise<UpstreamResponse> {
    const valueOf = (name: string): string | null => request.query.find(([given]) => given === name)?.[1] ?? null
    const token = valueOf('continuation-token')
    const startAfter = valueOf('start-after')
    const marker = token === null ? startAfter : markerOfToken(token)
    const query = request.query.filter(([name]) => !['list-type', 'continuation-token', 'start-after', 'fetch-owner'].includes(name))
    const answer = await this.#store.request({ ...request, query: marker === null ? query : [...query, ['marker', marker]] })
    if (answer.status !== 200) return answer
    const document = await readAll(answer.body, upstreamDocument.maxBytes, () => new S3Error('SealgateBadUpstream'))
    const body = listingAsV2(document, { token, startAfter, fetchOwner: valueOf('fetch-owner') === 'true' })
    return withBody(answer, body)
  }
}

function copiesPart(query: UpstreamRequest['query'], sent: UpstreamRequest['headers']): boolean {
  return query.some(([name]) => name === 'uploadId') && sent.some(([name]) => name === COPY_SOURCE)
}

/** The conditions of a key of DeleteObjects, as DeleteObject has them (AWS API). */
function conditionsOf({ etag, size, lastModifiedTime }: DeleteEntry): Header[] {
  const conditions: Header[] = []
  if (etag !== null) conditions.push(['if-match', etag === '*' ? etag : `"${etag}"`])
  if (size !== null) conditions.push(['x-amz-if-match-size', String(size)])
  if (lastModifiedTime !== null) conditions.push(['x-amz-if-match-last-modified-time', lastModifiedTime])
  return conditions
}

/** `answer`: there is no such bucket, which is said once for all keys. */
type DeleteOutcome = { readonly node: XmlNode } | { readonly answer: UpstreamResponse }

async function resultOf({ key, versionId }: DeleteEntry, { status, headers: sent, body }: UpstreamResponse): Promise<DeleteOutcome> {
  const document = await readAll(body, ERROR_LIMIT_BYTES, () => new S3Error('SealgateBadUpstream'))
  const error = parseErrorXml(document)
  const named: XmlNode[] = [['Key', key], ...versionId === null ? [] : [['VersionId', versionId] as const]]
  // A 404 without the store's own words may come from whatever stands before it.
  // A success with an error inside is none, as for CompleteMultipartUpload (AWS API).
  if ((status < 300 && error === null) || (status === 404 && error?.code === 'NoSuchKey')) {
    const marker: XmlNode[] = sent.get('x-amz-delete-marker') === 'true'
      ? [['DeleteMarker', 'true'], ['DeleteMarkerVersionId', sent.get('x-amz-version-id') ?? '']]
      : []
    return { node: ['Deleted', [...named, ...marker]] }
  }
  if (error?.code === 'NoSuchBucket') return { answer: documentAnswer(status, document) }
  const code = error?.code ?? (status === 403 ? 'AccessDenied' : status === 412 ? 'PreconditionFailed' : status === 503 ? 'SlowDown' : 'InternalError')
  return { node: ['Error', [...named, ['Code', code], ['Message', error?.message ?? '']]] }
}

function withBody(answer: UpstreamResponse, body: Buffer): UpstreamResponse {
  const others = answer.headers.entries.filter(([name]) => !/^(content-length|transfer-encoding)$/i.test(name))
  return { ...answer, headers: new HeaderList([...others, ['content-length', String(body.length)]]), body: Readable.from([body]) }
}

function documentAnswer(status: number, document: Buffer): UpstreamResponse {
  const headers: Header[] = [['content-type', 'application/xml'], ['content-length', String(document.length)]]
  return { status, headers: new HeaderList(headers), body: Readable.from([document]) }
}

function errorAnswer({ method }: UpstreamRequest, error: S3Error): UpstreamResponse {
  const document = renderError(error, { resource: '', requestId: '', hostId: '' })
  return method === 'HEAD' ? { status: error.status, headers: new HeaderList([]), body: Readable.from([]) } : documentAnswer(error.status, document)
}
