import { isUtf8 } from 'node:buffer'
import { column, columnOf, WIDTH } from './listing-columns.ts'
import type { RowKind } from './listing-rows.ts'
import {
  begins,
  GT,
  isLetterOrDigit,
  isNumber,
  isText,
  LT,
  nameEnd,
  NONE,
  pastClose,
  pastLeaves,
  pastMark,
  pastSpace,
  quoteAt,
  SLASH,
  textEnd
} from './xml-bytes.ts'
import { maxElements } from './xml-tree.ts'

type EntryKind = 'row' | 'marker' | 'prefix'

interface Root {
  readonly name: string
  /** Its rows, and what else may come beside them. */
  readonly row: string
  readonly kind: RowKind
  readonly others: ReadonlyMap<string, EntryKind>
}

const prefixes = ['CommonPrefixes', 'prefix'] as const
const roots: readonly Root[] = [
  { name: 'ListBucketResult', row: 'Contents', kind: 'object', others: new Map([prefixes]) },
  { name: 'ListVersionsResult', row: 'Version', kind: 'version', others: new Map([prefixes, ['DeleteMarker', 'marker']]) },
  { name: 'ListMultipartUploadsResult', row: 'Upload', kind: 'upload', others: new Map([prefixes]) },
  { name: 'ListPartsResult', row: 'Part', kind: 'part', others: new Map() }
]
/** What the parser takes for entries, in whatever listing. */
const entryNames: ReadonlySet<string> = new Set(['Contents', 'Version', 'Upload', 'Part', 'DeleteMarker', 'CommonPrefixes'])
/** What is read of a delete marker. Some stores give it a size and an ETag. */
const ofMarker: ReadonlySet<number> = new Set([column.key, column.versionId, column.latest, column.lastModified])
const CHECKSUM = 'Checksum'
/** Bytes of an entry; those of stores have a tenth of it. */
const MOST_ENTRY = 128 * 1024

/**
 * Finds the entries of a listing and their fields in the bytes of the store, in one pass and without a tree. It knows only what stores write: plain
 * tags, no comments and no CDATA, values in their plain spelling. All else is strange to it, and left to the parser, which it never contradicts
 * (docs/decisions/0176-listings-rewritten-in-place.md).
 */
export class ListingScan {
  readonly bytes: Buffer
  /** One entry after the other, by `column`. An end of 0: there is none. */
  table = new Int32Array(128 * WIDTH)
  readonly kinds: EntryKind[] = []
  /** Offsets of whole elements, in pairs. */
  readonly checksums: number[] = []
  /** Of the closing tag of the root. */
  rootEnd = 0
  readonly #fields = new Map<string, readonly [start: number, end: number]>()
  readonly #count = { elements: 1 }
  #root: Root | null = null
  #name = { start: 0, end: 0 }
  #row = ''
  #at = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** Where an entry begins in the table. */
  static baseOf(entry: number): number {
    return entry * WIDTH
  }

  /** What the rows are, once the scan has begun. */
  get rowKind(): RowKind {
    return this.#root?.kind ?? 'object'
  }

  /** Whether names are percent-encoded. */
  get isEncoded(): boolean {
    const type = this.#fields.get('EncodingType')
    return type !== undefined && type[1] > type[0]
  }

  /** Inner text of a field of the listing as a whole, one of those that `#isPlainField` names. */
  field(name: string): readonly [start: number, end: number] | undefined {
    return this.#fields.get(name)
  }

  /** Scans about so many bytes more. @returns true: all of it is known; false: there is more; null: it is strange */
  step(atOnce: number): boolean | null {
    if (this.#root === null && !this.#begin()) return null
    const { bytes } = this
    const until = this.#at + atOnce
    while (this.#at < until) {
      const at = pastSpace(bytes, this.#at)
      if (bytes[at] !== LT || this.#count.elements > maxElements) return null
      if (bytes[at + 1] === SLASH) {
        this.rootEnd = at
        const end = pastClose(bytes, at, this.#name.start, this.#name.end)
        return end !== NONE && pastSpace(bytes, end) === bytes.length ? true : null
      }
      this.#at = this.#entry(at)
      if (this.#at === NONE) return null
    }
    return false
  }

  /** The declaration and the tag of the root. */
  #begin(): boolean {
    const { bytes } = this
    let at = pastSpace(bytes, 0)
    if (begins(bytes, at, '<?xml ')) {
      const end = bytes.indexOf('?>', at, 'latin1')
      if (end < 0) return false
      at = pastSpace(bytes, end + 2)
    }
    const start = at + 1
    let end = start
    while (isLetterOrDigit(bytes[end] ?? 0)) end += 1
    const root = roots.find(({ name }) => isText(bytes, start, end, name))
    const mark = bytes.indexOf(GT, end)
    if (bytes[at] !== LT || root === undefined || mark < 0 || mark > end + 256) return false
    if (!/^(?: xmlns="[^"<>&]*")?$/.test(bytes.toString('latin1', end, mark)) || !isUtf8(bytes)) return false
    this.#root = root
    this.#row = root.row
    this.#name = { start, end }
    this.#at = mark + 1
    return true
  }

  /** A child of the root. @returns the offset behind it */
  #entry(element: number): number {
    const { bytes } = this
    const start = element + 1
    const end = nameEnd(bytes, start)
    if (end === NONE) return NONE
    this.#count.elements += 1
    if (isText(bytes, start, end, this.#row)) return this.#entryOf('row', element, end)
    const name = bytes.toString('latin1', start, end)
    const kind = this.#root?.others.get(name)
    if (kind !== undefined) return this.#entryOf(kind, element, end)
    if (entryNames.has(name)) return NONE
    if (bytes[end] === SLASH) return this.#isPlainField(name, end, end) ? pastMark(bytes, end + 1) : NONE
    const close = textEnd(bytes, end + 1)
    if (close === NONE) return NONE
    if (bytes[close + 1] === SLASH) return this.#isPlainField(name, end + 1, close) ? pastClose(bytes, close, start, end) : NONE
    return this.#isPlainField(name, 0, 0) ? pastLeaves(bytes, end + 1, { start, end }, this.#count) : NONE
  }

  /** Whether a field of the listing is written as it is read here: once, and without children. Those that are not read may be anything. */
  #isPlainField(name: string, start: number, end: number): boolean {
    const { bytes } = this
    const fields = this.#fields
    const isFirst = end > 0 && !fields.has(name)
    const remember = (): boolean => {
      fields.set(name, [start, end])
      return true
    }
    switch (name) {
      case 'EncodingType':
        return isFirst && (start === end || isText(bytes, start, end, 'url')) && remember()
      case 'IsTruncated':
        return isFirst && (isText(bytes, start, end, 'true') || isText(bytes, start, end, 'false')) && remember()
      case 'KeyCount':
        return isFirst && isNumber(bytes, start, end) && remember()
      case 'Key':
      case 'NextMarker':
      case 'NextContinuationToken':
      case 'NextKeyMarker':
      case 'NextVersionIdMarker':
      case 'NextUploadIdMarker':
      case 'ChecksumAlgorithm':
        return isFirst && remember()
      default:
        return true
    }
  }

  /** @param nameEnd of the opening tag. @returns the offset behind the entry */
  #entryOf(kind: EntryKind, element: number, nameEnd: number): number {
    const { bytes } = this
    const base = this.kinds.length * WIDTH
    const first = this.checksums.length
    if (bytes[nameEnd] !== GT) return NONE
    if (base + WIDTH > this.table.length) this.#grow()
    const most = element + MOST_ENTRY
    let at = pastSpace(bytes, nameEnd + 1)
    while (bytes[at] === LT && bytes[at + 1] !== SLASH && at < most) {
      const after = this.#fieldOf(kind, base, at)
      if (after === NONE) return NONE
      at = pastSpace(bytes, after)
    }
    const end = pastClose(bytes, at, element + 1, nameEnd)
    this.#setPair(base + column.entry, element, end)
    this.#setPair(base + column.checksums, first, this.checksums.length)
    this.kinds.push(kind)
    return end
  }

  /** A field of an entry. @returns the offset behind it */
  #fieldOf(kind: EntryKind, base: number, element: number): number {
    const { bytes } = this
    const start = element + 1
    const end = nameEnd(bytes, start)
    if (end === NONE) return NONE
    this.#count.elements += 1
    const isChecksum = kind === 'row' && end - start >= CHECKSUM.length && begins(bytes, start, CHECKSUM)
    const at = isChecksum ? NONE : this.#columnOf(kind, start, end)
    const isRead = isChecksum || at !== NONE
    if (bytes[end] === SLASH) return isRead ? NONE : pastMark(bytes, end + 1)
    const inner = end + 1
    const close = textEnd(bytes, inner)
    if (close === NONE) return NONE
    if (bytes[close + 1] !== SLASH) return isRead ? NONE : pastLeaves(bytes, inner, { start, end }, this.#count)
    const after = pastClose(bytes, close, start, end)
    if (after === NONE || !isRead) return after
    if (isChecksum) {
      this.checksums.push(element, after)
      return after
    }
    if (this.table[base + at + 1] !== 0 || !this.#isPlain(at, base, inner, close)) return NONE
    this.#setPair(base + at, inner, close)
    if (at === column.etag) this.#setPair(base + column.etagElement, element, after)
    return after
  }

  #columnOf(kind: EntryKind, start: number, end: number): number {
    if (kind === 'prefix') return isText(this.bytes, start, end, 'Prefix') ? column.key : NONE
    const at = columnOf(this.bytes, start, end)
    return kind === 'row' || ofMarker.has(at) ? at : NONE
  }

  /** Whether the value of an entry has the one spelling that is read here. */
  #isPlain(at: number, base: number, start: number, end: number): boolean {
    switch (at) {
      case column.size:
      case column.partNumber:
        return isNumber(this.bytes, start, end)
      case column.latest:
        return isText(this.bytes, start, end, 'true') || isText(this.bytes, start, end, 'false')
      case column.etag:
        return this.#isPlainEtag(base, start, end)
      default:
        return at !== column.entry
    }
  }

  /** Letters, digits and hyphens, between two quotes of one spelling or none. */
  #isPlainEtag(base: number, start: number, end: number): boolean {
    const { bytes } = this
    const quote = quoteAt(bytes, start)
    const from = start + quote
    const to = end - quote
    if (to <= from || (quote > 0 && quoteAt(bytes, to) !== quote)) return false
    for (let i = from; i < to; i += 1) if (bytes[i] !== 0x2d && !isLetterOrDigit(bytes[i] ?? 0)) return false
    this.#setPair(base + column.etagBare, from, to)
    return true
  }

  #setPair(at: number, start: number, end: number): void {
    this.table[at] = start
    this.table[at + 1] = end
  }

  #grow(): void {
    const larger = new Int32Array(2 * this.table.length)
    larger.set(this.table)
    this.table = larger
  }
}
