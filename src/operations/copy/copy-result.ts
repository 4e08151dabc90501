import type { Checksum } from '../../envelope/envelope.ts'
import { renderXml, type XmlNode } from '../../s3/xml.ts'

/** The CopyObjectResult of a copy. @param etag with quotes. */
export function copyResult(etag: string, lastModified: string | null, checksums: readonly Checksum[]): Buffer {
  const fields: XmlNode[] = [['ETag', etag], ['LastModified', lastModified ?? new Date().toISOString()]]
  for (const { algorithm, type, value } of checksums) {
    if (type === 'full') fields.push([`Checksum${algorithm.toUpperCase()}`, value.toString('base64')], ['ChecksumType', 'FULL_OBJECT'])
  }
  return renderXml(['CopyObjectResult', fields])
}

