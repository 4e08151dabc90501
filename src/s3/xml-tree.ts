/**
 * The parser of S3's documents: small trees of elements with text. Every step moves forward past what it has read, and a missing end is searched for
 * once, so the time is linear in the length for every input (docs/decisions/0015-own-xml-parser.md). Document types and declared entities are
 * refused; attributes, comments and processing instructions are skipped.
 */
export interface XmlElement {
  /** Local name. */
  readonly name: string
  readonly children: readonly XmlElement[]
  /** Offsets into the source, in UTF-16 units: the whole element, and what is between its tags. */
  readonly start: number
  readonly end: number
  readonly innerStart: number
  readonly innerEnd: number
}

const maxDepth = 12
/** A Complete of 10,000 parts with five checksums each has 80,000. */
export const maxElements = 120_000

const reference = '&(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});'
/** The predefined and the numeric references: there are no others without a document type. */
export const references = new RegExp(reference, 'g')
const strayAmpersand = new RegExp(`&(?!${reference.slice(1)})`)

// Name and NameStartChar of XML 1.0, within the Basic Multilingual Plane.
const nameStart =
  ':A-Z_a-z\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u02ff\\u0370-\\u037d\\u037f-\\u1fff\\u200c\\u200d\\u2070-\\u218f\\u2c00-\\u2fef\\u3001-\\ud7ff\\uf900-\\ufdcf\\ufdf0-\\ufffd'
const nameText = `[${nameStart}][${nameStart}\\-.0-9\\u00b7\\u0300-\\u036f\\u203f\\u2040]*`
const space = '[ \\t\\r\\n]'
const openTag = new RegExp(`<(${nameText})`, 'y')
const attribute = new RegExp(`${space}+${nameText}${space}*=${space}*("[^"<]*"|'[^'<]*')`, 'y')
const tagEnd = new RegExp(`${space}*(/?)>`, 'y')
const closeTag = new RegExp(`</(${nameText})${space}*>`, 'y')

/** An element while it is read; its end is known at its closing tag. */
interface OpenElement extends XmlElement {
  readonly qualifiedName: string
  readonly children: OpenElement[]
  end: number
  innerEnd: number
}

/** @throws Error unless the whole text is one well-formed element, with nothing but comments, instructions and white space around it. */
export function parseTree(source: string): XmlElement {
  return new TreeParser(source).parse()
}

class TreeParser {
  readonly #source: string
  readonly #open: OpenElement[] = []
  #root: OpenElement | null = null
  #at = 0
  #count = 0

  constructor(source: string) {
    this.#source = source
  }

  parse(): XmlElement {
    if (this.#source.startsWith('\ufeff')) this.#at = 1
    while (this.#at < this.#source.length) {
      const markup = this.#source.indexOf('<', this.#at)
      this.#text(markup < 0 ? this.#source.length : markup)
      if (markup >= 0) this.#markup()
    }
    if (this.#root === null || this.#open.length > 0) throw new Error('The document ends before its root does.')
    return this.#root
  }

  #text(end: number): void {
    if (end === this.#at) return
    const text = this.#source.slice(this.#at, end)
    if (this.#open.length === 0 ? /[^ \t\r\n]/.test(text) : strayAmpersand.test(text)) throw new Error('Text that cannot stand here.')
    this.#at = end
  }

  #markup(): void {
    const source = this.#source
    const at = this.#at
    if (source.startsWith('</', at)) this.#closeElement()
    else if (source.startsWith('<?', at)) this.#passOver('?>', at + 2)
    else if (source.startsWith('<!--', at)) this.#comment()
    else if (source.startsWith('<![CDATA[', at) && this.#open.length > 0) this.#passOver(']]>', at + 9)
    else this.#openElement()
  }

  #passOver(mark: string, from: number): void {
    const found = this.#source.indexOf(mark, from)
    if (found < 0) throw new Error('Markup without its end.')
    this.#at = found + mark.length
  }

  /** XML 1.0, 2.5: two hyphens are allowed only at the end of a comment. */
  #comment(): void {
    this.#passOver('--', this.#at + 4)
    if (this.#source[this.#at] !== '>') throw new Error('A comment within a comment.')
    this.#at += 1
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#source)
    if (found !== null) this.#at = pattern.lastIndex
    return found
  }

  #openElement(): void {
    const start = this.#at
    const qualifiedName = this.#match(openTag)?.[1]
    if (qualifiedName === undefined) throw new Error('No tag.')
    for (let found = this.#match(attribute); found !== null; found = this.#match(attribute)) {
      if (strayAmpersand.test(found[1] ?? '')) throw new Error('An attribute with a stray ampersand.')
    }
    const end = this.#match(tagEnd)
    this.#count += 1
    const parent = this.#open.at(-1)
    const outside = parent === undefined && this.#root !== null
    if (end === null || this.#count > maxElements || this.#open.length >= maxDepth || outside) throw new Error('The shape of the document.')
    const element: OpenElement = {
      qualifiedName,
      name: qualifiedName.slice(qualifiedName.indexOf(':') + 1),
      children: [],
      start,
      end: this.#at,
      innerStart: this.#at,
      innerEnd: this.#at
    }
    if (parent === undefined) this.#root = element
    else parent.children.push(element)
    if (end[1] !== '/') this.#open.push(element)
  }

  #closeElement(): void {
    const start = this.#at
    const closed = this.#open.pop()
    const found = this.#match(closeTag)
    if (closed === undefined || found?.[1] !== closed.qualifiedName) throw new Error('A closing tag that closes nothing.')
    closed.innerEnd = start
    closed.end = this.#at
  }
}
