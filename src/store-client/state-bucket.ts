import type { Readable } from 'node:stream'
import type { Diagnosis } from '../diagnosis.ts'
import type { BucketKind } from '../config/config.ts'
import type { Upstream, UpstreamRequest, UpstreamResponse } from '../upstream/types.ts'
import { Finding, S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { parseErrorXml } from '../s3/error-document.ts'
import { MOST_ROWS } from '../s3/page-turns.ts'
import { renderXml, type XmlNode } from '../s3/xml.ts'
import { BucketClient, versioningStatus, type Answer } from './bucket-client.ts'
import { contentMd5 } from './object-properties.ts'

/** S3's limit of DeleteObjects. */
const DELETE_AT_ONCE = 1000

/** An object of the state bucket, as a listing shows it. */
export interface StateEntry {
  readonly key: string
  /** Milliseconds since 1970, by the store's clock. */
  readonly lastModified: number
}

/** Requests for documents there throw ServiceUnavailable for an unusable answer of the store: the client's request is not at fault. */
export function stateClient(upstream: Upstream, bucket: string, signal: AbortSignal): BucketClient {
  return new BucketClient(upstream, bucket, signal, ({ method }, { status, diagnosis }) => stateUnusable(`${method} answers ${status}`, diagnosis))
}

/**
 * The gateway's own bucket, used with its own credentials (docs/MULTIPART-STATE.md). An unusable answer of the store becomes ServiceUnavailable,
 * because the client's request is not at fault.
 */
export class StateBucket {
  readonly #client: BucketClient

  constructor(upstream: Upstream, bucket: string, signal: AbortSignal) {
    this.#client = stateClient(upstream, bucket, signal)
  }

  /** @throws S3Error ServiceUnavailable unless the bucket exists. */
  async check(): Promise<void> {
    await this.#client.document({ method: 'HEAD', retry: true })
  }

  /** Writes a small object. @param once the store must refuse when the object exists. */
  async put(key: string, body: Buffer, once: boolean): Promise<void> {
    const headers = once ? [['if-none-match', '*'] as const] : []
    await this.#client.document({ method: 'PUT', key, headers, body, retry: !once })
  }

  /** Writes object data of known length. @returns the store's answer, whatever its status. */
  async putStream(key: string, body: Readable, contentLength: number): Promise<UpstreamResponse> {
    return this.#client.send({ method: 'PUT', key, body, contentLength, pool: 'data' })
  }

  /** A small object read whole; null only when the store's error document says that there is none: a bare 404 may come from a proxy. */
  async get(key: string): Promise<Buffer | null> {
    const { status, body, error, diagnosis } = await this.#client.answer({ method: 'GET', key, retry: true })
    if (status === 200) return body
    if (status === 404 && error?.code === 'NoSuchKey') return null
    throw stateUnusable(`GET answers ${status} ${error?.code ?? 'without an error document'}`, diagnosis)
  }

  /**
   * An object's bytes as a stream, to be sent to the store again.
   * @throws S3Error NoSuchKey when the store's error document says that there is none; ServiceUnavailable when it has another length.
   */
  async open(key: string, length: number): Promise<Readable> {
    const { status, headers, body, diagnosis } = await this.#client.send({ method: 'GET', key, retry: true, pool: 'source' })
    if (status === 200 && headers.get('content-length') === String(length)) return body
    // A proxy in front of the store may answer 404 as well.
    if (status === 404 && parseErrorXml(await readAll(body, 65_536, () => stateUnusable('an error is too long')))?.code === 'NoSuchKey') {
      throw new S3Error('NoSuchKey')
    }
    body.destroy()
    throw stateUnusable(status === 200 ? 'a stored part has another length' : `GET answers ${status}`, diagnosis)
  }

  /**
   * All objects under a prefix, in order, a page at a time.
   * @param options.after keys up to and including this one are left out.
   * @param options.mostRows the listing fails after more rows.
   * @throws S3Error SealgateBadUpstream for a listing that does not end.
   */
  async *list(prefix: string, options: { readonly after?: string | null; readonly mostRows?: number } = {}): AsyncGenerator<readonly StateEntry[]> {
    for await (const rows of this.#client.objects(prefix, { mostRows: MOST_ROWS, ...options })) {
      yield rows.map(({ key, lastModified }) => ({ key, lastModified: Date.parse(lastModified ?? '') }))
    }
  }

  /** @returns how many the store could not remove. */
  async remove(keys: readonly string[]): Promise<number> {
    let failed = 0
    for (let from = 0; from < keys.length; from += DELETE_AT_ONCE) {
      const objects = keys.slice(from, from + DELETE_AT_ONCE).map((key): XmlNode => ['Object', [['Key', key]]])
      const body = renderXml(['Delete', [['Quiet', 'true'], ...objects]])
      const answer = await this.#client.document({
        method: 'POST',
        query: [['delete', null]],
        headers: [contentMd5(body), ['content-type', 'application/xml']],
        body,
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
}

function stateUnusable(reason: string, diagnosis: Diagnosis | null = null): S3Error {
  return new S3Error('ServiceUnavailable', { message: 'The state bucket of the gateway cannot be used.', cause: new Finding(reason), diagnosis })
}

/** Suspended: deletes remove the object and leave a marker under its name. */
type StateVersioning = 'none' | 'suspended'

/**
 * Makes sure that the state bucket exists and is the gateway's own. Several instances may do this at once.
 * @param region written as LocationConstraint where it is not us-east-1, which has none (AWS, CreateBucket)
 * @throws S3Error ServiceUnavailable naming the bucket when it can neither be used nor created
 */
export async function ensureStateBucket(upstream: Upstream, name: string, region: string, signal: AbortSignal): Promise<StateVersioning> {
  const bucket = new BucketClient(upstream, name, signal)
  await ensureThere(bucket, region)
  const versioning = await bucket.answer({ method: 'GET', query: [['versioning', null]], retry: true })
  const status = versioning.status === 200 ? versioningStatus(versioning.body) : undefined
  // Records are deleted when an upload ends; with versions they would all stay.
  if (status === 'Enabled') throw unusable(name, 'it keeps versions')
  // A bucket that once had versions can never leave that state (AWS, PutBucketVersioning): if it were refused, it could never be used again.
  return status === 'Suspended' ? 'suspended' : 'none'
}

/**
 * The current kind of a bucket, from the store; null: the store does not say.
 * @param identity as for UpstreamRequest. @param headers expected owner and payer. @throws S3Error of the upstream.
 */
export async function askBucketKind(
  upstream: Upstream,
  bucket: string,
  identity: UpstreamRequest['identity'],
  signal: AbortSignal,
  headers: UpstreamRequest['headers'] = []
): Promise<BucketKind | null> {
  const { status, body } = await new BucketClient(upstream, bucket, signal).answer({
    method: 'GET',
    query: [['versioning', null]],
    headers,
    retry: true,
    ...identity === undefined ? {} : { identity }
  })
  // A store that does not know the request has no versions (AWS API, NotImplemented).
  if (status === 501) return 'unversioned'
  if (status !== 200 || !body.includes('VersioningConfiguration')) return null
  const word = versioningStatus(body)
  if (word === undefined) return body.includes('<Status') ? null : 'unversioned'
  return word === 'Enabled' ? 'versioned' : word === 'Suspended' ? 'suspended' : null
}

/**
 * Makes sure that the gateway's own bucket of a kind exists and is of that kind. Several instances may do this at once. A bucket of another kind that
 * is not empty is left unchanged, because others may use it.
 * @throws S3Error ServiceUnavailable naming the bucket when it can neither be used nor created
 */
export async function ensureKindBucket(upstream: Upstream, name: string, kind: BucketKind, region: string, signal: AbortSignal): Promise<void> {
  const bucket = new BucketClient(upstream, name, signal)
  await ensureThere(bucket, region)
  if (await askBucketKind(upstream, name, undefined, signal) === kind) return
  const listed = await bucket.answer({ method: 'GET', query: [['versions', null], ['max-keys', '1']], retry: true })
  if (kind === 'unversioned' || listed.status !== 200 || /<(Version|DeleteMarker)>/.test(listed.body.toString('utf8'))) {
    throw unusable(name, `it is not ${kind}`, listed.diagnosis)
  }
  // Suspended at once, never enabled in between: another instance may already be probing.
  const status = kind === 'versioned' ? 'Enabled' : 'Suspended'
  const body = Buffer.from(`<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>${status}</Status></VersioningConfiguration>`)
  const put = await bucket.answer({ method: 'PUT', query: [['versioning', null]], body, retry: true })
  if (put.status !== 200) throw unusable(name, `PUT versioning answers ${put.status} ${put.error?.code ?? ''}`, put.diagnosis)
  if (await askBucketKind(upstream, name, undefined, signal) !== kind) throw unusable(name, `it does not become ${kind}`)
}

async function ensureThere(bucket: BucketClient, region: string): Promise<void> {
  const head = await bucket.answer({ method: 'HEAD', retry: true })
  if (head.status === 200) return
  if (head.status !== 404) throw unusable(bucket.name, `HEAD answers ${head.status}`, head.diagnosis)
  const put = (body: Buffer | null): Promise<Answer> => bucket.answer({ method: 'PUT', body, retry: true })
  const constraint = region === 'us-east-1'
    ? null
    : Buffer.from(
      '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
        `<LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`
    )
  let answer = await put(constraint)
  // Other stores accept any region in a signature but only their own names as a location.
  if (constraint !== null && answer.error?.code.includes('LocationConstraint') === true) answer = await put(null)
  const { status, error, diagnosis } = answer
  if ((status >= 200 && status < 300) || error?.code === 'BucketAlreadyOwnedByYou' || error?.code === 'OperationAborted') return
  throw unusable(bucket.name, `PUT answers ${status} ${error?.code ?? ''}`, diagnosis)
}

/** The error of a state bucket that does not work. @param reason for the operator: ends up in the log. */
export function unusable(name: string, reason: string, diagnosis: Diagnosis | null = null): S3Error {
  return new S3Error('ServiceUnavailable', { message: `The state bucket ${name} cannot be used: ${reason}.`, diagnosis })
}
