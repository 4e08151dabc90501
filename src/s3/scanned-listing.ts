import { setImmediate } from 'node:timers/promises'
import {
  goesOn,
  hasKey,
  historyRows,
  isEncoded,
  keyOf,
  listsOnly,
  rowsOf,
  type HistoryRow,
  type ListingField,
  type ListingRow,
  type RowKind
} from './listing-rows.ts'
import { writeListing, type RowEdit } from './listing.ts'
import { column } from './listing-columns.ts'
import { ListingScan } from './listing-scan.ts'
import { Splices } from './splices.ts'
import { isText } from './xml-bytes.ts'
import { childText, decodeText, escapeXml, parseXml, upstreamDocument } from './xml.ts'

/** A listing of the store: what it says, and how it is written with other rows. */
export interface Listing {
  /** In the order of the store. Delete markers and common prefixes are not among them. */
  readonly rows: readonly ListingRow[]
  /** Whether names are percent-encoded. */
  readonly isEncoded: boolean
  /** Versions and delete markers, in the order of the store. */
  readonly history: () => readonly HistoryRow[]
  /** Text of a field; null: there is none. */
  readonly field: (name: ListingField) => string | null
  /** As the function `goesOn`. */
  readonly goesOn: () => boolean
  /** Whether a row or a delete marker has this name. */
  readonly hasKey: (key: string) => boolean
  /** As the function `listsOnly`. */
  readonly listsOnly: (prefix: string) => boolean
  /** As `writeListing`, with an edit for each row. */
  readonly write: (edits: readonly RowEdit[], isHidden: ((key: string) => boolean) | null) => Promise<Buffer>
}

/** What is done between two turns of the event loop: 1 to 2 ms. */
const BYTES_AT_ONCE = 512 * 1024
export const ROWS_AT_ONCE = 1024

/** What `ListingScan` does not know is parsed, which costs twenty times as much. @throws S3Error SealgateBadUpstream */
export async function openListing(xml: Buffer): Promise<Listing> {
  const scan = new ListingScan(xml)
  let known = xml.length > upstreamDocument.maxBytes ? null : scan.step(BYTES_AT_ONCE)
  while (known === false) {
    await setImmediate()
    known = scan.step(BYTES_AT_ONCE)
  }
  return known === null ? parsedListing(xml) : new ScannedListing(scan)
}

/** The listing by the parser: what every other way of reading and writing it is held to. @throws S3Error SealgateBadUpstream */
export function parsedListing(xml: Buffer): Listing {
  const document = parseXml(xml, upstreamDocument)
  const { root } = document
  const encoded = isEncoded(document)
  const field = (name: ListingField): string | null => childText(document, root, name)
  return {
    rows: rowsOf(document).map(({ row }) => row),
    isEncoded: encoded,
    history: () => historyRows(document),
    field,
    goesOn: () => goesOn(field),
    hasKey: (key) => hasKey(document, key),
    listsOnly: (prefix) => listsOnly(xml, prefix),
    write: async (edits, isHidden) => writeListing(xml, (_, i) => edits[i] ?? {}, isHidden ?? undefined)
  }
}

export class ScannedListing implements Listing {
  readonly rows: readonly ScannedRow[]
  readonly #scan: ListingScan

  /** @param scan of all of the bytes */
  constructor(scan: ListingScan) {
    this.#scan = scan
    this.rows = scan.kinds.flatMap((kind, entry) => kind === 'row' ? [new ScannedRow(scan, ListingScan.baseOf(entry))] : [])
  }

  get isEncoded(): boolean {
    return this.#scan.isEncoded
  }

  history(): HistoryRow[] {
    const { kinds } = this.#scan
    return kinds.flatMap((kind, entry): HistoryRow[] => {
      if (kind === 'prefix' || this.#scan.rowKind !== 'version') return []
      const row = new ScannedRow(this.#scan, ListingScan.baseOf(entry))
      const { versionId, lastModified, latest: isLatest } = row
      const deleteMarker = kind === 'marker'
      const { key, size, etag, storageClass } = deleteMarker ? { key: this.#nameOf(entry), size: null, etag: null, storageClass: null } : row
      return [{ key, versionId, uploadId: null, lastModified, isLatest, deleteMarker, size, etag, storageClass }]
    })
  }

  field(name: ListingField): string | null {
    const at = this.#scan.field(name)
    return at === undefined ? null : decodeText(this.#scan.bytes.toString('utf8', ...at))
  }

  goesOn(): boolean {
    return goesOn((name) => this.field(name))
  }

  hasKey(key: string): boolean {
    return this.#scan.kinds.some((kind, entry) => kind !== 'prefix' && this.#nameOf(entry) === key)
  }

  listsOnly(prefix: string): boolean {
    return this.#scan.kinds.every((_, entry) => this.#nameOf(entry).startsWith(prefix))
  }

  async write(edits: readonly RowEdit[], isHidden: ((key: string) => boolean) | null): Promise<Buffer> {
    const scan = this.#scan
    if (edits.some(({ checksums, described }) => described !== undefined || (checksums !== undefined && checksums.length > 0))) {
      return parsedListing(scan.bytes).write(edits, isHidden)
    }
    const splices = new Splices()
    let rows = 0
    let removed = 0
    for (const [entry, kind] of scan.kinds.entries()) {
      if (entry % ROWS_AT_ONCE === ROWS_AT_ONCE - 1) await setImmediate()
      const row = kind === 'row' ? this.rows[rows] : undefined
      const edit = row === undefined ? undefined : edits[rows++]
      const name = isHidden === null || kind === 'prefix' ? null : row?.key ?? this.#nameOf(entry)
      if (edit?.remove === true || (name !== null && isHidden?.(name) === true)) {
        const base = ListingScan.baseOf(entry) + column.entry
        splices.add(scan.table[base] ?? 0, scan.table[base + 1] ?? 0, '')
        if (row !== undefined) removed += 1
      } else if (row !== undefined && edit !== undefined) {
        row.edit(splices, edit)
      }
    }
    if (removed > 0) this.#writeLess(splices, removed)
    return splices.applyTo(scan.bytes)
  }

  /** Without a NextMarker a client goes on behind the last row of ListObjects, which may be one that was left out. */
  #writeLess(splices: Splices, removed: number): void {
    const scan = this.#scan
    const count = scan.field('KeyCount')
    if (count !== undefined) splices.add(...count, String(Math.max(0, Number(scan.bytes.toString('latin1', ...count)) - removed)))
    const last = this.rows.at(-1)
    const truncated = scan.field('IsTruncated')
    const goesOn = truncated !== undefined && scan.bytes.toString('latin1', ...truncated) === 'true'
    if (count !== undefined || last?.kind !== 'object' || scan.field('NextMarker') !== undefined || !goesOn) return
    splices.add(scan.rootEnd, scan.rootEnd, `<NextMarker>${escapeXml(last.text(column.key) ?? '')}</NextMarker>`)
  }

  /** Of a row, a delete marker or a common prefix, as `listsOnly` reads it. */
  #nameOf(entry: number): string {
    const row = new ScannedRow(this.#scan, ListingScan.baseOf(entry))
    return keyOf(row.text(column.key) ?? '', this.#scan.isEncoded)
  }
}

const noChecksums: ReadonlyMap<string, string> = new Map()

/** Decodes no more of a row than is asked for. */
class ScannedRow implements ListingRow {
  readonly #scan: ListingScan
  readonly #base: number

  constructor(scan: ListingScan, base: number) {
    this.#scan = scan
    this.#base = base
  }

  get kind(): RowKind {
    return this.#scan.rowKind
  }

  get key(): string {
    const { kind } = this
    const ofUpload = this.#scan.field('Key')
    const text = this.text(column.key) ?? (ofUpload === undefined ? '' : this.#decoded(...ofUpload))
    return keyOf(text, kind !== 'part' && this.#scan.isEncoded)
  }

  get versionId(): string | null {
    return this.text(column.versionId)
  }

  get latest(): boolean {
    return this.#plain(column.latest) === 'true'
  }

  get uploadId(): string | null {
    return this.text(column.uploadId)
  }

  get partNumber(): number | null {
    const text = this.#plain(column.partNumber)
    return text === null ? null : Number(text)
  }

  get etag(): string | null {
    return this.#plain(column.etagBare)
  }

  get size(): number | null {
    const text = this.#plain(column.size)
    return text === null ? null : Number(text)
  }

  get checksums(): ReadonlyMap<string, string> {
    if (this.kind !== 'part') return noChecksums
    const { bytes } = this.#scan
    return new Map(
      this.#checksums().map(([start, end]) => {
        const text = bytes.toString('utf8', start, end)
        const name = text.slice(1, text.indexOf('>'))
        return [name, decodeText(text.slice(name.length + 2, text.lastIndexOf('<'))).trim()] as const
      })
    )
  }

  get lastModified(): string | null {
    return this.text(column.lastModified)
  }

  get storageClass(): string | null {
    return this.text(column.storageClass)
  }

  get described(): boolean {
    return false
  }

  /** The decoded text of a column; null: there is none. */
  text(at: number): string | null {
    const { table } = this.#scan
    const end = table[this.#base + at + 1] ?? 0
    return end === 0 ? null : this.#decoded(table[this.#base + at] ?? 0, end)
  }

  edit(splices: Splices, { size, etag, checksums }: RowEdit): void {
    if (etag === null) this.#splice(splices, column.etagElement, '')
    else if (etag !== undefined && !this.#isSpelled(etag)) this.#splice(splices, column.etag, `&quot;${escapeXml(etag)}&quot;`)
    if (size !== undefined) this.#splice(splices, column.size, String(size))
    if (checksums !== undefined) { for (const [start, end] of this.#checksums()) splices.add(start, end, '') }
  }

  /** Does nothing where there is none. */
  #splice(splices: Splices, at: number, text: string): void {
    const { table } = this.#scan
    const end = table[this.#base + at + 1] ?? 0
    if (end > 0) splices.add(table[this.#base + at] ?? 0, end, text)
  }

  /** An ETag that is this one, in quotes, keeps its spelling. */
  #isSpelled(etag: string): boolean {
    const { bytes, table } = this.#scan
    const start = table[this.#base + column.etagBare] ?? 0
    return table[this.#base + column.etag] !== start && isText(bytes, start, table[this.#base + column.etagBare + 1] ?? 0, etag)
  }

  /** The text of a column that has neither references nor characters beyond ASCII. */
  #plain(at: number): string | null {
    const { bytes, table } = this.#scan
    const end = table[this.#base + at + 1] ?? 0
    return end === 0 ? null : bytes.toString('latin1', table[this.#base + at], end)
  }

  #checksums(): (readonly [start: number, end: number])[] {
    const { table, checksums } = this.#scan
    const found: [number, number][] = []
    const end = table[this.#base + column.checksums + 1] ?? 0
    for (let i = table[this.#base + column.checksums] ?? 0; i < end; i += 2) found.push([checksums[i] ?? 0, checksums[i + 1] ?? 0])
    return found
  }

  #decoded(start: number, end: number): string {
    return decodeText(this.#scan.bytes.toString('utf8', start, end))
  }
}
