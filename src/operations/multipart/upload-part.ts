import type { Readable } from 'node:stream'
import type { Header, HttpResponse } from '../../http/message.ts'
import type { PartRecord } from '../../envelope/upload-records.ts'
import type { ChecksumAlgorithm } from '../../http/checksums.ts'
import type { CopySource } from '../../s3/names.ts'
import type { Slice } from '../objects/read-range.ts'
import { type Execution, header, storedChecksum } from '../context.ts'
import { requestBody, streamUpstream } from '../request-body.ts'
import { visiblePartEtag } from './part-records.ts'
import { checkPartSize, partNumberOf, storePart, uploadForPart, etagOf, sendPart } from './write-part.ts'
import { refuseEqualParts, type Upload } from './upload.ts'
import { type Looked, withOneRestart } from '../objects/inspect.ts'
import { copySourceRange } from '../../s3/range.ts'
import { renderXml, type XmlNode } from '../../s3/xml.ts'
import { copySourceOf, lookAtSource } from '../copy/copy-source.ts'
import { plaintextSource } from '../copy/stream-copy.ts'
import { forwardCopy } from '../forward.ts'
import { fetchSlice } from '../objects/read-body.ts'
import { pendingAnswer, relayError } from '../responses.ts'
import { demandedChecksum } from './upstream-parts.ts'

/** UploadPart: sealed on its own, in any order, any number of times, through any instance of the gateway. */
export async function uploadPart(x: Execution): Promise<HttpResponse> {
  refuseEqualParts(x)
  const source = requestBody(x)
  const number = partNumberOf(x)
  checkPartSize(number, source.payload.length)
  const upload = await uploadForPart(x, source.payload.length)
  const record = await storePart(x, upload, number, source)
  return {
    status: 200,
    headers: [['etag', `"${visiblePartEtag(record)}"`], ...checksumOf(record), ...upload.encryptionHeaders, ['content-length', '0']],
    body: null
  }
}

function checksumOf({ checksum }: PartRecord): Header[] {
  return checksum === null ? [] : [[`x-amz-checksum-${checksum.algorithm}`, checksum.value.toString('base64')]]
}

/**
 * UploadPartCopy. A range of plaintext lies across sealed segments, and every part is sealed on its own: so the bytes come
 * through the gateway, opened and sealed again. Between buckets that are not encrypted the store copies.
 */
export async function uploadPartCopy(x: Execution): Promise<HttpResponse> {
  const source = copySourceOf(x)
  const number = partNumberOf(x)
  if (x.policy.encryption === 'off') {
    return x.parts.policyFor(source.bucket).encryption === 'off' ? forwardCopy(x, source) : copyIntoPlain(x, source, number)
  }
  refuseEqualParts(x)
  const looked = await withOneRestart(() => lookAtSource(x, source))
  const size = sizeOf(sliceOf(x, looked))
  checkPartSize(number, size)
  const upload = await uploadForPart(x, size)
  return pendingAnswer((known) => {
    known([...versionOf(looked), ...upload.encryptionHeaders])
    return copySealed(x, source, looked, upload, number)
  })
}

/** @throws S3Error InvalidArgument, InvalidRange for a range that reaches beyond the source. */
function sliceOf(x: Execution, { object }: Looked): Slice {
  const range = header(x, 'x-amz-copy-source-range')
  const { first, last } = range === undefined ? { first: 0, last: object.size - 1 } : copySourceRange(range, object.size)
  const whole = first === 0 && last === object.size - 1
  return { first, last, status: whole ? 200 : 206, partsCount: null }
}

function sizeOf({ first, last }: Slice): number {
  return last - first + 1
}

function versionOf({ object: { versionId } }: Looked): Header[] {
  return versionId === null ? [] : [['x-amz-copy-source-version-id', versionId]]
}

interface OpenSource {
  readonly stream: Readable
  readonly size: number
  readonly looked: Looked
}

/** The plaintext of what is to be copied; looked at anew when the source was replaced between the look and the fetch. */
async function openSource(x: Execution, source: CopySource, seen: Looked | null): Promise<OpenSource> {
  let first = seen
  return withOneRestart(async () => {
    const looked = first ?? await lookAtSource(x, source)
    first = null
    const slice = sliceOf(x, looked)
    return { stream: await fetchSlice(x, looked.object, looked.manifest, slice, 'source'), size: sizeOf(slice), looked }
  })
}

async function copySealed(x: Execution, source: CopySource, seen: Looked, upload: Upload, number: number): Promise<Buffer> {
  const { stream, size } = await openSource(x, source, seen)
  try {
    checkPartSize(number, size)
    const record = await storePart(x, upload, number, plaintextSource(stream, size), 'copy')
    const { checksum } = record
    return copyPartResult(`"${visiblePartEtag(record)}"`, checksum === null
      ? []
      : [[`Checksum${checksum.algorithm.toUpperCase()}`, checksum.value.toString('base64')]])
  } finally {
    stream.destroy()
  }
}

async function copyIntoPlain(x: Execution, source: CopySource, number: number): Promise<HttpResponse> {
  // Where the store would copy it would compute this; it can be sent behind the bytes where the store is known to take that.
  const checksum = storedChecksum(x) === null ? null : await demandedChecksum(x)
  const { stream, size, looked } = await openSource(x, source, null)
  return pendingAnswer((known) => {
    known(versionOf(looked))
    return sendPlain(x, { stream, size }, number, checksum)
  })
}

async function sendPlain(x: Execution, { stream, size }: Omit<OpenSource, 'looked'>, number: number, checksum: ChecksumAlgorithm | null): Promise<Buffer> {
  try {
    const response = await streamUpstream(x, plaintextSource(stream, size), [], (body) => sendPart(x, number, { body, contentLength: size, checksum }))
    if (response.status >= 300) throw await relayError(x, response)
    response.body.resume()
    const value = checksum === null ? undefined : response.headers.get(`x-amz-checksum-${checksum}`)
    return copyPartResult(`"${etagOf(response)}"`, checksum === null || value === undefined ? [] : [[`Checksum${checksum.toUpperCase()}`, value]])
  } finally {
    stream.destroy()
  }
}

function copyPartResult(etag: string, checksums: readonly XmlNode[]): Buffer {
  return renderXml(['CopyPartResult', [['LastModified', new Date().toISOString()], ['ETag', etag], ...checksums]])
}
