import type { HttpResponse } from '../../http/message.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { Manifest } from '../../envelope/manifest.ts'
import type { CustomerKey } from './object-keys.ts'
import type { Execution } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { checkReadConditions, wantedOf } from './conditions.ts'
import { bucketOf, keyOf, placeOf, send } from '../context.ts'
import { objectHeaders } from './response-headers.ts'
import { customerKeyOfAccess } from './object-keys.ts'
import { withOneRestart } from './restart.ts'
import { readManifest } from './read-manifest.ts'
import { relayError } from '../responses.ts'
import { clientEtag, needsManifest, openStored, type StoredObject } from './sealed-object.ts'
import { sliceOf, wantedSlice } from './read-range.ts'

export interface Looked {
  readonly object: StoredObject
  /** Present for multipart objects, and where digests the client is shown stand in it. */
  readonly manifest: Manifest | null
}

/** Which object to look at, when it is not the one of the request's own target (copy sources). */
export interface LookAt {
  readonly bucket: string
  readonly key: string
  readonly versionId: string | null
  readonly customerKey: CustomerKey | null
  /** Of the client, where it names the object itself: who it expects to own the bucket, who pays. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
}

/**
 * HEAD of the store, envelope opened, manifest read where needed: everything about an object but its bytes, all of it
 * authenticated.
 * @throws the store's error (NoSuchKey, …), the errors of `openStored`, ObjectChanged.
 */
export async function lookAt(x: Execution, at: LookAt, options: { readonly manifest: 'if-needed' | 'always' } = { manifest: 'if-needed' }): Promise<Looked> {
  const response = await send(x, {
    method: 'HEAD', bucket: at.bucket, key: at.key, query: at.versionId === null ? [] : [['versionId', at.versionId]],
    headers: at.headers ?? [], retry: true
  })
  if (response.status !== 200) throw await errorOfHead(x, at, response)
  response.body.resume()
  const storedSize = Number(response.headers.get('content-length') ?? Number.NaN)
  if (!Number.isSafeInteger(storedSize)) throw new S3Error('SealgateBadUpstream')
  const object = await openStored(x, placeOf(x, at.bucket, at.key), response.headers, storedSize, at.customerKey)
  if (object.kind === 'plain') return { object, manifest: null }
  const wanted = options.manifest === 'always' || needsManifest(x, object)
  return { object, manifest: wanted ? await readManifest(x, object) : null }
}

/** A HEAD tells no code: whoever asked with another method is told whether it is the bucket that is missing. */
async function errorOfHead(x: Execution, at: LookAt, response: UpstreamResponse): Promise<S3Error> {
  const told = await relayError(x, response)
  if (response.status !== 404) return told
  // The request may name an upload besides, which is not what is missing.
  const error = new S3Error(at.versionId === null ? 'NoSuchKey' : 'NoSuchVersion', { headers: told.headers })
  if (x.request.request.method === 'HEAD' || response.headers.has('x-amz-delete-marker')) return error
  const bucket = await send(x, { method: 'HEAD', bucket: at.bucket, key: null, retry: true })
  bucket.body.resume()
  return bucket.status === 404 ? new S3Error('NoSuchBucket', { fields: { BucketName: at.bucket } }) : error
}

/** The object a GET or HEAD names. */
export function lookAtTarget(x: Execution): Promise<Looked> {
  return lookAt(x, {
    bucket: bucketOf(x), key: keyOf(x), versionId: x.operation.query.get('versionId') ?? null, customerKey: customerKeyOfAccess(x),
    headers: upstreamHeaders(x.request.headers, 'document')
  })
}

/** HeadObject (AWS API): sizes, digests and ETag of the plaintext. */
export async function headObject(x: Execution): Promise<HttpResponse> {
  return withOneRestart(async () => {
    const wanted = wantedSlice(x)
    const { object, manifest } = await lookAtTarget(x)
    const [etag, lastModified] = [clientEtag(x, object, manifest), object.headers.get('last-modified')]
    checkReadConditions(x, etag, lastModified)
    const slice = sliceOf(wantedOf(x, wanted, etag, lastModified), object, manifest)
    return { status: slice.status, headers: objectHeaders(x, object, manifest, slice), body: null }
  })
}
