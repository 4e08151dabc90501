import type { Diagnosis } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { errorCode } from '../upstream/response-checks.ts'
import type { BucketKind } from '../config/config.ts'
import type { Upstream, UpstreamRequest } from '../upstream/types.ts'

/** Suspended: deletes take the object away and leave a marker under its name. */
type StateVersioning = 'none' | 'suspended'

/** Sends a request for a bucket itself as the gateway, and reads the answer. */
type SendToBucket = (method: string, query: UpstreamRequest['query'], body: Buffer | null) => Promise<Reply>

function bucketSender(upstream: Upstream, name: string, signal: AbortSignal): SendToBucket {
  return async (method, query, body) => {
    const { status, body: answer, diagnosis = null } = await upstream.request({
      method,
      bucket: name,
      key: null,
      query,
      headers: [],
      body,
      contentLength: body?.length ?? 0,
      signal,
      retry: true,
      pool: 'control'
    })
    return { status, diagnosis, text: (await readAll(answer, 65536, () => new S3Error('SealgateBadUpstream'))).toString('utf8') }
  }
}

/**
 * Makes sure that the state bucket is there and the gateway's own; several instances may do so at once.
 * @param region written as LocationConstraint where it is not us-east-1, which has none (AWS, CreateBucket)
 * @throws S3Error ServiceUnavailable naming the bucket when it can neither be used nor made
 */
export async function ensureStateBucket(upstream: Upstream, name: string, region: string, signal: AbortSignal): Promise<StateVersioning> {
  const send = bucketSender(upstream, name, signal)
  const head = await send('HEAD', [], null)
  if (head.status === 404) await create(name, region, async (body) => send('PUT', [], body))
  else if (head.status !== 200) throw unusable(name, `HEAD answers ${head.status}`, head.diagnosis)
  const versioning = await send('GET', [['versioning', null]], null)
  const status = versioning.status === 200 ? versioningStatus(versioning.text) : undefined
  // Records are deleted when an upload ends; with versions they would all stay.
  if (status === 'Enabled') throw unusable(name, 'it keeps versions')
  // No bucket that has once had versions can get rid of that state (AWS, PutBucketVersioning): refused, it could never be used again.
  return status === 'Suspended' ? 'suspended' : 'none'
}

/** The word of a VersioningConfiguration; undefined where versions were never switched on (AWS API, GetBucketVersioning). */
function versioningStatus(document: string): string | undefined {
  return /<Status>\s*(\w+)\s*<\/Status>/.exec(document)?.[1]
}

/**
 * The kind of a bucket, asked of the store now; null: it does not say.
 * @param identity as for UpstreamRequest. @param headers who is expected to own it, and who pays. @throws S3Error of the upstream.
 */
export async function askBucketKind(
  upstream: Upstream,
  bucket: string,
  identity: UpstreamRequest['identity'],
  signal: AbortSignal,
  headers: UpstreamRequest['headers'] = []
): Promise<BucketKind | null> {
  const { status, body } = await upstream.request({
    method: 'GET',
    bucket,
    key: null,
    query: [['versioning', null]],
    headers,
    body: null,
    contentLength: 0,
    signal,
    retry: true,
    pool: 'control',
    ...identity === undefined ? {} : { identity }
  })
  const text = (await readAll(body, 65536, () => new S3Error('SealgateBadUpstream'))).toString('utf8')
  // A store that does not know the question has no versions (AWS API, NotImplemented).
  if (status === 501) return 'unversioned'
  if (status !== 200 || !text.includes('VersioningConfiguration')) return null
  const word = versioningStatus(text)
  if (word === undefined) return text.includes('<Status') ? null : 'unversioned'
  return word === 'Enabled' ? 'versioned' : word === 'Suspended' ? 'suspended' : null
}

/**
 * Makes sure that the gateway's own bucket of a kind is there and of that kind; several instances may do so at once. A bucket that holds
 * anything and is of another kind is left alone: somebody else may use it.
 * @throws S3Error ServiceUnavailable naming the bucket when it can neither be used nor made
 */
export async function ensureKindBucket(upstream: Upstream, name: string, kind: BucketKind, region: string, signal: AbortSignal): Promise<void> {
  const send = bucketSender(upstream, name, signal)
  const head = await send('HEAD', [], null)
  if (head.status === 404) await create(name, region, async (body) => send('PUT', [], body))
  else if (head.status !== 200) throw unusable(name, `HEAD answers ${head.status}`, head.diagnosis)
  if (await askBucketKind(upstream, name, undefined, signal) === kind) return
  const listed = await send('GET', [['versions', null], ['max-keys', '1']], null)
  if (kind === 'unversioned' || listed.status !== 200 || /<(Version|DeleteMarker)>/.test(listed.text)) {
    throw unusable(name, `it is not ${kind}`, listed.diagnosis)
  }
  // Suspended at once, never enabled in between: another instance may be probing already.
  const status = kind === 'versioned' ? 'Enabled' : 'Suspended'
  const body = Buffer.from(`<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>${status}</Status></VersioningConfiguration>`)
  const put = await send('PUT', [['versioning', null]], body)
  if (put.status !== 200) throw unusable(name, `PUT versioning answers ${put.status} ${errorCode(Buffer.from(put.text)) ?? ''}`, put.diagnosis)
  if (await askBucketKind(upstream, name, undefined, signal) !== kind) throw unusable(name, `it does not become ${kind}`)
}

async function create(name: string, region: string, put: (body: Buffer | null) => Promise<Reply>): Promise<void> {
  const constraint = region === 'us-east-1'
    ? null
    : Buffer.from(
      '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
        `<LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`
    )
  let reply = await put(constraint)
  // Other stores take any region in a signature but know only their own names as a location.
  if (constraint !== null && /LocationConstraint/.test(errorCode(Buffer.from(reply.text)) ?? '')) reply = await put(null)
  const code = errorCode(Buffer.from(reply.text))
  if ((reply.status >= 200 && reply.status < 300) || code === 'BucketAlreadyOwnedByYou' || code === 'OperationAborted') return
  throw unusable(name, `PUT answers ${reply.status} ${code ?? ''}`, reply.diagnosis)
}

interface Reply {
  readonly status: number
  readonly text: string
  readonly diagnosis: Diagnosis | null
}

/** The error of a state bucket that does not do its work. @param reason for the operator: ends up in the log. */
export function unusable(name: string, reason: string, diagnosis: Diagnosis | null = null): S3Error {
  return new S3Error('ServiceUnavailable', { message: `The state bucket ${name} cannot be used: ${reason}.`, diagnosis })
}
