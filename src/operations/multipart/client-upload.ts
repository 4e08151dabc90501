// Uploads in parts that become one object of the S3 Encryption Client (docs/decisions/0167-writing-for-the-s3-encryption-client.md).
import { Readable } from 'node:stream'
import { timingSafeEqual } from 'node:crypto'
import type { Header } from '../../http/message.ts'
import { ORIGIN_BYTES, originOf } from '../../envelope/data-key.ts'
import { checkZeros } from '../../envelope/encoding.ts'
import { storedPartSize, streamSize } from '../../envelope/sizes.ts'
import { SegmentOpener } from '../../envelope/stream.ts'
import { S3Error } from '../../errors.ts'
import { type ByteStage, StagedReadable } from '../../http/stage.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { MOST_STORED, storedSizeOf } from '../../s3ec/seal.ts'
import { waitingPartName } from '../../store-client/state-names.ts'
import { type ObjectContext, storedChecksum, storeHere, type UploadContext } from '../context.ts'
import { clientEncryptionOf, newClientObject, refuseClientEntries, type Wanted, writesForClients } from '../objects/client-write.ts'
import type { ClientSealed } from '../objects/client-sealed.ts'
import { checkClearSize } from '../objects/envelope-headers.ts'
import { verified, verifiedSync } from '../objects/sealed-object.ts'
import { expectSuccess } from '../responses.ts'
import type { JoinedParts } from './join-parts.ts'
import type { Attempt } from './part-records.ts'
import { answered, type UpstreamPart } from './send-tail.ts'
import { abortUpstream, writeByUpload } from './store-upload.ts'
import { noSuchUpload, refuseUnfinishable, stateBucketOf, type Upload } from './upload.ts'
import { isHeld } from './upstream-parts.ts'

/** Bytes of a part at the store, where the number of parts allows it. */
const PART_BYTES = 64 * 1024 * 1024
/** Metadata of an object that was made of an upload (docs/MULTIPART-STATE.md). Clients neither set nor see it. */
const ORIGIN_HEADER = 'x-amz-meta-sealgate-origin'

/**
 * What the object that an upload becomes is described by. It has no data key before it is written. That its key answers, and that its metadata fits, is
 * found out before the client has sent a part, with an object that is thrown away.
 * @throws S3Error as `writeForClients`.
 */
export async function describedForClients(ctx: ObjectContext, wanted: Wanted): Promise<readonly Header[]> {
  await clientEncryptionOf(ctx, ctx.request.headers)
  const described = upstreamHeaders(ctx.request.headers, 'described')
  refuseClientEntries(described)
  await ownHeaders(ctx, wanted, described, { size: MOST_STORED, upload: Buffer.alloc(0), listHash: Buffer.alloc(0) })
  return described
}

interface Origin {
  /** Bytes of plaintext. */
  readonly size: number
  /** Of the upload, from uploadHash. */
  readonly upload: Buffer
  /** From completedListHash. */
  readonly listHash: Buffer
}

/** A new object under a data key of its own, and the metadata that it has from the gateway. @throws S3Error MetadataTooLarge; of the key. */
async function ownHeaders(
  ctx: ObjectContext,
  wanted: Wanted,
  described: readonly Header[],
  { size, upload, listHash }: Origin
): Promise<{ readonly own: readonly Header[]; readonly stage: ByteStage }> {
  const { headers, key, stage } = await newClientObject(ctx, wanted, size)
  const own: readonly Header[] = [...headers, [ORIGIN_HEADER, originOf(key, upload, listHash).toString('base64url')]]
  checkClearSize(described, own, storeHere(ctx).settings.metadataBytes)
  return { own, stage }
}

/** Whether an object was made of this upload and list. @param upload from uploadHash. */
export function isMadeOf({ headers, bodyKey }: Pick<ClientSealed, 'headers' | 'bodyKey'>, upload: Buffer, listHash: Buffer): boolean {
  const said = Buffer.from(headers.get(ORIGIN_HEADER) ?? '', 'base64url')
  return bodyKey !== null && said.length === ORIGIN_BYTES && timingSafeEqual(said, originOf(bodyKey, upload, listHash))
}

interface Chosen {
  readonly parts: readonly Attempt[]
  readonly listHash: Buffer
  readonly conditions: readonly Header[]
}

/**
 * Encrypts the chosen parts, all of which wait in the state bucket, as one body under a new data key, and writes that by an upload of its own: one stream
 * and one tag stand over all of it, so that no part could be encrypted before the others were there. The upload of the client ends when the object is there.
 * @throws S3Error EntityTooLarge; NoSuchKey when a part that waited was removed; NoSuchUpload when the upload of the client or the gateway's own was.
 */
export async function completeForClients(ctx: UploadContext, upload: Upload, { parts, listHash, conditions }: Chosen): Promise<JoinedParts> {
  const size = parts.reduce((sum, { plaintextSize }) => sum + plaintextSize, 0)
  const stored = storedSizeOf(size)
  if (stored > MOST_STORED) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(size), MaxSizeAllowed: String(MOST_STORED - (stored - size)) } })
  }
  const wanted = writesForClients(ctx)
  const described = upload.settings.clients ?? null
  if (wanted === null || described === null) throw refuseUnfinishable()
  const { own, stage } = await ownHeaders(ctx, wanted, described, { size, upload: upload.hash, listHash })
  const checksum = storedChecksum(ctx)
  const most = Math.max(PART_BYTES, Math.ceil(stored / storeHere(ctx).settings.maxParts))
  const joined = await writeByUpload(ctx, {
    headers: [...described, ...own],
    conditions,
    checksum,
    fill: async (put) => {
      const bytes = new Pieces(sealedBody(ctx, upload, parts, stage))
      const list: UpstreamPart[] = []
      try {
        for (let sent = 0; sent < stored; sent += most) {
          const number = list.length + 1
          const contentLength = Math.min(most, stored - sent)
          const body = Readable.from(bytes.take(contentLength), { objectMode: false })
          const response = await expectSuccess(ctx, await put(number, body, contentLength))
          if (!body.readableEnded) throw new S3Error('SealgateBadUpstream')
          list.push(answered(checksum, number, response))
        }
      } finally {
        await bytes.close()
      }
      // Nothing becomes an object whose upload was aborted, or completed through another instance, meanwhile.
      if (!await isHeld(ctx)) throw noSuchUpload(ctx)
      return list
    }
  })
  await abortUpstream(ctx, upload.id)
  return joined
}

/** The bytes of the object, from the parts one after the other. */
async function* sealedBody(ctx: UploadContext, upload: Upload, parts: readonly Attempt[], sealer: ByteStage): AsyncGenerator<Buffer> {
  for (const part of parts) {
    const { number, plaintextSize, header } = part
    const stored = await stateBucketOf(ctx).open(waitingPartName(upload.hash, header), storedPartSize(plaintextSize))
    const opener = new PartOpener(
      new SegmentOpener({ streamKey: upload.dataKey.stream, part: { kind: 'part', number, plaintextSize }, header }),
      streamSize(plaintextSize)
    )
    const plaintext = new StagedReadable(stored, [{
      update: (chunk) => verifiedSync(ctx, () => opener.update(chunk)),
      final: () => verified(ctx, () => opener.final())
    }], { destroySource: true })
    for await (const chunk of plaintext as AsyncIterable<Buffer>) yield* sealer.update(chunk)
  }
  yield* await sealer.final()
}

/** A stored part: its stream, and the zeros behind it. */
class PartOpener implements ByteStage {
  readonly #opener: SegmentOpener
  /** Stored bytes still to come before the zeros. */
  #missing: number

  constructor(opener: SegmentOpener, streamBytes: number) {
    this.#opener = opener
    this.#missing = streamBytes
  }

  /** @throws EnvelopeError `header`, `segment`, `zeros`. */
  update(chunk: Buffer): readonly Buffer[] {
    const stream = chunk.subarray(0, this.#missing)
    this.#missing -= stream.length
    checkZeros(chunk.subarray(stream.length))
    return this.#opener.update(stream)
  }

  /** @throws EnvelopeError `truncated`. */
  final(): readonly Buffer[] {
    return this.#opener.final()
  }
}

/** Cuts one sequence of buffers into pieces of given lengths, each read to its end before the next. */
class Pieces {
  readonly #source: AsyncGenerator<Buffer>
  #rest: Buffer = Buffer.alloc(0)

  constructor(source: AsyncGenerator<Buffer>) {
    this.#source = source
  }

  async *take(bytes: number): AsyncGenerator<Buffer> {
    for (let missing = bytes; missing > 0;) {
      if (this.#rest.length === 0) {
        const next: IteratorResult<Buffer, unknown> = await this.#source.next()
        if (next.done === true) throw new RangeError('The body is shorter than was announced.')
        this.#rest = next.value
      }
      const piece = this.#rest.subarray(0, missing)
      this.#rest = this.#rest.subarray(piece.length)
      missing -= piece.length
      if (piece.length > 0) yield piece
    }
  }

  async close(): Promise<void> {
    await this.#source.return(undefined)
  }
}
