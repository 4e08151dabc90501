import type { Readable } from 'node:stream'
import type { HttpResponse } from '../../http/message.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { Checksum } from '../../envelope/envelope.ts'
import type { BodySource } from '../request-body.ts'
import { type CopySource, formatCopySource, keptSettings } from '../../s3/names.ts'
import { type ObjectContext, type OperationContext, conditionsIn, header, placeOf, send, storeHere } from '../context.ts'
import { type InspectedSealed, checksumsOf, isSealed, plaintextEtag, type InspectedObject } from '../objects/sealed-object.ts'
import { showsMd5, visibleEtag } from '../objects/visible-etag.ts'
import { MAX_SINGLE_PLAINTEXT } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { childText, parseXml, upstreamDocument } from '../../s3/xml.ts'
import {
  copiedChecksum,
  copySourceOf,
  inspectSource,
  isHere,
  type CopiedChecksum,
  copyResult,
  copiedHeaders,
  copiedTags,
  directiveOf,
  ensureTags
} from './copy-source.ts'
import { writesForClients } from '../objects/client-write.ts'
import { ensureEnvelopeKept, envelopeHeaders } from '../objects/envelope-headers.ts'
import { forwardCopy, successOf } from '../forward.ts'
import { rememberWritten } from '../objects/listed-facts.ts'
import { keyForWrite, type WriteKey } from '../objects/object-keys.ts'
import { slowResponse, type AddHeaders } from '../responses.ts'
import { heldWhole, isConditionOfPut, wayOfCopy } from './by-upload.ts'
import { retryOnChange, withDigests } from '../objects/inspect.ts'
import { writeConditions, encryptionOfWrite } from '../objects/write-options.ts'
import { algorithmOfHeader, checksumAlgorithmNamed, requireChecksumAlgorithm } from '../../http/checksums.ts'
import { fetchSlice } from '../objects/read-body.ts'
import { sealObject, storePlain } from '../objects/put-object.ts'
import type { StoredAnswer } from '../objects/write-way.ts'

/**
 * CopyObject. Between sealed buckets no body moves: the source's data key is unwrapped and wrapped for the destination, and the store copies the
 * sealed bytes, on condition of the ETag that was unwrapped. The bytes pass through the gateway where the store does not enforce that condition or the
 * client's, where the copy needs a checksum that is not known, and between two stores.
 */
export async function copyObject(ctx: OperationContext<'CopyObject'>): Promise<HttpResponse> {
  const source = copySourceOf(ctx)
  const algorithm = header(ctx, 'x-amz-checksum-algorithm')
  if (algorithm !== undefined) requireChecksumAlgorithm(algorithm)
  if (ctx.policy.encryption === 'off' && ctx.services.policyFor(source.bucket).encryption === 'off' && isHere(ctx, source)) return forwardCopy(ctx, source)
  return slowResponse((addHeaders) =>
    retryOnChange(async () => {
      const object = await inspectSource(ctx, source)
      refuseIdleCopy(ctx, source)
      if (object.size > MAX_SINGLE_PLAINTEXT) {
        throw new S3Error('InvalidRequest', {
          message: 'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120'
        })
      }
      const tie = !isSealed(object) || ctx.policy.encryption === 'off' || writesForClients(ctx) !== null ? null : await tieTo(ctx, source, object)
      if (!isSealed(object) || tie === null) {
        return streamCopy(ctx, source, object, { checksum: await copiedChecksum(ctx, object), addHeaders })
      }
      const checksum = header(ctx, 'x-amz-checksum-algorithm') === undefined ? null : await copiedChecksum(ctx, object)
      return checksum?.value === null
        ? streamCopy(ctx, source, object, { checksum, addHeaders })
        : rewrapAndCopy(ctx, { source, object, tie }, addHeaders)
    })
  )
}

/** A copy of an object onto itself must change something (AWS API, CopyObject). */
function refuseIdleCopy(ctx: OperationContext, source: CopySource): void {
  const same = source.bucket === ctx.operation.bucket && source.key === ctx.operation.key && source.versionId === null
  const changes = directiveOf(ctx, 'x-amz-metadata-directive') === 'REPLACE' || directiveOf(ctx, 'x-amz-tagging-directive') === 'REPLACE' ||
    [...keptSettings, 'x-amz-server-side-encryption', 'x-amz-server-side-encryption-customer-algorithm']
      .some((name) => header(ctx, name) !== undefined)
  if (!same || changes) return
  throw new S3Error('InvalidRequest', {
    message: 'This copy request is illegal because it is trying to copy an object to itself without changing the object\'s metadata, ' +
      'storage class, website redirect location or encryption attributes.'
  })
}

/** Headers of the condition; null: the store does not enforce one, or the source is at another store. */
type CopyTie = readonly (readonly [string, string])[] | null

/**
 * How the copy is tied to the bytes that were inspected: by a version that nobody can overwrite (the `null` version can be overwritten), or by a
 * condition that the store enforces in buckets of the source's kind. Without either, a source replaced meanwhile would be stored under the wrong
 * envelope. Nor is a copy tied whose destination has a condition that the store enforces on other writes alone.
 */
async function tieTo(ctx: ObjectContext, source: CopySource, object: InspectedSealed): Promise<CopyTie> {
  if (!isHere(ctx, source) || await isConditionOfPut(ctx)) return null
  if ((source.versionId ?? object.versionId ?? 'null') !== 'null') return [[storeHere(ctx).capabilities.ofStateBucket.copySourceHeader, object.upstreamEtag]]
  const { copySourceIfMatch, copySourceHeader } = await conditionsIn(ctx, source.bucket)
  return copySourceIfMatch ? [[copySourceHeader, object.upstreamEtag]] : null
}

interface TiedSource {
  readonly source: CopySource
  readonly object: InspectedSealed
  readonly tie: NonNullable<CopyTie>
}

async function rewrapAndCopy(ctx: ObjectContext, { source, object: seen, tie }: TiedSource, addHeaders: AddHeaders): Promise<Buffer> {
  // Where the source's bucket shows no MD5 it has not been read yet, but the destination may show it.
  const object = showsMd5(ctx.policy.etag, seen) ? await withDigests(ctx, seen) : seen
  const key = await keyForWrite(ctx, placeOf(ctx), await encryptionOfWrite(ctx))
  const tags = await copiedTags(ctx, source, object, 'store')
  const described = copiedHeaders(ctx, object, tags)
  const { md5, checksums, digestsInManifest } = object.attributes
  const envelope = envelopeHeaders(ctx, {
    key,
    described,
    dataKey: object.dataKey,
    shape: object,
    md5,
    checksums,
    digestsInManifest
  })
  const response = await send(ctx, {
    method: 'PUT',
    headers: [
      ...envelope,
      ...await writeConditions(ctx, 'copy'),
      ['x-amz-copy-source', formatCopySource({ ...source, versionId: source.versionId ?? object.versionId })],
      ['x-amz-metadata-directive', 'REPLACE'],
      ...tags === null ? [] : [['x-amz-tagging-directive', 'REPLACE'] as const],
      ...tie
    ]
  })
  if (response.status < 300) addHeaders([...downstreamHeaders(response.headers, 'written'), ...key.responseHeaders])
  return answerOf(ctx, response, object, { key, tags: tags ?? '' })
}

/** @throws the store's error. */
async function answerOf(
  ctx: ObjectContext,
  response: UpstreamResponse,
  object: InspectedSealed,
  { key, tags }: { readonly key: WriteKey; readonly tags: string }
): Promise<Buffer> {
  const document = await successOf(ctx, response)
  const parsed = parseXml(document, upstreamDocument)
  const upstreamEtag = childText(parsed, parsed.root, 'ETag')
  if (upstreamEtag === null) throw new S3Error('SealgateBadUpstream')
  if (object.kind === 'empty') await ensureEnvelopeKept(ctx)
  if (tags !== '') await ensureTags(ctx, tags, response.headers.get('x-amz-version-id') ?? null)
  const shown = key.sse.mode === 'SSE-C' ? null : plaintextEtag(object)
  const etag = visibleEtag(ctx.policy.etag, object, upstreamEtag, shown)
  rememberWritten(ctx, { size: object.size, etag, upstreamEtag })
  return copyResult(etag, childText(parsed, parsed.root, 'LastModified'), checksumsOf(object))
}

interface Through {
  readonly checksum: CopiedChecksum | null
  readonly addHeaders: AddHeaders
}

/**
 * A copy whose bytes change on the way: from an object that Sealgate did not write into a sealed bucket, or from a sealed bucket into one that is not
 * encrypted. It is also used where the store cannot tie the copy to the inspected object, and where the copy needs a checksum that is not known. Only
 * these copies of whole objects move data through the gateway.
 */
async function streamCopy(
  ctx: ObjectContext,
  source: CopySource,
  object: InspectedObject,
  { checksum, addHeaders }: Through
): Promise<Buffer> {
  const described = copiedHeaders(ctx, object, await copiedTags(ctx, source, object, 'gateway'))
  const { way, holds, release } = await wayOfCopy(ctx, object.size)
  let stream: Readable | null = null
  try {
    stream = await fetchSlice(ctx, object, { first: 0, last: object.size - 1, status: 200, partsCount: null }, 'source')
    const body = plaintextSource(holds ? await heldWhole(stream, object.size) : stream, object.size, checksum)
    const stored = ctx.policy.encryption === 'off'
      ? await storePlain(ctx, body, [...described, ...headersForTheStore(ctx), ...checksumHeader(checksum)])
      : await sealObject(ctx, body, new Map([...described, ...encryptionHeaders(ctx)]), way)
    addHeaders([
      ...stored.headers.filter(([name]) => name !== 'etag' && !name.startsWith('x-amz-checksum-')),
      ...object.versionId === null ? [] : [['x-amz-copy-source-version-id', object.versionId] as const]
    ])
    return copyResult(stored.etag, null, storedChecksums(stored))
  } catch (error) {
    throw error instanceof S3Error && error.code === 'BadDigest' ? corruptedSource(ctx, error) : error
  } finally {
    stream?.destroy()
    release()
  }
}

/** The source does not match its checksum, which only the store has stated. */
function corruptedSource(ctx: OperationContext, error: S3Error): S3Error {
  ctx.services.integrityFailure('checksum')
  return new S3Error('SealgateIntegrityError', { cause: error })
}

/** The store accepts a checksum only where it is known before the body. */
function checksumHeader(checksum: CopiedChecksum | null): (readonly [string, string])[] {
  const { value = null } = checksum ?? {}
  return checksum === null || value === null ? [] : [[`x-amz-checksum-${checksum.algorithm}`, value.toString('base64')]]
}

function storedChecksums({ headers }: StoredAnswer): Checksum[] {
  return headers.flatMap(([name, value]): Checksum[] => {
    const algorithm = checksumAlgorithmNamed(algorithmOfHeader(name) ?? '')
    return algorithm === undefined ? [] : [{ algorithm, type: 'full', value: Buffer.from(value, 'base64') }]
  })
}

/** Plaintext that is verified already. Only its length in bytes and, where it is known, a checksum are declared for it. */
export function plaintextSource(stream: Readable, length: number, checksum: CopiedChecksum | null = null): BodySource {
  const { algorithm = null, value = null } = checksum ?? {}
  const known = algorithm === null || value === null ? null : { algorithm, value }
  return {
    stream,
    payload: { framing: 'plain', length, sha256: null, chunkSigner: null, contentMd5: null, checksum: known, trailer: null },
    computeChecksum: known === null ? algorithm : null
  }
}

/** Conditions and encryption headers that the store itself handles in a bucket that is not encrypted. */
function headersForTheStore(ctx: OperationContext): (readonly [string, string])[] {
  const conditions = [...ctx.request.headers].filter(([name]) => name === 'if-match' || name === 'if-none-match')
  return [...conditions, ...encryptionHeaders(ctx)]
}

function encryptionHeaders(ctx: OperationContext): (readonly [string, string])[] {
  return [...ctx.request.headers].filter(([name]) => name.startsWith('x-amz-server-side-encryption'))
}
