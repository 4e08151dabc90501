// Uploads in parts that become one object of the S3 Encryption Client (docs/decisions/0167-writing-for-the-s3-encryption-client.md).
import { Readable } from 'node:stream'
import { timingSafeEqual } from 'node:crypto'
import type { Header } from '../../http/message.ts'
import type { DataKey } from '../../envelope/data-key.ts'
import { checkZeros } from '../../envelope/encoding.ts'
import { storedPartSize, streamSize } from '../../envelope/sizes.ts'
import { SegmentOpener } from '../../envelope/stream.ts'
import type { UploadSettings } from '../../envelope/upload-records.ts'
import { S3Error } from '../../errors.ts'
import { type ByteStage, StagedReadable } from '../../http/stage.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { bodySealer, headersOf, MOST_STORED, storedSizeOf } from '../../s3ec/seal.ts'
import { completionName, waitingPartName } from '../../store-client/state-names.ts'
import { keyUse, type ObjectContext, placeOf, storeHere, type UploadContext } from '../context.ts'
import { clientEncryptionOf, refuseClientEntries, type Wanted } from '../objects/client-write.ts'
import { checkClearSize } from '../objects/envelope-headers.ts'
import { verified, verifiedSync } from '../objects/sealed-object.ts'
import { expectSuccess } from '../responses.ts'
import type { Attempt } from './part-records.ts'
import { answered, type UpstreamPart } from './send-tail.ts'
import { stateBucketOf, type Upload } from './upload.ts'
import { sendPart } from './write-part.ts'

/** Bytes of a part at the store, where the number of parts allows it. */
const PART_BYTES = 64 * 1024 * 1024

/**
 * Headers of the object that an upload becomes. Its data key follows from that of the upload, so that a Complete can be repeated.
 * @throws S3Error NotImplemented where the store does not enforce conditions on writes: two lists of parts could be encrypted under one key.
 */
export async function clientUploadHeaders(ctx: ObjectContext, { version, key }: Wanted, dataKey: DataKey): Promise<readonly Header[]> {
  await clientEncryptionOf(ctx, ctx.request.headers)
  const { settings, capabilities } = storeHere(ctx)
  if (!capabilities.ofStateBucket.put) {
    throw new S3Error('NotImplemented', {
      message:
        'The store behind this gateway does not enforce conditions on PutObject, without which an upload in parts cannot become an object of the S3 Encryption Client.'
    })
  }
  const described = upstreamHeaders(ctx.request.headers, 'object')
  refuseClientEntries(described)
  const { key: own, salt } = dataKey.ofClients
  const wrapped = await ctx.services.keys.wrapDataKey(key, own, version, keyUse(ctx, placeOf(ctx)))
  const entries = headersOf(version, wrapped, salt, null)
  checkClearSize(described, entries, settings.metadataBytes)
  return [...described, ...entries]
}

/**
 * Encrypts the chosen parts, all of which wait in the state bucket, as one body, and sends it to the store in parts of its own: one stream and one tag
 * stand over all of it, so that no part could be encrypted before the others were there.
 * @param listHash of the client's list. The first Complete settles it: another list would be a second plaintext under the same keystream.
 * @returns the parts of the store's own list.
 * @throws S3Error EntityTooLarge, InvalidRequest for another list than that of an earlier Complete; NoSuchKey when a part that waited was removed.
 */
export async function sendForClients(
  ctx: UploadContext,
  upload: Upload,
  version: NonNullable<UploadSettings['clients']>,
  parts: readonly Attempt[],
  listHash: Buffer
): Promise<UpstreamPart[]> {
  const size = parts.reduce((sum, { plaintextSize }) => sum + plaintextSize, 0)
  const stored = storedSizeOf(size)
  if (stored > MOST_STORED) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(size), MaxSizeAllowed: String(MOST_STORED - (stored - size)) } })
  }
  await settleList(ctx, upload, listHash)
  const { maxParts } = storeHere(ctx).settings
  const most = Math.max(PART_BYTES, Math.ceil(stored / maxParts))
  const { key, salt } = upload.dataKey.ofClients
  const bytes = new Pieces(sealedBody(ctx, upload, parts, bodySealer(version, key, salt, size)))
  const list: UpstreamPart[] = []
  try {
    for (let sent = 0; sent < stored; sent += most) {
      const number = list.length + 1
      const contentLength = Math.min(most, stored - sent)
      const body = Readable.from(bytes.take(contentLength), { objectMode: false })
      const response = await sendPart(ctx, number, { body, contentLength, checksum: upload.settings.storedChecksum })
      await expectSuccess(ctx, response)
      if (!body.readableEnded) throw new S3Error('SealgateBadUpstream')
      list.push(answered(upload, number, response))
    }
  } finally {
    await bytes.close()
  }
  return list
}

/** @throws S3Error InvalidRequest where an earlier Complete had another list. */
async function settleList(ctx: UploadContext, upload: Upload, listHash: Buffer): Promise<void> {
  const state = stateBucketOf(ctx)
  const name = completionName(upload.hash)
  let settled = await state.get(name)
  if (settled === null) {
    try {
      await state.put(name, listHash, true)
      return
    } catch (error) {
      // Another instance may have been faster.
      settled = await state.get(name)
      if (settled === null) throw error
    }
  }
  if (settled.length === listHash.length && timingSafeEqual(settled, listHash)) return
  throw new S3Error('InvalidRequest', {
    message: 'This upload was being completed with another list of parts, which cannot be encrypted a second time in the format of the S3 Encryption Client. ' +
      'Abort the upload and begin a new one.'
  })
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
