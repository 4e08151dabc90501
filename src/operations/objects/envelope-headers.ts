import type { Header } from '../../http/message.ts'
import type { Attributes, Checksum, ObjectShape } from '../../envelope/envelope.ts'
import type { DataKey } from '../../envelope/data-key.ts'
import { type ObjectContext, placeOf, send, storeHere } from '../context.ts'
import type { WriteKey } from './object-keys.ts'
import { sealEnvelope, CONTEXT_HEADER, ENVELOPE_HEADER, KEY_ID_HEADER } from '../../envelope/envelope.ts'
import {
  DEFAULT_CONTENT_TYPE,
  describingEntries,
  entriesSize,
  isBindable,
  isDescribing,
  metadataDigest,
  paddedSize,
  STORE_CONTENT_TYPE,
  type MetadataEntry
} from '../../envelope/metadata.ts'
import { S3Error } from '../../errors.ts'
import { encodeContext } from '../../keys/sse-headers.ts'
import { expectSuccess } from '../responses.ts'

const USER_METADATA = 'x-amz-meta-'
/** Longest name that has an encoding (docs/FORMAT.md, Sealed metadata). */
const MAX_NAME = USER_METADATA.length + 255

interface EnvelopeInput {
  readonly key: WriteKey
  readonly dataKey: DataKey
  readonly shape: ObjectShape
  readonly md5: Buffer | null
  readonly checksums: readonly Checksum[]
  readonly digestsInManifest: boolean
  /** Headers that describe the object, as they go upstream. */
  readonly described: readonly Header[]
}

/**
 * The headers under which an object is stored: its metadata, in plaintext or sealed, and the envelope that binds it to its key and place.
 * @throws S3Error MetadataTooLarge with the room left for the client's own metadata. With metadata in plaintext also InvalidArgument, for names that
 * some stores treat as one, and for a content type or encoding that cannot be bound.
 */
export function envelopeHeaders(ctx: ObjectContext, input: EnvelopeInput): Header[] {
  const { metadata, described } = ctx.policy.metadata === 'sealed' ? sealedDescription(input.described) : clearDescription(input.described)
  const attributes: Attributes = {
    md5: input.md5,
    checksums: input.checksums,
    digestsInManifest: input.digestsInManifest,
    sse: input.key.sse,
    metadata,
    isPublic: asksForEverybody(input.described)
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
        shape: input.shape,
        attributes
      })
    ]
  ]
  if (Object.keys(requestContext).length > 0) own.push([CONTEXT_HEADER, encodeContext(requestContext)])
  const { metadataBytes } = storeHere(ctx).settings
  if (metadata.kind === 'sealed') checkSealedSize(metadata.entries, own, metadataBytes)
  else checkClearSize(described, own, metadataBytes)
  return [...described, ...own]
}

/**
 * Reads the envelope of an empty object back when its name ends in "/", which costs one HEAD. Stores that keep objects as files have a directory
 * there, and one was seen to acknowledge the object and drop its metadata (SeaweedFS 4.53): it would never open. A client or store that
 * allows no HEAD is believed, and so is a name that is gone, because another client may have deleted it.
 * @throws S3Error NotImplemented when the store has the object without its envelope; the store's error from 500.
 */
export async function ensureEnvelopeKept(ctx: ObjectContext): Promise<void> {
  if (!ctx.operation.key.endsWith('/')) return
  const response = await send(ctx, { method: 'HEAD', retry: true })
  if (response.status >= 500) await expectSuccess(ctx, response)
  response.body.resume()
  if (response.status !== 200 || response.headers.get(ENVELOPE_HEADER) !== undefined) return
  throw new S3Error('NotImplemented', {
    message: 'The store behind this gateway keeps no metadata of empty objects whose names end in "/", so that they could not be decrypted.'
  })
}

interface Description {
  readonly metadata: Attributes['metadata']
  /** Headers for the store. */
  readonly described: readonly Header[]
}

function sealedDescription(headers: readonly Header[]): Description {
  const entries = describingEntries(headers)
  const surplus = Math.max(0, ...entries.map(([name]) => name.length - MAX_NAME))
  if (surplus > 0) throw tooLarge(userMetadataSize(entries), userMetadataSize(entries) - surplus)
  return { metadata: { kind: 'sealed', entries }, described: [...headers.filter(([name]) => !isDescribing(name)), ['content-type', STORE_CONTENT_TYPE]] }
}

function clearDescription(headers: readonly Header[]): Description {
  refuseTwins(headers)
  refuseUnbindable(headers)
  const contentType = headers.find(([name]) => name === 'content-type')?.[1] ?? DEFAULT_CONTENT_TYPE
  const described = [...headers.filter(([name]) => name !== 'content-type'), ['content-type', contentType] as const]
  return { metadata: { kind: 'clear', digest: metadataDigest(contentType, described) }, described }
}

const EVERYBODY = 'http://acs.amazonaws.com/groups/global/AllUsers'

/** Whether a write asks for everybody to read the object (docs/FORMAT.md, Public mark). */
function asksForEverybody(headers: readonly Header[]): boolean {
  return headers.some(([name, value]) => {
    if (name === 'x-amz-acl') return value === 'public-read' || value === 'public-read-write'
    return (name === 'x-amz-grant-read' || name === 'x-amz-grant-full-control') && value.includes(EVERYBODY)
  })
}

/**
 * Some stores treat `a_b` and `a-b` as one name, as the metadata digest does. Which of the two values comes back would be the store's choice, and the
 * object would not open (docs/FORMAT.md, Metadata digest).
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
 * The store must not decide how a body is interpreted. Stores re-encode some content types and encodings, so the digest cannot bind them, and they
 * are refused. No registered one has such characters (RFC 6838, 4.2; RFC 9110, 8.4.1).
 */
function refuseUnbindable(described: readonly Header[]): void {
  for (const [name, value] of described) {
    if ((name === 'content-type' || name === 'content-encoding') && !isBindable(value)) {
      throw new S3Error('InvalidArgument', { message: `${name} must be of ASCII characters, without "=?".`, fields: { ArgumentName: name } })
    }
  }
}

/** S3's count: names without prefix and values (AWS S3 User Guide, "Working with object metadata"). */
function userMetadataSize(headers: readonly MetadataEntry[]): number {
  return headers
    .filter(([name]) => name.startsWith(USER_METADATA))
    .reduce((sum, [name, value]) => sum + name.length - USER_METADATA.length + value.length, 0)
}

/** @param own entries of the gateway. @throws S3Error MetadataTooLarge */
export function checkClearSize(described: readonly Header[], own: readonly Header[], limit: number): void {
  const clients = userMetadataSize(described)
  const left = limit - userMetadataSize(own)
  if (clients > left) throw tooLarge(clients, left)
}

/** Everything counts as in MinIO, whose limit is the tightest: names with their prefix. */
function checkSealedSize(entries: readonly MetadataEntry[], own: readonly Header[], limit: number): void {
  const over = userMetadataSize(own) + own.length * USER_METADATA.length - limit
  if (over <= 0) return
  // base64url makes four characters of three bytes, and padding is in blocks.
  const size = entriesSize(entries)
  const room = paddedSize(size) - paddedSize(Math.ceil(over * 3 / 4) + 1)
  const clients = userMetadataSize(entries)
  throw tooLarge(clients, clients - (size - room))
}

function tooLarge(size: number, limit: number): S3Error {
  return new S3Error('MetadataTooLarge', { fields: { Size: String(size), MaxSizeAllowed: String(Math.max(0, limit)) } })
}
