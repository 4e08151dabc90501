import { S3Error } from '../errors.ts'
import { parseCredential, parseSignedHeaders, type Malformed, type ScopedCredential } from './credential.ts'

/** What a request says of its SigV4 signature, wherever it says it. */
export interface SignatureClaim {
  readonly credential: ScopedCredential
  readonly signedHeaders: readonly string[]
  /** As sent: compared with the 64 hex digits expected, never parsed. */
  readonly signature: string
}

export const algorithmV4 = 'AWS4-HMAC-SHA256'
export const algorithmV4A = 'AWS4-ECDSA-P256-SHA256'

export const malformedHeader: Malformed = (message, fields) => new S3Error('AuthorizationHeaderMalformed', {
  message: `The authorization header is malformed; ${message}`, ...(fields === undefined ? {} : { fields })
})

/** SigV4A exists for multi-region access points of AWS only. */
export function sigV4aRefused(): S3Error {
  return new S3Error('NotImplemented', { message: `${algorithmV4A} (Signature Version 4A) is not supported. Please use ${algorithmV4}.` })
}

/**
 * The part of an `Authorization` header after `AWS4-HMAC-SHA256`: `Credential=…, SignedHeaders=…, Signature=…`, the comma
 * with or without a space (botocore writes one, minio-go does not), the three in any order, each exactly once.
 * @throws S3Error AuthorizationHeaderMalformed
 */
export function parseAuthorization(parameters: string, regions: readonly string[]): SignatureClaim {
  const found = new Map<string, string>()
  for (const item of parameters.split(',')) {
    const text = item.trim()
    const equals = text.indexOf('=')
    const name = text.slice(0, Math.max(equals, 0))
    if ((name !== 'Credential' && name !== 'SignedHeaders' && name !== 'Signature') || found.has(name)) {
      throw malformedHeader('expecting Credential, SignedHeaders and Signature once each, separated by commas.')
    }
    found.set(name, text.slice(equals + 1))
  }
  return {
    credential: parseCredential(present(found, 'Credential'), regions, malformedHeader),
    signedHeaders: parseSignedHeaders(present(found, 'SignedHeaders'), malformedHeader),
    signature: present(found, 'Signature')
  }
}

function present(found: ReadonlyMap<string, string>, name: string): string {
  const value = found.get(name)
  if (value === undefined || value === '') throw malformedHeader(`the authorization header requires three components; missing "${name}".`)
  return value
}
