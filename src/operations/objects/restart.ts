import { S3Error } from '../../errors.ts'
import { ObjectChanged } from './read-manifest.ts'

/** Runs a read of several requests; when the object was replaced in between, once more from the start. */
export async function withOneRestart<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof ObjectChanged)) throw error
  }
  try {
    return await read()
  } catch (error) {
    // Replaced again and again: the client may ask anew, nothing of two versions is ever mixed.
    throw error instanceof ObjectChanged ? new S3Error('SlowDown', { endedBy: 'store', cause: error }) : error
  }
}
