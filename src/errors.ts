import type { Diagnosis } from './diagnosis.ts'

/**
 * The one table of S3 error codes: code → HTTP status and default message, as AWS words them
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). Every error a client sees is an S3Error.
 */
const table = {
  AccessDenied: [403, 'Access Denied'],
  AuthorizationHeaderMalformed: [400, 'The authorization header that you provided is not valid.'],
  AuthorizationQueryParametersError: [400, 'The authorization query parameters that you provided are not valid.'],
  BadDigest: [400, 'The Content-MD5 or checksum value that you specified did not match what the server received.'],
  BadRequest: [400, 'Bad Request'],
  BucketAlreadyExists: [
    409,
    'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.'
  ],
  BucketAlreadyOwnedByYou: [409, 'Your previous request to create the named bucket succeeded and you already own it.'],
  BucketNotEmpty: [409, 'The bucket you tried to delete is not empty.'],
  ConditionalRequestConflict: [409, 'The conditional request cannot succeed due to a conflicting operation against this resource.'],
  EntityTooLarge: [400, 'Your proposed upload exceeds the maximum allowed object size.'],
  EntityTooSmall: [400, 'Your proposed upload is smaller than the minimum allowed size'],
  ExpiredToken: [400, 'The provided token has expired.'],
  IllegalVersioningConfigurationException: [400, 'The versioning configuration specified in the request is not valid.'],
  IncompleteBody: [400, 'You did not provide the number of bytes specified by the Content-Length HTTP header'],
  InternalError: [500, 'We encountered an internal error. Please try again.'],
  InvalidAccessKeyId: [403, 'The AWS Access Key Id you provided does not exist in our records.'],
  InvalidArgument: [400, 'Invalid Argument'],
  InvalidBucketName: [400, 'The specified bucket is not valid.'],
  InvalidChunkSizeError: [400, 'Only the last chunk is allowed to have a size less than 8192 bytes'],
  InvalidDigest: [400, 'The Content-MD5 or checksum value that you specified is not valid.'],
  InvalidEncryptionAlgorithmError: [400, 'The encryption request that you specified is not valid. The valid value is AES256.'],
  InvalidObjectState: [403, 'The operation is not valid for the current state of the object.'],
  InvalidPart: [
    400,
    'One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part\'s entity tag.'
  ],
  InvalidPartNumber: [416, 'The requested partnumber is not satisfiable'],
  InvalidPartOrder: [400, 'The list of parts was not in ascending order. Parts must be ordered by part number.'],
  InvalidPolicyDocument: [400, 'The content of the form does not meet the conditions specified in the policy document.'],
  InvalidRange: [416, 'The requested range is not satisfiable'],
  InvalidRequest: [400, 'Invalid Request'],
  InvalidStorageClass: [400, 'The storage class that you specified is not valid.'],
  InvalidTag: [400, 'The tag provided was not a valid tag.'],
  InvalidToken: [400, 'The provided token is malformed or otherwise invalid.'],
  InvalidURI: [400, 'Couldn\'t parse the specified URI.'],
  'KMS.DisabledException': [400, 'The request was rejected because the specified KMS key is not enabled.'],
  'KMS.KMSInvalidStateException': [400, 'The request was rejected because the state of the specified KMS key is not valid for this request.'],
  'KMS.NotFoundException': [400, 'The specified KMS key could not be found.'],
  KeyTooLongError: [400, 'Your key is too long'],
  MalformedACLError: [400, 'The ACL that you provided was not well formed or did not validate against our published schema.'],
  MalformedPOSTRequest: [400, 'The body of your POST request is not well-formed multipart/form-data.'],
  MalformedTrailerError: [400, 'The request contained trailing data that was not well-formed or did not conform to our published schema.'],
  MalformedXML: [400, 'The XML you provided was not well-formed or did not validate against our published schema'],
  MaxMessageLengthExceeded: [400, 'Your request was too large.'],
  MetadataTooLarge: [400, 'Your metadata headers exceed the maximum allowed metadata size'],
  MethodNotAllowed: [405, 'The specified method is not allowed against this resource.'],
  MissingContentLength: [411, 'You must provide the Content-Length HTTP header.'],
  MissingRequestBodyError: [400, 'Request Body is empty'],
  MissingSecurityHeader: [400, 'Your request is missing a required header.'],
  NoSuchBucket: [404, 'The specified bucket does not exist'],
  NoSuchBucketPolicy: [404, 'The specified bucket does not have a bucket policy.'],
  NoSuchCORSConfiguration: [404, 'The CORS configuration does not exist'],
  NoSuchKey: [404, 'The specified key does not exist.'],
  NoSuchLifecycleConfiguration: [404, 'The lifecycle configuration does not exist.'],
  NoSuchTagSet: [404, 'The TagSet does not exist'],
  NoSuchUpload: [404, 'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.'],
  NoSuchWebsiteConfiguration: [404, 'The specified bucket does not have a website configuration'],
  NoSuchVersion: [404, 'The specified version does not exist.'],
  NotImplemented: [501, 'A header you provided implies functionality that is not implemented'],
  NotModified: [304, 'Not Modified'],
  ObjectLockConfigurationNotFoundError: [404, 'Object Lock configuration does not exist for this bucket'],
  PermanentRedirect: [301, 'The bucket that you are attempting to access must be addressed using the specified endpoint.'],
  PreconditionFailed: [412, 'At least one of the pre-conditions you specified did not hold'],
  RequestTimeTooSkewed: [403, 'The difference between the request time and the current time is too large.'],
  RequestTimeout: [400, 'Your socket connection to the server was not read from or written to within the timeout period.'],
  ServerSideEncryptionConfigurationNotFoundError: [404, 'The server side encryption configuration was not found'],
  ServiceUnavailable: [503, 'Service is unable to handle request.'],
  SignatureDoesNotMatch: [403, 'The request signature we calculated does not match the signature you provided. Check your key and signing method.'],
  SlowDown: [503, 'Please reduce your request rate.'],
  TooManyBuckets: [400, 'You have attempted to create more buckets than allowed.'],
  TokenRefreshRequired: [400, 'The provided token must be refreshed.'],
  XAmzContentSHA256Mismatch: [400, 'The provided \'x-amz-content-sha256\' header does not match what was computed.'],

  // Sealgate's own, documented in docs/REFERENCE.md. Names no S3 store uses, so that an alarm can match them.
  SealgateBadUpstream: [502, 'The store gave an answer that the gateway cannot use.'],
  SealgateIntegrityError: [500, 'The stored object failed verification and was not released.'],
  SealgateKeyUnavailable: [403, 'The key that sealed this object is not available to the gateway.'],
  SealgatePlaintextRefused: [403, 'The object was not written through the gateway, and the policy of the bucket refuses such objects.'],
  SealgateUpstreamTimeout: [504, 'The store did not answer in time.']
} as const satisfies Record<string, readonly [status: number, message: string]>

export type S3ErrorCode = keyof typeof table
export const s3ErrorCodes = Object.keys(table) as S3ErrorCode[]

/** Headers of a code: SDKs wait as long as an overloaded service demands (RFC 9110 10.2.3). Seconds. */
const headersOf: Partial<Record<S3ErrorCode, S3Error['headers']>> = { SlowDown: [['Retry-After', '1']] }

interface S3ErrorOptions {
  /** Replaces the table's message. Reaches the client: never a secret, never plaintext. */
  readonly message?: string
  /** Extra XML elements, in order, between Message and Resource (S3 gives `ArgumentName`, `Region`, …). */
  readonly fields?: Readonly<Record<string, string>>
  /** Extra response headers; absent: those that belong to the code. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
  /** The status the store gave, where it differs from the table's. */
  readonly status?: number
  /** A code of the store that is not in the table, relayed unchanged. */
  readonly code?: string
  /** The side that caused it, where the code alone does not show it: S3 has one SlowDown for gateway, store and key service. For the log only. */
  readonly endedBy?: 'store' | 'keys' | 'gateway' | null
  /** For the log only; never sent. */
  readonly cause?: unknown
  /** Diagnosis of the cause, for the log, readiness and metrics; never sent. */
  readonly diagnosis?: Diagnosis | null
}

/** A cause whose message was written here and quotes nothing, so that the log may contain it. */
export class Finding extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'Finding'
  }
}

/** An answer to the client that is an error. Thrown anywhere; rendered in one place (listener). */
export class S3Error extends Error {
  /** One of the table's codes, or the store's. */
  readonly code: string
  readonly status: number
  readonly fields: Readonly<Record<string, string>>
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly endedBy: 'store' | 'keys' | 'gateway' | null
  #diagnosis: Diagnosis | null

  constructor(code: S3ErrorCode, options: S3ErrorOptions = {}) {
    const [status, message] = table[code]
    super(options.message ?? message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'S3Error'
    this.code = options.code ?? code
    this.status = options.status ?? status
    this.fields = options.fields ?? {}
    this.headers = options.headers ?? headersOf[code] ?? []
    this.endedBy = options.endedBy ?? null
    this.#diagnosis = options.diagnosis ?? null
  }

  /** Diagnosis of the cause; null: nothing beyond the code. */
  get diagnosis(): Diagnosis | null {
    return this.#diagnosis
  }

  /** Adds a diagnosis where there is none yet. */
  diagnose(diagnosis: Diagnosis): this {
    this.#diagnosis ??= diagnosis
    return this
  }

  /** The same answer with further response headers. */
  withHeaders(headers: S3Error['headers']): S3Error {
    if (headers.length === 0) return this
    const { code, status, message, fields, endedBy, cause, diagnosis } = this
    return new S3Error('InternalError', { code, status, message, fields, endedBy, cause, diagnosis, headers: [...this.headers, ...headers] })
  }
}
