import type { Manifest } from '../../envelope/manifest.ts'
import type { HttpResponse } from '../../http/message.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import { type CopySource, formatCopySource } from '../../s3/names.ts'
import { type Execution, bucketOf, conditionsIn, header, keyOf, placeOf, send } from '../context.ts'
import { type SealedObject, visibleEtag, plaintextEtag } from '../objects/sealed-object.ts'
import { MAX_SINGLE_PLAINTEXT } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { childText, parseXml, upstreamDocument } from '../../s3/xml.ts'
import { copiedChecksum, copySourceOf, lookAtSource } from './copy-source.ts'
import { copyResult, copiedHeaders, copiedTags, directiveOf, ensureTags } from './copied-properties.ts'
import { copyThrough } from './stream-copy.ts'
import { envelopeHeaders } from '../objects/envelope-headers.ts'
import { forwardCopy, successOf } from '../forward.ts'
import { keyForWrite, type WriteKey } from '../objects/object-keys.ts'
import { pendingAnswer, type Known } from '../responses.ts'
import { readManifest, withOneRestart } from '../objects/inspect.ts'
import { writeConditions, encryptionOfWrite } from '../objects/write-options.ts'

/**
 * CopyObject. Between sealed buckets no body moves: the source's object key is unwrapped and wrapped anew for the
 * destination, and the store copies the sealed bytes, tied to the ETag that was unwrapped. Where the store cannot be held to that, or
 * a checksum is asked for that is not known, the bytes pass through the gateway.
 */
export async function copyObject(x: Execution): Promise<HttpResponse> {
  const source = copySourceOf(x)
  if (x.policy.encryption === 'off' && x.parts.policyFor(source.bucket).encryption === 'off') return forwardCopy(x, source)
  return pendingAnswer((known) => withOneRestart(async () => {
    const looked = await lookAtSource(x, source)
    refuseIdleCopy(x, source)
    if (looked.object.size > MAX_SINGLE_PLAINTEXT) {
      throw new S3Error('InvalidRequest', {
        message: 'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120'
      })
    }
    const { object, manifest } = looked
    const tie = object.kind === 'plain' || x.policy.encryption === 'off' ? null : await tieTo(x, source, object)
    if (object.kind === 'plain' || tie === null) {
      return copyThrough(x, source, looked, { checksum: await copiedChecksum(x, object, manifest), known })
    }
    const checksum = header(x, 'x-amz-checksum-algorithm') === undefined ? null : await copiedChecksum(x, object, manifest)
    return checksum?.value === null
      ? copyThrough(x, source, looked, { checksum, known })
      : rewrapAndCopy(x, { source, object, tie, manifest: looked.manifest }, known)
  }))
}

/** A copy of an object onto itself must change something (AWS API, CopyObject). */
function refuseIdleCopy(x: Execution, source: CopySource): void {
  const same = source.bucket === bucketOf(x) && source.key === keyOf(x) && source.versionId === null
  const changes = directiveOf(x, 'x-amz-metadata-directive') === 'REPLACE' || directiveOf(x, 'x-amz-tagging-directive') === 'REPLACE' ||
    ['x-amz-storage-class', 'x-amz-website-redirect-location', 'x-amz-server-side-encryption', 'x-amz-server-side-encryption-customer-algorithm']
      .some((name) => header(x, name) !== undefined)
  if (!same || changes) return
  throw new S3Error('InvalidRequest', {
    message: 'This copy request is illegal because it is trying to copy an object to itself without changing the object\'s metadata, ' +
      'storage class, website redirect location or encryption attributes.'
  })
}

/** Headers; null: the store cannot be held. */
type CopyTie = readonly (readonly [string, string])[] | null

/**
 * How the store is held to copy the very bytes that were looked at: by a version that nobody can overwrite (the `null` version can be), or
 * by a condition that it enforces in buckets of the source's kind. Else a source replaced meanwhile would end up under the wrong envelope.
 */
async function tieTo(x: Execution, source: CopySource, object: SealedObject): Promise<CopyTie> {
  if ((source.versionId ?? object.versionId ?? 'null') !== 'null') return [[x.parts.capabilities.ofStateBucket.copySourceHeader, object.upstreamEtag]]
  const { copySourceIfMatch, copySourceHeader } = await conditionsIn(x, source.bucket)
  return copySourceIfMatch ? [[copySourceHeader, object.upstreamEtag]] : null
}

interface TiedSource {
  readonly source: CopySource
  readonly object: SealedObject
  readonly manifest: Manifest | null
  readonly tie: NonNullable<CopyTie>
}

async function rewrapAndCopy(x: Execution, { source, object, tie, manifest: seen }: TiedSource, known: Known): Promise<Buffer> {
  // Where the source's bucket shows no MD5, nobody has looked for it yet; the destination may show it.
  const hidden = seen === null && object.attributes.digestsInManifest && x.policy.etag === 'md5'
  const manifest = hidden ? await readManifest(x, object) : seen
  const key = await keyForWrite(x, placeOf(x), await encryptionOfWrite(x))
  const tags = await copiedTags(x, source, object, 'store')
  const described = copiedHeaders(x, object, tags)
  const { md5, checksums, digestsInManifest, plaintextSize } = object.attributes
  const envelope = envelopeHeaders(x, {
    key, described, objectKey: object.objectKey, kind: object.envelope.kind, streamHeader: object.envelope.streamHeader,
    plaintextSize, md5, checksums, digestsInManifest
  })
  const response = await send(x, {
    method: 'PUT',
    headers: [
      ...envelope,
      ...await writeConditions(x, 'copy'),
      ['x-amz-copy-source', formatCopySource({ ...source, versionId: source.versionId ?? object.versionId })],
      ['x-amz-metadata-directive', 'REPLACE'],
      ...tags === null ? [] : [['x-amz-tagging-directive', 'REPLACE'] as const],
      ...tie
    ]
  })
  if (response.status < 300) known([...downstreamHeaders(response.headers, 'written'), ...key.responseHeaders])
  return answerOf(x, response, manifest, object, { key, tags: tags ?? '' })
}

/** @throws the store's error. */
async function answerOf(
  x: Execution, response: UpstreamResponse, manifest: Manifest | null, object: SealedObject, { key, tags }: { readonly key: WriteKey; readonly tags: string }
): Promise<Buffer> {
  const document = await successOf(x, response)
  const parsed = parseXml(document, upstreamDocument)
  const upstreamEtag = childText(parsed, parsed.root, 'ETag')
  if (upstreamEtag === null) throw new S3Error('SealgateBadUpstream')
  if (tags !== '') await ensureTags(x, tags, response.headers.get('x-amz-version-id') ?? null)
  const shown = key.sse.mode === 'SSE-C' ? null : plaintextEtag(object, manifest)
  return copyResult(visibleEtag(x.policy, upstreamEtag, shown), childText(parsed, parsed.root, 'LastModified'), [
    ...object.attributes.checksums, ...manifest?.checksums ?? []
  ])
}
