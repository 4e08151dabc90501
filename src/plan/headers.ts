import { keptHeaders, systemMetadata } from '../s3/names.ts'
import { S3Error } from '../errors.ts'
import type { Header, HeaderList } from '../http/message.ts'

/**
 * Which headers pass, in both directions. These are allow-lists: a header without an entry is dropped, so an unknown one can neither carry a digest
 * of plaintext to the store nor a fact about stored bytes to a client. A trailing "*" is a prefix.
 */

/** Objects carry the gateway's own metadata under this prefix; clients neither set nor see it (object format, metadata). */
const reservedMetadataPrefix = 'x-amz-meta-sealgate'

/** A list prepared once: it is used for every header of every message. */
class HeaderSet {
  readonly #exact: ReadonlySet<string>
  readonly #prefixes: readonly string[]

  constructor(...list: readonly string[]) {
    this.#exact = new Set(list.filter((entry) => !entry.endsWith('*')))
    this.#prefixes = list.filter((entry) => entry.endsWith('*')).map((entry) => entry.slice(0, -1))
  }

  has(name: string): boolean {
    return this.#exact.has(name) || this.#prefixes.some((prefix) => name.startsWith(prefix))
  }
}

/** Who asks and pays, and a browser's Origin for the store's CORS rules. They affect no bytes. */
const general = ['access-control-request-*', 'origin', 'x-amz-expected-bucket-owner', 'x-amz-request-payer'] as const

/** Properties of the new object that a write sets. */
const ofNewObject = [
  ...keptHeaders,
  'x-amz-acl',
  'x-amz-grant-*',
  'x-amz-meta-*',
  'x-amz-object-lock-*',
  'x-amz-tagging'
] as const

const documentSettings = [
  'content-type',
  'x-amz-acl',
  'x-amz-bucket-namespace',
  'x-amz-bucket-object-lock-*',
  'x-amz-bypass-governance-retention',
  'x-amz-confirm-remove-self-bucket-access',
  'x-amz-grant-*',
  'x-amz-if-match-initiated-time',
  'x-amz-mfa',
  'x-amz-object-ownership',
  'x-amz-optional-object-attributes',
  'x-amz-skip-destination-validation',
  'x-amz-transition-default-minimum-object-size'
] as const

/** In a bucket that is not encrypted the bytes are the client's own, and so are their digests, keys, ranges and conditions. */
const untouched = [
  'content-md5',
  'if-*',
  'range',
  'x-amz-checksum-*',
  'x-amz-copy-source-if-*',
  'x-amz-copy-source-server-side-encryption-*',
  'x-amz-if-match-*',
  'x-amz-max-parts',
  'x-amz-metadata-directive',
  'x-amz-mp-object-size',
  'x-amz-object-attributes',
  'x-amz-part-number-marker',
  'x-amz-server-side-encryption*',
  'x-amz-tagging-directive'
] as const

const upstream = {
  /** Operations on settings and listings, and reads of sealed objects: no range, condition, digest or key of the client's. */
  document: new HeaderSet(...general, ...documentSettings),
  /** Writes of sealed objects: PutObject, CreateMultipartUpload, PostObject. */
  object: new HeaderSet(...general, ...ofNewObject),
  /** What an object has that is written by a later request than the one that describes it. */
  described: new HeaderSet(...ofNewObject),
  /** CopyObject in sealed buckets; the handler sends conditions, directives and the source. */
  copy: new HeaderSet(...general, ...ofNewObject, 'x-amz-source-expected-bucket-owner'),
  /** Every operation in buckets whose encryption is off. */
  'plain-data': new HeaderSet(...general, ...ofNewObject, ...documentSettings, ...untouched, 'x-amz-source-expected-bucket-owner')
} satisfies Record<string, HeaderSet>

export type UpstreamHeaderClass = keyof typeof upstream

/** Answers to a browser by the store's own CORS rules. */
const browser = ['access-control-*', 'vary'] as const

/**
 * Headers of the store that are relayed for a sealed object (docs/decisions/0028): those that the digest binds (content type and encoding, user
 * metadata), facts of its storage, and advice on caching and display that changes neither the bytes nor their meaning. No header that redirects a
 * client, and none that decides which origins may read it.
 */
const sealedFacts = [
  ...systemMetadata,
  'x-amz-meta-*',
  'last-modified',
  'x-amz-archive-status',
  'x-amz-delete-marker',
  'x-amz-expiration',
  'x-amz-missing-meta',
  'x-amz-object-lock-*',
  'x-amz-replication-status',
  'x-amz-request-charged',
  'x-amz-restore',
  'x-amz-storage-class',
  'x-amz-tagging-count',
  'x-amz-version-id',
  'x-rgw-object-type'
] as const

const objectFacts = [...sealedFacts, 'x-amz-website-redirect-location'] as const

const writeFacts = [
  'x-amz-abort-date',
  'x-amz-abort-rule-id',
  'x-amz-copy-source-version-id',
  'x-amz-delete-marker',
  'x-amz-expiration',
  'x-amz-request-charged',
  'x-amz-version-id'
] as const

const downstream = {
  /** GET and HEAD of sealed objects. Length, range, ETag, checksums, parts and encryption are added by the handler. */
  object: new HeaderSet(...sealedFacts),
  /** Reads of objects that Sealgate did not write, where they are allowed: all of their headers are the store's. */
  'plain-object': new HeaderSet(...objectFacts),
  /** Writes of sealed objects and parts. */
  written: new HeaderSet(...writeFacts),
  /** Forwarded answers: settings, and everything in buckets whose encryption is off. */
  plain: new HeaderSet(
    ...browser,
    ...objectFacts,
    ...writeFacts,
    'accept-ranges',
    'content-range',
    'etag',
    'location',
    'x-amz-access-point-alias',
    'x-amz-bucket-*',
    'x-amz-checksum-*',
    'x-amz-mp-parts-count',
    'x-amz-object-size',
    'x-amz-restore-output-path',
    'x-amz-server-side-encryption*',
    'x-amz-transition-default-minimum-object-size',
    'x-rgw-bytes-used',
    'x-rgw-object-count',
    'x-rgw-quota-*'
  )
} satisfies Record<string, HeaderSet>

type DownstreamHeaderClass = keyof typeof downstream

/**
 * @param headers lower-case names, of a request or a form
 * @throws S3Error InvalidArgument when a client tries to set the gateway's own metadata
 */
export function refuseReservedMetadata(headers: Iterable<Header>): void {
  for (const [name] of headers) {
    if (name.toLowerCase().startsWith(reservedMetadataPrefix)) {
      throw new S3Error('InvalidArgument', {
        message: `Metadata names that begin with ${reservedMetadataPrefix} are reserved.`,
        fields: { ArgumentName: name.toLowerCase() }
      })
    }
  }
}

/**
 * The client's headers that go upstream for a class of request. `aws-chunked` is removed from Content-Encoding: the gateway removes the framing, and
 * strict clients cannot read an object that claims it (AWS, "Signature calculations", chunked upload).
 * @param headers lower-case names, values as latin1
 * @throws S3Error InvalidArgument on reserved metadata
 */
export function upstreamHeaders(headers: Iterable<Header>, kind: UpstreamHeaderClass): Header[] {
  const given = [...headers]
  refuseReservedMetadata(given)
  return given.flatMap(([name, value]): Header[] => {
    // No tags are no tags (AWS API, PutObject): R2, B2 and StorageGRID refuse the header, empty or not.
    if (!upstream[kind].has(name) || (name === 'x-amz-tagging' && value === '')) return []
    if (name !== 'content-encoding') return [[name, value]]
    // The other codings stay exactly as the client wrote them, white space included, because reads return them.
    const codings = value.split(',').filter((c) => c.trim().toLowerCase() !== 'aws-chunked').join(',').trim()
    return codings === '' ? [] : [[name, codings]]
  })
}

/** A list of header names without those of the gateway's own metadata. */
function withoutReserved(names: string): string {
  return names.split(',').filter((name) => !name.trim().toLowerCase().startsWith(reservedMetadataPrefix)).join(',')
}

/**
 * The store's headers that the client sees. Request ids are the gateway's own. A Location is kept only where it names no host, because a client would
 * follow it and bypass the gateway.
 * @returns lower-case names, in the store's order
 */
export function downstreamHeaders(headers: HeaderList, kind: DownstreamHeaderClass): Header[] {
  return headers.entries
    .map(([name, value]): Header => [name.toLowerCase(), value])
    // versitygw exposes every header of its answer by name.
    .map(([name, value]): Header => name === 'access-control-expose-headers' ? [name, withoutReserved(value)] : [name, value])
    .filter(([name, value]) =>
      downstream[kind].has(name) &&
      !name.startsWith(reservedMetadataPrefix) &&
      (name !== 'location' || /^\/(?!\/)/.test(value))
    )
}
