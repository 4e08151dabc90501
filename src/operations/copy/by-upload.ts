// Conditional copies that pass through the gateway (docs/decisions/0152-conditional-copies-by-upload.md).
import { Readable } from 'node:stream'
import { type ObjectContext, conditionsIn, header, send } from '../context.ts'
import type { StreamedWrite, Way } from '../objects/write-way.ts'
import { HELD_BYTES } from '../objects/put-object.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { answered } from '../multipart/send-tail.ts'
import { storedEtag } from '../multipart/join-parts.ts'
import { writeByUpload } from '../multipart/store-upload.ts'
import { expectSuccess } from '../responses.ts'

/** Largest copy that is held whole, in bytes. */
export const HELD_COPY_BYTES = 1024 ** 2
/** Of all copies of a process that are held at once; one client gets half of it. */
export const HELD_COPIES_BYTES = 32 * HELD_COPY_BYTES

function hasCondition(ctx: ObjectContext): boolean {
  return header(ctx, 'if-match') !== undefined || header(ctx, 'if-none-match') !== undefined
}

/** Whether the client's condition on the destination is none that the store enforces on copies, and one that it enforces on other writes: 0154. */
export async function isConditionOfPut(ctx: ObjectContext): Promise<boolean> {
  if (!hasCondition(ctx)) return false
  const { copy, put, complete } = await conditionsIn(ctx, ctx.operation.bucket)
  return !copy && (put || complete)
}

/** How the bytes of a copy are written. `release` when they have been. */
interface CopyWay {
  /** undefined: one PutObject. */
  readonly way: Way | undefined
  /** The source is to be read to its end before the store is asked to write. */
  readonly holds: boolean
  readonly release: () => void
}

/**
 * How the bytes of a copy are written while its source is still being read. MinIO locks the name of a conditional PutObject from its beginning, and a
 * name that is read for as long as it is read: such a copy of an object onto itself would wait for itself. A small source is read before, as far as
 * there is memory for it. Else the object becomes an upload: nothing waits for a part, and the Complete that has the condition is sent when the source
 * has been read. Without a condition, or where the store enforces none on CompleteMultipartUpload, it is a PutObject at once.
 * @param size plaintext bytes.
 */
export async function wayOfCopy(ctx: ObjectContext, size: number): Promise<CopyWay> {
  const direct = { way: undefined, holds: false, release: () => undefined }
  if (!hasCondition(ctx)) return direct
  const { complete, put } = await conditionsIn(ctx, ctx.operation.bucket)
  if (!complete) return direct
  // Up to a segment is held anyway.
  const release = put && size > HELD_BYTES && size <= HELD_COPY_BYTES ? ctx.services.held.copies.takeNow(size, ctx.request.client?.accessKeyId ?? '') : null
  return release === null ? { ...direct, way: byUpload } : { way: undefined, holds: true, release }
}

/** The same bytes, once all of them have come. @param size bytes. */
export async function heldWhole(stream: Readable, size: number): Promise<Readable> {
  return Readable.from([await readAll(stream, size, () => new S3Error('SealgateBadUpstream'))], { objectMode: false })
}

/** One sealed body as the only part of an upload: of any size that PutObject takes, and by the rules of stores that want equal parts. */
const byUpload: Way = {
  conditions: 'complete',
  store: async (ctx, write) => {
    await refuseEarly(ctx, write)
    const { headers, conditions, contentLength, checksum, stream } = write
    const joined = await writeByUpload(ctx, {
      headers,
      conditions,
      checksum,
      fill: async (put) => {
        const response = await stream((body) => put(1, body, contentLength))
        return [answered(checksum, 1, await expectSuccess(ctx, response))]
      }
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
