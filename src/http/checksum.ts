/**
 * The flexible checksums of S3 (AWS, "Checking object integrity"): names as in `x-amz-checksum-<name>`, digest sizes in
 * bytes, and which multipart types each allows. The wire value is base64 of the big-endian digest.
 */
export const checksumAlgorithms = {
  crc32: { bytes: 4, composite: true, fullObject: true },
  crc32c: { bytes: 4, composite: true, fullObject: true },
  crc64nvme: { bytes: 8, composite: false, fullObject: true },
  sha1: { bytes: 20, composite: true, fullObject: false },
  sha256: { bytes: 32, composite: true, fullObject: false }
} as const

export type ChecksumAlgorithm = keyof typeof checksumAlgorithms
