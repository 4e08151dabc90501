import { S3ecError } from './fault.ts'
import { describing, type Entries, holders, named, NOTED_SIZE, ofFirstTwo, ofObject, ofThird } from './metadata.ts'
import { bytesOf, flatObject, headerText } from './text.ts'

/** What a bucket may list in `s3ec.read`, beside each other: the cipher of the body, and whether the wrap of the data key is bound to it. */
export const readable = ['v1', 'v1-rsa', 'v2', 'v2-legacy', 'v2-cbc', 'v3'] as const
export type Readable = (typeof readable)[number]

/**
 * Wraps of the data key, in the words of version 2. `AES` (in ECB) and `RSA` (PKCS #1 v1.5) have no name in metadata: they are those of version 1.
 */
export type Wrap = 'kms+context' | 'kms' | 'AES/GCM' | 'AESWrap' | 'AES' | 'RSA-OAEP-SHA1' | 'RSA/ECB/OAEPWithSHA-256AndMGF1Padding' | 'RSA'

/** The data key of an object as it is stored, and what chooses the key that opens it. */
export interface WrappedDataKey {
  readonly wrap: Wrap
  readonly blob: Buffer
  /** The encryption context of KMS, or the description of the key that wrapped it. */
  readonly material: Readonly<Record<string, string>>
  /** What wraps that are bound to the cipher of the body are bound to. */
  readonly bound: string
}

/** One object: everything that is needed to open it, except for the key. None of it is authentic before the body has verified. */
export interface Description extends WrappedDataKey {
  readonly version: 1 | 2 | 3
  /** What the bucket must list. */
  readonly readable: Readable
  readonly cipher: 'gcm' | 'cbc'
  /** 12 bytes for GCM, 16 for CBC. */
  readonly iv: Buffer
  /** Version 3: which data key it was. */
  readonly commitment: { readonly messageId: Buffer; readonly value: Buffer } | null
  /** Bytes of plaintext that the writer has noted; null: none. */
  readonly notedSize: number | null
}

/** An object whose metadata says everything. @throws S3ecError */
export function describe(entries: Entries): Description {
  return described(entries, headerText)
}

/**
 * An object whose data key is in its instruction file. Version 3 has its commitment on the object, so that the file can name no other data key.
 * @param entries of the object. @throws S3ecError
 */
export function describeWith(entries: Entries, instructions: Entries): Description {
  if (named(instructions, ofObject)) throw new S3ecError('s3ec-collision')
  const onObject = [...entries].filter(([name]) => describing.has(name))
  const third = instructions.has('x-amz-3')
  if (third !== onObject.length > 0 || onObject.some(([name]) => !(ofObject as readonly string[]).includes(name))) throw new S3ecError('s3ec-collision')
  const [noted, inFile] = [entries.get(NOTED_SIZE), instructions.get(NOTED_SIZE)]
  if (noted !== undefined && inFile !== undefined && noted !== inFile) throw new S3ecError('s3ec-collision')
  // The texts of a file are decoded already; those of the object are in ASCII.
  return described(new Map([...entries, ...instructions]), (text) => text)
}

type Decode = (text: string) => string

function described(entries: Entries, decode: Decode): Description {
  const held = holders.filter((name) => entries.has(name))
  if (held.length > 1) throw new S3ecError('s3ec-collision')
  const third = named(entries, ['x-amz-3', ...ofThird])
  if (third && named(entries, ['x-amz-key', 'x-amz-key-v2', ...ofFirstTwo])) throw new S3ecError('s3ec-collision')
  const [holder] = held
  if (holder === undefined) throw new S3ecError('s3ec-format')
  return holder === 'x-amz-key' ? first(entries, decode) : holder === 'x-amz-key-v2' ? second(entries, decode) : thirdOf(entries, decode)
}

const noNumbers: ReadonlySet<string> = new Set()
const IV_BYTES = { cbc: 16, gcm: 12 } as const
/** A data key under AES in ECB, with the block of padding that PKCS #5 adds. */
const ECB_BLOB = 48

function first(entries: Entries, decode: Decode): Description {
  if (named(entries, ['x-amz-wrap-alg', 'x-amz-cek-alg', 'x-amz-tag-len'])) throw new S3ecError('s3ec-collision')
  const blob = blobOf(entries, 'x-amz-key')
  if (blob.length < ECB_BLOB) throw new S3ecError('s3ec-format')
  const wrap = blob.length === ECB_BLOB ? 'AES' : 'RSA'
  return {
    version: 1,
    readable: wrap === 'AES' ? 'v1' : 'v1-rsa',
    cipher: 'cbc',
    wrap,
    blob,
    material: materialOf(entries, 'x-amz-matdesc', decode),
    bound: '',
    iv: sized(entries, 'x-amz-iv', IV_BYTES.cbc),
    commitment: null,
    notedSize: notedSizeOf(entries)
  }
}

const GCM = 'AES/GCM/NoPadding'
const ciphers: Readonly<Record<string, Description['cipher']>> = { [GCM]: 'gcm', 'AES/CBC/PKCS5Padding': 'cbc' }
/** Bits of the tag. A shorter one is easier to forge. */
const TAG_BITS = '128'

/** Wraps that have a name, and whether what is in them names the cipher of the body as well. */
const wraps = {
  'kms+context': true,
  'AES/GCM': true,
  'RSA-OAEP-SHA1': true,
  'kms': false,
  'AESWrap': false,
  'RSA/ECB/OAEPWithSHA-256AndMGF1Padding': false
} as const satisfies Partial<Record<Wrap, boolean>>

function second(entries: Entries, decode: Decode): Description {
  const wrap = (Object.keys(wraps) as (keyof typeof wraps)[]).find((name) => name === entries.get('x-amz-wrap-alg'))
  const cipher = ciphers[entries.get('x-amz-cek-alg') ?? '']
  if (wrap === undefined || cipher === undefined) throw new S3ecError('s3ec-algorithm')
  if (entries.get('x-amz-tag-len') !== (cipher === 'gcm' ? TAG_BITS : undefined)) throw new S3ecError('s3ec-algorithm')
  const bound = wraps[wrap]
  if (bound && cipher !== 'gcm') throw new S3ecError('s3ec-algorithm')
  const material = materialOf(entries, 'x-amz-matdesc', decode)
  if (wrap === 'kms' || wrap === 'kms+context') checkContext(material, cipher === 'gcm' ? GCM : 'AES/CBC/PKCS5Padding', wrap === 'kms+context')
  return {
    version: 2,
    readable: cipher === 'cbc' ? 'v2-cbc' : bound ? 'v2' : 'v2-legacy',
    cipher,
    wrap,
    blob: blobOf(entries, 'x-amz-key-v2'),
    material,
    bound: GCM,
    iv: sized(entries, 'x-amz-iv', IV_BYTES[cipher]),
    commitment: null,
    notedSize: notedSizeOf(entries)
  }
}

/** The number of the suite in decimal: AES-256-GCM with HKDF-SHA-512 and key commitment, 0x0073. */
const COMMITTING = '115'
/** Of every object: its key is its own, because it is derived with the message id. */
const THIRD_IV = Buffer.alloc(IV_BYTES.gcm, 1)
const COMMITMENT_BYTES = 28
const codes: Readonly<Record<string, Wrap>> = { '02': 'AES/GCM', '12': 'kms+context', '22': 'RSA-OAEP-SHA1' }

function thirdOf(entries: Entries, decode: Decode): Description {
  const wrap = Object.hasOwn(codes, entries.get('x-amz-w') ?? '') ? codes[entries.get('x-amz-w') ?? ''] : undefined
  if (wrap === undefined || entries.get('x-amz-c') !== COMMITTING) throw new S3ecError('s3ec-algorithm')
  const underKms = wrap === 'kms+context'
  if (entries.has(underKms ? 'x-amz-m' : 'x-amz-t')) throw new S3ecError('s3ec-collision')
  const material = materialOf(entries, underKms ? 'x-amz-t' : 'x-amz-m', decode)
  if (underKms) checkContext(material, COMMITTING, true)
  const messageId = sized(entries, 'x-amz-i', COMMITMENT_BYTES)
  if (messageId.every((byte) => byte === 0)) throw new S3ecError('s3ec-format')
  return {
    version: 3,
    readable: 'v3',
    cipher: 'gcm',
    wrap,
    blob: blobOf(entries, 'x-amz-3'),
    material,
    bound: COMMITTING,
    iv: THIRD_IV,
    commitment: { messageId, value: sized(entries, 'x-amz-d', COMMITMENT_BYTES) },
    notedSize: notedSizeOf(entries)
  }
}

/** In the encryption context, which KMS authenticates: the cipher of the body. A wrap made for one must not serve another. */
const CONTEXT_CIPHER = 'aws:x-amz-cek-alg'

function checkContext(context: WrappedDataKey['material'], cipher: string, needed: boolean): void {
  const named = Object.hasOwn(context, CONTEXT_CIPHER) ? context[CONTEXT_CIPHER] : undefined
  if (named !== cipher && (needed || named !== undefined)) throw new S3ecError('s3ec-algorithm')
}

/** Longest data key in bytes: CiphertextBlob of AWS KMS (API reference, Decrypt). */
const MOST_BLOB = 6144

function blobOf(entries: Entries, name: (typeof holders)[number]): Buffer {
  const blob = bytesOf(entries.get(name) ?? '')
  if (blob.length > MOST_BLOB) throw new S3ecError('s3ec-format')
  return blob
}

function sized(entries: Entries, name: string, length: number): Buffer {
  const bytes = bytesOf(entries.get(name) ?? '')
  if (bytes.length !== length) throw new S3ecError('s3ec-format')
  return bytes
}

function materialOf(entries: Entries, name: string, decode: Decode): WrappedDataKey['material'] {
  const text = entries.get(name)
  return text === undefined ? {} : Object.fromEntries(flatObject(decode(text), noNumbers))
}

function notedSizeOf(entries: Entries): number | null {
  const text = entries.get(NOTED_SIZE)
  if (text === undefined) return null
  if (!/^(?:0|[1-9]\d{0,14})$/.test(text)) throw new S3ecError('s3ec-format')
  return Number(text)
}

export const TAG_BYTES = 16
export const BLOCK_BYTES = 16
/** Most bytes under one key of GCM (NIST SP 800-38D, 5.2.1.1). */
const MOST_GCM = 2 ** 36 - 32

/**
 * Bytes of plaintext. For GCM they follow from the stored size; for CBC only the writer's note or the last block says them.
 * @returns null: the last block is needed. @throws S3ecError for a stored size that no such object has, and for a note that contradicts it.
 */
export function plaintextSizeOf({ cipher, notedSize }: Pick<Description, 'cipher' | 'notedSize'>, storedSize: number): number | null {
  if (cipher === 'gcm') {
    const size = storedSize - TAG_BYTES
    if (size < 0 || size > MOST_GCM || (notedSize !== null && notedSize !== size)) throw new S3ecError('s3ec-length')
    return size
  }
  if (storedSize < BLOCK_BYTES || storedSize % BLOCK_BYTES !== 0) throw new S3ecError('s3ec-length')
  if (notedSize !== null && Math.floor(notedSize / BLOCK_BYTES + 1) * BLOCK_BYTES !== storedSize) throw new S3ecError('s3ec-length')
  return notedSize
}
