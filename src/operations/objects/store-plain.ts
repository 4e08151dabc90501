import type { BodySource } from '../request-body.ts'
import type { Execution } from '../context.ts'
import type { StoredAnswer } from './put-object.ts'
import { BodyVerifier } from '../../auth/body-verifier.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { HoldLast, readVerified, streamUpstream } from '../request-body.ts'
import { send, storedChecksum } from '../context.ts'
import { relayError } from '../responses.ts'

/** Below this a body goes upstream as one Buffer, with a real x-amz-content-sha256. */
export const SMALL_BODY_BYTES = 65536

/** Stores a body as it is, in a bucket that is not encrypted, under the request's bucket and key. */
export async function storePlain(x: Execution, source: BodySource, headers: readonly (readonly [string, string])[]): Promise<StoredAnswer> {
  const verifier = new BodyVerifier(source.payload, { computeMd5: false })
  const declared = headers.some(([name]) => name === 'content-md5' || name.startsWith('x-amz-checksum-'))
  const stored = storedChecksum(x)
  const checksum = declared || stored === null ? null : source.computeChecksum ?? stored
  const sent = { method: 'PUT', headers, checksum, pool: 'data' } as const
  const { length } = source.payload
  const response = length <= SMALL_BODY_BYTES
    ? await send(x, { ...sent, body: await readVerified(x, source, verifier, SMALL_BODY_BYTES) })
    : await streamUpstream(x, source, [verifier, new HoldLast()], (body) => send(x, { ...sent, body, contentLength: length }))
  if (response.status >= 300) throw await relayError(x, response)
  response.body.resume()
  const etag = response.headers.get('etag')
  if (etag === undefined) throw new S3Error('SealgateBadUpstream')
  return { headers: downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-length'), etag }
}
