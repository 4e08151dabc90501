import { attemptEtag } from '../envelope/upload-records.ts'

// STORED DATA: names of objects in the state bucket (docs/MULTIPART-STATE.md).

/** Prefix of everything about uploads. */
export const UPLOADS_PREFIX = 'uploads/'

/** Prefix of notes of uploads that commands have begun. */
export const COMMAND_UPLOADS_PREFIX = 'command-uploads/'

/** Prefix of everything about one upload. @param hash 32 bytes, from uploadHash. */
export function uploadPrefix(hash: Buffer): string {
  return `${UPLOADS_PREFIX}${hash.toString('hex')}/`
}

export function uploadRecordName(hash: Buffer): string {
  return `${uploadPrefix(hash)}upload`
}

export function partRecordsPrefix(hash: Buffer): string {
  return `${uploadPrefix(hash)}parts/`
}

/** Stores that keep objects as files (MinIO, versitygw) accept at most 255 bytes between two slashes. */
const MAX_SEGMENT = 255

/**
 * @param sealed from sealPartRecord; cut by slashes where it is longer than a store may take in one piece.
 * @param time milliseconds since 1970 by the clock of this instance: stores list times in whole seconds, and a part may be sent
 * twice in one. Used only to see which attempt is newer.
 */
export function partRecordName(hash: Buffer, number: number, time: number, sealed: string): string {
  return `${partRecordsPrefix(hash)}${String(number).padStart(5, '0')}/${time.toString(16).padStart(12, '0')}/${cut(sealed)}`
}

function cut(sealed: string): string {
  const pieces = Math.ceil(sealed.length / MAX_SEGMENT)
  return Array.from({ length: pieces }, (_, i) => sealed.slice(i * MAX_SEGMENT, (i + 1) * MAX_SEGMENT)).join('/')
}

/** The variable parts of a name made by partRecordName. A time that does not parse is NaN. */
export function parsePartRecordName(name: string): { readonly time: number; readonly sealed: string } {
  const [, , , , time = '', ...pieces] = name.split('/')
  return { time: Number.parseInt(time, 16), sealed: pieces.join('') }
}

/** Sorts behind every record of this part number and before those of the next. */
export function afterPartRecords(hash: Buffer, number: number): string {
  return `${partRecordsPrefix(hash)}${String(number).padStart(5, '0')}/~`
}

/** Name of the stored size of equal parts, for stores that demand them. */
export function equalSizeName(hash: Buffer): string {
  return `${uploadPrefix(hash)}equal`
}

/** Name of a part that is kept until Complete. @param header of its stream, 40 bytes. */
export function waitingPartName(hash: Buffer, header: Buffer): string {
  return `${uploadPrefix(hash)}small/${attemptEtag(header)}`
}
