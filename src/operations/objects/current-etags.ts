import type { Execution } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { send } from '../context.ts'
import { opaqueEtag } from './etag.ts'
import { lookAt } from './inspect.ts'
import { isCustomerSealed } from './object-keys.ts'
import { withOneRestart } from './restart.ts'
import { clientEtag, KEY_ID_HEADER } from './sealed-object.ts'

export interface CurrentEtags {
  /** As clients see it, quoted. */
  readonly visible: string
  /** As the store sent it. */
  readonly upstream: string
}

/**
 * Both ETags of the current object of a name; null when there is none. Objects sealed with a customer's key need no key
 * for this: their visible ETag is opaque.
 */
export async function currentEtags(x: Execution, bucket: string, key: string): Promise<CurrentEtags | null> {
  try {
    const { object, manifest } = await withOneRestart(() => lookAt(x, { bucket, key, versionId: null, customerKey: null }))
    return { visible: clientEtag(x, object, manifest), upstream: object.upstreamEtag }
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    if (error.status === 404) return null
    if (error.code === 'InvalidRequest') return customerSealedEtags(x, bucket, key)
    throw error
  }
}

async function customerSealedEtags(x: Execution, bucket: string, key: string): Promise<CurrentEtags | null> {
  const response = await send(x, { method: 'HEAD', bucket, key, retry: true })
  response.body.resume()
  const upstream = response.headers.get('etag')
  if (response.status === 404) return null
  if (response.status !== 200 || upstream === undefined || !isCustomerSealed(response.headers.get(KEY_ID_HEADER))) {
    throw new S3Error('SealgateBadUpstream')
  }
  return { visible: opaqueEtag(upstream), upstream }
}
