import { createHash, type KeyObject, timingSafeEqual } from 'node:crypto'
import * as envelope from '../envelope/data-key.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { S3Error } from '../errors.ts'
import { decodeBase64, takeKey } from './key-material.ts'
import type { BucketKey } from './types.ts'

/** Key id stored with objects whose key the customer keeps. */
export const SSEC_KEY_ID = 'ssec'

/** A customer's key, validated. It lives as long as the request. */
export interface CustomerKey {
  readonly key: KeyObject
  /** Base64 of the key's MD5, as S3 answers it. */
  readonly md5: string
}

const ownPrefix = 'x-amz-server-side-encryption-customer-'
const sourcePrefix = 'x-amz-copy-source-server-side-encryption-customer-'

/**
 * The customer's key of a request: of the object itself, or of the source of a copy. null when there is no SSE-C header. Codes, messages and the
 * order of the checks are S3's (ArgumentName names the general header, as in S3).
 * @param headers lower-case names.
 * @param allowed the client used TLS, or the configuration allows SSE-C without.
 * @throws S3Error InvalidRequest without TLS; InvalidArgument or InvalidEncryptionAlgorithmError for what is missing or wrong.
 */
export function customerKeyOf(headers: ReadonlyMap<string, string>, of: 'object' | 'copy-source', allowed: boolean): CustomerKey | null {
  const prefix = of === 'object' ? ownPrefix : sourcePrefix
  const algorithm = headers.get(`${prefix}algorithm`)
  const key = headers.get(`${prefix}key`)
  const md5 = headers.get(`${prefix}key-md5`)
  if (algorithm === undefined && key === undefined && md5 === undefined) return null
  if (!allowed) {
    throw new S3Error('InvalidRequest', { message: `${requests} must be made over a secure connection.` })
  }
  if (algorithm === undefined) throw invalid(`${requests} must provide a valid encryption algorithm.`)
  if (algorithm !== 'AES256') {
    throw new S3Error('InvalidEncryptionAlgorithmError', {
      message: 'The Encryption request you specified is not valid. Supported value: AES256.',
      fields: { ArgumentName: 'x-amz-server-side-encryption', ArgumentValue: algorithm }
    })
  }
  if (key === undefined) throw invalid(`${requests} must provide an appropriate secret key.`)
  if (md5 === undefined) throw invalid(`${requests} must provide the client calculated MD5 of the secret key.`)
  return decodeCustomerKey(key, md5)
}

const requests = 'Requests specifying Server Side Encryption with Customer provided keys'

function decodeCustomerKey(text: string, md5: string): CustomerKey {
  const bytes = decodeBase64(text)
  if (bytes === null) throw invalid('The secret key was invalid for the specified algorithm.')
  const sum = createHash('md5').update(bytes).digest()
  const key = takeKey(bytes)
  const claimed = decodeBase64(md5)
  // S3 compares the MD5 before it checks the length.
  if (claimed?.length !== sum.length || !timingSafeEqual(claimed, sum)) {
    throw invalid('The calculated MD5 hash of the key did not match the hash that was provided.')
  }
  if (key === null) throw invalid('The secret key was invalid for the specified algorithm.')
  return { key, md5 }
}

/** ArgumentValue is "null" as in S3's answers: it never repeats a header that may hold a key. */
function invalid(message: string): S3Error {
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: 'x-amz-server-side-encryption', ArgumentValue: 'null' } })
}

/**
 * A request reads an object with SSE-C headers if and only if the object was written with them.
 * @param keyId key id stored with the object.
 * @throws S3Error InvalidRequest, with S3's message for both cases.
 */
export function requireCustomerKey(keyId: string, customer: CustomerKey | null): void {
  if (keyId === SSEC_KEY_ID && customer === null) {
    throw new S3Error('InvalidRequest', {
      message: 'The object was stored using a form of Server Side Encryption. '
        + 'The correct parameters must be provided to retrieve the object.'
    })
  }
  if (keyId !== SSEC_KEY_ID && customer !== null) {
    throw new S3Error('InvalidRequest', { message: 'The encryption parameters are not applicable to this object.' })
  }
}

/**
 * A key to seal boxes with, made from a customer's key with a new salt (docs/FORMAT.md, "Key providers", SSE-C). The customer's key itself is never a
 * cipher key.
 */
export function sealWithCustomerKey(customer: CustomerKey): BucketKey {
  const { kek, blob } = envelope.sealWithCustomerKey(customer.key)
  return { key: kek, wrapped: { keyId: SSEC_KEY_ID, blob } }
}

/**
 * @throws S3Error InvalidRequest when the check value shows another key (docs/decisions/0006-wrong-customer-key.md).
 * SealgateIntegrityError when the blob has an impossible length, or a scope that no SSE-C object has.
 */
export function openWithCustomerKey(customer: CustomerKey, sealed: Parameters<typeof envelope.openWithCustomerKey>[1]): KeyObject {
  try {
    return envelope.openWithCustomerKey(customer.key, sealed)
  } catch (error) {
    if (error instanceof EnvelopeError && error.kind === 'key') {
      throw new S3Error('InvalidRequest', { message: `${requests} must provide the correct secret key.` })
    }
    throw new S3Error('SealgateIntegrityError', { cause: error })
  }
}
