/**
 * Plain XML in the bytes that a store sent: tags without attributes, text, and references that name a character. Every function reads onwards from an offset,
 * and returns the offset behind what it was to find, or `NONE`. All of them accept less than the parser does, and nothing that it does not accept.
 */

/** What was to be found is not here. */
export const NONE = -1

export const LT = 0x3c
export const GT = 0x3e
export const SLASH = 0x2f
const AMPERSAND = 0x26
const SEMICOLON = 0x3b
/** No value of a listing is longer: a key has 1,024 bytes, of which each can be a reference. */
const MOST_TEXT = 64 * 1024

export function pastSpace(bytes: Buffer, from: number): number {
  let at = from
  for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[at]) at += 1
  return at
}

/** The end of a name of letters and digits that begins here. */
export function nameEnd(bytes: Buffer, start: number): number {
  let at = start
  while (isLetterOrDigit(bytes[at] ?? 0)) at += 1
  return at > start && !isDigit(bytes[start] ?? 0) && (bytes[at] === GT || bytes[at] === SLASH) ? at : NONE
}

/** The "<" that ends the text that begins here. */
export function textEnd(bytes: Buffer, start: number): number {
  const end = Math.min(bytes.length, start + MOST_TEXT)
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at]
    if (byte === LT) return at
    if (byte === AMPERSAND && !isReference(bytes, at)) return NONE
  }
  return NONE
}

/** Behind the ">" that is here. */
export function pastMark(bytes: Buffer, at: number): number {
  return bytes[at] === GT ? at + 1 : NONE
}

/** Behind the closing tag that is here, of the element whose name is from `start` to `end`. */
export function pastClose(bytes: Buffer, at: number, start: number, end: number): number {
  if (bytes[at] !== LT || bytes[at + 1] !== SLASH) return NONE
  const shift = at + 2 - start
  for (let i = start; i < end; i += 1) if (bytes[i] !== bytes[i + shift]) return NONE
  return pastMark(bytes, end + shift)
}

/**
 * Behind the closing tag of an element, whose name is from `start` to `end`, and in which there are only elements without children.
 * @param count counts them
 */
export function pastLeaves(bytes: Buffer, from: number, { start, end }: { readonly start: number; readonly end: number }, count: { elements: number }): number {
  const most = from + MOST_TEXT
  for (let at = pastSpace(bytes, from); at < most && bytes[at] === LT; at = pastSpace(bytes, at)) {
    if (bytes[at + 1] === SLASH) return pastClose(bytes, at, start, end)
    const name = at + 1
    const behind = nameEnd(bytes, name)
    if (behind === NONE) return NONE
    count.elements += 1
    const close = bytes[behind] === SLASH ? behind : textEnd(bytes, behind + 1)
    at = close === behind ? pastMark(bytes, behind + 1) : close === NONE ? NONE : pastClose(bytes, close, name, behind)
    if (at === NONE) return NONE
  }
  return NONE
}

/** Whether this text, of ASCII, is from `start` to `end`. */
export function isText(bytes: Buffer, start: number, end: number, text: string): boolean {
  return end - start === text.length && begins(bytes, start, text)
}

/** Whether this text, of ASCII, begins here. */
export function begins(bytes: Buffer, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i += 1) if (bytes[start + i] !== text.charCodeAt(i)) return false
  return true
}

/** Whether there are digits only, of a number that is exact. */
export function isNumber(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i += 1) if (!isDigit(bytes[i] ?? 0)) return false
  return end > start && end - start <= 15
}

/** Bytes of the quote that is here, as it is or as a reference; 0: there is none. */
export function quoteAt(bytes: Buffer, at: number): number {
  if (bytes[at] === 0x22) return 1
  if (bytes[at] !== AMPERSAND) return 0
  return begins(bytes, at, '&quot;') ? 6 : begins(bytes, at, '&#34;') ? 5 : 0
}

export function isLetterOrDigit(byte: number): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || isDigit(byte)
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}

/** A reference that every XML has, or to a character by its number. */
function isReference(bytes: Buffer, at: number): boolean {
  if (bytes[at + 1] === 0x23) return isCharacter(bytes, at + 2)
  return begins(bytes, at, '&quot;') || begins(bytes, at, '&amp;') || begins(bytes, at, '&lt;') || begins(bytes, at, '&gt;') || begins(bytes, at, '&apos;')
}

/** The parser takes as many digits, and refuses a number of no character only where the text is read. */
function isCharacter(bytes: Buffer, start: number): boolean {
  const isHex = bytes[start] === 0x78
  const from = isHex ? start + 1 : start
  let point = 0
  let at = from
  for (let digit = digitOf(bytes[at] ?? 0, isHex); digit !== NONE && at < from + (isHex ? 6 : 7); digit = digitOf(bytes[at] ?? 0, isHex)) {
    point = point * (isHex ? 16 : 10) + digit
    at += 1
  }
  return bytes[at] === SEMICOLON && point > 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff)
}

function digitOf(byte: number, isHex: boolean): number {
  if (isDigit(byte)) return byte - 0x30
  const letter = byte | 0x20
  return isHex && letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : NONE
}
