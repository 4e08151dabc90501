// Rows from an S3 Inventory in CSV (AWS User Guide, "Amazon S3 Inventory"), in place of a listing. Files are read as streams, so memory does not grow
// with them, and each is compared with the digest that the manifest states.
import { createHash } from 'node:crypto'
import { pipeline, Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { createGunzip } from 'node:zlib'
import { S3Error } from '../errors.ts'
import { keyOf } from '../s3/listing-rows.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import type { Row } from './engine.ts'

const PAGE = 1000
/** Bytes of a manifest: some 200,000 files. */
const MOST_MANIFEST_BYTES = 64 * 1024 * 1024
/** Characters of a row: a name has at most 1,024 bytes, each of them at most three characters; the other columns are short. */
const MOST_ROW_CHARACTERS = 16_384

interface InventoryFile {
  readonly key: string
  /** In hex. */
  readonly md5: string
}

/** A manifest, read. */
export interface Inventory {
  /** The bucket whose objects it lists. */
  readonly sourceBucket: string
  /** Names of the columns, in lower case. */
  readonly columns: readonly string[]
  readonly files: readonly InventoryFile[]
}

/** @throws S3Error the store's error; SealgateBadUpstream for a document that is no manifest of files in CSV. */
export async function readInventory(place: BucketClient, key: string): Promise<Inventory> {
  const { status, body } = await place.answer({ method: 'GET', key, retry: true, pool: 'data' }, MOST_MANIFEST_BYTES)
  if (status !== 200) throw unreadable(`${key}: the store answers ${status}`)
  let manifest: unknown
  try {
    manifest = JSON.parse(body.toString('utf8'))
  } catch {
    throw unreadable(`${key} is not JSON`)
  }
  const { fileFormat, fileSchema, sourceBucket, files } = isRecord(manifest) ? manifest : {}
  if (fileFormat !== 'CSV') {
    throw unreadable(`${key}: its files are ${typeof fileFormat === 'string' ? fileFormat : 'of no known format'}, and only CSV is read`)
  }
  if (typeof fileSchema !== 'string' || typeof sourceBucket !== 'string' || !Array.isArray(files)) throw unreadable(`${key} is not a manifest`)
  const columns = fileSchema.split(',').map((name) => name.trim().toLowerCase())
  if (!columns.includes('key')) throw unreadable(`${key}: its files have no column Key`)
  return {
    sourceBucket,
    columns,
    files: files.map((file: unknown) => {
      const { key: name, MD5checksum: md5 } = isRecord(file) ? file : {}
      if (typeof name !== 'string' || typeof md5 !== 'string') throw unreadable(`${key} names a file without its name or digest`)
      return { key: name, md5: md5.toLowerCase() }
    })
  }
}

/**
 * The rows of all files of an inventory.
 * @param versions false: the current objects only.
 * @throws S3Error SealgateBadUpstream for a file that is not what the manifest says; its rows may have been given by then.
 */
export async function* inventoryRows(place: BucketClient, inventory: Inventory, versions: boolean): AsyncGenerator<readonly Row[]> {
  for (const file of inventory.files) {
    let page: Row[] = []
    for await (const cells of cellsOf(place, inventory, file)) {
      const row = rowOf(inventory, cells, file)
      if (!versions && (!row.isLatest || row.deleteMarker)) continue
      page.push(row)
      if (page.length < PAGE) continue
      yield page
      page = []
    }
    yield page
  }
}

async function* cellsOf(place: BucketClient, { columns }: Inventory, { key, md5 }: InventoryFile): AsyncGenerator<readonly string[]> {
  const { status, body } = await place.send({ method: 'GET', key, retry: true, pool: 'data' })
  if (status !== 200) {
    body.destroy()
    throw unreadable(`${key}: the store answers ${status}`)
  }
  const hash = createHash('md5')
  const hashed = async function*(): AsyncGenerator<Buffer> {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      hash.update(chunk)
      yield chunk
    }
  }
  // The failure of either stage ends the loop below with its error.
  const bytes: AsyncIterable<Buffer> = key.endsWith('.gz') ? pipeline(Readable.from(hashed()), createGunzip(), () => undefined) : hashed()
  let first = true
  try {
    for await (const cells of csvRows(bytes, key)) {
      // Tools that write such files by themselves put the names of the columns first; S3 does not.
      const header = first && cells.length === columns.length && cells.every((cell, i) => cell.trim().toLowerCase() === columns[i])
      first = false
      if (!header) yield cells
    }
  } catch (error) {
    throw error instanceof S3Error || place.signal.aborted ? error : unreadable(`${key} could not be read to its end`, error)
  }
  if (hash.digest('hex') !== md5) throw unreadable(`${key} is not the file that the manifest names: its MD5 differs`)
}

/** Rows of cells (RFC 4180). Empty lines are no rows. @throws S3Error SealgateBadUpstream for a row without an end. */
async function* csvRows(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<string[]> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of chunks) {
    const text = rest + decoder.write(chunk)
    let start = 0
    for (let end = rowEnd(text, start); end !== -1; end = rowEnd(text, start)) {
      if (end > start) yield csvCells(text.slice(start, end))
      start = end + 1
    }
    rest = text.slice(start)
    if (rest.length > MOST_ROW_CHARACTERS) throw unreadable(`${name} has a row of more than ${MOST_ROW_CHARACTERS} characters`)
  }
  rest += decoder.end()
  if (rest !== '') yield csvCells(rest)
}

/** Where the row that begins at `start` ends: at the first line end that no quotes enclose; -1: further on. */
function rowEnd(text: string, start: number): number {
  let quoted = false
  for (let at = start; at < text.length; at += 1) {
    const character = text.charCodeAt(at)
    if (character === 0x22) quoted = !quoted
    else if (character === 0x0a && !quoted) return at
  }
  return -1
}

function csvCells(line: string): string[] {
  const cells: string[] = []
  let cell = ''
  let quoted = false
  const end = line.endsWith('\r') ? line.length - 1 : line.length
  for (let at = 0; at < end; at += 1) {
    const character = line[at]
    if (character === '"') {
      // Doubled inside of quotes: the character itself.
      if (quoted && line[at + 1] === '"') {
        cell += '"'
        at += 1
      } else quoted = !quoted
    } else if (character === ',' && !quoted) {
      cells.push(cell)
      cell = ''
    } else cell += character
  }
  return [...cells, cell]
}

function rowOf({ columns, sourceBucket }: Inventory, cells: readonly string[], file: InventoryFile): Row {
  if (cells.length !== columns.length) throw unreadable(`${file.key} has a row with ${cells.length} cells in place of ${columns.length}`)
  const cell = (name: string): string | null => {
    const text = cells[columns.indexOf(name)]
    return text === undefined || text === '' ? null : text
  }
  const bucket = cell('bucket')
  if (bucket !== null && bucket !== sourceBucket) throw unreadable(`${file.key} has a row of another bucket`)
  const size = cell('size')
  const modified = Date.parse(cell('lastmodifieddate') ?? '')
  return {
    // Names are URL-encoded in CSV, and in no other format.
    key: keyOf(cell('key') ?? '', true),
    // "null" is a version that was written while the bucket kept none; its requests name it so.
    versionId: cell('versionid'),
    isLatest: cell('islatest') !== 'false',
    deleteMarker: cell('isdeletemarker') === 'true',
    size: size !== null && /^\d{1,15}$/.test(size) ? Number(size) : null,
    etag: cell('etag'),
    lastModified: Number.isNaN(modified) ? null : modified,
    storageClass: cell('storageclass')
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function unreadable(reason: string, cause?: unknown): S3Error {
  return new S3Error('SealgateBadUpstream', { message: `The inventory cannot be used: ${reason}.`, cause })
}
