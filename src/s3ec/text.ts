import { S3ecError } from './fault.ts'

/** Most characters of an instruction file, which is the longest text here. */
const MOST_TEXT = 16_384

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Standard base64 with padding, in its one canonical spelling. @throws S3ecError */
export function bytesOf(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length === 0 || bytes.toString('base64') !== text) throw new S3ecError('s3ec-format')
  return bytes
}

/**
 * The text in the value of a header. S3 returns what is not ASCII as encoded words (RFC 2047), and these as UTF-8 that was read as Latin-1; other
 * stores return the bytes.
 * @param value a latin1 character is a byte. @throws S3ecError
 */
export function headerText(value: string): string {
  if (!value.startsWith('=?')) return decoded(Buffer.from(value, 'latin1'))
  if (value.length > MOST_TEXT) throw new S3ecError('s3ec-format')
  const text = decoded(Buffer.concat(value.split(' ').map(encodedWord)))
  if (/[^\u0000-\u00ff]/.test(text)) return text
  try {
    return utf8.decode(Buffer.from(text, 'latin1'))
  } catch {
    return text
  }
}

function encodedWord(word: string): Buffer {
  const [, encoding = '', text = ''] = /^=\?utf-8\?([bq])\?([\x21-\x3e\x40-\x7e]*)\?=$/i.exec(word) ?? []
  if (encoding === '') throw new S3ecError('s3ec-format')
  if (encoding.toLowerCase() === 'b') return bytesOf(text)
  if (/=(?![0-9A-F]{2})/i.test(text)) throw new S3ecError('s3ec-format')
  return Buffer.from(text.replaceAll('_', ' ').replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1')
}

function decoded(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new S3ecError('s3ec-format')
  }
}

const blank = /[ \t\r\n]*/y
const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
const wholeNumber = /(?:0|[1-9]\d{0,14})(?![\d.eE+-])/y

/**
 * A flat JSON object whose values are texts. `JSON.parse` would let the last of two equal names win, so that two readers could see two different
 * objects in one text.
 * @param numeric names whose value may be a whole number, which is taken as the text of its digits: some writers have them in instruction files.
 * @throws S3ecError
 */
export function flatObject(text: string, numeric: ReadonlySet<string>): Map<string, string> {
  if (text.length > MOST_TEXT) throw new S3ecError('s3ec-format')
  const entries = new Map<string, string>()
  let at = 0
  const take = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0] ?? null
    at += found?.length ?? 0
    return found
  }
  const need = (character: string): void => {
    take(blank)
    if (text[at] !== character) throw new S3ecError('s3ec-format')
    at += 1
    take(blank)
  }
  const literal = (pattern: RegExp): string => {
    const found = take(pattern)
    if (found === null) throw new S3ecError('s3ec-format')
    return found
  }
  need('{')
  while (text[at] !== '}' || entries.size > 0) {
    const name = JSON.parse(literal(string)) as string
    need(':')
    const value = numeric.has(name) && text[at] !== '"' ? literal(wholeNumber) : JSON.parse(literal(string)) as string
    if (entries.has(name)) throw new S3ecError('s3ec-collision')
    entries.set(name, value)
    take(blank)
    if (text[at] === '}') break
    need(',')
  }
  need('}')
  if (at !== text.length) throw new S3ecError('s3ec-format')
  return entries
}
