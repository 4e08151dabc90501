// Uploads in parts at the store: begun for a client, or by the gateway itself, which writes an object so.
import type { Readable } from 'node:stream'
import { fieldOf } from '../../store-client/bucket-client.ts'
import { stateClient } from '../../store-client/state-bucket.ts'
import { withNote } from '../../store-client/upload-notes.ts'
import type { UploadSettings } from '../../envelope/upload-records.ts'
import { S3Error } from '../../errors.ts'
import type { Header } from '../../http/message.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import { type ObjectContext, type OperationContext, send, storeHere } from '../context.ts'
import { documentOf, expectSuccess, relayError } from '../responses.ts'
import { type JoinedParts, joinParts } from './join-parts.ts'
import type { UpstreamPart } from './send-tail.ts'

/** For cleaning up even when the client has disconnected. */
export const CLEAN_UP_MS = 30_000

/** Begins an upload at the store. @throws the store's error. */
export async function createUpstream(ctx: OperationContext, headers: readonly Header[]): Promise<{ uploadId: string; answered: readonly Header[] }> {
  const response = await send(ctx, { method: 'POST', query: [['uploads', null]], headers })
  if (response.status >= 300) throw await relayError(ctx, response)
  return { uploadId: fieldOf(await documentOf(response), 'UploadId'), answered: downstreamHeaders(response.headers, 'written') }
}

/** A part may only have a checksum of the algorithm that the upload was created with (AWS API, UploadPart). The type is S3's default. */
export function storedChecksumHeaders({ storedChecksum: algorithm }: Pick<UploadSettings, 'storedChecksum'>): Header[] {
  return algorithm === null ? [] : [['x-amz-checksum-algorithm', algorithm.toUpperCase()]]
}

/** Aborts an upload, also when the client has disconnected. @returns whether the store has confirmed it. */
export async function abortUpstream(ctx: OperationContext, uploadId: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(CLEAN_UP_MS)
    await expectSuccess(ctx, await send(ctx, { method: 'DELETE', query: [['uploadId', uploadId]], signal, retry: true }))
    return true
  } catch (error) {
    return error instanceof S3Error && error.code === 'NoSuchUpload'
  }
}

interface WrittenByUpload {
  /** Of the object. */
  readonly headers: readonly Header[]
  readonly conditions: readonly Header[]
  /** Of the stored bytes of a part. */
  readonly checksum: UploadSettings['storedChecksum']
  /** Sends the parts with `put`, and names them. */
  readonly fill: (put: (number: number, body: Readable, contentLength: number) => Promise<UpstreamResponse>) => Promise<readonly UpstreamPart[]>
}

/**
 * Writes an object of the request's name by an upload of the gateway's own, which no client is shown. Unless it is completed it is aborted; a killed
 * process leaves it noted.
 * @throws the store's error, also for a condition that does not hold; what `fill` throws.
 */
export async function writeByUpload(ctx: ObjectContext, { headers, conditions, checksum, fill }: WrittenByUpload): Promise<JoinedParts> {
  const { bucket, key } = ctx.operation
  const { upstream, settings: { stateBucket } } = storeHere(ctx)
  const { uploadId } = await createUpstream(ctx, [...headers, ...storedChecksumHeaders({ storedChecksum: checksum })])
  return withNote(stateClient(upstream, stateBucket, ctx.signal), { bucket, key, uploadId }, {
    work: async () => {
      const list = await fill((number, body, contentLength) => {
        const query = [['partNumber', String(number)], ['uploadId', uploadId]] as const
        return send(ctx, { method: 'PUT', query, body, contentLength, checksum, pool: 'data' })
      })
      return joinParts(ctx, uploadId, list, conditions)
    },
    abort: () => abortUpstream(ctx, uploadId)
  })
}
