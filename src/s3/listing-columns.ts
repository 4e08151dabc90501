import { begins, NONE } from './xml-bytes.ts'

/** Columns of the table of entries; each is a pair of offsets: the inner text of an element, where nothing else is said. */
export const column = {
  /** The whole element. */
  entry: 0,
  key: 2,
  etag: 4,
  /** Without its quotes. */
  etagBare: 6,
  /** The whole element. */
  etagElement: 8,
  size: 10,
  versionId: 12,
  uploadId: 14,
  partNumber: 16,
  lastModified: 18,
  storageClass: 20,
  latest: 22,
  /** Of the list of checksums, in place of the bytes. */
  checksums: 24
} as const
/** Numbers of one entry in the table. */
export const WIDTH = 26

/**
 * By the length of the name, which tells most of them apart.
 * @returns NONE for an element that is only copied; `column.entry` for one that is never plain
 */
export function columnOf(bytes: Buffer, start: number, end: number): number {
  switch (end - start) {
    case 3:
      return begins(bytes, start, 'Key') ? column.key : NONE
    case 4:
      return begins(bytes, start, 'Size') ? column.size : begins(bytes, start, 'ETag') ? column.etag : NONE
    case 8:
      return begins(bytes, start, 'IsLatest') ? column.latest : begins(bytes, start, 'UploadId') ? column.uploadId : NONE
    case 9:
      return begins(bytes, start, 'VersionId') ? column.versionId : NONE
    case 10:
      return begins(bytes, start, 'PartNumber') ? column.partNumber : NONE
    case 12:
      if (begins(bytes, start, 'LastModified')) return column.lastModified
      if (begins(bytes, start, 'StorageClass')) return column.storageClass
      // Rows with metadata are rewritten in more places.
      return begins(bytes, start, 'UserMetadata') ? column.entry : NONE
    default:
      return NONE
  }
}
