// Encrypts an object that is too large for one request: through the gateway, part by part, with the parts and the checksum that it had.
import { createHash } from 'node:crypto'
import type { HeaderList } from '../http/message.ts'
import { algorithmOfHeader, checksumAlgorithmNamed, checksumAlgorithms, type ChecksumAlgorithm } from '../http/checksums.ts'
import { MAX_PART_PLAINTEXT, MIN_PART_SIZE } from '../envelope/sizes.ts'
import { S3Error } from '../errors.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import { keptSettings } from '../s3/names.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { describingHeaders } from '../store-client/object-properties.ts'
import { copyInParts, type CopiedPart, type PartCopies } from './copy-in-parts.ts'

interface LargeObject extends Omit<PartCopies, 'checksum' | 'unchanged'> {
  /** The bucket that shows what belongs to the object: the gateway for a sealed one, else the store. */
  readonly shows: BucketClient
  /** As `shows` shows it. */
  readonly etag: string
  /** Called right before the object is replaced; false aborts the copy. */
  readonly unchanged: () => Promise<boolean>
}

/**
 * Copies an object onto itself through the gateway, part by part. Where the store says where its parts end, the new parts end there: so ETag and
 * checksum stay, and prove the bytes that were read before the old object is replaced.
 * @param sealed the bucket as clients see it. @param object `headers`: those beside the ones that describe it, which are taken from where it is shown.
 * @returns null when the object was replaced meanwhile. @throws S3Error BadDigest or SealgateIntegrityError for bytes that are not those of the object.
 */
export async function encryptInParts(sealed: BucketClient, { shows, etag, unchanged, ...copies }: LargeObject): Promise<string | null> {
  const { key, size, maxParts } = copies
  const had = await partsOf(shows, key, size, maxParts)
  if (had === null || unquoteEtag(had.headers.get('etag') ?? '') !== unquoteEtag(etag)) return null
  const described = describingHeaders(had.headers).filter(([name]) => !settings.has(name))
  const provable = had.size !== null && isMd5OfParts(had.headers)
  return copyInParts(sealed, {
    ...copies,
    headers: [...described, ...copies.headers],
    partSize: had.size ?? copies.partSize,
    checksum: checksumOf(had.headers, had.size !== null),
    unchanged: async (parts) => {
      if (!await unchanged()) return false
      if (!provable || !parts.every((part) => isMd5(part.etag)) || etagOf(parts) === unquoteEtag(etag)) return true
      throw new S3Error('SealgateIntegrityError', { message: 'The bytes that the store delivered are not those of its ETag.' })
    }
  })
}

/** The store acts on them: they are in the headers of the copy already. */
const settings: ReadonlySet<string> = new Set(keptSettings)

/** An ETag of S3 for parts. One that a client chose, or of an object that the store encrypts, is something else. */
function isMd5OfParts(headers: HeaderList): boolean {
  return /^[0-9a-f]{32}-\d+$/.test(unquoteEtag(headers.get('etag') ?? '')) && !headers.has('x-amz-server-side-encryption')
}

/** The gateway shows ETags of another form where the bucket shows no MD5s. */
function isMd5(etag: string): boolean {
  return /^[0-9a-f]{32}$/.test(unquoteEtag(etag))
}

interface Parts {
  /** Bytes of every part but the last; null: not known, or not to be had again. */
  readonly size: number | null
  /** Of the whole object, with checksums. */
  readonly headers: HeaderList
}

/** @returns null when there is no such object any more. @throws S3Error of another answer. */
async function partsOf(shows: BucketClient, key: string, size: number, maxParts: number): Promise<Parts | null> {
  const ask = async (query: readonly (readonly [string, string])[]): ReturnType<BucketClient['answer']> =>
    shows.answer({ method: 'HEAD', key, query, headers: [['x-amz-checksum-mode', 'ENABLED']], retry: true })
  const { status, headers } = await ask([])
  if (status === 404) return null
  if (status !== 200) throw new S3Error('SealgateBadUpstream', { code: `Status${status}`, status, message: `HEAD answers ${status}` })
  const first = await ask([['partNumber', '1']])
  const [bytes, count] = [Number(first.headers.get('content-length')), Number(first.headers.get('x-amz-mp-parts-count'))]
  const alike = first.status === 206 && bytes >= MIN_PART_SIZE && bytes <= MAX_PART_PLAINTEXT && count < maxParts && count === Math.ceil(size / bytes)
  return { size: alike ? bytes : null, headers }
}

/** The checksum of the whole object, if parts can have it together: CRCs of any parts, a digest of digests of the same parts. */
function checksumOf(headers: HeaderList, sameParts: boolean): PartCopies['checksum'] {
  const type = headers.get('x-amz-checksum-type') === 'COMPOSITE' ? 'COMPOSITE' : 'FULL_OBJECT'
  for (const name of headers.names()) {
    const algorithm = checksumAlgorithmNamed(algorithmOfHeader(name) ?? '')
    if (algorithm === undefined || !isKept(algorithm, type, sameParts)) continue
    return { algorithm, type, value: headers.get(name) ?? '' }
  }
  return null
}

function isKept(algorithm: ChecksumAlgorithm, type: 'COMPOSITE' | 'FULL_OBJECT', sameParts: boolean): boolean {
  const { composite, fullObject } = checksumAlgorithms[algorithm]
  return type === 'COMPOSITE' ? composite && sameParts : fullObject
}

/** The ETag that S3 gives an object of these parts (AWS S3 User Guide, "Checking object integrity": a digest of digests). */
function etagOf(parts: readonly CopiedPart[]): string {
  const hash = createHash('md5')
  for (const { etag } of parts) hash.update(Buffer.from(unquoteEtag(etag), 'hex'))
  return `${hash.digest('hex')}-${parts.length}`
}
