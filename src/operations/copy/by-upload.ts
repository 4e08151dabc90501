// Conditional copies that pass through the gateway (docs/decisions/0152-conditional-copies-by-upload.md).
import { type ObjectContext, conditionsIn, header, send, storeHere } from '../context.ts'
import type { StreamedWrite, Way } from '../objects/write-way.ts'
import { S3Error } from '../../errors.ts'
import { stateClient } from '../../store-client/state-bucket.ts'
import { withNote } from '../../store-client/upload-notes.ts'
import { answered } from '../multipart/send-tail.ts'
import { joinParts, storedEtag } from '../multipart/join-parts.ts'
import { relayError } from '../responses.ts'
import { abortUpstream, createUpstream, storedChecksumHeaders } from '../multipart/uploads.ts'

/**
 * How the bytes of a copy are written while its source is still being read. MinIO locks the name of a conditional PutObject from its beginning, and a
 * name that is read for as long as it is read: such a copy of an object onto itself would wait for itself. Nothing waits for a part, and the Complete
 * that has the condition is sent when the source has been read.
 * @returns undefined: a PutObject, because there is no condition or the store enforces none on CompleteMultipartUpload.
 */
export async function wayOfCopy(ctx: ObjectContext): Promise<Way | undefined> {
  if (header(ctx, 'if-match') === undefined && header(ctx, 'if-none-match') === undefined) return undefined
  const { complete } = await conditionsIn(ctx, ctx.operation.bucket)
  return complete ? byUpload : undefined
}

/** One sealed body as the only part of an upload: of any size that PutObject takes, and by the rules of stores that want equal parts. */
const byUpload: Way = {
  conditions: 'complete',
  store: async (ctx, write) => {
    await refuseEarly(ctx, write)
    const { headers, conditions, contentLength, checksum, stream } = write
    const { bucket, key } = ctx.operation
    const settings = { storedChecksum: checksum }
    const { uploadId } = await createUpstream(ctx, [...headers, ...storedChecksumHeaders(settings)])
    const { upstream, settings: { stateBucket } } = storeHere(ctx)
    const joined = await withNote(stateClient(upstream, stateBucket, ctx.signal), { bucket, key, uploadId }, {
      work: async () => {
        const query = [['partNumber', '1'], ['uploadId', uploadId]] as const
        const response = await stream((body) => send(ctx, { method: 'PUT', query, body, contentLength, checksum, pool: 'data' }))
        if (response.status >= 300) throw await relayError(ctx, response)
        response.body.resume()
        return joinParts(ctx, uploadId, [answered({ settings }, 1, response)], conditions)
      },
      abort: () => abortUpstream(ctx, uploadId)
    })
    return { response: joined.response, etag: await storedEtag(ctx, joined) }
  }
}

/** A Complete judges its condition when all bytes are there. @throws S3Error PreconditionFailed where an object is there that shall not be. */
async function refuseEarly(ctx: ObjectContext, { conditions }: StreamedWrite): Promise<void> {
  if (!conditions.some(([name]) => name === 'if-none-match')) return
  const { status, body } = await send(ctx, { method: 'HEAD', retry: true })
  body.resume()
  if (status === 200) throw new S3Error('PreconditionFailed', { fields: { Condition: 'If-None-Match' } })
}
