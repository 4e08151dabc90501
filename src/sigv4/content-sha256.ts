import { S3Error } from '../errors.ts'

/** What `x-amz-content-sha256` says of the body (AWS, "Signature calculations for the Authorization header"). */
export type ContentSha256 =
  | { readonly kind: 'hash'; readonly text: string }
  | { readonly kind: 'unsigned'; readonly text: string }
  | { readonly kind: 'streaming'; readonly text: string; readonly signed: boolean; readonly trailer: boolean }

const words: Readonly<Record<string, ContentSha256>> = {
  'UNSIGNED-PAYLOAD': { kind: 'unsigned', text: 'UNSIGNED-PAYLOAD' },
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER': { kind: 'streaming', text: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', signed: false, trailer: true },
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD': { kind: 'streaming', text: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', signed: true, trailer: false },
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER': {
    kind: 'streaming', text: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', signed: true, trailer: true
  }
}
const legal = [
  'UNSIGNED-PAYLOAD', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER'
]

/**
 * @throws S3Error InvalidArgument when the text is no legal word and not 64 lower-case hex digits; NotImplemented for
 * the chunk signatures of SigV4A.
 */
export function parseContentSha256(text: string): ContentSha256 {
  if (/^[0-9a-f]{64}$/.test(text)) return { kind: 'hash', text }
  const word = Object.hasOwn(words, text) ? words[text] : undefined
  if (word !== undefined) return word
  if (legal.includes(text)) {
    throw new S3Error('NotImplemented', { message: 'Signature Version 4A is not supported. Please use AWS4-HMAC-SHA256.' })
  }
  throw new S3Error('InvalidArgument', {
    message: `x-amz-content-sha256 must be ${legal.join(', ')} or a valid sha256 value.`,
    fields: { ArgumentName: 'x-amz-content-sha256', ArgumentValue: text.slice(0, 128) }
  })
}
