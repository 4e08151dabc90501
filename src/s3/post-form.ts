import { Readable } from 'node:stream'
import { S3Error } from '../errors.ts'
import { ByteQueue } from '../http/stage.ts'
import { FormSource } from './form-parser.ts'

/** AWS, "Creating an HTML form": all fields except the file, names and values together, as sent and with `${filename}` replaced. */
const maxFieldBytes = 20 * 1024
/** Bytes of a file name without its folders. No file system has longer ones, and S3 has no longer keys. */
const maxFilenameBytes = 1024
const filenameVariable = '${filename}'
/** Fields of the signature. They are never expanded, so that what is verified is what was sent. */
const signatureFields = new Set([
  'awsaccesskeyid',
  'policy',
  'signature',
  'x-amz-algorithm',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-security-token',
  'x-amz-signature'
])
/** Fields with their part headers: far more than any client sends with `maxFieldBytes` of fields. */
const maxHeadBytes = 64 * 1024
/** A form with at most this many bytes left is read whole first: its file length is then exact, even when fields follow the file. */
const smallFileBytes = 256 * 1024

/** A browser form in the form that S3 accepts (AWS, "POST Object"). */
export interface PostForm {
  /** Fields before the file by lower-case name, `${filename}` replaced. Fields after the file are ignored, as in S3. */
  readonly fields: ReadonlyMap<string, string>
  /**
   * Fails with MalformedPOSTRequest when the form does not end properly, or not after `fileLength` bytes: only after its end is the file known to be
   * complete.
   */
  readonly file: Readable
}

/** A form read up to the first byte of its file. */
interface FormFields {
  /** As sent, by lower-case name: `${filename}` is not replaced yet. */
  readonly fields: ReadonlyMap<string, string>
  /**
   * The fields with `${filename}` replaced, except those of the signature (AWS, "Creating a POST policy"). To be called once the signature has
   * verified, because expansion multiplies what an unauthenticated peer sent.
   * @throws S3Error MaxMessageLengthExceeded when the expanded fields have more than 20 KiB.
   */
  readonly expanded: () => ReadonlyMap<string, string>
  /** Base name of the file the user chose; '' when the client sent none. */
  readonly filename: string
  /**
   * Begins to read the file; to be called once. At most 256 KiB of it are read ahead.
   * @param contentLength of the request in bytes; null when chunked
   * @throws S3Error MalformedPOSTRequest
   */
  readonly openFile: (contentLength: number | null) => Promise<OpenFile>
}

interface OpenFile extends Pick<PostForm, 'file'> {
  /**
   * Bytes of the file. For files above 256 KiB it is computed from Content-Length. That assumes that the file is the last field, as AWS documents,
   * and that a CRLF ends the form. null when such a form came chunked.
   */
  readonly fileLength: number | null
}

function malformed(message?: string, cause?: unknown): S3Error {
  return new S3Error('MalformedPOSTRequest', { ...(message === undefined ? {} : { message }), cause })
}

/** @throws S3Error MalformedPOSTRequest when the boundary is missing or longer than RFC 2046 5.1.1 allows. */
function boundaryOf(contentType: string): string {
  const match = /;\s*boundary=(?:"([^"]+)"|([^;,\s"]+))/i.exec(contentType)
  const boundary = match?.[1] ?? match?.[2] ?? ''
  if (boundary === '' || boundary.length > 70 || /[^\x20-\x7e]/.test(boundary)) throw malformed()
  return boundary
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decode(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw malformed(undefined, cause)
  }
}

interface PartHead {
  readonly name: string
  readonly filename: string | null
}

/** Content-Disposition of a part (RFC 7578 4.2); browsers encode quotes and line breaks in names as %22, %0D, %0A. */
function parseHead(head: string): PartHead {
  const line = head.split('\r\n').find((l) => /^content-disposition\s*:/i.test(l)) ?? ''
  if (!/:\s*form-data\s*;/i.test(line)) throw malformed()
  const parameters = new Map<string, string>()
  for (const [, name = '', quoted, bare] of line.matchAll(/;\s*([a-z]+)=(?:"((?:\\"|[^"])*)"|([^;\s"]*))/gi)) {
    if (parameters.has(name.toLowerCase())) throw malformed()
    const value = (quoted ?? bare ?? '').replaceAll('\\"', '"')
    parameters.set(name.toLowerCase(), value.replace(/%(22|0D|0A)/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))))
  }
  const name = parameters.get('name')
  if (name === undefined) throw malformed()
  return { name: name.toLowerCase(), filename: parameters.get('filename') ?? null }
}

function fieldsTooLarge(): S3Error {
  return new S3Error('MaxMessageLengthExceeded', { message: 'Your POST request fields preceding the upload file were too large.' })
}

function checkFilename(filename: string): string {
  if (Buffer.byteLength(filename) <= maxFilenameBytes) return filename
  throw new S3Error('InvalidArgument', { message: `The name of the file is longer than ${maxFilenameBytes} bytes.`, fields: { ArgumentName: 'file' } })
}

/** The size of the result is computed before any of it is built. */
function expandFilename(fields: ReadonlyMap<string, string>, filename: string): ReadonlyMap<string, string> {
  const added = Buffer.byteLength(filename) - filenameVariable.length
  let bytes = 0
  const pieces = new Map<string, readonly string[]>()
  for (const [name, value] of fields) {
    const parts = signatureFields.has(name) ? [value] : value.split(filenameVariable)
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + (parts.length - 1) * added
    if (bytes > maxFieldBytes) throw fieldsTooLarge()
    pieces.set(name, parts)
  }
  return new Map([...pieces].map(([name, parts]) => [name, parts.join(filename)]))
}

/** Reads fields up to the file; the source is then at the file's first byte. */
async function readFields(source: FormSource): Promise<{ fields: Map<string, string>; filename: string }> {
  const fields = new Map<string, string>()
  let bytes = 0
  await source.start()
  for (;;) {
    const { name, filename } = parseHead(decode(await source.until('\r\n\r\n', maxHeadBytes)))
    if (name === 'file') return { fields, filename: checkFilename((filename ?? '').replace(/^.*[/\\]/s, '')) }
    const value = await source.until(source.delimiter, maxHeadBytes)
    bytes += name.length + value.length
    if (bytes > maxFieldBytes || source.taken > maxHeadBytes) throw fieldsTooLarge()
    if (fields.has(name)) {
      throw new S3Error('InvalidArgument', { message: 'A form field was given more than once.', fields: { ArgumentName: name } })
    }
    fields.set(name, decode(value))
    if (await source.afterDelimiter() === 'end') {
      throw new S3Error('InvalidArgument', {
        message: 'POST requires exactly one file upload per request.',
        fields: { ArgumentName: 'file', ArgumentValue: '0' }
      })
    }
  }
}

/**
 * Reads a form up to its file, which `openFile` then returns as a stream. Memory is bounded by the fields and one chunk.
 * @param contentType of the request, with the boundary
 * @throws S3Error MalformedPOSTRequest, MaxMessageLengthExceeded (fields above 20 KiB), InvalidArgument (no file, a field twice, a file name above
 * 1,024 bytes)
 */
export async function readFormFields(body: Readable, contentType: string): Promise<FormFields> {
  const source = new FormSource(body, boundaryOf(contentType))
  const { fields, filename } = await readFields(source)
  return { fields, filename, expanded: () => expandFilename(fields, filename), openFile: (contentLength) => openFile(source, contentLength) }
}

async function openFile(source: FormSource, contentLength: number | null): Promise<OpenFile> {
  const fileStart = source.taken
  const chunks = source.file()
  const { held, ended } = await readAhead(chunks)
  // The closing delimiter, "--" and CRLF follow the file.
  const computed = contentLength === null ? null : contentLength - fileStart - source.delimiter.length - 4
  const fileLength = ended ? held.length : computed
  return { file: Readable.from(counted([held.take()], chunks, fileLength), { objectMode: false }), fileLength }
}

async function readAhead(chunks: AsyncIterator<Buffer, void>): Promise<{ held: ByteQueue; ended: boolean }> {
  const held = new ByteQueue()
  while (held.length <= smallFileBytes) {
    const { value, done } = await chunks.next()
    if (done === true) return { held, ended: true }
    held.add(value)
  }
  return { held, ended: false }
}

async function* counted(held: Buffer[], rest: AsyncIterable<Buffer>, expected: number | null): AsyncGenerator<Buffer, void> {
  let length = 0
  const wrong = (): S3Error => malformed('The file must be the last field of the form, and the form must end after it.')
  for (let chunk = held.shift(); chunk !== undefined; chunk = held.shift()) {
    length += chunk.length
    yield chunk
  }
  for await (const chunk of rest) {
    length += chunk.length
    if (expected !== null && length > expected) throw wrong()
    yield chunk
  }
  if (expected !== null && length !== expected) throw wrong()
}
