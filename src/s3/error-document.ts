import type { S3Error } from '../errors.ts'
import { childText, escapeXml, parseXml, renderXml, textOf, upstreamDocument } from './xml.ts'

/** The path of a failed request, and the ids under which the log has it. */
interface ErrorPlace {
  /** Path of the request as received. */
  readonly resource: string
  readonly requestId: string
  readonly hostId: string
}

/** Most bytes of one element of an error as written, and of all its further elements together, so that no answer is many times its request. */
const maxText = 4096
const maxFieldText = 24 * 1024

/** Cut at a whole character, to a size that counts the escapes. The number of bytes left out is added. */
function bounded(text: string): string {
  let bytes = 0
  let end = 0
  for (; end < text.length && bytes <= maxText; end += 1) bytes += writtenBytes(text.charCodeAt(end))
  if (bytes <= maxText) return text
  const kept = text.slice(0, end - 1).replace(/[\ud800-\udbff]$/, '')
  return `${kept}... (${text.length - kept.length} more characters)`
}

/** Most bytes of a UTF-16 unit in XML: 6 for an escape. */
function writtenBytes(unit: number): number {
  if (unit >= 0x7f) return unit >= 0xfffe ? 8 : unit === 0x7f ? 6 : 3
  return unit < 0x20 || unit === 0x22 || unit === 0x26 || unit === 0x3c || unit === 0x3e ? 6 : 1
}

/** As many elements as there is room for, in order. */
function boundedFields(fields: Readonly<Record<string, string>>): (readonly [name: string, text: string])[] {
  let room = maxFieldText
  return Object.entries(fields).map(([name, text]) => [name, bounded(text)] as const).filter(([name, text]) => {
    room -= 2 * name.length + Buffer.byteLength(escapeXml(text))
    return room >= 0
  })
}

/**
 * The error document of S3: `Error` with Code, Message, further fields in their order, Resource, RequestId, HostId
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). No namespace, as in S3.
 * Texts are cut at 4,096 bytes, and all together at 36 KiB, because they may come from a peer that is not authenticated.
 */
export function renderError(error: Pick<S3Error, 'code' | 'message' | 'fields'>, place: ErrorPlace): Buffer {
  return renderXml(['Error', [
    ['Code', bounded(error.code)],
    ['Message', bounded(error.message)],
    ...boundedFields(error.fields),
    ['Resource', bounded(place.resource)],
    ['RequestId', place.requestId],
    ['HostId', place.hostId]
  ]], null)
}

export interface ParsedError {
  readonly code: string
  readonly message: string
  /** Other leaf elements of the document, without Resource, RequestId and HostId. */
  readonly fields: Readonly<Record<string, string>>
}

/** Larger than any error of S3; a longer one is not read. */
const errorDocument = { ...upstreamDocument, maxBytes: 65536 }

/**
 * Reads an error document of the store.
 * @returns null for anything else: HTML of a load balancer, an empty body, another document. Also used to find out whether an answer with status 200
 * is an error (AWS, CompleteMultipartUpload and CopyObject)
 */
export function parseErrorXml(document: Buffer): ParsedError | null {
  try {
    const xml = parseXml(document, errorDocument)
    const code = childText(xml, xml.root, 'Code')
    if (xml.root.name !== 'Error' || code === null) return null
    const fields: Record<string, string> = {}
    for (const child of xml.root.children) {
      if (child.children.length === 0 && !['Code', 'Message', 'Resource', 'RequestId', 'HostId'].includes(child.name)) {
        fields[child.name] = textOf(xml, child)
      }
    }
    return { code, message: childText(xml, xml.root, 'Message') ?? '', fields }
  } catch {
    // Not an error document: the status line alone reports the error.
    return null
  }
}
