import { S3Error } from '../errors.ts'

const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/'

/** Declaration, root element with the namespace of S3, and the given (already escaped) content. */
export function xmlDocument(root: string, ...content: readonly string[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${namespace}">${content.join('')}</${root}>`
}

/** An element around XML that is already escaped. */
export function element(name: string, ...content: readonly string[]): string {
  return `<${name}>${content.join('')}</${name}>`
}

/** An element around text; '' when there is no text. */
export function textElement(name: string, text: string | number | boolean | null | undefined): string {
  return text === null || text === undefined ? '' : `<${name}>${escapeXml(String(text))}</${name}>`
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\'': '&apos;' }

/**
 * Control characters become numeric references. XML 1.0 allows most of them in no form, but S3 answers so, and its
 * clients read it; without the reference a carriage return would come back as a line feed.
 */
function escapeXml(text: string): string {
  return text.replace(/[&<>"'\u0000-\u001f\u007f\ufffe\uffff]/g, (char) => entities[char] ?? `&#x${char.charCodeAt(0).toString(16)};`)
}

/** An element of a request body. Prefixes of names and all attributes but those asked for are left out. */
export class XmlElement {
  readonly name: string
  readonly children: XmlElement[] = []
  text = ''

  constructor(name: string) {
    this.name = name
  }

  all(name: string): readonly XmlElement[] {
    return this.children.filter((child) => child.name === name)
  }

  /** The text of a child; undefined when there is none. @throws S3Error MalformedXML when there are several. */
  value(name: string): string | undefined {
    const [child, second] = this.all(name)
    if (second !== undefined) throw new S3Error('MalformedXML')
    return child?.text
  }
}

const token = /<\?[^]*?\?>|<!--[^]*?-->|<!\[CDATA\[([^]*?)\]\]>|<(\/?)([^\s<>/!?="']+)((?:\s+[^\s<>/="']+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y
const references: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: '\'' }

/**
 * Reads the small documents of S3 requests. Document types and general entities are refused: nothing in S3 needs them.
 * The store has a reader of its own so that a fault in the gateway's reader cannot hide behind the same fault here.
 * @throws S3Error MalformedXML
 */
export function parseXml(body: Buffer, rootName: string): XmlElement {
  const source = decodeUtf8(body).trim()
  const top = new XmlElement('')
  const open = [top]
  token.lastIndex = 0
  while (token.lastIndex < source.length) {
    const match = token.exec(source)
    if (match === null) throw new S3Error('MalformedXML')
    read(match, open)
  }
  const [root, second] = top.children
  if (open.length !== 1 || root?.name !== rootName || second !== undefined || top.text.trim() !== '') throw new S3Error('MalformedXML')
  return root
}

function read([, cdata, slash, name, , selfClosing, text]: RegExpExecArray, open: XmlElement[]): void {
  const parent = open.at(-1) as XmlElement
  if (cdata !== undefined) parent.text += cdata
  else if (text !== undefined) parent.text += unescape(text)
  else if (name !== undefined) {
    const local = name.slice(name.indexOf(':') + 1)
    if (slash === '/') {
      if (open.length === 1 || parent.name !== local) throw new S3Error('MalformedXML')
      open.pop()
    } else {
      const child = new XmlElement(local)
      parent.children.push(child)
      if (selfClosing !== '/') open.push(child)
    }
  }
}

function unescape(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(/&(#x[0-9a-fA-F]{1,6}|#[0-9]{1,7}|[a-z]+)?(;?)/g, (_, name: string | undefined, end: string) => {
    if (name === undefined || end === '') throw new S3Error('MalformedXML')
    if (!name.startsWith('#')) return known(references[name])
    const code = name.startsWith('#x') ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10)
    return code <= 0x10ffff ? String.fromCodePoint(code) : known(undefined)
  })
}

function known(character: string | undefined): string {
  if (character === undefined) throw new S3Error('MalformedXML')
  return character
}

function decodeUtf8(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch (cause) {
    throw new S3Error('MalformedXML', { cause })
  }
}
