// What is wrong with an object: a closed set of words for reports, from what the envelope code says. No fault has a digest or a byte of plaintext.
import { S3ecError, s3ecFaults } from '../s3ec/fault.ts'
import { EnvelopeError, type EnvelopeErrorKind } from '../envelope/encoding.ts'

/** Every fault that a report may name, with what it means and what can have caused it. */
export const faults = {
  'envelope-incomplete': 'one of its two metadata entries is missing',
  'envelope-altered': 'its envelope does not parse: cut, altered, or of a version of the format that this program does not know',
  'other-bucket': 'it was sealed for another bucket',
  'other-name': 'its envelope does not open for this name: the object was moved or swapped, or its envelope was altered',
  'wrapped-key': 'its wrapped key does not open here: sealed in another realm or with another keyring, or its key id or envelope was altered',
  'key-unknown': 'it names a key that this configuration does not have: sealed elsewhere, or its key id was altered',
  'key-not-here': 'it is sealed with a key of this configuration that may not open objects of its bucket or prefix, or its key id was altered',
  'key-unavailable': 'its key could not be used, so nothing is known of the object',
  'key-version-missing': 'its key is in this configuration without the version that sealed it: an older copy of the keyring is in use, or another of its name',
  'key-commitment': 'its data key is not the one that the envelope commits to',
  'metadata-altered': 'its content type or user metadata are not what was written',
  'truncated': 'its body is shorter than what was written',
  'extended': 'its body is longer than what was written',
  'size-altered': 'no object that was sealed has its size: bytes or parts are missing or too many',
  'parts-altered': 'its parts are not those that were completed: one was dropped, added, or put elsewhere',
  'stream-swapped': 'its body or a part of it begins as another does: swapped, put elsewhere, or its first bytes altered',
  'bytes-altered': 'an authentication tag is wrong: bytes of the body were altered, or put elsewhere',
  'padding-altered': 'its padding is not zero: bytes were altered, or put elsewhere',
  'end-altered': 'the end of its body is not what was written: cut off, or altered',
  'manifest-altered': 'the manifest at the end of its body does not open: altered, or the body is that of another object',
  'checksum-differs': 'its bytes verify, and do not have the checksum that was stored with it',
  'broken-off': 'its body broke off again and again, and no byte of it was found to be wrong',
  'not-sealed': 'Sealgate did not encrypt it, and clients are refused it: it was written past the gateway, or both its metadata entries were taken away',
  ...s3ecFaults
} as const
export type Fault = keyof typeof faults

/** The fault that a failure of the envelope code stands for. */
const byKind: Readonly<Record<EnvelopeErrorKind, Fault>> = {
  format: 'envelope-altered',
  place: 'other-bucket',
  box: 'other-name',
  commitment: 'key-commitment',
  // The size of the whole is checked before any part is read: what is left are the sizes in the list of parts.
  length: 'parts-altered',
  header: 'stream-swapped',
  segment: 'bytes-altered',
  truncated: 'truncated',
  trailing: 'extended',
  zeros: 'padding-altered',
  footer: 'end-altered',
  manifest: 'manifest-altered',
  record: 'envelope-altered',
  metadata: 'metadata-altered',
  key: 'wrapped-key'
}

export function faultOf(kind: EnvelopeErrorKind): Fault {
  return byKind[kind]
}

/** The fault that caused an error; null: none that the envelope code has found. */
export function faultBehind(error: unknown): Fault | null {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof EnvelopeError) return faultOf(e.kind)
    if (e instanceof S3ecError) return e.kind
  }
  return null
}
