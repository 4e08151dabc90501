/**
 * Why an object of the S3 Encryption Client is not opened. For the operator: clients get one error for all of them, because each alone would answer
 * questions about a key (padding oracles).
 */
export const s3ecFaults = {
  's3ec-collision': 'entries that exclude each other: of two versions of the format, or twice the same',
  's3ec-format': 'an entry is missing or malformed',
  's3ec-algorithm': 'an algorithm that the format does not have, or not together with the others',
  's3ec-instructions': 'its instruction file is missing, or is none',
  's3ec-key': 'no key of the bucket has its material description',
  's3ec-wrap': 'its data key does not open with the key of its material description',
  's3ec-commitment': 'its data key is not the one that it commits to',
  's3ec-tag': 'its bytes are not those that were written',
  's3ec-padding': 'its last block is not padded as CBC needs it, or its length is not the one noted',
  's3ec-length': 'it has a size that no such object has, or not the one noted'
} as const

export type S3ecFault = keyof typeof s3ecFaults

/** An object that must not be used. The message is the same for every fault, so that it may be shown to anyone. */
export class S3ecError extends Error {
  readonly kind: S3ecFault

  constructor(fault: S3ecFault) {
    super('The object of the S3 Encryption Client could not be verified.')
    this.name = 'S3ecError'
    this.kind = fault
  }
}
