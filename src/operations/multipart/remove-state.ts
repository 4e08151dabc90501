import type { Execution } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { uploadPrefix } from '../../store-client/state-names.ts'
import { stateBucketOf } from './upload.ts'

/** The client may be gone already; its records should go all the same. */
const CLEAN_UP_MS = 30_000

/**
 * Removes everything in the state bucket about an upload that the store has said to be over. Best effort: the upload is over
 * whether or not this works, and `sealgate gc` finds what stays.
 */
export async function removeState(x: Execution, hash: Buffer): Promise<void> {
  x.parts.objects.forgetUpload(hash)
  try {
    await stateBucketOf(x, AbortSignal.timeout(CLEAN_UP_MS)).removeAll(uploadPrefix(hash))
  } catch (error) {
    if (!(error instanceof S3Error) && !(error instanceof DOMException)) throw error
  }
}
