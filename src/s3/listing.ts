import { S3Error } from '../errors.ts'
import { percentEncode } from '../http/target.ts'
import { goesOn, isEncoded, keyOf, rowsOf, type ListingRow } from './listing-rows.ts'
import { childOf, childrenOf, childText, rewriteXml, textOf } from './xml.ts'
import type { XmlDocument, XmlEditor, XmlElement } from './xml.ts'

/** Changes to a row; undefined leaves a field as it is. */
export interface RowEdit {
  /** Plaintext bytes. */
  readonly size?: number
  /** Without quotes; null removes it, because it is not known. */
  readonly etag?: string | null
  /** Replaces every `Checksum…` element of the row: the store's are of stored bytes. */
  readonly checksums?: readonly (readonly [name: string, value: string])[]
  /** Describing headers and user metadata with lower-case names, in place of the store's. */
  readonly described?: readonly (readonly [name: string, value: string])[]
  readonly remove?: boolean
}

const reservedMetadata = /^x-amz-meta-sealgate/i

interface AsV2 {
  /** As the request had them. */
  readonly token: string | null
  readonly startAfter: string | null
  readonly fetchOwner: boolean
}

/** Tokens are the marker itself: whoever makes one up lists from where `start-after` could have begun. */
function tokenOf(marker: string): string {
  return Buffer.from(marker, 'utf8').toString('base64url')
}

/** Behind which key the page of a token begins, by ListObjects. @throws S3Error InvalidArgument */
export function markerOfToken(token: string): string {
  const marker = Buffer.from(token, 'base64url').toString('utf8')
  if (marker !== '' && tokenOf(marker) === token) return marker
  throw new S3Error('InvalidArgument', { message: 'The continuation token provided is incorrect', fields: { ArgumentName: 'continuation-token' } })
}

/** What ListObjects has and ListObjectsV2 has not, and what is written anew. */
const notOfV2: ReadonlySet<string> = new Set(['Marker', 'NextMarker', 'KeyCount', 'ContinuationToken', 'NextContinuationToken', 'StartAfter'])

/**
 * An answer to ListObjects as ListObjectsV2 gives it (AWS API); its rows stay as they are, without owners that were not asked for.
 * @throws S3Error SealgateBadUpstream for another document, and for a page that goes on without a row to go on from, or from where it began
 */
export function listingAsV2(xml: Buffer, { token, startAfter, fetchOwner }: AsV2): Buffer {
  return rewriteXml(xml, (editor, document) => {
    const { root } = document
    if (root.name !== 'ListBucketResult') throw new S3Error('SealgateBadUpstream')
    const rows = root.children.filter(({ name }) => name === 'Contents' || name === 'CommonPrefixes')
    for (const child of root.children) if (notOfV2.has(child.name)) editor.remove(child)
    for (const row of fetchOwner ? [] : rows) remove(editor, childOf(document, row, 'Owner'))
    editor.append(root, ['KeyCount', String(rows.length)])
    if (token !== null) editor.append(root, ['ContinuationToken', token])
    const encoded = childText(document, root, 'EncodingType') === 'url'
    if (startAfter !== null) editor.append(root, ['StartAfter', encoded ? percentEncode(startAfter, { keepSlash: true }) : startAfter])
    if (!goesOn((name) => childText(document, root, name))) return
    const names = rows.map((row) => keyOf(childText(document, row, row.name === 'Contents' ? 'Key' : 'Prefix') ?? '', encoded))
    const last = names.reduce((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0 ? b : a, '')
    const next = childText(document, root, 'NextMarker')
    // Stores that encode keys may leave the marker as it is.
    const marker = next === null || next === '' || next === last ? last : keyOf(next, encoded)
    // Some stores list a common prefix again behind itself.
    if (marker === '' || marker === (token === null ? startAfter : markerOfToken(token))) {
      throw new S3Error('SealgateBadUpstream', { message: 'The store returned a listing that does not end.' })
    }
    editor.append(root, ['NextContinuationToken', tokenOf(marker)])
  })
}

/**
 * Edits the rows of a listing and leaves every other byte as the store sent it. The gateway's own entries are always removed from MinIO's extended
 * listings.
 * @param edit called once for each row, in order
 * @param isHidden names that are left out, with their delete markers
 * @throws S3Error SealgateBadUpstream
 */
export function writeListing(xml: Buffer, edit: (row: ListingRow, index: number) => RowEdit, isHidden: (key: string) => boolean = () => false): Buffer {
  return rewriteXml(xml, (editor, document) => {
    let removed = 0
    for (const [index, { row, element }] of rowsOf(document).entries()) {
      const change = edit(row, index)
      if (change.remove === true || isHidden(row.key)) {
        removed += 1
        editor.remove(element)
      } else {
        editRow(editor, document, element, change)
      }
    }
    for (const marker of childrenOf(document.root, 'DeleteMarker')) {
      if (isHidden(keyOf(childText(document, marker, 'Key') ?? '', isEncoded(document)))) editor.remove(marker)
    }
    if (removed > 0) {
      lowerKeyCount(editor, document, removed)
      keepMarker(editor, document)
    }
  })
}

/** Without this element a client goes on behind the last row of ListObjects, which may be one that was left out. */
function keepMarker(editor: XmlEditor, document: XmlDocument): void {
  const { root } = document
  const last = childrenOf(root, 'Contents').at(-1)
  const isFirstVersion = childOf(document, root, 'KeyCount') === undefined && last !== undefined
  if (!isFirstVersion || childOf(document, root, 'NextMarker') !== undefined || childText(document, root, 'IsTruncated')?.trim() !== 'true') return
  editor.append(root, ['NextMarker', childText(document, last, 'Key') ?? ''])
}

function editRow(editor: XmlEditor, document: XmlDocument, element: XmlElement, change: RowEdit): void {
  const set = (name: string, text: string | undefined): void => {
    const child = text === undefined ? undefined : childOf(document, element, name)
    if (child !== undefined && text !== undefined) editor.setText(child, text)
  }
  set('Size', change.size === undefined ? undefined : String(change.size))
  if (change.etag === null) remove(editor, childOf(document, element, 'ETag'))
  else set('ETag', change.etag === undefined ? undefined : `"${change.etag}"`)
  if (change.checksums !== undefined) {
    for (const child of element.children) if (child.name.startsWith('Checksum')) editor.remove(child)
    for (const checksum of change.checksums) editor.append(element, checksum)
  }
  const described = childOf(document, element, 'UserMetadata')
  if (described !== undefined) editDescription(editor, document, described, change.described)
}

function editDescription(editor: XmlEditor, document: XmlDocument, described: XmlElement, entries: RowEdit['described']): void {
  for (const entry of described.children) {
    const named = entry.children.length > 0 ? childText(document, entry, 'Key') ?? '' : entry.name
    if (entries !== undefined || reservedMetadata.test(named)) editor.remove(entry)
  }
  for (const [name, value] of entries ?? []) {
    // A header name may be no valid element name: its object is listed without it.
    if (/^[a-z_][a-z0-9._-]*$/.test(name)) editor.append(described, [asMinioWritesIt(name), textOfHeader(value)])
  }
}

/** `X-Amz-Meta-Colour`, but `content-type`. */
function asMinioWritesIt(name: string): string {
  return name.startsWith('x-amz-meta-') ? name.replace(/(?<=^|-)[a-z]/g, (letter) => letter.toUpperCase()) : name
}

/** Latin1 characters stand for bytes, which should be UTF-8. XML has no control characters except the tab. */
function textOfHeader(value: string): string {
  return Buffer.from(value, 'latin1').toString('utf8')
}

function remove(editor: XmlEditor, element: XmlElement | undefined): void {
  if (element !== undefined) editor.remove(element)
}

function lowerKeyCount(editor: XmlEditor, document: XmlDocument, removed: number): void {
  const count = childOf(document, document.root, 'KeyCount')
  if (count !== undefined) editor.setText(count, String(Math.max(0, Number(textOf(document, count)) - removed)))
}
