import type { HeaderList } from '../http/message.ts'
import type { NamedProvider } from '../keys/configured-key.ts'
import { sealingKeys, type KeyPins } from '../config/pins.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyUse } from '../keys/types.ts'
import { ENVELOPE_HEADER } from '../envelope/envelope.ts'
import { S3Error } from '../errors.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { childText, parseXml, upstreamDocument } from '../s3/xml.ts'
import { SSEC_KEY_ID } from '../keys/ssec.ts'
import { keyIdOf } from './key-usage.ts'

/** Why an object is left unchanged, in the words of reports. */
const reasons = {
  current: 'already under the current key',
  customer: 'left: under a customer\'s key (SSE-C)',
  plain: 'left: not encrypted',
  archived: 'left: archived',
  locked: 'left: locked',
  pinned: 'left: under a prefix that the target key must not seal'
} as const
export type Reason = keyof typeof reasons

/** What a re-wrap comes to, in the words of reports. */
export const outcomes = { ...reasons, done: 're-wrapped', due: 'would be re-wrapped', busy: 'left: replaced again and again' } as const

/** The action for an object, decided by its headers alone. */
export type Verdict =
  | { readonly kind: 'leave'; readonly reason: Reason }
  | { readonly kind: 'rewrap'; readonly from: NamedProvider; readonly to: NamedProvider; readonly keyId: string }

/** Storage classes whose objects must be restored before they can be copied (AWS S3 User Guide, "Storage classes"). */
const archives = new Set(['GLACIER', 'DEEP_ARCHIVE'])

interface Judging {
  readonly keys: KeyRegistry
  /** The keys that may open the object. */
  readonly pins: KeyPins
  readonly target: NamedProvider | null
}

/**
 * @param judging `target`: the key for all objects; null: each stays with the configured key that owns its key id, so that the client's choice is
 * kept.
 * @throws S3Error SealgateKeyUnavailable for a key that is not configured or that the bucket may not open with: a re-wrap would turn an object that
 * the gateway refuses into one that it opens. KMS.DisabledException when the target cannot wrap now.
 */
export function judge(headers: HeaderList, { keys, pins, target }: Judging, use: KeyUse, now: Date): Verdict {
  const keyId = keyIdOf(headers)
  if (keyId === null && !headers.has(ENVELOPE_HEADER)) return leave('plain')
  if (keyId === SSEC_KEY_ID) return leave('customer')
  if (keyId === null) throw new S3Error('SealgateKeyUnavailable', { message: 'It names no key that it is sealed with.' })
  const from = keys.openerOf(keyId, pins, use)
  if (target !== null && !sealingKeys(pins).includes(target.name)) return leave('pinned')
  const to = target ?? from
  const current = to.currentKeyId()
  if (current === keyId) return leave('current')
  if (isArchived(headers)) return leave('archived')
  if (isLocked(headers, now)) return leave('locked')
  if (current === null) throw new S3Error('KMS.DisabledException', { message: `Key ${to.name} has no enabled version to wrap with.` })
  return { kind: 'rewrap', from, to, keyId }
}

function leave(reason: Reason): Verdict {
  return { kind: 'leave', reason }
}

export function isArchived(headers: HeaderList): boolean {
  return archives.has(headers.get('x-amz-storage-class') ?? '') || headers.has('x-amz-archive-status')
}

/** A lock protects a version, not a name: a copy would not be locked, and the locked version keeps its wrap in any case. */
export function isLocked(headers: HeaderList, now: Date): boolean {
  const until = Date.parse(headers.get('x-amz-object-lock-retain-until-date') ?? '')
  return headers.get('x-amz-object-lock-legal-hold') === 'ON' || until > now.getTime()
}

/**
 * Asks for the lock of a version: versitygw shows none in a HEAD, nor does S3 to who lacks s3:GetObjectRetention (AWS API, HeadObject).
 * @returns false also where the store does not say.
 */
export async function isHeld(bucket: BucketClient, key: string, versionId: string, now: Date): Promise<boolean> {
  const field = async (subresource: string, name: string): Promise<string> => {
    const { status, body } = await bucket.answer({ method: 'GET', key, query: [[subresource, null], ['versionId', versionId]], retry: true })
    if (status !== 200) return ''
    const document = parseXml(body, upstreamDocument)
    return childText(document, document.root, name) ?? ''
  }
  return await field('legal-hold', 'Status') === 'ON' || Date.parse(await field('retention', 'RetainUntilDate')) > now.getTime()
}
