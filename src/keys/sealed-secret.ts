import { unwrap, wrap } from '../envelope/data-key.ts'
import { ByteReader, EnvelopeError, fields } from '../envelope/encoding.ts'
import { S3Error } from '../errors.ts'
import type { KeyRegistry } from './registry.ts'
import type { KeyContext, KeyUse } from './types.ts'

/** Most bytes of a secret, as of Encrypt in AWS KMS. */
const MOST_SECRET_BYTES = 4096

const PREFIX = 'sealgate-secret-1:'
/** No bucket can have this name: what was wrapped for a secret opens no object, and the other way round. */
const PLACE = 'sealgate:secret'

/**
 * Seals a secret of 1 to 4,096 bytes under the current version of a key (docs/FORMAT.md, Sealed secrets).
 * @param key its name in the configuration. @throws S3Error of the key; InvalidArgument for another size.
 */
export async function sealSecret(keys: KeyRegistry, key: string, realm: string, secret: Buffer, use: KeyUse): Promise<string> {
  if (secret.length === 0 || secret.length > MOST_SECRET_BYTES) {
    throw new S3Error('InvalidArgument', { message: `A secret has 1 to ${MOST_SECRET_BYTES.toLocaleString('en')} bytes.` })
  }
  const { key: bucketKey, wrapped } = await keys.providerFor(key).generate(contextOf(realm), use)
  const box = wrap(bucketKey, secret, boundTo(realm, wrapped.keyId))
  return PREFIX + fields(realm, wrapped.keyId, wrapped.blob, box).toString('base64url')
}

/**
 * Opens what `sealSecret` made. @param realms those in which it may have been sealed.
 * @throws S3Error of the key; SealgateKeyUnavailable for a key or realm that is not configured; SealgateIntegrityError for anything else that is not as it was made.
 */
export async function openSecret(keys: KeyRegistry, text: string, realms: readonly string[], use: KeyUse): Promise<Buffer> {
  const { realm, keyId, blob, box } = parse(text)
  const key = keys.owner(keyId)
  if (key === null || !realms.includes(realm)) {
    const what = key === null ? `with key ${keyId}` : `for realm ${realm}`
    throw new S3Error('SealgateKeyUnavailable', { message: `The secret is sealed ${what}, which the configuration does not have.` })
  }
  const bucketKey = await key.provider.unwrap({ keyId, blob }, contextOf(realm), use)
  try {
    return unwrap(bucketKey, box, boundTo(realm, keyId))
  } catch (error) {
    throw error instanceof EnvelopeError ? damaged(error) : error
  }
}

/** Id of the master key that a secret is sealed under. @throws S3Error SealgateIntegrityError for a text that is none. */
export function keyIdOfSecret(text: string): string {
  return parse(text).keyId
}

function parse(text: string): { realm: string; keyId: string; blob: Buffer; box: Buffer } {
  const body = text.slice(PREFIX.length)
  const bytes = Buffer.from(body, 'base64url')
  if (!text.startsWith(PREFIX) || bytes.toString('base64url') !== body) throw damaged(null)
  try {
    const reader = new ByteReader(bytes, 'format')
    const parts = { realm: reader.field().toString(), keyId: reader.field().toString(), blob: reader.field(), box: reader.field() }
    if (!reader.done) throw new EnvelopeError('format')
    return parts
  } catch (error) {
    throw damaged(error)
  }
}

function contextOf(realm: string): KeyContext {
  return { realm, bucket: PLACE, objectKey: null, requestContext: {} }
}

function boundTo(realm: string, keyId: string): Buffer {
  return fields('sealgate/v1/secret', realm, keyId)
}

function damaged(cause: unknown): S3Error {
  return new S3Error('SealgateIntegrityError', { message: 'The sealed secret is not as it was made.', cause })
}
