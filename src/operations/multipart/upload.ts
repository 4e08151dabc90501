import type { Header } from '../../http/message.ts'
import type { UploadRecord, UploadSettings } from '../../envelope/upload-records.ts'
import type { Place } from '../../envelope/envelope.ts'
import type { DataKey } from '../../envelope/data-key.ts'
import { type BucketContext, type OperationContext, type UploadContext, placeOf, storeHere } from '../context.ts'
import { openUploadRecord, parseUploadRecord, uploadHash } from '../../envelope/upload-records.ts'
import { S3Error } from '../../errors.ts'
import { agreesWithUpload, refuseGeneralSse, sseOfWrite } from '../../keys/sse-headers.ts'
import { SSEC_KEY_ID } from '../../keys/ssec.ts'
import { accessEncryptionHeaders, customerKeyOfAccess, customerKeysAllowed, keyForRead } from '../objects/object-keys.ts'
import { writesForClients } from '../objects/client-write.ts'
import { verified } from '../objects/sealed-object.ts'
import { StateBucket } from '../../store-client/state-bucket.ts'
import { uploadRecordName } from '../../store-client/state-names.ts'

/** An upload whose record has opened for this request. */
export interface Upload {
  readonly id: string
  /** 32 bytes: the upload's name in the state bucket and in its manifest. */
  readonly hash: Buffer
  readonly place: Place
  readonly dataKey: DataKey
  readonly settings: UploadSettings
  /** Encryption headers for the requests that continue the upload. */
  readonly encryptionHeaders: readonly Header[]
}

export function noSuchUpload(ctx: UploadContext): S3Error {
  return new S3Error('NoSuchUpload', { fields: { UploadId: ctx.operation.uploadId } })
}

/** @returns S3Error for an upload that cannot become an object of the S3 Encryption Client, though it was begun to. */
export function refuseUnfinishable(): S3Error {
  return new S3Error('InvalidRequest', {
    message: 'This upload was to become an object of the S3 Encryption Client, and was begun by an earlier version of the gateway, ' +
      'or its bucket is not written in that format any more. Abort it and begin a new one.'
  })
}

/** The hash of the upload this request names. */
export function uploadHashOf(ctx: UploadContext): Buffer {
  return uploadHash(placeOf(ctx), ctx.operation.uploadId)
}

export function stateBucketOf(ctx: OperationContext, signal: AbortSignal = ctx.signal): StateBucket {
  const { upstream, settings } = storeHere(ctx)
  return new StateBucket(upstream, settings.stateBucket, signal)
}

/**
 * Opens the record of the upload this request names. The record is never updated, so a cached one is valid for as long as the upload exists. Whether
 * it exists the store decides when the request reaches it.
 * @param source `fresh`: read again, because the caller relies on the record alone.
 * @throws S3Error NoSuchUpload, SealgateIntegrityError, InvalidRequest for a customer's key that is missing or wrong, the errors of key providers.
 */
export async function openUpload(ctx: UploadContext, source: 'cached' | 'fresh'): Promise<Upload> {
  const hash = uploadHashOf(ctx)
  const record = (source === 'cached' ? ctx.services.objects.upload(hash) : undefined) ?? await readRecord(ctx, hash)
  if (record === null) throw noSuchUpload(ctx)
  return openRecord(ctx, hash, record)
}

async function readRecord(ctx: OperationContext, hash: Buffer): Promise<UploadRecord | null> {
  const body = await stateBucketOf(ctx).get(uploadRecordName(hash))
  if (body === null) {
    ctx.services.objects.forgetUpload(hash)
    return null
  }
  return verified(ctx, () => parseUploadRecord(body))
}

async function openRecord(ctx: UploadContext, hash: Buffer, record: UploadRecord): Promise<Upload> {
  const place = placeOf(ctx)
  const id = ctx.operation.uploadId
  const kek = await keyOfRecord(ctx, place, record)
  const { dataKey, settings } = await verified(ctx, () => openUploadRecord(record, kek, place, id))
  // Cached only after it has opened: a record that does not open may have any length, and would fail again and again.
  ctx.services.objects.rememberUpload(hash, record)
  if (settings.clients === null || (settings.clients !== undefined && writesForClients(ctx) === null)) throw refuseUnfinishable()
  return { id, hash, place, dataKey, settings, encryptionHeaders: encryptionHeadersOf(ctx, record, place) }
}

function encryptionHeadersOf(ctx: OperationContext, { sse, scope, keyId, requestContext }: UploadRecord, { bucket }: Place): readonly Header[] {
  const bucketKeyEnabled = scope === 'bucket' && sse !== 'SSE-C'
  return accessEncryptionHeaders(ctx, { sse: { mode: sse, bucketKeyEnabled }, keyId, requestContext, bucket })
}

/** Codes and messages of S3 for parts (AWS API, UploadPart; s3-tests, multipart SSE-C). */
async function keyOfRecord(ctx: BucketContext, place: Place, record: UploadRecord): ReturnType<typeof keyForRead> {
  checkAskedEncryption(ctx, record)
  const customerKey = customerKeyOfAccess(ctx)
  const { keyId, blob, scope, requestContext } = record
  if ((keyId === SSEC_KEY_ID) !== (customerKey !== null)) {
    throw new S3Error('InvalidRequest', {
      message: customerKey === null
        ? 'The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.'
        : 'The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.'
    })
  }
  try {
    return await keyForRead(ctx, { envelope: { blob, scope }, keyId, place, bucket: place.bucket, requestContext, customerKey, versionId: null })
  } catch (error) {
    if (customerKey === null || !(error instanceof S3Error) || error.code !== 'AccessDenied') throw error
    throw new S3Error('InvalidRequest', {
      message: 'The provided encryption parameters did not match the ones used originally.',
      cause: error
    })
  }
}

/**
 * minio-go repeats the headers of CreateMultipartUpload with every part and the Complete, wherever the store is not at amazonaws.com.
 * @throws S3Error InvalidArgument for encryption that is not the upload's, with the message of AWS, which accepts no such header here.
 */
function checkAskedEncryption(ctx: BucketContext, { sse, scope, keyId, requestContext }: UploadRecord): void {
  const { headers } = ctx.request
  const announced = sse === 'none' && ctx.policy.announce === 'aws:kms' ? 'aws:kms' : sse
  const agrees = agreesWithUpload(sseOfWrite(headers, customerKeysAllowed(ctx)), {
    mode: announced,
    context: requestContext,
    bucketKeyEnabled: scope === 'bucket',
    answersTo: (requested) => ctx.services.keys.names(requested, keyId)
  })
  if (!agrees) refuseGeneralSse(headers)
}
