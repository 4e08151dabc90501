import type { Execution } from '../context.ts'
import type { Looked } from '../objects/inspect.ts'
import type { Completed } from './completed-answer.ts'
import { S3Error } from '../../errors.ts'
import { lookAtTarget } from '../objects/inspect.ts'
import { readEncryptionHeaders } from '../objects/object-keys.ts'
import { withOneRestart } from '../objects/restart.ts'
import { clientEtag } from '../objects/sealed-object.ts'
import { completedAnswer } from './completed-answer.ts'
import { uploadHashOf } from './upload.ts'

/**
 * The answer to a Complete that was carried out before, by a request whose answer was lost or by another instance: the
 * object's own manifest names the upload and the list it was made of.
 * @returns null when the object is not there or of another making.
 * @throws S3Error ServiceUnavailable when it cannot be told: the client may ask again, and is at no fault.
 */
export async function completedBefore(x: Execution, listHash: Buffer): Promise<Completed | null> {
  const looked = await lookAtObject(x)
  if (looked?.object.kind !== 'sealed' || looked.manifest === null) return null
  const { object, manifest } = looked
  if (manifest.uploadHash?.equals(uploadHashOf(x)) !== true || manifest.listHash?.equals(listHash) !== true) return null
  return completedAnswer(x, {
    etag: clientEtag(x, object, manifest),
    checksums: manifest.checksums,
    parts: manifest.parts.length,
    headers: [
      ...object.versionId === null ? [] : [['x-amz-version-id', object.versionId] as const],
      ...readEncryptionHeaders(x, object)
    ]
  })
}

async function lookAtObject(x: Execution): Promise<Looked | null> {
  try {
    return await withOneRestart(() => lookAtTarget(x))
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    // Another object under this name: none at all, one of another key, or one that was not written here.
    if (error.status === 404 || ['InvalidRequest', 'AccessDenied', 'SealgatePlaintextRefused'].includes(error.code)) return null
    throw new S3Error('ServiceUnavailable', {
      message: 'It cannot be told whether the upload has been completed. Please ask again.', cause: error
    })
  }
}
