import { S3Error } from '../errors.ts'
import { rewriteXml, textOf } from './xml.ts'
import type { XmlElement, XmlLimits } from './xml.ts'

/** The size law: plaintext bytes → stored bytes, strictly increasing. */
type StoredSize = (plaintextBytes: number) => number

/** No object is larger (AWS allows 50 TB since 2025); also keeps the search inside exact integers. */
const maxPlaintextBytes = 2 ** 47

/**
 * A lifecycle configuration as the client wrote it, for the store: `ObjectSizeGreaterThan` and `ObjectSizeLessThan` are
 * compared with what is stored. As the law is strictly increasing, `p > G` and `stored(p) > stored(G)` are the same.
 * @throws S3Error MalformedXML, MaxMessageLengthExceeded
 */
export function lifecycleForStore(document: Buffer, storedSize: StoredSize, limits: XmlLimits): Buffer {
  return convert(document, limits, (size) => storedSize(size))
}

/**
 * The way back. A number that no plaintext size maps to (set at the store, not through the gateway) becomes the bound that
 * chooses the same objects: the largest plaintext at or below it for GreaterThan, the smallest at or above it for LessThan
 * (an empty object apart, which "greater than -1" would be needed for).
 * @throws S3Error SealgateBadUpstream
 */
export function lifecycleForClient(document: Buffer, storedSize: StoredSize, limits: XmlLimits): Buffer {
  return convert(document, limits, (stored, name) => {
    const atLeast = smallestReaching(stored, storedSize)
    if (name === 'ObjectSizeLessThan' || storedSize(atLeast) === stored) return atLeast
    return Math.max(0, atLeast - 1)
  })
}

/** Smallest plaintext size whose stored size is not below `stored`. */
function smallestReaching(stored: number, storedSize: StoredSize): number {
  let low = 0
  let high = maxPlaintextBytes
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (storedSize(middle) < stored) low = middle + 1
    else high = middle
  }
  return low
}

function convert(document: Buffer, limits: XmlLimits, size: (bytes: number, name: string) => number): Buffer {
  return rewriteXml(document, (editor, xml) => {
    const visit = (element: XmlElement): void => {
      if (element.name === 'ObjectSizeGreaterThan' || element.name === 'ObjectSizeLessThan') {
        const text = textOf(xml, element).trim()
        if (!/^\d{1,15}$/.test(text)) throw new S3Error(limits.fault)
        editor.setText(element, String(size(Number(text), element.name)))
      }
      element.children.forEach(visit)
    }
    visit(xml.root)
  }, limits)
}
