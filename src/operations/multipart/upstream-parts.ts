import type { XmlNode, XmlDocument, XmlElement } from '../../s3/xml.ts'
import { type OperationContext, type UploadContext, send } from '../context.ts'
import { MAX_PARTS } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { checksumAlgorithmNamed, type ChecksumAlgorithm } from '../../http/checksums.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { listingField } from '../../s3/listing-rows.ts'
import { MOST_ROWS, PageTurns } from '../../s3/page-turns.ts'
import { openListing } from '../../s3/scanned-listing.ts'
import { childOf, parseXml, textOf, upstreamDocument } from '../../s3/xml.ts'
import { relayError, documentOf } from '../responses.ts'
import { noSuchUpload } from './upload.ts'

/** A part as the store lists it. */
export interface HeldPart {
  readonly number: number
  /** Without quotes. */
  readonly etag: string
  /** Stored bytes. */
  readonly size: number
  /** Of the stored bytes, in base64, by element name. */
  readonly checksums: ReadonlyMap<string, string>
  readonly lastModified: string | null
}

interface HeldParts {
  /** By part number: tails of earlier attempts to complete are among them. */
  readonly parts: ReadonlyMap<number, HeldPart>
  /** Who created the upload and its storage class, from the store's answer: Initiator, Owner, StorageClass. */
  readonly about: () => readonly XmlNode[]
}

/** S3's limit of one ListParts. */
const PAGE = 1000

/**
 * The parts that the store holds of the upload this request names; null when it knows no such upload.
 * @param options.after only part numbers above this one.
 * @param options.until stops once a page reaches this number.
 * @throws S3Error SealgateBadUpstream for a part number above 10,000 and a listing that does not end.
 */
export async function listHeldParts(
  ctx: OperationContext,
  options: { readonly after?: number; readonly until?: number } = {}
): Promise<HeldParts | null> {
  const { after = 0, until = Number.POSITIVE_INFINITY } = options
  const parts = new Map<number, HeldPart>()
  let first: Buffer | null = null
  const turns = new PageTurns(MOST_ROWS)
  for (let marker = after;;) {
    const document = await askForParts(ctx, marker, PAGE)
    if (document === null) return null
    const page = first ??= document
    let last = marker
    const listing = await openListing(document)
    const { rows } = listing
    for (const { partNumber, etag, size, checksums, lastModified } of rows) {
      if (partNumber === null || partNumber < 1 || partNumber > MAX_PARTS || etag === null || size === null) throw new S3Error('SealgateBadUpstream')
      parts.set(partNumber, { number: partNumber, etag, size, checksums, lastModified })
      last = Math.max(last, partNumber)
    }
    if (!listing.goesOn() || last >= until) return { parts, about: () => aboutUpload(page) }
    turns.turn(last === marker ? null : String(last), rows.length)
    marker = last
  }
}

/**
 * Whether the store still has the upload this request names. Where it does not allow its parts to be listed, the record of the upload alone decides:
 * S3 requires no such right for uploading a part.
 */
export async function isHeld(ctx: OperationContext): Promise<boolean> {
  return await unlessDenied(askForParts(ctx, 0, 1)) !== null
}

/** @returns 'denied' where s3:ListMultipartUploadParts is missing. */
export async function unlessDenied<T>(asked: Promise<T>): Promise<T | 'denied'> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof S3Error && error.code === 'AccessDenied') return 'denied'
    throw error
  }
}

/**
 * The checksum that the store demands with every part of the upload this request names: of the algorithm it was created with.
 * @returns null: none, or the parts may not be listed; a store that demands one will then refuse the part.
 * @throws S3Error NoSuchUpload.
 */
export async function demandedChecksum(ctx: UploadContext): Promise<ChecksumAlgorithm | null> {
  const document = await unlessDenied(askForParts(ctx, 0, 1))
  if (document === null) throw noSuchUpload(ctx)
  if (document === 'denied') return null
  return checksumAlgorithmNamed(listingField(document, 'ChecksumAlgorithm') ?? '') ?? null
}

async function askForParts(ctx: OperationContext, marker: number, max: number): Promise<Buffer | null> {
  const from = marker === 0 ? [] : [['part-number-marker', String(marker)] as const]
  const response = await send(ctx, {
    method: 'GET',
    query: [['uploadId', ctx.operation.uploadId], ['max-parts', String(max)], ...from],
    headers: upstreamHeaders(ctx.request.headers, 'document'),
    retry: true
  })
  if (response.status < 300) return documentOf(response)
  const error = await relayError(ctx, response)
  // NoSuchKey: radosgw 16, for an upload that is being completed.
  if (error.code === 'NoSuchUpload' || error.code === 'NoSuchKey') return null
  throw error
}

function aboutUpload(document: Buffer): readonly XmlNode[] {
  const parsed = parseXml(document, upstreamDocument)
  return ['Initiator', 'Owner', 'StorageClass'].flatMap((name) => {
    const element = childOf(parsed, parsed.root, name)
    return element === undefined ? [] : [nodeOf(parsed, element)]
  })
}

function nodeOf(document: XmlDocument, element: XmlElement): XmlNode {
  const { name, children } = element
  return [name, children.length === 0 ? textOf(document, element) : children.map((child) => nodeOf(document, child))]
}
