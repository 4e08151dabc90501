import type { Header } from '../../http/message.ts'
import type { Attributes, Checksum, Envelope } from '../../envelope/envelope.ts'
import type { DataKey } from '../../envelope/data-key.ts'
import { type ObjectContext, placeOf } from '../context.ts'
import type { WriteKey } from './object-keys.ts'
import { isBindable, metadataDigest, sealEnvelope, CONTEXT_HEADER, ENVELOPE_HEADER, KEY_ID_HEADER } from '../../envelope/envelope.ts'
import { S3Error } from '../../errors.ts'
import { encodeContext } from '../../keys/sse-headers.ts'

/** S3's limit on user metadata: names without prefix and values, in bytes (AWS S3 User Guide, "Working with object metadata"). */
const MAX_METADATA_BYTES = 2048
const USER_METADATA = 'x-amz-meta-'
const DEFAULT_CONTENT_TYPE = 'binary/octet-stream'

interface EnvelopeInput {
  readonly key: WriteKey
  readonly dataKey: DataKey
  readonly kind: Envelope['kind']
  readonly streamHeader: Buffer | null
  readonly plaintextSize: number | null
  readonly md5: Buffer | null
  readonly checksums: readonly Checksum[]
  readonly digestsInManifest: boolean
  /** Headers that describe the object, as they go upstream. */
  readonly described: readonly Header[]
}

/**
 * The headers under which an object is stored: what describes it, and the envelope that binds this to its key and place.
 * @throws S3Error MetadataTooLarge with the numbers that are left for the client's own metadata; InvalidArgument for names that
 * stores may make one of, and for a content type or encoding that cannot be bound.
 */
export function envelopeHeaders(ctx: ObjectContext, input: EnvelopeInput): Header[] {
  refuseTwins(input.described)
  refuseUnbindable(input.described)
  const contentType = input.described.find(([name]) => name === 'content-type')?.[1] ?? DEFAULT_CONTENT_TYPE
  const described = [...input.described.filter(([name]) => name !== 'content-type'), ['content-type', contentType] as const]
  const attributes: Attributes = {
    plaintextSize: input.plaintextSize,
    md5: input.md5,
    checksums: input.checksums,
    digestsInManifest: input.digestsInManifest,
    sse: input.key.sse,
    metadataDigest: metadataDigest(contentType, described)
  }
  const { kek, wrapped, scope, requestContext } = input.key
  const own: Header[] = [
    [KEY_ID_HEADER, wrapped.keyId],
    [
      ENVELOPE_HEADER,
      sealEnvelope({
        kek,
        scope,
        blob: wrapped.blob,
        dataKey: input.dataKey,
        place: placeOf(ctx),
        kind: input.kind,
        streamHeader: input.streamHeader,
        attributes
      })
    ]
  ]
  if (Object.keys(requestContext).length > 0) own.push([CONTEXT_HEADER, encodeContext(requestContext)])
  checkMetadataSize(described, own)
  return [...described, ...own]
}

/**
 * `a_b` and `a-b` are one name to some stores, and in the metadata digest: what comes back of the two, and in which order, is
 * the store's to choose, and an object whose digest depends on it would not open (docs/FORMAT.md, Metadata digest).
 */
function refuseTwins(described: readonly Header[]): void {
  const names = new Map<string, string>()
  for (const [name] of described) {
    if (!name.startsWith(USER_METADATA)) continue
    const alike = name.replaceAll('_', '-')
    if ((names.get(alike) ?? name) !== name) {
      throw new S3Error('InvalidArgument', {
        message: 'Metadata names that differ in "-" and "_" alone cannot be told apart by every store.',
        fields: { ArgumentName: name }
      })
    }
    names.set(alike, name)
  }
}

/**
 * What a body is taken for is never the store's to choose: a content type or encoding that stores re-encode, and that the digest therefore cannot
 * bind, is refused. No registered one has such characters (RFC 6838, 4.2; RFC 9110, 8.4.1).
 */
function refuseUnbindable(described: readonly Header[]): void {
  for (const [name, value] of described) {
    if ((name === 'content-type' || name === 'content-encoding') && !isBindable(value)) {
      throw new S3Error('InvalidArgument', { message: `${name} must be of ASCII characters, without "=?".`, fields: { ArgumentName: name } })
    }
  }
}

function checkMetadataSize(described: readonly Header[], own: readonly Header[]): void {
  const sizeOf = (headers: readonly Header[]): number =>
    headers
      .filter(([name]) => name.startsWith(USER_METADATA))
      .reduce((sum, [name, value]) => sum + name.length - USER_METADATA.length + value.length, 0)
  const clients = sizeOf(described)
  const left = MAX_METADATA_BYTES - sizeOf(own)
  if (clients > left) {
    throw new S3Error('MetadataTooLarge', { fields: { Size: String(clients), MaxSizeAllowed: String(Math.max(0, left)) } })
  }
}
