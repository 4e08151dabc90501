// Whether an object is what was sealed: by its envelope and its size, or by every byte, read as a client reads it.
import { createHash } from 'node:crypto'
import type { HeaderList } from '../http/message.ts'
import { algorithmOfHeader, checksumAlgorithmNamed, createChecksum } from '../http/checksums.ts'
import { diagnosis, requestIdOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { parseErrorXml } from '../s3/error-document.ts'
import { readAll } from '../http/stage.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { SSEC_KEY_ID } from '../keys/ssec.ts'
import { examine, type ScanJob } from './classify.ts'
import { withRetries, type Finding, type Row } from './engine.ts'
import { faults, type Fault } from './faults.ts'

export interface VerifyJob extends ScanJob {
  /** The bucket as clients see it. null: by envelope and size alone. */
  readonly sealed: BucketClient | null
  /** The bucket is encrypted, and its policy refuses clients what is not: such an object is a fault. */
  readonly servesSealedOnly: boolean
  /** The fault that the gateway has found while it answered a request; null: none. */
  readonly faultOf: (requestId: string) => Fault | null
}

/** What each means is in the help of `verify`. */
type Verdict = 'verified' | 'mismatch' | 'unreadable' | 'key-unavailable' | 'not-sealed'

const ERROR_BYTES = 65_536

/** `sealgate verify` for one object or version. @returns null when there is none any more. @throws S3Error the store's error. */
export async function verifyObject(job: VerifyJob, row: Row, signal: AbortSignal): Promise<Finding | null> {
  const examined = await examine(job, row, signal)
  if (examined === null) return null
  const { finding } = examined
  const deep = job.sealed !== null && finding.state === 'sealed' && finding.fault === null
    ? await readDeep(job, job.sealed.until(signal), row)
    : judged(finding, job.servesSealedOnly)
  return deep === null ? null : { ...finding, ...deep }
}

interface Judged {
  readonly verdict: Verdict
  readonly fault: Fault | null
  readonly detail: string
}

/** What opens, and is not what was written. */
const mismatches: ReadonlySet<Fault> = new Set(['metadata-altered', 'truncated', 'extended', 'size-altered'])

/** By envelope and size. */
function judged({ state, fault, detail, keyId }: Finding, servesSealedOnly: boolean): Judged {
  const as = (verdict: Verdict, named = fault): Judged => ({ verdict, fault: named, detail })
  if (fault === 'key-unavailable' || fault === 'key-version-missing') return as('key-unavailable')
  if (fault !== null) return as(mismatches.has(fault) ? 'mismatch' : 'unreadable')
  if (state === 'sse-c' && keyId === SSEC_KEY_ID) return as('key-unavailable', 'key-unavailable')
  if (state === 'sealed' || state === 'damaged') return as(state === 'sealed' ? 'verified' : 'unreadable')
  if (!servesSealedOnly || state === 'delete-marker') return as('not-sealed')
  return { verdict: 'not-sealed', fault: 'not-sealed', detail: detail === '' ? faults['not-sealed'] : detail }
}

async function readDeep(job: VerifyJob, sealed: BucketClient, { key, versionId }: Row): Promise<Judged | null> {
  const read = async (): Promise<Judged> => {
    try {
      const { differs } = await readWhole(sealed, { key, versionId })
      if (differs === null) return { verdict: 'verified', fault: null, detail: '' }
      return { verdict: 'mismatch', fault: 'checksum-differs', detail: differs }
    } catch (error) {
      // A fault that the gateway has named is there at the next try as well.
      const fault = error instanceof BrokenBody ? job.faultOf(error.requestId) : null
      if (fault === null || !(error instanceof BrokenBody)) throw error
      return { verdict: 'mismatch', fault, detail: said(fault, error.message) }
    }
  }
  try {
    return await withRetries(read, sealed.signal)
  } catch (error) {
    if (sealed.signal.aborted || !(error instanceof S3Error)) throw error
    if (error instanceof BrokenBody) return { verdict: 'mismatch', fault: 'broken-off', detail: error.message }
    return error.status === 404 ? null : refused(error, job.faultOf(error.diagnosis?.remoteRequestId ?? ''))
  }
}

function said(fault: Fault | null, message: string): string {
  return fault === null ? message : `${faults[fault]}: ${message}`
}

/** @param fault that the gateway has named. */
function refused({ code, status, message }: S3Error, fault: Fault | null): Judged {
  const detail = said(fault, `${code}: ${message}`)
  if (code === 'SealgateIntegrityError') return { verdict: 'mismatch', fault, detail }
  const key = code === 'SealgateKeyUnavailable' || code.startsWith('KMS.') || status === 403
  return { verdict: key ? 'key-unavailable' : 'unreadable', fault: fault ?? (key ? 'key-unavailable' : null), detail }
}

/** A body that ended too early. The gateway breaks off what it cannot verify, and a failing connection looks the same: trying again may help. */
class BrokenBody extends S3Error {
  constructor(headers: HeaderList, message: string, cause: unknown) {
    super('ServiceUnavailable', {
      message,
      cause,
      diagnosis: diagnosis('store', 'GET object', { remoteRequestId: requestIdOf(headers.get('x-amz-request-id')) })
    })
  }

  get requestId(): string {
    return this.diagnosis?.remoteRequestId ?? ''
  }
}

/** The chunks of a body. @throws S3Error for one that breaks off, with the id of its request; as the body does when the bucket's signal aborts. */
export async function* chunksOf({ signal }: BucketClient, { headers, body }: Pick<Opened, 'headers' | 'body'>): AsyncGenerator<Buffer> {
  let bytes = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      yield chunk
    }
  } catch (error) {
    throw signal.aborted ? error : new BrokenBody(headers, `it breaks off after ${bytes} of ${Number(headers.get('content-length'))} bytes`, error)
  }
}

type Opened = Awaited<ReturnType<BucketClient['send']>>

/** An object as a client reads it. */
export interface Whole {
  readonly headers: HeaderList
  /** Hex, of the plaintext. */
  readonly md5: string
  /** What its digests contradict; null: nothing. */
  readonly differs: string | null
}

interface Named {
  readonly key: string
  readonly versionId: string | null
  /** Only the object with this ETag, in quotes. */
  readonly ifMatch?: string
}

/**
 * Reads every byte, and compares the digests that the answer states.
 * @throws S3Error of an error answer, and of a body that breaks off.
 */
export async function readWhole(bucket: BucketClient, { key, versionId, ifMatch }: Named): Promise<Whole> {
  const opened = await openBody(bucket, { key, versionId, ...ifMatch === undefined ? {} : { ifMatch } })
  const { headers } = opened
  const md5 = createHash('md5')
  const stated = statedChecksums(headers)
  const sums = stated.map(({ algorithm }) => createChecksum(algorithm))
  for await (const chunk of chunksOf(bucket, opened)) {
    md5.update(chunk)
    for (const sum of sums) sum.update(chunk)
  }
  const hex = md5.digest('hex')
  const wrong = sums.findIndex((sum, i) => sum.digest().toString('base64') !== stated[i]?.value)
  const etag = unquoteEtag(headers.get('etag') ?? '')
  const differs = wrong >= 0
    ? `its checksum ${stated[wrong]?.algorithm ?? ''} is another`
    : isMd5(headers, etag) && etag !== hex
    ? 'its MD5 is another'
    : null
  return { headers, md5: hex, differs }
}

/** Whether the ETag of a store or of the gateway in its mode `md5` would be the MD5 of the bytes: not where the store encrypts, nor of parts. */
export function isMd5(headers: HeaderList, etag: string): boolean {
  return /^[0-9a-f]{32}$/.test(etag) && !headers.has('x-amz-server-side-encryption')
}

/** Starts to read an object. @throws S3Error of an error answer. */
export async function openBody(
  bucket: BucketClient,
  { key, versionId, ifMatch }: Named,
  range?: string
): Promise<Opened> {
  const response = await bucket.send({
    method: 'GET',
    key,
    query: versionId === null ? [] : [['versionId', versionId]],
    headers: [
      ['x-amz-checksum-mode', 'ENABLED'],
      ...ifMatch === undefined ? [] : [['if-match', ifMatch] as const],
      ...range === undefined ? [] : [['range', range] as const]
    ],
    pool: 'data',
    retry: true
  })
  if (response.status === (range === undefined ? 200 : 206)) return response
  const document = await readAll(response.body, ERROR_BYTES, () => new S3Error('SealgateBadUpstream'))
  const { code = `Status${response.status}`, message = '' } = parseErrorXml(document) ?? {}
  const { status, diagnosis = null } = response
  throw new S3Error('SealgateBadUpstream', { code, status, message: `GET answers ${code}: ${message}`, diagnosis })
}

/** Checksums over the whole object that an answer states. */
export function statedChecksums(headers: HeaderList): { readonly algorithm: Parameters<typeof createChecksum>[0]; readonly value: string }[] {
  if (headers.get('x-amz-checksum-type') === 'COMPOSITE') return []
  return [...headers.names()].flatMap((name) => {
    const algorithm = checksumAlgorithmNamed(algorithmOfHeader(name) ?? '')
    const value = headers.get(name) ?? ''
    return algorithm === undefined || value.includes('-') ? [] : [{ algorithm, value }]
  })
}
