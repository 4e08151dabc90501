import type { HeaderList } from '../http/headers.ts'
import type { KeyContext, KeyUse } from '../keys/types.ts'
import type { Envelope, Place } from '../envelope/envelope.ts'
import type { Verdict } from './verdict.ts'
import { openEnvelope, parseEnvelope, replaceBlob, sealEnvelope } from '../envelope/envelope.ts'
import { EnvelopeError } from '../envelope/error.ts'
import { CONTEXT_HEADER, ENVELOPE_HEADER, KEY_ID_HEADER } from '../operations/objects/sealed-object.ts'
import { S3Error } from '../errors.ts'
import { decodeContext } from '../keys/sse-headers.ts'

type Header = readonly [name: string, value: string]
type Due = Extract<Verdict, { kind: 'rewrap' }>

export interface EnvelopePlace {
  readonly realm: string
  readonly bucket: string
  /** Buckets whose replicas open here: their objects stay bound to them. */
  readonly aliases: readonly string[]
  readonly key: string
}

/**
 * The metadata entries under the target key. Where the target takes over the wrap as it is, the bucket key is never seen here
 * and the box stays; else the object key is unwrapped and sealed under a bucket key of the target. Attributes and metadata
 * digest stay what they are in both cases.
 * @throws S3Error of the key providers; SealgateIntegrityError for an envelope that does not open.
 */
export async function newEnvelope(headers: HeaderList, { from, to, keyId }: Due, at: EnvelopePlace, use: KeyUse): Promise<Header[]> {
  try {
    const envelope = parseEnvelope(headers.get(ENVELOPE_HEADER) ?? '')
    if (envelope.bucket !== at.bucket && !at.aliases.includes(envelope.bucket)) throw new EnvelopeError('place')
    const told = headers.get(CONTEXT_HEADER)
    const place: Place = { realm: at.realm, bucket: envelope.bucket, objectKey: at.key }
    const context: KeyContext = {
      realm: at.realm, bucket: envelope.bucket, objectKey: envelope.scope === 'bucket' ? null : at.key,
      requestContext: told === undefined ? {} : decodeContext(told)
    }
    const wrapped = { keyId, blob: envelope.blob }
    const own: Header[] = told === undefined ? [] : [[CONTEXT_HEADER, told]]
    if (to.provider.rewraps(keyId)) {
      const renewed = await to.provider.rewrap(wrapped, context, context, use)
      return [[KEY_ID_HEADER, renewed.keyId], [ENVELOPE_HEADER, replaceBlob(envelope, renewed.blob)], ...own]
    }
    const opened = openEnvelope(envelope, await from.provider.unwrap(wrapped, context, use), place)
    const fresh = await to.provider.generate(context, use)
    return [[KEY_ID_HEADER, fresh.wrapped.keyId], [ENVELOPE_HEADER, reseal(envelope, opened, fresh, place)], ...own]
  } catch (error) {
    if (error instanceof EnvelopeError) throw new S3Error('SealgateIntegrityError', { message: 'Its envelope does not open.', cause: error })
    throw error
  }
}

function reseal(
  { kind, scope, streamHeader }: Envelope, { objectKey, attributes }: ReturnType<typeof openEnvelope>,
  { key, wrapped }: Awaited<ReturnType<Due['to']['provider']['generate']>>, place: Place
): string {
  return sealEnvelope({ kek: key, blob: wrapped.blob, scope, objectKey, place, kind, streamHeader, attributes })
}
