import { S3Error } from '../errors.ts'
import { isReservedContextName } from './types.ts'
import { decodeBase64 } from './key-material.ts'
import { customerKeyOf, type CustomerKey } from './ssec.ts'

/** The encryption that a write asks for. `none`: the bucket's default decides. */
export type SseRequest =
  | { readonly mode: 'none' }
  | { readonly mode: 'AES256' }
  | {
    readonly mode: 'aws:kms'
    /** As the client wrote it: key id, alias or ARN; null: the default key. */
    readonly keyId: string | null
    /** Sorted by name. */
    readonly context: Readonly<Record<string, string>>
    /** null: the bucket's setting decides. */
    readonly bucketKeyEnabled: boolean | null
  }
  | { readonly mode: 'SSE-C'; readonly customer: CustomerKey }

/** The encryption of an object, as clients see it. */
export type SseApplied =
  | { readonly mode: 'none' }
  | { readonly mode: 'AES256' }
  | {
    readonly mode: 'aws:kms'
    readonly keyId: string
    readonly context: Readonly<Record<string, string>>
    readonly bucketKeyEnabled: boolean
  }
  | { readonly mode: 'SSE-C'; readonly md5: string }

const sse = 'x-amz-server-side-encryption'
const kmsKeyId = `${sse}-aws-kms-key-id`
const encryptionContext = `${sse}-context`
const bucketKey = `${sse}-bucket-key-enabled`

/** It is stored with the object in the 2 KB of user metadata, so more could never be stored. Bytes of JSON. */
const MAX_CONTEXT_BYTES = 1536
/** AWS KMS API reference, GenerateDataKey: KeyId has at most 2,048 characters. */
const MAX_KEY_ID_LENGTH = 2048

/**
 * Reads the encryption headers of a request that creates an object (PutObject, CopyObject, CreateMultipartUpload, POST), or that repeats those of its
 * upload. Codes and messages are S3's.
 * @param headers lower-case names.
 * @param allowed SSE-C may be used: the client used TLS, or the configuration allows it without.
 * @throws S3Error InvalidArgument for conflicts and unknown values, NotImplemented for aws:kms:dsse, and as customerKeyOf.
 */
export function sseOfWrite(headers: ReadonlyMap<string, string>, allowed: boolean): SseRequest {
  const algorithm = headers.get(sse)
  const anyCustomer = [...headers.keys()].some((name) => name.startsWith(`${sse}-customer-`))
  const kmsOnly = [kmsKeyId, encryptionContext, bucketKey].find((name) => headers.has(name))
  if (anyCustomer && (algorithm !== undefined || kmsOnly !== undefined)) {
    throw invalid(
      'Server Side Encryption with Customer provided key is incompatible with the encryption method specified',
      sse,
      algorithm ?? 'null'
    )
  }
  const customer = customerKeyOf(headers, 'object', allowed)
  if (customer !== null) return { mode: 'SSE-C', customer }
  if (algorithm === 'aws:kms') return kmsRequest(headers)
  if (algorithm === 'aws:kms:dsse') {
    throw new S3Error('NotImplemented', { message: 'Dual-layer server-side encryption (aws:kms:dsse) is not available. Use aws:kms.' })
  }
  if (algorithm !== undefined && algorithm !== 'AES256') throw invalid('The encryption method specified is not supported', sse, algorithm)
  if (kmsOnly === kmsKeyId) {
    throw invalid(`Server Side Encryption with AWS KMS managed key requires HTTP header ${sse} : aws:kms`, sse, algorithm ?? 'null')
  }
  if (kmsOnly === encryptionContext) throw invalid(`${encryptionContext} requires HTTP header ${sse} : aws:kms`, sse, algorithm ?? 'null')
  // SDKs send the bucket-key flag with AES256 and alone; S3 accepts it there, without effect. A malformed one is refused.
  flagOf(headers)
  return algorithm === undefined ? { mode: 'none' } : { mode: 'AES256' }
}

/** Headers of SSE-S3 and SSE-KMS. They apply only where an object or an upload is created. */
const general: readonly string[] = [sse, kmsKeyId, encryptionContext, bucketKey]

/** @param name in lower case. @returns whether it is one of SSE-S3 or SSE-KMS, and not of a customer's key. */
export function isGeneralSseHeader(name: string): boolean {
  return general.includes(name)
}

/**
 * Reads the encryption headers of a read: GET, HEAD, GetObjectAttributes. Only a customer's key may be sent with these (AWS S3 API reference,
 * GetObject).
 * @throws S3Error InvalidArgument when SSE-S3 or SSE-KMS headers are present, and as customerKeyOf.
 */
export function sseOfAccess(headers: ReadonlyMap<string, string>, allowed: boolean): CustomerKey | null {
  refuseGeneralSse(headers)
  return customerKeyOf(headers, 'object', allowed)
}

/** @throws S3Error InvalidArgument as AWS words it, when a header of SSE-S3 or SSE-KMS is there. */
export function refuseGeneralSse(headers: ReadonlyMap<string, string>): void {
  for (const name of general) {
    if (headers.has(name)) throw invalid(`${name} header is not supported for this operation.`, name, headers.get(name) ?? 'null')
  }
}

/** The encryption with which an upload was created. */
export interface UploadEncryption {
  readonly mode: SseApplied['mode']
  readonly context: Readonly<Record<string, string>>
  readonly bucketKeyEnabled: boolean
  /** Whether a key id, alias or ARN of a client names the key of the upload. */
  readonly answersTo: (keyId: string) => boolean
}

/**
 * Whether the encryption that a request names agrees with that of the upload it continues (UploadPart, UploadPartCopy, CompleteMultipartUpload,
 * ListParts; docs/decisions/0031-sse-headers-of-parts.md). An upload created without any is sealed as well, so AES256 agrees with it. Customer's keys
 * are not checked here.
 */
export function agreesWithUpload(asked: SseRequest, upload: UploadEncryption): boolean {
  switch (asked.mode) {
    case 'none':
    case 'SSE-C':
      return true
    case 'AES256':
      return upload.mode === 'AES256' || upload.mode === 'none'
    case 'aws:kms': {
      const { keyId, context, bucketKeyEnabled } = asked
      return upload.mode === 'aws:kms' && (keyId === null || upload.answersTo(keyId)) &&
        (Object.keys(context).length === 0 || encodeContext(context) === encodeContext(upload.context)) &&
        (bucketKeyEnabled === null || bucketKeyEnabled === upload.bucketKeyEnabled)
    }
  }
}

/**
 * The response headers about the encryption of an object.
 * @param answer `write`: PutObject, CopyObject, CreateMultipartUpload, which also repeat the encryption context; `access`: all others.
 */
export function sseResponseHeaders(applied: SseApplied, answer: 'write' | 'access'): readonly (readonly [name: string, value: string])[] {
  switch (applied.mode) {
    case 'none':
      return []
    case 'AES256':
      return [[sse, 'AES256']]
    case 'SSE-C':
      return [[`${sse}-customer-algorithm`, 'AES256'], [`${sse}-customer-key-MD5`, applied.md5]]
    case 'aws:kms': {
      const headers: [string, string][] = [[sse, 'aws:kms'], [kmsKeyId, applied.keyId]]
      if (answer === 'write' && Object.keys(applied.context).length > 0) headers.push([encryptionContext, encodeContext(applied.context)])
      // S3 omits the header where bucket keys are off.
      if (applied.bucketKeyEnabled) headers.push([bucketKey, 'true'])
      return headers
    }
  }
}

/** Base64 of JSON, as the header carries it. */
export function encodeContext(context: Readonly<Record<string, string>>): string {
  return Buffer.from(JSON.stringify(context)).toString('base64')
}

/**
 * Reads `x-amz-server-side-encryption-context`.
 * @returns pairs sorted by name.
 * @throws S3Error InvalidArgument unless it is base64 of a JSON object of strings, of at most 1,536 bytes, without reserved names.
 */
export function decodeContext(text: string): Readonly<Record<string, string>> {
  const shape = invalid(
    `The header '${encryptionContext}' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map`,
    encryptionContext,
    'null'
  )
  const bytes = decodeBase64(text)
  if (bytes === null) throw shape
  if (bytes.length > MAX_CONTEXT_BYTES) {
    throw invalid(`The encryption context is longer than ${MAX_CONTEXT_BYTES} bytes of JSON.`, encryptionContext, 'null')
  }
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    throw shape
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw shape
  const pairs = Object.entries(value).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  for (const [name, content] of pairs) {
    // "__proto__" is lost wherever a program builds an object name by name, and with it a part of the binding.
    if (name === '' || name === '__proto__' || typeof content !== 'string' || !name.isWellFormed() || !content.isWellFormed()) throw shape
    if (isReservedContextName(name)) throw invalid(`The encryption context name ${name} is reserved.`, encryptionContext, 'null')
  }
  return Object.fromEntries(pairs)
}

function kmsRequest(headers: ReadonlyMap<string, string>): SseRequest {
  const keyId = headers.get(kmsKeyId) ?? null
  if (keyId !== null && (keyId === '' || keyId.length > MAX_KEY_ID_LENGTH || !/^[\x21-\x7e]+$/.test(keyId))) {
    throw invalid('The KMS key id is not valid.', kmsKeyId, 'null')
  }
  const context = headers.get(encryptionContext)
  return { mode: 'aws:kms', keyId, context: context === undefined ? {} : decodeContext(context), bucketKeyEnabled: flagOf(headers) }
}

function flagOf(headers: ReadonlyMap<string, string>): boolean | null {
  const flag = headers.get(bucketKey)?.toLowerCase()
  if (flag === undefined) return null
  if (flag !== 'true' && flag !== 'false') throw invalid(`${bucketKey} is true or false.`, bucketKey, flag)
  return flag === 'true'
}

function invalid(message: string, argument: string, value: string): S3Error {
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: argument, ArgumentValue: value } })
}
