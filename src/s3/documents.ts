import { S3Error } from '../errors.ts'
import { parseChecksum, requireChecksumAlgorithm } from '../http/checksums.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'
import { unquoteEtag } from './conditions.ts'
import { MAX_PART_NUMBER, parsePartNumber } from './range.ts'
import { childOf, childrenOf, childText, parseXml, textOf } from './xml.ts'
import type { XmlDocument, XmlElement, XmlLimits } from './xml.ts'

/** The request documents that the gateway must understand. All others are forwarded unread. */

/** Limits for a document of a client. @param maxBytes the configured `limits.xmlBytes` */
export function clientDocument(maxBytes: number): XmlLimits {
  return { maxBytes, fault: 'MalformedXML' }
}

function parseRoot(body: Buffer, limits: XmlLimits, name: string): XmlDocument {
  const document = parseXml(body, limits)
  if (document.root.name !== name) throw new S3Error('MalformedXML')
  return document
}

/** @throws S3Error MalformedXML when the child is missing. */
function requiredText(document: XmlDocument, element: XmlElement, name: string): string {
  const text = childText(document, element, name)
  if (text === null) throw new S3Error('MalformedXML')
  return text
}

export interface DeleteEntry {
  readonly key: string
  readonly versionId: string | null
  /** Conditions in the client's terms: visible ETag without quotes (or `*`), plaintext bytes, HTTP date or ISO time. */
  readonly etag: string | null
  readonly size: number | null
  readonly lastModifiedTime: string | null
}

/**
 * The body of DeleteObjects: 1 to 1,000 keys (AWS API).
 * @throws S3Error MalformedXML, MaxMessageLengthExceeded
 */
export function parseDelete(body: Buffer, limits: XmlLimits): { readonly objects: readonly DeleteEntry[]; readonly quiet: boolean } {
  const document = parseRoot(body, limits, 'Delete')
  const objects = childrenOf(document.root, 'Object').map((element): DeleteEntry => {
    const etag = childText(document, element, 'ETag')
    const size = childText(document, element, 'Size')
    const versionId = childText(document, element, 'VersionId')
    const key = requiredText(document, element, 'Key')
    if (key === '' || (size !== null && !/^\d{1,15}$/.test(size.trim()))) throw new S3Error('MalformedXML')
    return {
      key,
      // Some clients send an empty element for no value.
      versionId: versionId === '' ? null : versionId,
      etag: etag === null ? null : unquoteEtag(etag),
      size: size === null ? null : Number(size),
      lastModifiedTime: childText(document, element, 'LastModifiedTime')
    }
  })
  if (objects.length === 0 || objects.length > 1000) throw new S3Error('MalformedXML')
  return { objects, quiet: childText(document, document.root, 'Quiet')?.trim().toLowerCase() === 'true' }
}

export interface CompletedPart {
  readonly partNumber: number
  /** Without quotes. */
  readonly etag: string
  /** Base64 as the client wrote it. */
  readonly checksums: Readonly<Partial<Record<ChecksumAlgorithm, string>>>
}

/**
 * The body of CompleteMultipartUpload: 1 to 10,000 parts in ascending order (AWS API).
 * @throws S3Error MalformedXML, InvalidArgument (part number, malformed checksum), InvalidPartOrder, InvalidRequest (checksum of an unknown algorithm), MaxMessageLengthExceeded
 */
export function parseCompletedParts(body: Buffer, limits: XmlLimits): CompletedPart[] {
  const document = parseRoot(body, limits, 'CompleteMultipartUpload')
  const parts = childrenOf(document.root, 'Part').map((element) => completedPart(document, element))
  if (parts.length === 0 || parts.length > MAX_PART_NUMBER) throw new S3Error('MalformedXML')
  if (parts.some((part, i) => part.partNumber <= (parts[i - 1]?.partNumber ?? 0))) throw new S3Error('InvalidPartOrder')
  return parts
}

function completedPart(document: XmlDocument, element: XmlElement): CompletedPart {
  const number = requiredText(document, element, 'PartNumber').trim()
  if (/^(?:-\d{1,9}|0)$/.test(number)) throw badPart('PartNumber', number, 'PartNumber must be >= 1')
  const partNumber = parsePartNumber(number)
  const checksums: Partial<Record<ChecksumAlgorithm, string>> = {}
  for (const child of element.children) {
    // Some clients send an empty element for no value.
    const text = child.name.startsWith('Checksum') ? textOf(document, child).trim() : ''
    if (text !== '') checksums[requireChecksumAlgorithm(child.name.slice('Checksum'.length))] = text
  }
  const found = Object.entries(checksums) as [ChecksumAlgorithm, string][]
  if (found.length > 1 || found.some(([algorithm, text]) => parseChecksum(algorithm, text) === null)) {
    const given = found.map(([algorithm, text]) => `${algorithm.toUpperCase()}:${text.slice(0, 128)};`).join('')
    throw badPart('Checksum', given, 'Invalid Base64 or multiple checksums present in request')
  }
  return { partNumber, etag: unquoteEtag(requiredText(document, element, 'ETag')), checksums }
}

function badPart(name: string, value: string, message: string): S3Error {
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: name, ArgumentValue: value } })
}

/** `SSEAlgorithm` and its parameters, as written; the caller decides which it accepts. */
interface DefaultEncryption {
  readonly algorithm: string
  readonly kmsKeyId: string | null
  readonly bucketKeyEnabled: boolean
  /** `SSE-C`, `NONE`; empty when the document does not name one. */
  readonly blockedTypes: readonly string[]
}

/**
 * The body of PutBucketEncryption: exactly one rule (AWS API).
 * @throws S3Error MalformedXML, MaxMessageLengthExceeded
 */
export function parseEncryptionConfiguration(body: Buffer, limits: XmlLimits): DefaultEncryption {
  const document = parseRoot(body, limits, 'ServerSideEncryptionConfiguration')
  const rule = childOf(document, document.root, 'Rule')
  const byDefault = rule === undefined ? undefined : childOf(document, rule, 'ApplyServerSideEncryptionByDefault')
  if (rule === undefined || byDefault === undefined) throw new S3Error('MalformedXML')
  const blocked = childOf(document, rule, 'BlockedEncryptionTypes')
  return {
    algorithm: requiredText(document, byDefault, 'SSEAlgorithm').trim(),
    kmsKeyId: childText(document, byDefault, 'KMSMasterKeyID')?.trim() ?? null,
    bucketKeyEnabled: childText(document, rule, 'BucketKeyEnabled')?.trim().toLowerCase() === 'true',
    blockedTypes: blocked === undefined ? [] : childrenOf(blocked, 'EncryptionType').map((e) => textOf(document, e).trim())
  }
}

export type Tag = readonly [key: string, value: string]

/**
 * A `Tagging` document: the body of PutObjectTagging, the answer of GetObjectTagging, the `tagging` field of a form.
 * @throws S3Error MalformedXML (or the limits' fault), InvalidTag for a name given twice, MaxMessageLengthExceeded
 */
export function parseTagging(body: Buffer, limits: XmlLimits): Tag[] {
  const document = parseXml(body, limits)
  const set = childOf(document, document.root, 'TagSet')
  if (document.root.name !== 'Tagging' || set === undefined) throw new S3Error(limits.fault)
  const tags = childrenOf(set, 'Tag').map((tag): Tag => {
    const key = childText(document, tag, 'Key')
    const value = childText(document, tag, 'Value')
    if (key === null || value === null) throw new S3Error(limits.fault)
    return [key, value]
  })
  if (new Set(tags.map(([key]) => key)).size !== tags.length) {
    throw new S3Error('InvalidTag', { message: 'Cannot provide multiple Tags with the same key' })
  }
  return tags
}

/**
 * The region requested for a new bucket.
 * @returns null when the body is empty or names none
 * @throws S3Error MalformedXML, MaxMessageLengthExceeded
 */
export function parseLocationConstraint(body: Buffer, limits: XmlLimits): string | null {
  if (body.length === 0) return null
  const document = parseRoot(body, limits, 'CreateBucketConfiguration')
  const location = childText(document, document.root, 'LocationConstraint')?.trim()
  return location === undefined || location === '' ? null : location
}

/**
 * True when a RestoreObject asks for more than a restore: a SELECT runs on stored bytes, an OutputLocation writes them
 * elsewhere (AWS API, RestoreObject).
 * @throws S3Error MalformedXML, MaxMessageLengthExceeded
 */
export function restoreSelects(body: Buffer, limits: XmlLimits): boolean {
  if (body.length === 0) return false
  const document = parseRoot(body, limits, 'RestoreRequest')
  return document.root.children.some((child) =>
    ['SelectParameters', 'OutputLocation'].includes(child.name) || (child.name === 'Type' && textOf(document, child).trim() !== '')
  )
}
