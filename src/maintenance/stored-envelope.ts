import type { HeaderList } from '../http/message.ts'
import type { KeyContext } from '../keys/types.ts'
import { CONTEXT_HEADER, ENVELOPE_HEADER, parseEnvelope, type Envelope, type Place } from '../envelope/envelope.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { decodeContext } from '../keys/sse-headers.ts'

/** The address of an object, and the buckets it may be bound to. */
export interface EnvelopePlace {
  readonly realm: string
  readonly bucket: string
  /** Buckets whose replicas open here: those objects are bound to them. */
  readonly aliases: readonly string[]
  readonly key: string
}

/** The envelope in the headers of a HEAD of the store, with what is needed to unwrap it. */
export interface StoredEnvelope {
  readonly envelope: Envelope
  /** The place it is bound to. */
  readonly place: Place
  readonly context: KeyContext
}

/** @throws EnvelopeError `format`, or `place` for one that is bound to another bucket; S3Error for a context that is none. */
export function storedEnvelope(headers: HeaderList, at: EnvelopePlace): StoredEnvelope {
  const envelope = parseEnvelope(headers.get(ENVELOPE_HEADER) ?? '')
  if (envelope.bucket !== at.bucket && !at.aliases.includes(envelope.bucket)) throw new EnvelopeError('place')
  const encodedContext = headers.get(CONTEXT_HEADER)
  return {
    envelope,
    place: { realm: at.realm, bucket: envelope.bucket, objectKey: at.key },
    context: {
      realm: at.realm,
      bucket: envelope.bucket,
      objectKey: envelope.scope === 'bucket' ? null : at.key,
      requestContext: encodedContext === undefined ? {} : decodeContext(encodedContext)
    }
  }
}
