import { createHash } from 'node:crypto'

/** `content-md5` of a document that goes to the store: S3 demands a digest of some, and older stores only know this one. */
export function contentMd5(document: Buffer): readonly [name: string, value: string] {
  return ['content-md5', createHash('md5').update(document).digest('base64')]
}
