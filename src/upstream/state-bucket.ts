import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { errorCode } from './response-checks.ts'
import type { Upstream, UpstreamRequest } from './types.ts'

/** Suspended: deletes take the object away and leave a marker under its name. */
export type StateVersioning = 'none' | 'suspended'

/**
 * Makes sure that the state bucket is there and the gateway's own; several instances may do so at once.
 * @param region written as LocationConstraint where it is not us-east-1, which has none (AWS, CreateBucket)
 * @throws S3Error ServiceUnavailable naming the bucket when it can neither be used nor made
 */
export async function ensureStateBucket(upstream: Upstream, name: string, region: string, signal: AbortSignal): Promise<StateVersioning> {
  const send = async (method: string, query: UpstreamRequest['query'], body: Buffer | null): Promise<{ status: number; text: string }> => {
    const { status, body: answer } = await upstream.request({
      method, bucket: name, key: null, query, headers: [], body, contentLength: body?.length ?? 0, signal, retry: true, pool: 'control'
    })
    return { status, text: (await readAll(answer, 65536, () => new S3Error('SealgateBadUpstream'))).toString('utf8') }
  }
  const head = await send('HEAD', [], null)
  if (head.status === 404) await create(name, region, async (body) => send('PUT', [], body))
  else if (head.status !== 200) throw unusable(name, `HEAD answers ${head.status}`)
  const versioning = await send('GET', [['versioning', null]], null)
  const status = versioning.status === 200 ? /<Status>\s*(\w+)\s*<\/Status>/.exec(versioning.text)?.[1] : undefined
  // Records are deleted when an upload ends; with versions they would all stay.
  if (status === 'Enabled') throw unusable(name, 'it keeps versions')
  // No bucket that has once had versions can get rid of that state (AWS, PutBucketVersioning): refused, it could never be used again.
  return status === 'Suspended' ? 'suspended' : 'none'
}

async function create(name: string, region: string, put: (body: Buffer | null) => Promise<{ status: number; text: string }>): Promise<void> {
  const constraint = region === 'us-east-1'
    ? null
    : Buffer.from('<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
      `<LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`)
  let reply = await put(constraint)
  // Other stores take any region in a signature but know only their own names as a location.
  if (constraint !== null && /LocationConstraint/.test(errorCode(Buffer.from(reply.text)) ?? '')) reply = await put(null)
  const code = errorCode(Buffer.from(reply.text))
  if ((reply.status >= 200 && reply.status < 300) || code === 'BucketAlreadyOwnedByYou' || code === 'OperationAborted') return
  throw unusable(name, `PUT answers ${reply.status} ${code ?? ''}`)
}

/** The error of a state bucket that does not do its work. @param reason for the operator: ends up in the log. */
export function unusable(name: string, reason: string): S3Error {
  return new S3Error('ServiceUnavailable', { message: `The state bucket ${name} cannot be used: ${reason}.` })
}
