// A writer of docs/FORMAT.md for the test vectors, made from the text and not from src: what it writes holds readers and writers of
// the project to the text. It writes what a good writer never would, and draws nothing at random: every byte comes from a label.
import { createCipheriv, createHash, createHmac, hkdfSync } from 'node:crypto'

export const SEGMENT = 65_536
export const MIB5 = 5 * 1024 * 1024
const HEADER = 40
const TAG = 16
const ZERO_NONCE = Buffer.alloc(12)

/** `size` bytes of SHAKE256 over the label: the same in every run, and of no use as secrets. */
export function derive(label: string, size: number): Buffer {
  return createHash('shake256', { outputLength: size }).update(`sealgate test vectors 1: ${label}`).digest()
}

export const sha256 = (...data: readonly Buffer[]): Buffer => data.reduce((hash, bytes) => hash.update(bytes), createHash('sha256')).digest()

export function integer(size: number, value: number | bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * size, '0'), 'hex')
}
export const u8 = (...values: readonly number[]): Buffer => Buffer.from(values)
export const u16 = (value: number): Buffer => integer(2, value)
export const u64 = (value: number | bigint): Buffer => integer(8, value)
const bytesOf = (value: string | Buffer): Buffer => typeof value === 'string' ? Buffer.from(value) : value
/** With its length in front, in 1 or 2 bytes. */
export const sized = (size: 1 | 2, value: string | Buffer): Buffer => Buffer.concat([integer(size, bytesOf(value).length), bytesOf(value)])
/** Of equal arguments. */
export const fields = (...values: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(values.flatMap((value) => [integer(4, bytesOf(value).length), bytesOf(value)]))

export function hkdf(key: Buffer, salt: Buffer | string, info: Buffer | string, size = 32): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, info, size))
}

function gcm(key: Buffer, nonce: Buffer, plaintext: Buffer, aad: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG })
  cipher.setAAD(aad)
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

export function wrap(label: string, kek: Buffer, plaintext: Buffer, aad: Buffer): Buffer {
  const salt = derive(`${label}: salt of the wrap`, 32)
  return Buffer.concat([salt, gcm(hkdf(kek, salt, 'sealgate/v1/wrap'), ZERO_NONCE, plaintext, aad)])
}

const FIXED_SALT = 'sealgate/v1/object-key-hkdf-salt'
export const streamKeyOf = (dataKey: Buffer): Buffer => hkdf(dataKey, FIXED_SALT, 'sealgate/v1/stream')
export const partRecordKeyOf = (dataKey: Buffer): Buffer => hkdf(dataKey, FIXED_SALT, 'sealgate/v1/part-record')
export const commitmentOf = (dataKey: Buffer): Buffer => hkdf(dataKey, FIXED_SALT, 'sealgate/v1/commitment')

/** What an SSE-C key gives: `HKDF-Extract` and two times `HKDF-Expand`, said as HMAC. */
export function customerWrap(label: string, customerKey: Buffer): { readonly kek: Buffer; readonly blob: Buffer } {
  const salt = derive(`${label}: salt of the SSE-C key`, 32)
  const prk = createHmac('sha256', salt).update(customerKey).digest()
  const expand = (info: string): Buffer => createHmac('sha256', prk).update(info).update(u8(1)).digest()
  return { kek: expand('sealgate/v1/ssec-wrap'), blob: Buffer.concat([salt, expand('sealgate/v1/ssec-check').subarray(0, 16)]) }
}

// Sizes

export const streamSize = (p: number): number => p + HEADER + TAG * Math.ceil((p + HEADER) / (SEGMENT - TAG))
export const storedSize = (p: number): number => p + 512 + 20 * Math.ceil(p / SEGMENT)
export const storedPartSize = (l: number): number => l < MIB5 ? streamSize(l) : l + 20 * Math.floor(l / SEGMENT) - 160

// Bodies

/** Bytes, or a number of zeros: bodies of gigabytes are a few of these. */
export type Piece = Buffer | number
export type Body = readonly Piece[]

export const sizeOf = (body: Body): number => body.reduce<number>((sum, piece) => sum + (typeof piece === 'number' ? piece : piece.length), 0)

/** As it stands in a vector: bytes in hex, numbers for zeros; neighbours of a kind are one. */
export function encodeBody(body: Body): (string | number)[] {
  const out: (string | number)[] = []
  for (const piece of body) {
    const next = typeof piece === 'number' ? piece : piece.toString('hex')
    const last = out.at(-1)
    if (next === 0 || next === '') continue
    if (typeof last === 'number' && typeof next === 'number') out[out.length - 1] = last + next
    else if (typeof last === 'string' && typeof next === 'string') out[out.length - 1] = last + next
    else out.push(next)
  }
  return out
}

/** The inverse. Bytes `from` to `to` of a body, the latter exclusive. */
export function readBody(body: readonly (string | number)[], from = 0, to = Infinity): Buffer {
  const out: Buffer[] = []
  let at = 0
  for (const piece of body) {
    const size = typeof piece === 'number' ? piece : piece.length / 2
    const [start, end] = [Math.max(from - at, 0), Math.min(to - at, size)]
    if (start < end) out.push(typeof piece === 'number' ? Buffer.alloc(end - start) : Buffer.from(piece.slice(2 * start, 2 * end), 'hex'))
    at += size
  }
  return Buffer.concat(out)
}

/** The body with one bit flipped. */
export function flip(body: Body, at: number): Body {
  const out = readBody(encodeBody(body), at, at + 1)
  return splice(body, at, at + 1, [u8(out.readUInt8() ^ 1)])
}

/** The body with other pieces in place of bytes `from` to `to`, the latter exclusive. */
export function splice(body: Body, from: number, to: number, pieces: Body): Body {
  return [...cut(body, 0, from), ...pieces, ...cut(body, to, Infinity)]
}

export function cut(body: Body, from: number, to: number): Body {
  let at = 0
  return body.map((piece): Piece => {
    const size = typeof piece === 'number' ? piece : piece.length
    const [start, end] = [Math.min(Math.max(from - at, 0), size), Math.max(Math.min(to - at, size), 0)]
    at += size
    return typeof piece === 'number' ? Math.max(end - start, 0) : piece.subarray(start, Math.max(start, end))
  })
}

// Streams

export const kinds = { single: 1, multipart: 2, empty: 3 } as const

export interface Stream {
  readonly plaintext: Buffer
  readonly header: Buffer
  readonly body: Body
}

const associated = (kind: number, number: number, length: number): Buffer => Buffer.concat([Buffer.from('sealgate'), u8(1, kind), u16(number), u64(length)])

/**
 * One stream. Without a plaintext its ciphertext is all zeros but for headers and tags, and the plaintext is what such a
 * ciphertext stands for: so a large body takes little to say, and is as good as another.
 */
export function seal(
  label: string,
  streamKey: Buffer,
  part: { kind: number; number: number; length: number },
  plaintext: Buffer | null,
  suffix = Buffer.alloc(0)
): Stream {
  const header = Buffer.concat([u8(HEADER), derive(`${label}: salt and nonce prefix of the stream`, 39)])
  const ad = Buffer.concat([associated(part.kind, part.number, part.length), suffix])
  const key = hkdf(streamKey, header.subarray(1, 33), ad)
  const opened: Buffer[] = []
  const body: Piece[] = [header]
  for (let index = 0, at = 0; index === 0 || at < part.length; index += 1) {
    const size = Math.min(part.length - at, SEGMENT - TAG - (index === 0 ? HEADER : 0))
    const last = at + size === part.length
    const nonce = Buffer.concat([header.subarray(33), integer(4, index), u8(Number(last))])
    const text = plaintext?.subarray(at, at + size) ?? gcm(key, nonce, Buffer.alloc(size), Buffer.alloc(0)).subarray(0, size)
    const sealed = gcm(key, nonce, text, Buffer.alloc(0))
    opened.push(text)
    if (plaintext === null) body.push(size, sealed.subarray(size))
    else body.push(sealed)
    at += size
  }
  return { plaintext: Buffer.concat(opened), header, body }
}

// Manifest and footer

export interface PartSpec {
  readonly number: number
  readonly length: number
  readonly header: Buffer
  /** Bytes behind the header: MD5 and checksum. */
  readonly digests?: Buffer
  readonly flags?: number
}

export const encodePart = ({ number, length, header, digests = Buffer.alloc(0), flags = 0 }: PartSpec): Buffer =>
  Buffer.concat([u16(number), u8(flags), u64(length), header, digests])

/** Manifest and footer around a manifest's plaintext. */
export function sealManifest(label: string, streamKey: Buffer, manifest: Buffer): Body {
  const footer = Buffer.concat([Buffer.from('sealgate'), integer(4, streamSize(manifest.length))])
  return [...seal(`${label}: manifest`, streamKey, { kind: 3, number: 0, length: manifest.length }, manifest, footer).body, footer]
}

/** Streams and what is behind each, zeros up to the size that `total` bytes of plaintext have, manifest, footer. */
export function assemble(streams: Body, tail: Body, total: number): Body {
  return [...streams, storedSize(total) - sizeOf(streams) - sizeOf(tail), ...tail]
}

// Envelope

export interface EnvelopeSpec {
  readonly label: string
  readonly kek: Buffer
  readonly kind: number
  readonly scope: number
  readonly realm: string
  readonly bucket: string
  /** The bytes that stand in the envelope, where they are not those of `bucket`. */
  readonly bucketBytes?: Buffer
  readonly object: string
  readonly blob: Buffer
  readonly header: Buffer
  readonly dataKey: Buffer
  readonly commitment?: Buffer
  readonly attributes: Buffer
  readonly version?: number
  readonly suite?: number
}

export function envelope(spec: EnvelopeSpec): Buffer {
  const { label, kek, kind, scope, realm, bucket, object, blob, header, dataKey, attributes } = spec
  const commitment = spec.commitment ?? commitmentOf(dataKey)
  const clear = u8(spec.version ?? 1, spec.suite ?? 1, kind, scope)
  const aad = fields('sealgate/v1/envelope', clear, commitment, header, realm, bucket, object)
  const box = wrap(`${label}: box`, kek, Buffer.concat([dataKey, attributes]), aad)
  return Buffer.concat([clear, sized(1, spec.bucketBytes ?? bucket), sized(2, blob), commitment, header, box])
}

// Metadata

export const describing = ['content-type', 'content-encoding', 'content-language', 'content-disposition', 'cache-control', 'expires'] as const

/** One entry of sealed metadata; the characters of a value stand for bytes. */
export function entry(name: string, value: string): Buffer {
  const code = describing.findIndex((known) => known === name) + 1
  const bytes = Buffer.from(value, 'latin1')
  return code > 0 ? Buffer.concat([u8(code), sized(2, bytes)]) : Buffer.concat([u8(7), sized(1, name.replace('x-amz-meta-', '')), sized(2, bytes)])
}

/** Entries and the zeros behind them. */
export function padded(...entries: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(entries)
  return Buffer.concat([bytes, Buffer.alloc(64 * Math.max(1, Math.ceil(bytes.length / 64)) - bytes.length)])
}

const trim = (value: string): string => value.replace(/^[ \t]+/, '').replace(/[ \t]+$/, '').replace(/ +/g, ' ')
const bindable = (value: string): string => /^[\x20-\x7e]*$/.test(value) && !value.includes('=?') ? value : ''

/** Metadata digest of headers, names in full. */
export function metadataDigest(headers: readonly (readonly [name: string, value: string])[]): Buffer {
  const lower = headers.map(([name, value]): [string, string] => [name.toLowerCase(), trim(value)])
  const type = lower.find(([name]) => name === 'content-type')?.[1] ?? ''
  const bound = lower
    .filter(([name]) => name === 'content-encoding' || (name.startsWith('x-amz-meta-') && !name.startsWith('x-amz-meta-sealgate')))
    .map(([name, value]): [string, string] => [
      name,
      name === 'content-encoding'
        ? value.split(',').map((member) => trim(member).toLowerCase()).filter((member) => member !== '' && member !== 'aws-chunked').join(',')
        : value
    ])
    .filter(([, value]) => value !== '')
  const underscores = bound.some(([name]) => name.includes('_'))
  const values = new Map<string, string>()
  for (const [name, value] of bound) {
    const key = underscores ? name.replaceAll('_', '-') : name
    const before = values.get(key)
    values.set(key, before === undefined ? value : `${before},${value}`)
  }
  const pairs = [...values].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))).flatMap(([name, value]) => [name, bindable(value)])
  const kind = type === 'binary/octet-stream' || type === 'application/octet-stream' ? '' : bindable(type)
  return sha256(fields('sealgate/v1/metadata', kind, ...pairs, ...underscores ? ['_'] : [])).subarray(0, 16)
}
