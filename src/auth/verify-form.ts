import { S3Error } from '../errors.ts'
import { headerValue } from './effective-headers.ts'

/** A browser form upload whose fields have been read, up to the first byte of the file. */
export interface FormUpload {
  /** Lower-case names, each once, decoded as UTF-8, as they were sent. Without `file`. */
  readonly fields: ReadonlyMap<string, string>
  /** The same with `${filename}` replaced, to be asked for once the signature has verified. @throws S3Error MaxMessageLengthExceeded */
  readonly expanded: () => ReadonlyMap<string, string>
  /** The bucket of the URL. */
  readonly bucket: string
}

const headerFields = new Set([
  'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'content-md5', 'content-type', 'expires'
])
const signatureFields = new Set(['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-security-token', 'x-amz-signature'])

/**
 * The fields of a form that are headers of the upload; `acl` stands for `x-amz-acl`.
 * @throws S3Error InvalidArgument for values no header can carry and for an ACL given twice.
 */
export function formHeaders(fields: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (const [field, text] of fields) {
    const name = field === 'acl' ? 'x-amz-acl' : field
    if (!headerFields.has(name) && (!name.startsWith('x-amz-') || signatureFields.has(name))) continue
    const value = headerValue(text)
    if (value === null || headers.has(name) || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
      throw new S3Error('InvalidArgument', { message: 'A form field cannot be used as a header.', fields: { ArgumentName: field.slice(0, 128) } })
    }
    headers.set(name, value)
  }
  return headers
}
