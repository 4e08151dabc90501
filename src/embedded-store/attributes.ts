import { S3Error } from '../errors.ts'
import { element, textElement } from './xml.ts'
import { parseQuery } from '../http/target.ts'
import type { HeaderList } from '../http/message.ts'
import type { ResponseHeaders, StoreSettings } from './request.ts'
import type { CannedAcl, ObjectAttributes, Retention, StorageClass, Tag } from './records.ts'

/** System metadata a writer may set (AWS, "Working with object metadata"), spelled as S3 answers it. */
const systemHeaders = [
  'Cache-Control',
  'Content-Disposition',
  'Content-Encoding',
  'Content-Language',
  'Content-Type',
  'Expires',
  'x-amz-website-redirect-location'
] as const

const overridable = ['Cache-Control', 'Content-Disposition', 'Content-Encoding', 'Content-Language', 'Content-Type', 'Expires'] as const

/** Bytes of names and values of user metadata, the prefix not counted. */
const METADATA_LIMIT = 2048

const cannedAcls: readonly CannedAcl[] = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
  'log-delivery-write'
]
/** Without GLACIER and DEEP_ARCHIVE: archived objects cannot be read, and this store has no restore. */
const storageClasses: readonly StorageClass[] = ['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR']

/**
 * Reads the attributes of an object from a writing request.
 * @throws S3Error MetadataTooLarge, InvalidTag, InvalidStorageClass, InvalidArgument, NotImplemented (server-side encryption,
 *   grants: this store would have to pretend), AccessDenied where the store demands server-side encryption
 */
export function readAttributes(headers: HeaderList, { demandsSse }: Pick<StoreSettings, 'demandsSse'>): ObjectAttributes {
  if (demandsSse && headers.get('x-amz-server-side-encryption') !== 'AES256') throw new S3Error('AccessDenied')
  for (const name of headers.names()) {
    if (demandsSse && name === 'x-amz-server-side-encryption') continue
    if (name.startsWith('x-amz-server-side-encryption') || name.startsWith('x-amz-grant-')) {
      throw new S3Error('NotImplemented', { fields: { Header: name } })
    }
  }
  return {
    headers: readSystemHeaders(headers),
    metadata: readMetadata(headers),
    tags: parseTagging(headers.get('x-amz-tagging') ?? ''),
    acl: readAcl(headers),
    storageClass: readStorageClass(headers),
    retention: readRetention(headers),
    legalHold: headers.get('x-amz-object-lock-legal-hold') === 'ON'
  }
}

function readSystemHeaders(headers: HeaderList): Record<string, string> {
  const found: Record<string, string> = { 'content-type': 'binary/octet-stream' }
  for (const name of systemHeaders.map((header) => header.toLowerCase())) {
    const value = name === 'content-encoding' ? withoutAwsChunked(headers.get(name)) : headers.get(name)
    if (value !== undefined && value !== '') found[name] = value
  }
  return found
}

/** `aws-chunked` describes the transfer, not the object (AWS, "SigV4 chunked upload"). */
function withoutAwsChunked(encoding: string | undefined): string | undefined {
  return encoding?.split(',').filter((token) => token.trim() !== 'aws-chunked').join(',').trim()
}

function readMetadata(headers: HeaderList): Record<string, string> {
  const metadata: Record<string, string> = {}
  let size = 0
  for (const name of headers.names()) {
    if (!name.startsWith('x-amz-meta-')) continue
    const value = headers.get(name) ?? ''
    metadata[name.slice('x-amz-meta-'.length)] = value
    size += name.length - 'x-amz-meta-'.length + value.length
  }
  if (size > METADATA_LIMIT) {
    throw new S3Error('MetadataTooLarge', { fields: { Size: String(size), MaxSizeAllowed: String(METADATA_LIMIT) } })
  }
  return metadata
}

/** @throws S3Error InvalidArgument for a name that is none of the canned ACLs */
export function readAcl(headers: HeaderList): CannedAcl {
  const name = headers.get('x-amz-acl') ?? 'private'
  const acl = cannedAcls.find((known) => known === name)
  if (acl === undefined) throw new S3Error('InvalidArgument', { fields: { ArgumentName: 'x-amz-acl', ArgumentValue: name } })
  return acl
}

function readStorageClass(headers: HeaderList): StorageClass {
  const name = headers.get('x-amz-storage-class') ?? 'STANDARD'
  const storageClass = storageClasses.find((known) => known === name)
  if (storageClass === undefined) throw new S3Error('InvalidStorageClass')
  return storageClass
}

function readRetention(headers: HeaderList): Retention | null {
  const mode = headers.get('x-amz-object-lock-mode')
  const until = headers.get('x-amz-object-lock-retain-until-date')
  if (mode === undefined && until === undefined) return null
  return checkRetention(mode, until)
}

/** @throws S3Error InvalidArgument unless there is a known mode and a date to come */
export function checkRetention(mode: string | undefined, until: string | undefined): Retention {
  const time = Date.parse(until ?? '')
  if ((mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE') || Number.isNaN(time)) {
    throw new S3Error('InvalidArgument', { message: 'x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied' })
  }
  if (time <= Date.now()) throw new S3Error('InvalidArgument', { message: 'The retain until date must be in the future!' })
  return { mode, until: new Date(time).toISOString() }
}

/** The `x-amz-tagging` header: tags as a query string. @throws S3Error InvalidArgument, InvalidTag */
function parseTagging(header: string): readonly Tag[] {
  return checkTags(parseQuery(header).parameters.map(({ name, value }) => [name, value ?? '']))
}

/** What tags may consist of (AWS, "Object tags"; the pattern is that of the Resource Groups Tagging API). */
const tagText = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u

/** Limits of object tags (AWS, "Categorizing your objects using tags"). @throws S3Error InvalidTag, BadRequest */
export function checkTags(tags: readonly Tag[]): readonly Tag[] {
  if (tags.length > 10) throw new S3Error('BadRequest', { message: 'Object tags cannot be greater than 10' })
  if (new Set(tags.map(([key]) => key)).size < tags.length) {
    throw new S3Error('InvalidTag', { message: 'Cannot provide multiple Tags with the same key' })
  }
  for (const [key, value] of tags) {
    if (key === '' || key.length > 128 || !tagText.test(key)) throw new S3Error('InvalidTag', { message: 'The TagKey you have provided is invalid' })
    if (value.length > 256 || !tagText.test(value)) throw new S3Error('InvalidTag', { message: 'The TagValue you have provided is invalid' })
  }
  return tags
}

/** The same in response headers. */
export function attributeHeaders(attributes: ObjectAttributes): ResponseHeaders {
  const out: [string, string][] = []
  for (const name of systemHeaders) {
    const value = attributes.headers[name.toLowerCase()]
    if (value !== undefined) out.push([name, value])
  }
  for (const [name, value] of Object.entries(attributes.metadata)) out.push([`x-amz-meta-${name}`, value])
  if (attributes.tags.length > 0) out.push(['x-amz-tagging-count', String(attributes.tags.length)])
  if (attributes.storageClass !== 'STANDARD') out.push(['x-amz-storage-class', attributes.storageClass])
  if (attributes.retention !== null) {
    out.push(['x-amz-object-lock-mode', attributes.retention.mode], ['x-amz-object-lock-retain-until-date', attributes.retention.until])
  }
  if (attributes.legalHold) out.push(['x-amz-object-lock-legal-hold', 'ON'])
  return out
}

/** What describes an object, as MinIO's listings write it. */
export function descriptionElement(attributes: ObjectAttributes): string {
  const described = attributeHeaders(attributes).filter(([name]) => !/^x-amz-(?!meta-)/.test(name))
  // A header may have a name that no element can have.
  const rows = described.filter(([name]) => /^[A-Za-z_][A-Za-z0-9._-]*$/.test(name)).map(([name, value]) =>
    name.startsWith('x-amz-meta-')
      ? textElement(name.replace(/(?<=^|-)[a-z]/g, (letter) => letter.toUpperCase()), Buffer.from(value, 'latin1').toString('utf8'))
      : textElement(name.toLowerCase(), value)
  )
  return element('UserMetadata', ...rows)
}

/** `response-content-type` and the like replace the stored headers (AWS, GetObject). */
export function overrideHeaders(headers: ResponseHeaders, override: (parameter: string) => string | undefined): ResponseHeaders {
  const replaced = overridable.flatMap((name) => {
    const value = override(`response-${name.toLowerCase()}`)
    if (value === undefined) return []
    if (/[\u0000-\u001f\u007f]/.test(value)) {
      throw new S3Error('InvalidArgument', { fields: { ArgumentName: `response-${name.toLowerCase()}` } })
    }
    return [[name, Buffer.from(value, 'utf8').toString('latin1')] as const]
  })
  const names = new Set<string>(replaced.map(([name]) => name))
  return [...headers.filter(([name]) => !names.has(name)), ...replaced]
}
