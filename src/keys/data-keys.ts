import { hash, type KeyObject } from 'node:crypto'
import { Finding, S3Error } from '../errors.ts'
import { keyKindOf } from '../s3ec/data-key.ts'
import type { WrappedDataKey } from '../s3ec/description.ts'
import { S3ecError } from '../s3ec/fault.ts'
import { auditEvent, errorCodeOf } from './audited-provider.ts'
import type { ConfiguredKey } from './configured-key.ts'
import type { AuditSink, KeyUse, OpenedDataKey, WrappedForClients } from './types.ts'
import type { Writable } from '../s3ec/seal.ts'

/**
 * Opens a data key of the S3 Encryption Client by the keys that a bucket names for it, each use audited. An object says which kind of key and which
 * description it needs; of several keys of KMS, which have none, each is tried until one has wrapped it.
 * @param keys in the order of the bucket.
 * @throws S3Error SealgateKeyUnavailable where no key has its description, SealgateIntegrityError where it does not open, or of the key service.
 */
export async function openDataKey(keys: readonly ConfiguredKey[], wrapped: WrappedDataKey, use: KeyUse, audit: AuditSink): Promise<KeyObject> {
  const context = keyKindOf(wrapped) === 'kms' ? wrapped.material : {}
  const report = (masterKeyId: string | null, cached: boolean, error: unknown): void => {
    const code = error === null ? null : errorCodeOf(error, use)
    audit({ ...auditEvent(use, null, new Date(), code), context, action: masterKeyId === null ? 'refused' : 'unwrap', masterKeyId, cached })
  }
  const able = keys.filter(({ source }) => source.opensDataKey?.(wrapped) === true)
  if (able.length === 0) {
    const error = new S3Error('SealgateKeyUnavailable', {
      message: 'The object is encrypted with a key that the bucket does not name in s3ec.keys.',
      cause: new S3ecError('s3ec-key')
    })
    report(null, false, error)
    throw error
  }
  for (const key of able) {
    const opened = await openBy(key, wrapped, use, report)
    if (opened !== null) return opened.key
  }
  throw new S3Error('SealgateIntegrityError', { cause: new S3ecError('s3ec-wrap') })
}

async function openBy(
  { source, dataKeys, name }: ConfiguredKey,
  wrapped: WrappedDataKey,
  use: KeyUse,
  report: (masterKeyId: string, cached: boolean, error: unknown) => void
): Promise<OpenedDataKey | null> {
  const load = async (signal: AbortSignal): Promise<OpenedDataKey | null> => await source.openDataKey?.(wrapped, signal) ?? null
  const { shared, value } = dataKeys.get(cacheKey(wrapped), use.principal, use.signal, load)
  // The id of a key that does not open it is not known where a service has several.
  const asked = source.currentKeyId() ?? source.keyIdPrefix ?? name
  let opened: OpenedDataKey | null
  try {
    opened = await value
  } catch (error) {
    report(asked, shared, error)
    throw error
  }
  report(opened?.keyId ?? asked, shared, opened === null ? new S3Error('SealgateIntegrityError') : null)
  return opened
}

/** A hash, so that a key of the cache is small for every blob and context. */
function cacheKey({ wrap, blob, material, bound }: WrappedDataKey): string {
  const context = Object.entries(material).sort(([a], [b]) => a < b ? -1 : 1)
  return hash('sha256', JSON.stringify([wrap, blob.toString('base64'), context, bound]), 'base64')
}

/** Wraps the data key of a new object, audited. @throws S3Error of the key service; InternalError for a key of a type that wraps none. */
export async function wrapDataKey(
  { source, name }: ConfiguredKey,
  dataKey: KeyObject,
  version: Writable,
  use: KeyUse,
  audit: AuditSink
): Promise<WrappedForClients> {
  const report = (masterKeyId: string, context: Readonly<Record<string, string>>, code: string | null): void => {
    audit({ ...auditEvent(use, null, new Date(), code), context, action: 'wrap', masterKeyId, cached: false })
  }
  try {
    const wrapped = await source.wrapDataKey?.(dataKey, version, use.signal)
    if (wrapped === undefined) throw new S3Error('InternalError', { cause: new Finding(`The key ${name} wraps no data key of the S3 Encryption Client.`) })
    report(wrapped.keyId, wrapped.wrap === 'kms+context' ? wrapped.material : {}, null)
    return wrapped
  } catch (error) {
    report(source.currentKeyId() ?? source.keyIdPrefix ?? name, {}, errorCodeOf(error, use))
    throw error
  }
}
