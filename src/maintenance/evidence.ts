// Evidence of a run: what it saw, which bytes its report has, and a MAC that only somebody with the bucket's key can make (docs/EXISTING-DATA.md).
import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto'
import type { KeyPins } from '../config/pins.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyContext, KeyUse } from '../keys/types.ts'
import { deriveKey } from '../envelope/primitives.ts'
import { S3Error } from '../errors.ts'

/** Name of the file beside a report. */
export function evidenceFile(report: string): string {
  return `${report}.evidence.json`
}

/** STORED DATA: the MAC is under HKDF-SHA-256 of a bucket key with this salt. */
const SALT = Buffer.from('sealgate/v1/evidence', 'ascii')
const MAC = Buffer.from('mac', 'ascii')

interface Signature {
  /** HMAC-SHA-256 of `evidence` as compact JSON, in base64. */
  readonly mac: string
  readonly keyId: string
  /** The key of the MAC, wrapped by the master key for this bucket and for nothing but evidence; base64. */
  readonly wrappedKey: string
}

/** What a report must have for its evidence to be about it. */
export interface Evidence {
  readonly bucket: string
  readonly realm: string
  /** SHA-256 of the report, in hex. Absent: there is no report beside it, the evidence is all there is. */
  readonly reportSha256?: string
  readonly [field: string]: unknown
}

/** Binds the key to its purpose. A client may give an object the same context: who has the object does not have its bucket key. */
function contextOf({ realm, bucket }: Pick<Evidence, 'realm' | 'bucket'>): KeyContext {
  return { realm, bucket, objectKey: null, requestContext: { 'sealgate-purpose': 'evidence' } }
}

function macOf(evidence: Evidence, key: KeyObject): Buffer {
  return createHmac('sha256', deriveKey({ from: key, salt: SALT, info: MAC })).update(JSON.stringify(evidence)).digest()
}

/** @param key name of the key of the bucket. @throws S3Error of the key. */
export async function signEvidence(evidence: Evidence, keys: KeyRegistry, key: string, use: KeyUse): Promise<string> {
  const { key: bucketKey, wrapped } = await keys.providerFor(key).generate(contextOf(evidence), use)
  const signature: Signature = { mac: macOf(evidence, bucketKey).toString('base64'), keyId: wrapped.keyId, wrappedKey: wrapped.blob.toString('base64') }
  return `${JSON.stringify({ evidence, signature }, null, 2)}\n`
}

/** @throws S3Error InvalidRequest for a text that is no evidence. */
export function parseEvidence(text: string): { readonly evidence: Evidence; readonly signature: Signature } {
  const { evidence, signature } = partsOf(text)
  const texts = [evidence?.bucket, evidence?.realm, evidence?.reportSha256 ?? '', signature?.mac, signature?.keyId, signature?.wrappedKey]
  if (!texts.every((text) => typeof text === 'string')) throw new S3Error('InvalidRequest', { message: 'This is not the evidence of a report.' })
  return { evidence: evidence as Evidence, signature: signature as Signature }
}

function partsOf(text: string): { readonly evidence?: Partial<Evidence>; readonly signature?: Partial<Signature> } {
  try {
    return (JSON.parse(text) ?? {}) as ReturnType<typeof partsOf>
  } catch {
    return {}
  }
}

/**
 * Whether evidence was made with the bucket's key and nothing in it has changed since.
 * @throws S3Error of the key; SealgateKeyUnavailable for a key that the bucket may not open with.
 */
export async function isGenuine(
  { evidence, signature }: ReturnType<typeof parseEvidence>,
  { keys, pins, use }: { readonly keys: KeyRegistry; readonly pins: KeyPins; readonly use: KeyUse }
): Promise<boolean> {
  const wrapped = { keyId: signature.keyId, blob: Buffer.from(signature.wrappedKey, 'base64') }
  // Compared as they are written: the same bytes have several spellings, and a change of one would go unseen.
  if (wrapped.blob.toString('base64') !== signature.wrappedKey) return false
  const mac = Buffer.from(signature.mac)
  try {
    const key = await keys.openerOf(wrapped.keyId, pins, use).provider.unwrap(wrapped, contextOf(evidence), use)
    const expected = Buffer.from(macOf(evidence, key).toString('base64'))
    return mac.length === expected.length && timingSafeEqual(mac, expected)
  } catch (error) {
    if (error instanceof S3Error && error.code === 'SealgateIntegrityError') return false
    throw error
  }
}
