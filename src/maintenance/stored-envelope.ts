import type { KeyObject } from 'node:crypto'
import type { HeaderList } from '../http/message.ts'
import type { KeyContext, KeyUse } from '../keys/types.ts'
import type { KeyPins } from '../config/pins.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import {
  CONTEXT_HEADER,
  ENVELOPE_HEADER,
  parseEnvelope,
  type Envelope,
  type Place,
  KEY_ID_HEADER,
  openEnvelope,
  type OpenedEnvelope
} from '../envelope/envelope.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { decodeContext } from '../keys/sse-headers.ts'
import { SEGMENT_SIZE } from '../envelope/sizes.ts'
import { S3Error } from '../errors.ts'
import { requireCustomerKey, SSEC_KEY_ID, type CustomerKey } from '../keys/ssec.ts'

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

interface ExportJob {
  readonly keys: KeyRegistry
  /** The keys that may open the object. */
  readonly pins: KeyPins
  readonly customerKey: CustomerKey | null
  readonly use: KeyUse
}

/**
 * Opens the envelope in the headers of a HEAD of the store, as a read opens it, audited.
 * @throws EnvelopeError for one that does not verify; S3Error those of the key providers, SealgateKeyUnavailable for a key that the bucket may not open
 * with, InvalidRequest for a customer's key that is missing or wrong.
 */
export async function openStoredEnvelope(
  headers: HeaderList,
  keyId: string,
  at: EnvelopePlace,
  { keys, pins, customerKey, use }: ExportJob
): Promise<OpenedEnvelope> {
  const { envelope, place, context } = storedEnvelope(headers, at)
  const wrapped = { keyId, blob: envelope.blob }
  requireCustomerKey(keyId, customerKey)
  const kek = keyId === SSEC_KEY_ID && customerKey !== null
    ? keys.openForCustomer(customerKey, wrapped, context, use)
    : await keys.openerOf(keyId, pins, use).provider.unwrap(wrapped, context, use)
  return openEnvelope(envelope, kek, place)
}

/**
 * The key of one object's streams (docs/FORMAT.md, Streams: Tink's input key), opened as a read opens it and audited.
 * @param headers of a HEAD of the store.
 * @throws S3Error SealgatePlaintextRefused for an object that is not sealed, SealgateIntegrityError for one that cannot be opened, those of
 * `openStoredEnvelope`.
 */
export async function streamKeyOf(headers: HeaderList, at: EnvelopePlace, job: ExportJob): Promise<KeyObject> {
  const keyId = headers.get(KEY_ID_HEADER)
  if (keyId === undefined) throw new S3Error('SealgatePlaintextRefused')
  try {
    return (await openStoredEnvelope(headers, keyId, at, job)).dataKey.stream
  } catch (error) {
    if (error instanceof EnvelopeError) throw new S3Error('SealgateIntegrityError', { message: 'The envelope could not be verified.', cause: error })
    throw error
  }
}

const SHA256 = 3

/**
 * A keyset of Tink, in its JSON form, with one key of type AesGcmHkdfStreamingKey.
 * The value is the protocol buffer `{ 2: params { 1: ciphertext_segment_size, 2: derived_key_size, 3: hkdf_hash_type }, 3: key_value }`
 * (Tink, proto/aes_gcm_hkdf_streaming.proto; field numbers there).
 */
export function tinkKeyset(streamKey: KeyObject): string {
  const key = streamKey.export()
  const params = Buffer.concat([Buffer.from([0x08]), varint(SEGMENT_SIZE), Buffer.from([0x10, key.length, 0x18, SHA256])])
  const value = Buffer.concat([Buffer.from([0x12, params.length]), params, Buffer.from([0x1a, key.length]), key])
  const keyset = {
    primaryKeyId: 1,
    key: [{
      keyData: {
        typeUrl: 'type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey',
        value: value.toString('base64'),
        keyMaterialType: 'SYMMETRIC'
      },
      status: 'ENABLED',
      keyId: 1,
      outputPrefixType: 'RAW'
    }]
  }
  for (const bytes of [key, value]) bytes.fill(0)
  return `${JSON.stringify(keyset, null, 2)}\n`
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  for (; left > 0x7f; left >>>= 7) bytes.push(left & 0x7f | 0x80)
  return Buffer.from([...bytes, left])
}
