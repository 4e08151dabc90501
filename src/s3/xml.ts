import { S3Error } from '../errors.ts'
import type { S3ErrorCode } from '../errors.ts'
import { parseTree, references } from './xml-tree.ts'
import type { XmlElement } from './xml-tree.ts'

export type { XmlElement } from './xml-tree.ts'

export interface XmlDocument {
  readonly source: string
  readonly root: XmlElement
  readonly fault: XmlLimits['fault']
}

export interface XmlLimits {
  readonly maxBytes: number
  /** Whose fault a bad document is: the client's or the store's. */
  readonly fault: Extract<S3ErrorCode, 'MalformedXML' | 'SealgateBadUpstream'>
}

/** Documents of the store: 1,000 rows with keys of 1,024 bytes, every byte escaped, plus owners and checksums. */
export const upstreamDocument: XmlLimits = { maxBytes: 16 * 1024 * 1024, fault: 'SealgateBadUpstream' }

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Parses a whole document strictly: UTF-8, one root, no document type, only predefined and numeric references.
 * @throws S3Error as `limits.fault` says; MaxMessageLengthExceeded for a client's document that is too large
 */
export function parseXml(document: Buffer, limits: XmlLimits): XmlDocument {
  if (document.length > limits.maxBytes) {
    throw new S3Error(limits.fault === 'MalformedXML' ? 'MaxMessageLengthExceeded' : limits.fault)
  }
  try {
    const source = utf8.decode(document)
    return { source, root: parseTree(source), fault: limits.fault }
  } catch (cause) {
    throw new S3Error(limits.fault, { cause })
  }
}

const predefined: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: '\'' }

export function decodeText(raw: string): string {
  if (!/[&\r]/.test(raw)) return raw
  return raw.replace(/\r\n?/g, '\n').replace(references, (found) => {
    const name = found.slice(1, -1)
    if (!name.startsWith('#')) return predefined[name] ?? ''
    const point = name.startsWith('#x') ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10)
    if (point === 0 || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) throw new Error('character reference')
    return String.fromCodePoint(point)
  })
}

/**
 * The text of a leaf element, white space kept (a key may be a single space); '' for an element with children.
 * @throws S3Error the document's fault, on a reference that names no character
 */
export function textOf(document: XmlDocument, element: XmlElement): string {
  if (element.children.length > 0) return ''
  const raw = document.source.slice(element.innerStart, element.innerEnd)
  try {
    if (!raw.includes('<')) return decodeText(raw)
    const pieces = raw.matchAll(/<!\[CDATA\[([\s\S]*?)\]\]>|<!--[\s\S]*?-->|<\?[\s\S]*?\?>|([^<]+)/g)
    return [...pieces].map(([, verbatim, text]) => verbatim ?? decodeText(text ?? '')).join('')
  } catch (cause) {
    throw new S3Error(document.fault, { cause })
  }
}

export function childrenOf(element: XmlElement, name: string): readonly XmlElement[] {
  return element.children.filter((child) => child.name === name)
}

/** @throws S3Error the document's fault when the child comes twice: two parsers might pick differently. */
export function childOf(document: XmlDocument, element: XmlElement, name: string): XmlElement | undefined {
  let found: XmlElement | undefined
  for (const child of element.children) {
    if (child.name !== name) continue
    if (found !== undefined) throw new S3Error(document.fault)
    found = child
  }
  return found
}

/** Text of a child, null when there is none. */
export function childText(document: XmlDocument, element: XmlElement, name: string): string | null {
  const child = childOf(document, element, name)
  return child === undefined ? null : textOf(document, child)
}

/** Changes to a document; all other bytes stay as they were. */
export interface XmlEditor {
  /** Replaces the content between the tags. */
  setText(element: XmlElement, text: string): void
  remove(element: XmlElement): void
  /** Adds an element as the last child. */
  append(parent: XmlElement, child: XmlNode): void
}

/**
 * Edits a document of the store in place. An element that already has the text keeps its spelling.
 * @throws S3Error SealgateBadUpstream when it does not parse
 */
export function rewriteXml(bytes: Buffer, edit: (editor: XmlEditor, document: XmlDocument) => void, limits = upstreamDocument): Buffer {
  const document = parseXml(bytes, limits)
  const { source } = document
  const splices: Splice[] = []
  const opened = new Map<XmlElement, { inner: string; readonly splice: Splice }>()
  const setInner = (element: XmlElement, from: number, inner: string): void => {
    if (source.slice(element.innerEnd, element.end) !== '') {
      splices.push({ start: from, end: element.innerEnd, text: inner })
      return
    }
    // An empty tag is opened once, however much is inserted.
    const tag = source.slice(element.start + 1, element.end - 2).trimEnd()
    const open = opened.get(element) ?? { inner: '', splice: { start: element.start, end: element.end, text: '' } }
    if (!opened.has(element)) splices.push(open.splice)
    opened.set(element, open)
    open.inner += inner
    open.splice.text = `<${tag}>${open.inner}</${/^[^\s]+/.exec(tag)?.[0] ?? ''}>`
  }
  edit({
    setText: (element, text) => {
      if (element.children.length > 0 || textOf(document, element) !== text) setInner(element, element.innerStart, escapeXml(text))
    },
    remove: (element) => {
      splices.push({ start: element.start, end: element.end, text: '' })
    },
    append: (parent, child) => {
      setInner(parent, parent.innerEnd, renderNode(child))
    }
  }, document)
  if (splices.length === 0) return bytes
  return Buffer.from(splice(source, splices), 'utf8')
}

interface Splice {
  readonly start: number
  readonly end: number
  text: string
}

/** Later splices inside an element that was removed or replaced are dropped with it. */
function splice(source: string, splices: Splice[]): string {
  let out = ''
  let at = 0
  for (const { start, end, text } of splices.sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (start < at) continue
    out += source.slice(at, start) + text
    at = end
  }
  return out + source.slice(at)
}

/** An element to write: text, or children in order. */
export type XmlNode = readonly [name: string, content: string | readonly XmlNode[]]

/** S3's namespace; most answers carry it, errors do not. */
const s3Namespace = 'http://s3.amazonaws.com/doc/2006-03-01/'

/** Escapes text for XML. Control characters become references, which XML 1.0 forbids but S3 sends. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"\u0000-\u001f\u007f\ufffe\uffff]/g, (c) => {
    switch (c) {
      case '&':
        return '&amp;'
      case '<':
        return '&lt;'
      case '>':
        return '&gt;'
      case '"':
        return '&quot;'
      default:
        return `&#x${c.charCodeAt(0).toString(16).toUpperCase()};`
    }
  })
}

function renderNode([name, content]: XmlNode): string {
  return `<${name}>${typeof content === 'string' ? escapeXml(content) : content.map(renderNode).join('')}</${name}>`
}

/** A whole document with declaration. @param namespace null for errors */
export function renderXml(root: XmlNode, namespace: string | null = s3Namespace): Buffer {
  const [name] = root
  const body = renderNode(root)
  const open = namespace === null ? '' : ` xmlns="${namespace}"`
  return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<${name}${open}${body.slice(name.length + 1)}`, 'utf8')
}
