import type { Checksum } from '../../envelope/envelope.ts'
import type { Execution } from '../context.ts'
import { renderXml, type XmlNode } from '../../s3/xml.ts'
import { bucketOf, keyOf } from '../context.ts'

type Header = readonly [name: string, value: string]

/** What a Complete answers, once it is known. */
export interface Completed {
  readonly headers: readonly Header[]
  readonly document: Buffer
}

export interface CompletedFacts {
  /** With quotes, as clients see it. */
  readonly etag: string
  readonly checksums: readonly Checksum[]
  readonly parts: number
  readonly headers: readonly Header[]
}

/** The answer of CompleteMultipartUpload: the same however often the request is repeated. */
export function completedAnswer(x: Execution, { etag, checksums, parts, headers }: CompletedFacts): Completed {
  const fields: XmlNode[] = [['Location', locationOf(x)], ['Bucket', bucketOf(x)], ['Key', keyOf(x)], ['ETag', etag]]
  for (const { algorithm, type, value } of checksums) {
    fields.push(
      [`Checksum${algorithm.toUpperCase()}`, `${value.toString('base64')}${type === 'composite' ? `-${parts}` : ''}`],
      ['ChecksumType', type === 'composite' ? 'COMPOSITE' : 'FULL_OBJECT']
    )
  }
  return { headers, document: renderXml(['CompleteMultipartUploadResult', fields]) }
}

/** Where the client will find the object: here, and not at the store. */
export function locationOf(x: Execution): string {
  const { secure, host, target } = x.request.request
  return `${secure ? 'https' : 'http'}://${host}${target.rawPath}`
}
