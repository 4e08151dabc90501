import type { SseRequest } from '../../keys/sse-headers.ts'
import type { Execution } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { sseOfWrite } from '../../keys/sse-headers.ts'
import { bucketDefault } from '../buckets/bucket-encryption.ts'
import { bucketOf } from '../context.ts'
import { customerKeysAllowed } from './object-keys.ts'

/**
 * The encryption of a write: what the client asks for, or else the bucket's default. What the configuration demands is
 * demanded of the client itself, so that no default of the bucket can loosen it.
 * @throws S3Error as `sseOfWrite`; AccessDenied.
 */
export async function encryptionOfWrite(x: Execution, headers: ReadonlyMap<string, string> = x.request.headers): Promise<SseRequest> {
  const asked = sseOfWrite(headers, customerKeysAllowed(x))
  const { requireSse } = x.policy
  if (requireSse.length > 0 && !requireSse.some((mode) => mode === asked.mode)) {
    throw new S3Error('AccessDenied', { message: `Uploads to this bucket must ask for server-side encryption: ${requireSse.join(' or ')}.` })
  }
  if (asked.mode !== 'none' && asked.mode !== 'SSE-C') return asked
  const byDefault = await bucketDefault(x, bucketOf(x))
  if (byDefault === null) return asked
  if (asked.mode === 'SSE-C') {
    if (!byDefault.customerKeysBlocked) return asked
    throw new S3Error('AccessDenied', { message: 'Server-side encryption with customer-provided keys is blocked for this bucket.' })
  }
  if (byDefault.algorithm === 'AES256') return { mode: 'AES256' }
  return { mode: 'aws:kms', keyId: byDefault.kmsKeyId, context: {}, bucketKeyEnabled: byDefault.bucketKeyEnabled ? true : null }
}
