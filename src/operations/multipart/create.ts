import type { Header, HttpResponse } from '../../http/message.ts'
import type { UploadSettings } from '../../envelope/upload-records.ts'
import { type ObjectContext, type OperationContext, placeOf, send, storedChecksum } from '../context.ts'
import type { WriteKey } from '../objects/object-keys.ts'
import { DataKey } from '../../envelope/data-key.ts'
import { sealUploadRecord, uploadHash } from '../../envelope/upload-records.ts'
import { both } from '../../concurrency/parallel.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { childText, parseXml, renderXml, upstreamDocument } from '../../s3/xml.ts'
import { envelopeHeaders } from '../objects/envelope-headers.ts'
import { keyForWrite } from '../objects/object-keys.ts'
import { encryptionOfWrite } from '../objects/write-options.ts'
import { relayError } from '../responses.ts'
import { checksumSettings } from './checksum-settings.ts'
import { uploadRecordName } from '../../store-client/state-names.ts'
import { refuseEqualParts, stateBucketOf } from './upload.ts'

/** For what must be cleared away although the client may be gone. */
const CLEAN_UP_MS = 30_000

/**
 * CreateMultipartUpload: the envelope goes upstream with the metadata, the upload record into the state bucket, and only
 * then the client learns the store's own upload id.
 */
export async function createMultipartUpload(ctx: OperationContext<'CreateMultipartUpload'>): Promise<HttpResponse> {
  refuseEqualParts(ctx)
  const checksum = checksumSettings(ctx.request.headers)
  const described = upstreamHeaders(ctx.request.headers, 'object')
  const asked = await encryptionOfWrite(ctx)
  const [key] = await both(
    ctx.signal,
    (signal) => keyForWrite({ ...ctx, signal }, placeOf(ctx), asked),
    (signal) => stateBucketOf(ctx, signal).check()
  )
  const dataKey = DataKey.random()
  const settings: UploadSettings = { ...checksum, etagMode: key.sse.mode === 'SSE-C' ? 'opaque' : ctx.policy.etag, storedChecksum: storedChecksum(ctx) }
  const headers = envelopeHeaders(ctx, {
    key,
    dataKey,
    described,
    kind: 'multipart',
    streamHeader: null,
    plaintextSize: null,
    md5: null,
    checksums: [],
    digestsInManifest: true
  })
  const { uploadId, answered } = await createUpstream(ctx, [...headers, ...storedChecksumHeaders(settings)])
  await keepRecord(ctx, uploadId, key, dataKey, settings)
  const body = renderXml(['InitiateMultipartUploadResult', [['Bucket', ctx.operation.bucket], ['Key', ctx.operation.key], ['UploadId', uploadId]]])
  return {
    status: 200,
    headers: [
      ...answered,
      ...key.responseHeaders,
      ...checksumHeadersOf(settings),
      ['content-type', 'application/xml'],
      ['content-length', String(body.length)]
    ],
    body
  }
}

function checksumHeadersOf({ checksumAlgorithm, checksumType }: UploadSettings): Header[] {
  if (checksumAlgorithm === null || checksumType === null) return []
  return [
    ['x-amz-checksum-algorithm', checksumAlgorithm.toUpperCase()],
    ['x-amz-checksum-type', checksumType === 'full' ? 'FULL_OBJECT' : 'COMPOSITE']
  ]
}

/** A checksum that comes with a part must have been settled for the upload (AWS API, UploadPart). Its type is S3's default. */
function storedChecksumHeaders({ storedChecksum: algorithm }: UploadSettings): Header[] {
  return algorithm === null ? [] : [['x-amz-checksum-algorithm', algorithm.toUpperCase()]]
}

async function createUpstream(ctx: OperationContext, headers: readonly Header[]): Promise<{ uploadId: string; answered: readonly Header[] }> {
  const response = await send(ctx, { method: 'POST', query: [['uploads', null]], headers })
  if (response.status >= 300) throw await relayError(ctx, response)
  const document = parseXml(await readAll(response.body, 65536, () => new S3Error('SealgateBadUpstream')), upstreamDocument)
  const uploadId = childText(document, document.root, 'UploadId')
  if (uploadId === null || uploadId === '') throw new S3Error('SealgateBadUpstream')
  return { uploadId, answered: downstreamHeaders(response.headers, 'written') }
}

/** Without its record an upload could never be completed: then it is taken back, and the client is told of no upload. */
async function keepRecord(ctx: ObjectContext, uploadId: string, key: WriteKey, dataKey: DataKey, settings: UploadSettings): Promise<void> {
  const place = placeOf(ctx)
  const record = sealUploadRecord({
    kek: key.kek,
    keyId: key.wrapped.keyId,
    blob: key.wrapped.blob,
    sse: key.sse.mode,
    scope: key.scope,
    requestContext: key.requestContext,
    dataKey,
    place,
    uploadId,
    settings
  })
  try {
    await stateBucketOf(ctx).put(uploadRecordName(uploadHash(place, uploadId)), record, ctx.services.capabilities.ofStateBucket.put)
  } catch (error) {
    await send(ctx, { method: 'DELETE', query: [['uploadId', uploadId]], signal: AbortSignal.timeout(CLEAN_UP_MS), retry: true })
      .then((response) => {
        response.body.resume()
      }, () => undefined)
    throw error
  }
}
