import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { DataKey } from '../../envelope/data-key.ts'
import type { Checksum } from '../../envelope/envelope.ts'
import type { UploadSettings } from '../../envelope/upload-records.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { PartState } from './select-parts.ts'
import type { Attempt } from './part-records.ts'
import type { HeldPart } from './upstream-parts.ts'
import { type OperationContext, send } from '../context.ts'
import { type Upload, stateBucketOf } from './upload.ts'
import { sealTail, type MultipartContents } from '../../envelope/manifest.ts'
import { streamSize } from '../../envelope/sizes.ts'
import { StagedReadable } from '../../http/stage.ts'
import { saysTailPart, verified, verifiedSync } from '../objects/sealed-object.ts'
import { expectSuccess } from '../responses.ts'
import { SmallPartWithTail, etagOf, sendPart } from './write-part.ts'
import { smallPartName } from '../../store-client/state-names.ts'

/** A part in the list of the store's Complete. */
export interface UpstreamPart {
  readonly number: number
  /** Without quotes. */
  readonly etag: string
  /** Of the stored bytes, as the store returned it: name and content of its element; null where the upload has none. */
  readonly checksum: readonly [element: string, value: string] | null
}

export interface TailInput {
  readonly parts: readonly Attempt[]
  /** The parts that the store holds, by number; `denied` where it does not allow a listing. */
  readonly held: PartState['held']
  readonly checksum: Checksum | null
  /** 32 bytes, from completedListHash. */
  readonly listHash: Buffer
  /** Its part number, from tailNumber. */
  readonly number: number
}

/** Most tails sealed until one gives the object an ETag that counts correctly; 64 are enough on average. */
const MOST_TAILS = 2048
/** Sealed without a pause; then other requests have a turn. */
const TAILS_AT_ONCE = 16
/** Most times that a small last part is sent until the ETag counts correctly: one in 64 has to be sent again. */
const MOST_SENDS = 8

/**
 * Seals the manifest and sends the tail: behind a small last part, whose stored bytes come from the state bucket, or as a part of its own. Each
 * sealing gives another ciphertext. One is chosen with which the store's next ETag shows whether the last part is the gateway's own
 * (docs/decisions/0033-parts-in-opaque-etags.md).
 * @returns the parts of the store's own list.
 */
export async function sendTail(ctx: OperationContext, upload: Upload, input: TailInput): Promise<UpstreamPart[]> {
  const { parts, held, number } = input
  const { storedChecksum } = upload.settings
  const contents = contentsOf(upload, input)
  const last = parts.at(-1)
  const stored = parts.filter(({ inline }) => !inline)
    .map((part) => ({
      number: part.number,
      etag: part.upstreamEtag,
      checksum: checksumOf(storedChecksum, held === 'denied' ? undefined : held.get(part.number))
    }))
  const etags = stored.map(({ etag }) => etag)
  // Otherwise clients see MD5s of plaintext.
  const counts = upload.settings.etagMode === 'opaque'
  for (let sends = 1;; sends += 1) {
    const response = last?.inline === true
      ? await sendSmallPart(ctx, upload, last, sealTail(upload.dataKey, contents))
      : await sendBare(ctx, upload, number, await tailThatSaysSo(upload.dataKey, contents, counts ? etags : null))
    await expectSuccess(ctx, response)
    const etag = etagOf(response)
    if (counts && last?.inline === true && sends < MOST_SENDS && saysTailPart([...etags, etag]) === true) continue
    return [...stored, { number, etag, checksum: checksumOf(storedChecksum, response) }]
  }
}

/** @param etags of the parts before it, without quotes; null: any tail will do. */
async function tailThatSaysSo(dataKey: DataKey, contents: MultipartContents, etags: readonly string[] | null): Promise<Buffer> {
  for (let tails = 1;; tails += 1) {
    const tail = Buffer.concat(sealTail(dataKey, contents))
    if (etags === null || tails === MOST_TAILS || saysTailPart([...etags, createHash('md5').update(tail).digest('hex')]) !== false) return tail
    if (tails % TAILS_AT_ONCE === 0) await setImmediate()
  }
}

/** @param said from a list of parts, or the answer to one */
function checksumOf(algorithm: UploadSettings['storedChecksum'], said: HeldPart | UpstreamResponse | undefined): UpstreamPart['checksum'] {
  if (algorithm === null || said === undefined) return null
  const element = `Checksum${algorithm.toUpperCase()}`
  const value = 'checksums' in said ? said.checksums.get(element) : said.headers.get(`x-amz-checksum-${algorithm}`)
  return value === undefined ? null : [element, value]
}

function contentsOf(upload: Upload, { parts, checksum, listHash }: TailInput): MultipartContents {
  const algorithm = upload.settings.checksumAlgorithm
  return {
    kind: 'multipart',
    checksums: checksum === null ? [] : [checksum],
    partChecksum: algorithm,
    uploadHash: upload.hash,
    listHash,
    parts: parts.map(({ number, plaintextSize, header, md5, checksum: own }) => ({
      number,
      plaintextSize,
      header,
      md5,
      checksum: own !== null && own.algorithm === algorithm ? own.value : null
    }))
  }
}

function sendBare(
  ctx: OperationContext,
  { settings }: Upload,
  number: number,
  tail: Buffer
): Promise<UpstreamResponse> {
  return send(ctx, {
    method: 'PUT',
    query: [['partNumber', String(number)], ['uploadId', ctx.operation.uploadId]],
    body: tail,
    contentLength: tail.length,
    checksum: settings.storedChecksum,
    retry: true,
    pool: 'data'
  })
}

async function sendSmallPart(
  ctx: OperationContext,
  { dataKey, hash, settings }: Upload,
  part: Attempt,
  tail: readonly Buffer[]
): Promise<UpstreamResponse> {
  const size = streamSize(part.plaintextSize)
  const tailBytes = tail.reduce((sum, { length }) => sum + length, 0)
  const stored = await stateBucketOf(ctx).open(smallPartName(hash, part.header), size)
  const stage = new SmallPartWithTail(dataKey, part, tail)
  const body = new StagedReadable(stored, [{
    update: (chunk) => verifiedSync(ctx, () => stage.update(chunk)),
    final: () => verified(ctx, () => stage.final())
  }], { destroySource: true })
  return sendPart(ctx, part.number, { body, contentLength: size + tailBytes, checksum: settings.storedChecksum })
}
