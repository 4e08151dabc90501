import { S3Error } from '../errors.ts'
import { percentDecode } from '../http/target.ts'
import { unquoteEtag } from './conditions.ts'
import { childOf, childText, parseXml, textOf, upstreamDocument, type XmlDocument, type XmlElement } from './xml.ts'

export type RowKind = 'object' | 'version' | 'upload' | 'part'
const rowKinds: ReadonlyMap<string, RowKind> = new Map([['Contents', 'object'], ['Version', 'version'], ['Upload', 'upload'], ['Part', 'part']])

/** A row of ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads or ListParts, as the store lists it. */
export interface ListingRow {
  readonly kind: RowKind
  /** Decoded object key. Rows of ListParts all have the key of the upload. */
  readonly key: string
  readonly versionId: string | null
  /** Of a list of versions: the one that a request without a version id gets. */
  readonly latest: boolean
  readonly uploadId: string | null
  readonly partNumber: number | null
  /** Without quotes. */
  readonly etag: string | null
  /** Stored bytes. */
  readonly size: number | null
  /** Of the stored bytes of a part, in base64, by element name (`ChecksumCRC32`); empty for other rows. */
  readonly checksums: ReadonlyMap<string, string>
  readonly lastModified: string | null
  readonly storageClass: string | null
  /** The row has the object's metadata, as in MinIO's listings with `metadata=true`. */
  readonly described: boolean
}

/** A version, or a delete marker, which has no size, ETag and class. */
export type HistoryRow = Pick<ListingRow, 'key' | 'versionId' | 'uploadId' | 'size' | 'etag' | 'lastModified' | 'storageClass'> & {
  readonly isLatest: boolean
  readonly deleteMarker: boolean
}

/** Fields of a listing as a whole. */
export type ListingField =
  | 'IsTruncated'
  | 'NextMarker'
  | 'NextContinuationToken'
  | 'NextKeyMarker'
  | 'NextVersionIdMarker'
  | 'NextUploadIdMarker'
  | 'ChecksumAlgorithm'

export interface LocatedRow {
  readonly row: ListingRow
  readonly element: XmlElement
}

/**
 * Keys under `encoding-type=url`: percent-encoded, where a "+" stands for a space (AWS encodes as HTML forms do, other
 * stores send %20; a plus sign is %2B in both).
 */
export function keyOf(text: string, encoded: boolean): string {
  if (!encoded) return text
  try {
    return percentDecode(text.replaceAll('+', ' '))
  } catch {
    // A listing does not fail for one row: a key that does not decode is shown as the store wrote it.
    return text
  }
}

/** @throws S3Error SealgateBadUpstream when a number is malformed. */
function numberOf(document: XmlDocument, element: XmlElement, name: string): number | null {
  const text = childText(document, element, name)
  if (text === null) return null
  if (!/^\d{1,15}$/.test(text.trim())) throw new S3Error(document.fault)
  return Number(text)
}

const noChecksums: ReadonlyMap<string, string> = new Map()

function checksumsOf(document: XmlDocument, part: XmlElement): ReadonlyMap<string, string> {
  const elements = part.children.filter(({ name }) => name.startsWith('Checksum'))
  return elements.length === 0 ? noChecksums : new Map(elements.map((element) => [element.name, textOf(document, element).trim()]))
}

/** Delete markers and common prefixes are not rows. @throws S3Error as the document says */
export function rowsOf(document: XmlDocument): LocatedRow[] {
  const { root } = document
  const encoded = isEncoded(document)
  const keyOfUpload = childText(document, root, 'Key') ?? ''
  return root.children.flatMap((element): LocatedRow[] => {
    const kind = rowKinds.get(element.name)
    if (kind === undefined) return []
    const text = (name: string): string | null => childText(document, element, name)
    const etag = text('ETag')
    const key = text('Key') ?? keyOfUpload
    const row = {
      kind,
      key: keyOf(key, encoded && kind !== 'part'),
      versionId: text('VersionId'),
      latest: text('IsLatest')?.trim() === 'true',
      uploadId: text('UploadId'),
      partNumber: numberOf(document, element, 'PartNumber'),
      etag: etag === null ? null : unquoteEtag(etag),
      size: numberOf(document, element, 'Size'),
      checksums: kind === 'part' ? checksumsOf(document, element) : noChecksums,
      lastModified: text('LastModified'),
      storageClass: text('StorageClass'),
      described: childOf(document, element, 'UserMetadata') !== undefined
    }
    return [{ row, element }]
  })
}

/**
 * Reads the rows of a listing in order. Delete markers and common prefixes are not rows.
 * @throws S3Error SealgateBadUpstream
 */
export function readListing(xml: Buffer): ListingRow[] {
  return rowsOf(parseXml(xml, upstreamDocument)).map(({ row }) => row)
}

/**
 * Whether every key, common prefix and delete marker of a listing begins with the prefix.
 * @throws S3Error SealgateBadUpstream
 */
export function listsOnly(xml: Buffer, prefix: string): boolean {
  const document = parseXml(xml, upstreamDocument)
  const encoded = isEncoded(document)
  return document.root.children.every((element) => {
    const name = element.name === 'CommonPrefixes' ? 'Prefix' : rowKinds.has(element.name) || element.name === 'DeleteMarker' ? 'Key' : null
    return name === null || keyOf(childText(document, element, name) ?? '', encoded).startsWith(prefix)
  })
}

/** A text element directly under the root, such as `NextKeyMarker` or `IsTruncated`; null when absent. */
export function listingField(xml: Buffer, name: string): string | null {
  const document = parseXml(xml, upstreamDocument)
  return childText(document, document.root, name)
}

/**
 * Whether there is a page behind this one. S3 always says so; a page without the word and without a marker is taken as the last.
 * @param field text of a field of the listing. @throws S3Error SealgateBadUpstream for another word than true and false: entries would be missing without notice
 */
export function goesOn(field: (name: ListingField) => string | null): boolean {
  const word = field('IsTruncated')?.trim() ?? ''
  const silent = word === '' && (field('NextMarker')?.trim() ?? '') === '' && (field('NextContinuationToken')?.trim() ?? '') === ''
  if (word !== 'true' && word !== 'false' && !silent) throw new S3Error('SealgateBadUpstream', { message: 'The store does not say whether a listing goes on.' })
  return word === 'true'
}

/** Whether names are percent-encoded. */
export function isEncoded(document: XmlDocument): boolean {
  return childText(document, document.root, 'EncodingType') === 'url'
}

/** Whether a row or a delete marker has this name. */
export function hasKey(document: XmlDocument, key: string): boolean {
  const encoded = isEncoded(document)
  const named = document.root.children.filter(({ name }) => rowKinds.has(name) || name === 'DeleteMarker')
  return named.some((element) => keyOf(childText(document, element, 'Key') ?? '', encoded) === key)
}

/** Versions and delete markers, in the order of the store. @throws S3Error SealgateBadUpstream */
export function historyRows(document: XmlDocument): HistoryRow[] {
  const encoded = isEncoded(document)
  const versions = rowsOf(document).map(({ row }) => row).values()
  return document.root.children.flatMap((element): HistoryRow[] => {
    const text = (name: string): string | null => childText(document, element, name)
    // Only of versions and delete markers: the scanner does not look at others either.
    const isLatest = (): boolean => text('IsLatest')?.trim() === 'true'
    if (element.name === 'DeleteMarker') {
      const key = keyOf(text('Key') ?? '', encoded)
      return [{
        key,
        versionId: text('VersionId'),
        uploadId: null,
        isLatest: isLatest(),
        deleteMarker: true,
        size: null,
        etag: null,
        lastModified: text('LastModified'),
        storageClass: null
      }]
    }
    const row = element.name === 'Version' ? versions.next().value : undefined
    return row === undefined ? [] : [{ ...row, isLatest: isLatest(), deleteMarker: false }]
  })
}
