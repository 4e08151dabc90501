import type { KeyObject } from 'node:crypto'
import type { KeyPins } from '../config/config.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyUse } from '../keys/types.ts'
import { KEY_ID_HEADER, openEnvelope } from '../envelope/envelope.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { S3Error } from '../errors.ts'
import { requireCustomerKey, SSEC_KEY_ID, type CustomerKey } from '../keys/ssec.ts'
import type { HeaderList } from '../http/message.ts'
import { storedEnvelope, type EnvelopePlace } from './stored-envelope.ts'

interface ExportJob {
  readonly keys: KeyRegistry
  /** The keys that may open objects of the bucket. */
  readonly pins: KeyPins
  readonly customerKey: CustomerKey | null
  readonly use: KeyUse
}

/**
 * The key of one object's streams (docs/FORMAT.md, Streams: Tink's input key), opened as a read opens it and audited.
 * @param headers of a HEAD of the store.
 * @throws S3Error SealgatePlaintextRefused for an object that is not sealed, SealgateIntegrityError for one that cannot be opened, those of the key
 * providers, InvalidRequest for a customer's key that is missing or wrong.
 */
export async function streamKeyOf(headers: HeaderList, at: EnvelopePlace, { keys, pins, customerKey, use }: ExportJob): Promise<KeyObject> {
  const keyId = headers.get(KEY_ID_HEADER)
  if (keyId === undefined) throw new S3Error('SealgatePlaintextRefused')
  try {
    const { envelope, place, context } = storedEnvelope(headers, at)
    const wrapped = { keyId, blob: envelope.blob }
    requireCustomerKey(keyId, customerKey)
    const kek = keyId === SSEC_KEY_ID && customerKey !== null
      ? keys.openForCustomer(customerKey, wrapped, context, use)
      : await keys.openerOf(keyId, pins, use).provider.unwrap(wrapped, context, use)
    return openEnvelope(envelope, kek, place).dataKey.stream
  } catch (error) {
    if (error instanceof EnvelopeError) throw new S3Error('SealgateIntegrityError', { message: 'The envelope could not be verified.', cause: error })
    throw error
  }
}

/** Bytes of a stored segment (docs/FORMAT.md, Streams). */
const SEGMENT_SIZE = 65_536
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
