import type { S3Error } from '../errors.ts'
import { childText, parseXml, renderXml, textOf, upstreamDocument } from './xml.ts'

/** Where an error happened and under which ids it is found in the log. */
export interface ErrorPlace {
  /** Path of the request as received. */
  readonly resource: string
  readonly requestId: string
  readonly hostId: string
}

/** Characters of one element of an error, and of all its further elements together: no answer is many times its request. */
const maxText = 4096
const maxFieldText = 24 * 1024

/** Whole characters only. What was left out is counted, so that nobody takes the rest for all. */
function bounded(text: string): string {
  if (text.length <= maxText) return text
  const kept = text.slice(0, maxText).replace(/[\ud800-\udbff]$/, '')
  return `${kept}... (${text.length - kept.length} more characters)`
}

/** As many as there is room for, in order. */
function boundedFields(fields: Readonly<Record<string, string>>): (readonly [name: string, text: string])[] {
  let room = maxFieldText
  return Object.entries(fields).filter(([name, text]) => {
    room -= name.length + Math.min(text.length, maxText)
    return room >= 0
  })
}

/**
 * The error document of S3: `Error` with Code, Message, further fields in their order, Resource, RequestId, HostId
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). No namespace, as S3 sends it.
 * Texts are cut at 4,096 characters: they may be the client's own, which it has not proved to be any client's.
 */
export function renderError(error: Pick<S3Error, 'code' | 'message' | 'fields'>, place: ErrorPlace): Buffer {
  const elements: readonly (readonly [name: string, text: string])[] = [
    ['Code', error.code],
    ['Message', error.message],
    ...boundedFields(error.fields),
    ['Resource', place.resource],
    ['RequestId', place.requestId],
    ['HostId', place.hostId]
  ]
  return renderXml(['Error', elements.map(([name, text]) => [name, bounded(text)])], null)
}

export interface ParsedError {
  readonly code: string
  readonly message: string
  /** Other leaf elements of the document, without Resource, RequestId and HostId. */
  readonly fields: Readonly<Record<string, string>>
}

/** At most what S3 itself ever sends; a longer "error" is not read. */
const errorDocument = { ...upstreamDocument, maxBytes: 65536 }

/**
 * Reads an error document of the store.
 * @returns null for anything else: HTML of a load balancer, an empty body, another document. Also the test whether an
 * answer of status 200 is an error after all (AWS, CompleteMultipartUpload and CopyObject)
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
    // Whatever made it unreadable, it is no error document; the status line still says what happened.
    return null
  }
}
