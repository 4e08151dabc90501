// Objects of the Amazon S3 Encryption Client, versions 1 to 3 of its format (its specification, "Content Metadata"): from the metadata of an object,
// and of its instruction file (here), to one description (description.ts), its data key (data-key.ts), and the stages that open its body (body.ts). No input or output.
// The store can change every entry: what an object says of itself is a question to the configuration, never an answer.
import type { HeaderList } from '../http/message.ts'
import { S3ecError } from './fault.ts'
import { flatObject, headerText } from './text.ts'

const USER_METADATA = 'x-amz-meta-'
/** Each holds the data key of one version. */
export const holders = ['x-amz-key', 'x-amz-key-v2', 'x-amz-3'] as const
export const ofFirstTwo = ['x-amz-iv', 'x-amz-matdesc', 'x-amz-wrap-alg', 'x-amz-cek-alg', 'x-amz-tag-len'] as const
/** Never in an instruction file: who may write there must not choose the data key. */
export const ofObject = ['x-amz-c', 'x-amz-d', 'x-amz-i'] as const
export const ofThird = [...ofObject, 'x-amz-w', 'x-amz-m', 'x-amz-t'] as const
/** An object has them even where everything else is in its instruction file. */
export const NOTED_SIZE = 'x-amz-unencrypted-content-length'
const notes = [NOTED_SIZE, 'x-amz-unencrypted-content-md5'] as const
const INSTRUCTION_FILE = 'x-amz-crypto-instr-file'

export const describing: ReadonlySet<string> = new Set([...holders, ...ofFirstTwo, ...ofThird])
const own: ReadonlySet<string> = new Set([...describing, ...notes, INSTRUCTION_FILE].map((name) => USER_METADATA + name))

/** Whether a header is an entry of the client, which the readers of plaintext do not see. @param name in lower case */
export function isClientEntry(name: string): boolean {
  return own.has(name)
}

export type Entries = ReadonlyMap<string, string>

/** What the metadata of an object says. */
export type Marks =
  /** No entry that describes a body: plaintext, or an object of version 1 or 2 with an instruction file. */
  | { readonly kind: 'none'; readonly entries: Entries }
  /** Version 3, with its data key in an instruction file. */
  | { readonly kind: 'needs-instructions'; readonly entries: Entries }
  | { readonly kind: 'described'; readonly entries: Entries }
  /** It is the instruction file of another object. */
  | { readonly kind: 'instruction-file' }

/** @throws S3ecError for entries that come twice. */
export function marksOf(headers: HeaderList): Marks {
  if (headers.has(USER_METADATA + INSTRUCTION_FILE)) return { kind: 'instruction-file' }
  const entries = new Map<string, string>()
  for (const header of own) {
    const values = headers.all(header)
    if (values.length > 1) throw new S3ecError('s3ec-collision')
    // Some writers send entries that they do not use without a value.
    if (values[0] !== undefined && values[0] !== '') entries.set(header.slice(USER_METADATA.length), values[0])
  }
  if (!named(entries, describing)) return { kind: 'none', entries }
  const inFile = ofObject.every((name) => entries.has(name)) &&
    ![...describing].some((name) => entries.has(name) && !(ofObject as readonly string[]).includes(name))
  return { kind: inFile ? 'needs-instructions' : 'described', entries }
}

/** Whether there is any entry that describes a body. */
export function hasMarks(headers: HeaderList): boolean {
  return [...describing].some((name) => headers.has(USER_METADATA + name))
}

export function named(entries: Entries, names: Iterable<string>): boolean {
  return [...names].some((name) => entries.has(name))
}

const numeric: ReadonlySet<string> = new Set(['x-amz-tag-len', NOTED_SIZE])

/** Bytes of an instruction file that are read. */
export const MOST_INSTRUCTIONS = 16_384

/**
 * The entries of an instruction file: one JSON object.
 * @returns null where it is none of this client: whoever may write can put any object beside another. @throws S3ecError for one that is damaged.
 */
export function instructionsOf(body: Buffer): Entries | null {
  let texts: Map<string, string>
  try {
    texts = flatObject(headerText(body.toString('latin1')), numeric)
  } catch (error) {
    if (error instanceof S3ecError && error.kind === 's3ec-format') return null
    throw error
  }
  const entries = new Map<string, string>()
  for (const [name, value] of texts) {
    const lower = name.toLowerCase()
    if (!describing.has(lower) && lower !== NOTED_SIZE) continue
    if (entries.has(lower)) throw new S3ecError('s3ec-collision')
    if (value !== '') entries.set(lower, value)
  }
  return named(entries, holders) ? entries : null
}

/** The version whose data key is there; null: none, or of several versions. */
export function versionIn(entries: Entries): 1 | 2 | 3 | null {
  const [first = null, ...others] = holders.flatMap((name, i) => entries.has(name) ? [i + 1 as 1 | 2 | 3] : [])
  return others.length === 0 ? first : null
}
