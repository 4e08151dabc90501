import type { HttpResponse } from '../../http/message.ts'
import { type XmlNode, renderXml } from '../../s3/xml.ts'
import type { OperationContext, UploadContext } from '../context.ts'
import { type Attempt, newer, readPartRecords } from './part-records.ts'
import { type HeldPart, listHeldParts } from './upstream-parts.ts'
import { type Upload, noSuchUpload, openUpload } from './upload.ts'
import { editedResponse } from '../responses.ts'
import { S3Error } from '../../errors.ts'
import { writeListing } from '../../s3/listing.ts'
import { forwardForDocument } from '../forward.ts'

/** S3's limit, and what it takes when nothing is asked for (AWS API, ListParts). */
const MAX_PARTS_LISTED = 1000

/**
 * ListParts: from the part records, because what the store holds are sealed parts and tails, and not the small ones. Shown is
 * the attempt that a Complete would take: of a part upstream the one whose ETag the store tells.
 */
export async function listParts(ctx: OperationContext<'ListParts'>): Promise<HttpResponse> {
  const max = Math.min(parameter(ctx, 'max-parts', MAX_PARTS_LISTED), MAX_PARTS_LISTED)
  const marker = parameter(ctx, 'part-number-marker', 0)
  const upload = await openUpload(ctx, 'fresh')
  const { attempts } = await readPartRecords(ctx, upload, { after: marker, enough: max + 1 })
  const numbers = [...attempts.keys()].sort((a, b) => a - b)
  const page = numbers.slice(0, max)
  const held = await listHeldParts(ctx, { after: marker, until: page.at(-1) ?? marker })
  if (held === null) throw noSuchUpload(ctx)
  const shown = page.flatMap((number) => {
    const there = held.parts.get(number)
    const attempt = currentAttempt(attempts.get(number) ?? [], there)
    return attempt === null ? [] : [partNode(attempt, there)]
  })
  const body = renderXml(['ListPartsResult', [
    ...headOf(ctx, upload, held.about),
    ['PartNumberMarker', String(marker)],
    // Of what has been looked at: numbers of which there is nothing to show are behind it, too.
    ['NextPartNumberMarker', String(page.at(-1) ?? 0)],
    ['MaxParts', String(max)],
    ['IsTruncated', String(numbers.length > max)],
    ...shown
  ]])
  const headers = [...upload.encryptionHeaders, ['content-type', 'application/xml'], ['content-length', String(body.length)]] as const
  return { status: 200, headers, body }
}

/** @throws S3Error InvalidArgument unless it is a whole number. */
function parameter(ctx: OperationContext, name: string, otherwise: number): number {
  const text = ctx.operation.query.get(name)
  if (text === undefined || text === '') return otherwise
  if (/^\d{1,10}$/.test(text) && Number(text) <= 0x7fffffff) return Number(text)
  throw new S3Error('InvalidArgument', {
    message: `Argument ${name} must be an integer between 0 and 2147483647`,
    fields: { ArgumentName: name, ArgumentValue: text }
  })
}

/** The attempt that counts: the newest, and of those upstream the one that the store has kept. */
function currentAttempt(attempts: readonly Attempt[], held: HeldPart | undefined): Attempt | null {
  const usable = attempts.filter(({ inline, upstreamEtag }) => inline || upstreamEtag === held?.etag)
  return usable.reduce<Attempt | null>((newest, attempt) => newest === null ? attempt : newer(newest, attempt), null)
}

function headOf(ctx: UploadContext, { settings }: Upload, about: readonly XmlNode[]): XmlNode[] {
  const { checksumAlgorithm, checksumType } = settings
  return [
    ['Bucket', ctx.operation.bucket],
    ['Key', ctx.operation.key],
    ['UploadId', ctx.operation.uploadId],
    ...about,
    ...checksumAlgorithm === null ? [] : [['ChecksumAlgorithm', checksumAlgorithm.toUpperCase()] as const],
    ...checksumType === null ? [] : [['ChecksumType', checksumType === 'full' ? 'FULL_OBJECT' : 'COMPOSITE'] as const]
  ]
}

function partNode({ number, inline, lastModified, etag, plaintextSize, checksum }: Attempt, held: HeldPart | undefined): XmlNode {
  const modified = (inline ? null : held?.lastModified) ?? new Date(lastModified).toISOString()
  return ['Part', [
    ['PartNumber', String(number)],
    ['LastModified', modified],
    ['ETag', `"${etag}"`],
    ['Size', String(plaintextSize)],
    ...checksum === null ? [] : [[`Checksum${checksum.algorithm.toUpperCase()}`, checksum.value.toString('base64')] as const]
  ]]
}

/**
 * ListMultipartUploads: the store's own, whose upload ids clients use. What it says of checksums is of stored bytes, and what
 * was settled stands sealed in the records: nothing is said of them here.
 */
export async function listMultipartUploads(ctx: OperationContext<'ListMultipartUploads'>): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(ctx)
  const body = writeListing(document, () => ({ checksums: [] }))
  return editedResponse(response, body)
}
