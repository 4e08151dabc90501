import { createHash, createSecretKey, randomBytes, randomInt } from 'node:crypto'
import type { Attributes, Place } from '../../src/envelope/envelope.ts'
import { EnvelopeError, type EnvelopeErrorKind } from '../../src/envelope/encoding.ts'
import { sealTail, type ManifestPart, type MultipartContents } from '../../src/envelope/manifest.ts'
import { DataKey } from '../../src/envelope/data-key.ts'
import { PartSealer } from '../../src/envelope/body.ts'
import type { Geometry } from '../../src/envelope/sizes.ts'

/** Small enough that every bit of every segment can be flipped; the size law holds. */
export const SMALL: Geometry = { segmentSize: 160, minPartSize: 18_000 }
export const PAYLOAD = SMALL.segmentSize - 16

export const place: Place = { realm: 'main', bucket: 'photos', objectKey: 'a/β.jpg' }
export const kek = () => createSecretKey(randomBytes(32))

export const attributes = (change: Partial<Attributes> = {}): Attributes => ({
  md5: null,
  checksums: [],
  digestsInManifest: false,
  sse: { mode: 'none', bucketKeyEnabled: false },
  metadata: { kind: 'clear', digest: Buffer.alloc(16, 1) },
  isPublic: false,
  ...change
})

interface Stage {
  update(chunk: Buffer): readonly Buffer[]
  final(): readonly Buffer[]
}

export interface Outcome {
  /** All that came out before the end or the failure. */
  readonly released: Buffer
  readonly failure: EnvelopeErrorKind | null
}

/** Feeds a stage. Anything but an EnvelopeError is a fault of the code and passes through. */
export function run(stage: () => Stage, input: Buffer, sizes: (left: number) => number = (left) => left): Outcome {
  const released: Buffer[] = []
  try {
    const machine = stage()
    for (let offset = 0; offset < input.length;) {
      const size = sizes(input.length - offset)
      released.push(...machine.update(Buffer.from(input.subarray(offset, offset + size))))
      offset += size
    }
    released.push(...machine.final())
    return { released: Buffer.concat(released), failure: null }
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error
    return { released: Buffer.concat(released), failure: error.kind }
  }
}

export const splits = {
  whole: (left: number) => left,
  bytes: () => 1,
  random: (left: number) => Math.min(left, randomInt(1, 300))
}

/** The kind of the EnvelopeError that `step` throws, or what it gave. */
export function kindOf(step: () => unknown): unknown {
  try {
    return step()
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error
    return error.kind
  }
}

export function flip(source: Buffer, bit: number): Buffer {
  const copy = Buffer.from(source)
  copy[bit >> 3]! ^= 1 << (bit & 7)
  return copy
}

/** Every single-bit flip, every truncation, and some extensions, each with its name. */
export function* faults(source: Buffer): Generator<[name: string, faulty: Buffer]> {
  for (let bit = 0; bit < source.length * 8; bit += 1) yield [`bit ${bit} flipped`, flip(source, bit)]
  for (let size = 0; size < source.length; size += 1) yield [`cut to ${size}`, source.subarray(0, size)]
  for (const size of [1, 12, 16, 40, 160]) {
    yield [`${size} zeros more`, Buffer.concat([source, Buffer.alloc(size)])]
    yield [`${size} bytes more`, Buffer.concat([source, randomBytes(size)])]
  }
}

export interface SmallMultipart {
  readonly dataKey: DataKey
  readonly plaintext: Buffer
  readonly body: Buffer
  readonly parts: readonly ManifestPart[]
}

/** A multipart object of small segments, its parts numbered 1, 3, 5, …. */
export function smallMultipart(sizes: readonly number[]): SmallMultipart {
  const dataKey = DataKey.random()
  const plaintext = randomBytes(sizes.reduce((sum, size) => sum + size, 0))
  const stored: Buffer[] = []
  let offset = 0
  const parts = sizes.map((size, i) => {
    const number = 2 * i + 1
    const sealer = new PartSealer({ dataKey, number, plaintextSize: size, geometry: SMALL })
    const content = plaintext.subarray(offset, offset += size)
    stored.push(...sealer.update(content), ...sealer.final())
    return { number, plaintextSize: size, header: sealer.header, md5: createHash('md5').update(content).digest(), checksum: null }
  })
  const body = Buffer.concat([...stored, ...sealTail(dataKey, multipart(parts), SMALL)])
  return { dataKey, plaintext, body, parts }
}

export function multipart(parts: readonly ManifestPart[], change: Partial<MultipartContents> = {}): MultipartContents {
  return {
    kind: 'multipart',
    checksums: [],
    partChecksum: null,
    uploadHash: Buffer.alloc(32, 3),
    listHash: Buffer.alloc(32, 4),
    parts,
    ...change
  }
}
