import { createHash } from 'node:crypto'
import type { BodyKind } from './envelope.ts'
import type { DataKey } from './data-key.ts'
import {
  checkSize,
  checksumCode,
  checksumCodes,
  checksumCount,
  MD5_SIZE,
  parseChecksumCode,
  readChecksums,
  writeChecksums,
  type Checksum,
  type ChecksumName
} from './attributes.ts'
import { ByteReader, ByteWriter, EnvelopeError, checkZeros, zeros } from './encoding.ts'
import {
  HEADER_SIZE,
  MAX_PART_PLAINTEXT,
  MAX_PARTS,
  partOffsets,
  plaintextSize,
  storedSize,
  STORED_GEOMETRY,
  streamPlaintextSize,
  streamSize,
  type Geometry,
  type PartOffsets
} from './sizes.ts'
import { SegmentOpener, SegmentSealer } from './stream.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Manifest and footer).
const kindCodes = { single: 1, multipart: 2 } as const
const MAGIC = Buffer.from('sealgate', 'ascii')
const FOOTER_SIZE = 12
/** 10,000 parts with MD5 and SHA-512, and two such checksums of the object. */
export const MAX_MANIFEST_STREAM = 1_310_562
const HASH_SIZE = 32

/** One part of a multipart object. */
export interface ManifestPart {
  /** 1 to 10,000. */
  readonly number: number
  /** Bytes. */
  readonly plaintextSize: number
  /** 40-byte header of its stream. */
  readonly header: Buffer
  /** MD5 of its plaintext. */
  readonly md5: Buffer | null
  /** Checksum of its plaintext, in the manifest's `partChecksum`. */
  readonly checksum: Buffer | null
}

/** The contents of the manifest of a single: the digests that arrived after the metadata. */
export interface SingleContents {
  readonly kind: 'single'
  /** Bytes. */
  readonly plaintextSize: number
  readonly md5: Buffer | null
  readonly checksums: readonly Checksum[]
}

/** The contents of the manifest of a multipart object. */
export interface MultipartContents {
  readonly kind: 'multipart'
  readonly checksums: readonly Checksum[]
  readonly partChecksum: ChecksumName | null
  /** 32 bytes, from uploadHash. */
  readonly uploadHash: Buffer
  /** 32 bytes, from completedListHash. */
  readonly listHash: Buffer
  /** In ascending order of their numbers; at least one, all but the last of 5 MiB or more. */
  readonly parts: readonly ManifestPart[]
}

/** Where an opened manifest was found. */
interface Extent {
  /** Bytes of the whole object. */
  readonly plaintextSize: number
  /** Stored offset of the manifest's stream: where the last zeros end. */
  readonly manifestStart: number
}

/** An opened manifest: all of it authenticated, and its sizes agree with the stored size. */
interface Manifests {
  readonly single: SingleContents & Extent
  readonly multipart: MultipartContents & Extent & {
    /** MD5 of the parts' MD5s, as S3 shows it; null unless every part has one. */
    readonly md5: Buffer | null
    /** Of the parts: computed once, because each range of the object is found by them. */
    readonly offsets: PartOffsets
  }
}
export type ManifestOf<K extends BodyKind> = Manifests[K]
export type Manifest = ManifestOf<BodyKind>

/** The suffix was too short: read at least this many bytes from the end. */
export interface SuffixTooShort {
  readonly need: number
}

/**
 * Zeros, manifest and footer: the bytes after the stored parts that complete the size of the size law. Each call of what is returned seals them anew,
 * to another ciphertext.
 * @throws EnvelopeError `length` for part sizes that S3 would not accept; RangeError for fields that have no encoding.
 */
export function tailSealer(
  dataKey: DataKey,
  contents: SingleContents | MultipartContents,
  geometry: Geometry = STORED_GEOMETRY
): () => Buffer[] {
  const plaintext = encodeManifest(contents)
  const footer = Buffer.alloc(FOOTER_SIZE)
  MAGIC.copy(footer)
  footer.writeUInt32BE(streamSize(plaintext.length), MAGIC.length)
  const part = { kind: 'manifest', number: 0, plaintextSize: plaintext.length } as const
  const { total, before } = extent(contents, geometry)
  const padding = zeros(total - before - streamSize(plaintext.length) - FOOTER_SIZE)
  return () => {
    const sealer = new SegmentSealer({ streamKey: dataKey.stream, part, associatedSuffix: footer })
    return [...padding, ...sealer.update(plaintext), ...sealer.final(), footer]
  }
}

/** As `tailSealer`, once. */
export function sealTail(dataKey: DataKey, contents: SingleContents | MultipartContents, geometry: Geometry = STORED_GEOMETRY): Buffer[] {
  return tailSealer(dataKey, contents, geometry)()
}

/** Stored size of the object and of everything before the tail. */
function extent(contents: SingleContents | MultipartContents, geometry: Geometry): { total: number; before: number } {
  if (contents.kind === 'single') {
    return {
      total: storedSize(contents.plaintextSize, geometry.segmentSize),
      before: streamSize(contents.plaintextSize, geometry.segmentSize)
    }
  }
  const offsets = partOffsets(contents.parts.map((part) => part.plaintextSize), geometry)
  return { total: storedSize(offsets.plaintextEnd, geometry.segmentSize), before: offsets.storedEnd }
}

/**
 * Opens manifest and footer from the last bytes of a body, and checks the zeros among them. No size from
 * the footer is used before it is bounded.
 * @param suffix the last bytes of the body; 65,536 have the whole tail of a single and the manifest of some 490 parts or more.
 * @param storedSize whole stored size of the body in bytes.
 * @param kind of the envelope.
 * @throws EnvelopeError `length` (stored size outside of the size law, or not that of the parts), `footer`, `manifest`, `zeros`.
 */
export function openTail<K extends BodyKind>(
  suffix: Buffer,
  storedSize: number,
  dataKey: DataKey,
  kind: K,
  geometry: Geometry = STORED_GEOMETRY
): ManifestOf<K> | SuffixTooShort {
  const total = plaintextSize(storedSize, geometry.segmentSize)
  if (total === null || suffix.length > storedSize) throw new EnvelopeError('length')
  if (suffix.length < FOOTER_SIZE) return { need: FOOTER_SIZE }
  const footer = suffix.subarray(-FOOTER_SIZE)
  const size = footer.readUInt32BE(MAGIC.length)
  const manifestStart = storedSize - FOOTER_SIZE - size
  if (!footer.subarray(0, MAGIC.length).equals(MAGIC) || size > MAX_MANIFEST_STREAM || manifestStart < 0) throw new EnvelopeError('footer')
  if (suffix.length < size + FOOTER_SIZE) return { need: size + FOOTER_SIZE }
  const start = suffix.length - FOOTER_SIZE - size
  const source = openManifest(suffix.subarray(start, start + size), footer, dataKey)
  const manifest = parseManifest(source, kind, { plaintextSize: total, manifestStart, geometry })
  const dataEnd = endOfData(manifest, geometry)
  if (dataEnd > manifestStart) throw new EnvelopeError('manifest')
  checkZeros(suffix.subarray(Math.max(0, dataEnd - (storedSize - suffix.length)), start))
  return manifest
}

function openManifest(stored: Buffer, footer: Buffer, dataKey: DataKey): Buffer {
  const size = streamPlaintextSize(stored.length)
  if (size === null) throw new EnvelopeError('footer')
  try {
    const part = { kind: 'manifest', number: 0, plaintextSize: size } as const
    const header = stored.subarray(0, HEADER_SIZE)
    const opener = new SegmentOpener({ streamKey: dataKey.stream, part, header, associatedSuffix: footer })
    return Buffer.concat([...opener.update(stored), ...opener.final()])
  } catch (error) {
    throw error instanceof EnvelopeError ? new EnvelopeError('manifest') : error
  }
}

/** Stored offset at which the last stream ends. */
function endOfData(manifest: Manifest, { segmentSize }: Geometry): number {
  if (manifest.kind === 'single') return streamSize(manifest.plaintextSize, segmentSize)
  return (manifest.offsets.stored.at(-1) ?? 0) + streamSize(manifest.parts.at(-1)?.plaintextSize ?? 0, segmentSize)
}

/** @throws EnvelopeError `manifest`, `length` for part sizes that cannot be. */
function offsetsOf(parts: readonly ManifestPart[], { plaintextSize, geometry }: Found): PartOffsets {
  const sizes = parts.map((part) => part.plaintextSize)
  if (sizes.slice(0, -1).some((size) => size < geometry.minPartSize)) throw new EnvelopeError('manifest')
  const offsets = partOffsets(sizes, geometry)
  if (offsets.plaintextEnd !== plaintextSize) throw new EnvelopeError('length')
  return offsets
}

function encodeManifest(contents: SingleContents | MultipartContents): Buffer {
  const md5 = contents.kind === 'single' ? contents.md5 : null
  const partChecksum = contents.kind === 'single' ? null : contents.partChecksum
  const writer = new ByteWriter()
    .u8(kindCodes[contents.kind])
    .u8(Number(md5 !== null))
    .u8(checksumCode(partChecksum))
    .u8(contents.checksums.length)
  if (md5 !== null) writer.bytes(checkSize(md5, MD5_SIZE))
  writeChecksums(writer, contents.checksums)
  if (contents.kind === 'multipart') {
    writer.bytes(checkSize(contents.uploadHash, HASH_SIZE)).bytes(checkSize(contents.listHash, HASH_SIZE)).u16(contents.parts.length)
    let previous = 0
    for (const part of contents.parts) {
      if (part.number <= previous || part.number > MAX_PARTS) throw new RangeError('Part numbers must ascend, from 1 to 10,000.')
      previous = part.number
      writePart(writer, part, partChecksum)
    }
  }
  return writer.end()
}

function writePart(writer: ByteWriter, part: ManifestPart, partChecksum: ChecksumName | null): void {
  writer
    .u16(part.number)
    .u8(Number(part.md5 !== null) + 2 * Number(part.checksum !== null))
    .u64(part.plaintextSize)
    .bytes(checkSize(part.header, HEADER_SIZE))
  if (part.md5 !== null) writer.bytes(checkSize(part.md5, MD5_SIZE))
  if (part.checksum !== null) writer.bytes(checkSize(part.checksum, partChecksum === null ? 0 : checksumCodes[partChecksum].bytes))
}

interface Found extends Extent {
  readonly geometry: Geometry
}

/** @throws EnvelopeError `manifest`, `length`. */
function parseManifest<K extends BodyKind>(source: Buffer, kind: K, found: Found): ManifestOf<K> {
  const reader = new ByteReader(source, 'manifest')
  if (reader.u8() !== kindCodes[kind]) throw new EnvelopeError('manifest')
  return parsers[kind](reader, found)
}

const parsers: { readonly [K in BodyKind]: (reader: ByteReader, found: Found) => ManifestOf<K> } = {
  single: (reader, { plaintextSize, manifestStart }) => {
    const [hasMd5] = reader.flags(1)
    if (parseChecksumCode(reader.u8(), 'manifest') !== null) throw new EnvelopeError('manifest')
    const count = checksumCount(reader, 'manifest')
    const md5 = hasMd5 === true ? reader.bytes(MD5_SIZE) : null
    const checksums = readChecksums(reader, count, 'manifest')
    reader.end()
    return { kind: 'single', md5, checksums, plaintextSize, manifestStart }
  },
  multipart: (reader, found) => {
    reader.flags(0)
    const partChecksum = parseChecksumCode(reader.u8(), 'manifest')
    const checksums = readChecksums(reader, checksumCount(reader, 'manifest'), 'manifest')
    const uploadHash = reader.bytes(HASH_SIZE)
    const listHash = reader.bytes(HASH_SIZE)
    const parts = parseParts(reader, partChecksum)
    reader.end()
    const { plaintextSize, manifestStart } = found
    const offsets = offsetsOf(parts, found)
    return { kind: 'multipart', md5: md5OfMd5s(parts), checksums, partChecksum, uploadHash, listHash, parts, plaintextSize, manifestStart, offsets }
  }
}

function parseParts(reader: ByteReader, partChecksum: ChecksumName | null): ManifestPart[] {
  const count = reader.u16()
  if (count < 1 || count > MAX_PARTS) throw new EnvelopeError('manifest')
  let previous = 0
  return Array.from({ length: count }, () => {
    const number = reader.u16()
    if (number <= previous || number > MAX_PARTS) throw new EnvelopeError('manifest')
    previous = number
    const [hasMd5, hasChecksum] = reader.flags(2)
    if (hasChecksum === true && partChecksum === null) throw new EnvelopeError('manifest')
    return {
      number,
      plaintextSize: reader.u64(MAX_PART_PLAINTEXT),
      header: reader.bytes(HEADER_SIZE),
      md5: hasMd5 === true ? reader.bytes(MD5_SIZE) : null,
      checksum: hasChecksum === true && partChecksum !== null ? reader.bytes(checksumCodes[partChecksum].bytes) : null
    }
  })
}

/** The ETag of S3's multipart objects without its `-N`; null unless every part has an MD5. */
export function md5OfMd5s(parts: readonly Pick<ManifestPart, 'md5'>[]): Buffer | null {
  const hash = createHash('md5')
  for (const { md5 } of parts) {
    if (md5 === null) return null
    hash.update(md5)
  }
  return hash.digest()
}
