import type { HeaderList, HttpRequest, HttpResponse } from '../http/message.ts'
import type { Query } from '../http/target.ts'
import type { Catalog } from './catalog.ts'
import type { Payload } from './verify.ts'
import { xmlDocument, textElement } from './xml.ts'
import { systemCodeOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'

/** A request whose signature has verified, or which is anonymous. */
export interface StoreRequest {
  readonly http: HttpRequest
  readonly method: string
  /** '' for operations on the service. */
  readonly bucket: string
  /** '' for operations on a bucket. */
  readonly key: string
  readonly query: Query
  /** As received, plus the `x-amz-*` parameters of a presigned query. */
  readonly headers: HeaderList
  readonly payload: Payload
  readonly anonymous: boolean
}

export interface StoreSettings {
  readonly region: string
  /** Whether objects written without a checksum get a CRC-64/NVME, as AWS does. Costs CPU time per byte. */
  readonly defaultChecksum: boolean
  /** As a bucket policy that denies objects without `x-amz-server-side-encryption: AES256`. Nothing is encrypted: for tests. */
  readonly demandsSse: boolean
}

/** What operations work on. */
export interface StoreContext extends StoreSettings {
  readonly catalog: Catalog
}

/** Canonical user id of everybody who may sign: the store has one owner. */
export const owner = { id: '5ea1ca7e0f51a9e0d1e5c0de0b1ec7505ea1ca7e0f51a9e0d1e5c0de0b1ec750', displayName: 'owner' } as const

export type ResponseHeaders = readonly (readonly [name: string, value: string])[]

/** An answer without a body. */
export function emptyAnswer(status: number, headers: ResponseHeaders = []): HttpResponse {
  // RFC 9110 8.6: a 204 has no Content-Length.
  return { status, headers: status === 204 ? headers : [...headers, ['Content-Length', '0']], body: null }
}

export function xmlAnswer(xml: string, headers: ResponseHeaders = [], status = 200): HttpResponse {
  return textAnswer(xml, 'application/xml', headers, status)
}

export function textAnswer(text: string, contentType: string, headers: ResponseHeaders = [], status = 200): HttpResponse {
  const body = Buffer.from(text, 'utf8')
  return { status, headers: [...headers, ['Content-Type', contentType], ['Content-Length', String(body.length)]], body }
}

/** Characters of one element of an error, so that no answer is many times its request. */
const MOST_TEXT = 1024

/** Any error as S3 shows it (AWS, "REST error responses"). HEAD and 304 have no body. */
export function errorAnswer(error: unknown, request: Pick<HttpRequest, 'id' | 'method' | 'target'>): HttpResponse {
  const shown = error instanceof S3Error ? error : ofSystem(systemCodeOf(error))
  if (shown.status === 304) return { status: 304, headers: shown.headers, body: null }
  const fields = Object.entries(shown.fields).map(([name, value]) => textElement(name, value.slice(0, MOST_TEXT))).join('')
  const xml = xmlDocument(
    'Error',
    textElement('Code', shown.code),
    textElement('Message', shown.message.slice(0, MOST_TEXT)),
    fields,
    textElement('Resource', request.target.rawPath.slice(0, MOST_TEXT)),
    textElement('RequestId', request.id),
    textElement('HostId', hostId)
  )
  // <Error> is the one document of S3 that is in no namespace.
  const answer = xmlAnswer(xml.replace(/ xmlns="[^"]*"/, ''), shown.headers, shown.status)
  return request.method === 'HEAD' ? { status: answer.status, headers: shown.headers, body: null } : answer
}

/**
 * Errors of the embedded store's own disk. A full one has a code and a status of its own, so that clients do not repeat the request and the
 * gateway reports it.
 */
function ofSystem(code: string | null): S3Error {
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new S3Error('InternalError', { code: 'StorageFull', status: 507, message: `No space is left on the disk of the store (${code}).` })
  }
  return code === null ? new S3Error('InternalError') : new S3Error('InternalError', { message: `The store cannot use its disk (${code}).` })
}

/** `x-amz-id-2`: S3 has something secret of the host here. */
export const hostId = Buffer.from('embedded store').toString('base64')

/** ISO 8601 as in S3's XML: `2026-01-02T03:04:05.000Z`. */
export function isoDate(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}

/** RFC 9110 5.6.7. */
export function httpDate(milliseconds: number): string {
  return new Date(milliseconds).toUTCString()
}

/** The current time as objects carry it, in milliseconds: whole seconds, all that an HTTP date can say. */
export function currentSecond(): number {
  return Math.floor(Date.now() / 1000) * 1000
}
