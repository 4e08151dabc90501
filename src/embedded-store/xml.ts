const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/'

/** Declaration, root element with the namespace of S3, and the given (already escaped) content. */
export function xmlDocument(root: string, ...content: readonly string[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${namespace}">${content.join('')}</${root}>`
}

/** An element around XML that is already escaped. */
export function element(name: string, ...content: readonly string[]): string {
  return `<${name}>${content.join('')}</${name}>`
}

/** An element around text; nothing at all when there is no text. */
export function textElement(name: string, text: string | number | boolean | null | undefined): string {
  return text === null || text === undefined ? '' : `<${name}>${escapeXml(String(text))}</${name}>`
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }

/**
 * Control characters become numeric references. XML 1.0 allows most of them in no form at all, but S3 answers so, and its
 * clients read it; without the reference a carriage return would come back as a line feed.
 */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"'\u0000-\u001f\u007f\ufffe\uffff]/g, (char) => entities[char] ?? `&#x${char.charCodeAt(0).toString(16)};`)
}
