import type { HttpResponse } from '../../http/message.ts'
import type { PartRecord } from '../../envelope/upload-records.ts'
import type { Execution } from '../context.ts'
import { requestBody } from '../request-body.ts'
import { visiblePartEtag } from './part-records.ts'
import { checkPartSize, partNumberOf, storePart, uploadForPart } from './write-part.ts'
import { refuseEqualParts } from './upload.ts'

type Header = readonly [name: string, value: string]

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
