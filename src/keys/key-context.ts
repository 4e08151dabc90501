import type { KeyContext } from './types.ts'

/**
 * What a wrap is bound to, as names and values: `aws:s3:arn` as S3 itself gives it to KMS (of the bucket with bucket keys, of
 * the object without; AWS S3 user guide, "Using server-side encryption with AWS KMS keys"), the realm, and what the client asked for.
 */
export function encryptionContext(context: KeyContext): Record<string, string> {
  const arn = `arn:aws:s3:::${context.bucket}${context.objectKey === null ? '' : `/${context.objectKey}`}`
  return { ...context.requestContext, 'aws:s3:arn': arn, 'sealgate:realm': context.realm }
}

/** Names that only the gateway (or AWS) may put into an encryption context: a client must not choose what it is bound to. */
export function isReservedContextName(name: string): boolean {
  return /^(aws|sealgate):/i.test(name)
}
