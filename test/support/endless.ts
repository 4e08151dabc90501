// What does not end: put into a valid input at its § again and again, until the input is as long as it may be.
export const units: readonly string[] = [
  ' ', '\t', '\n', '\r', '\r\n', '\0', 'a', 'A=', '0', '\xff', '\xc3\xa4', '%', '%41', '%zz', '+', '-', '--', '.', '..', '/', '//', '\\', '\\"', ':', ';', ',', ', ', '=', '?', '*', '~', '&', '&a', '&a=1&', '&amp;', '&#65;', '&#', '&;',
  '<', '</', '<a', '<a>', '</a>', '<a/>', '<a ', '<a b="', ' b="c"', '<!', '<!a', '<!-', '<!--', '<!---->', '-->', '<![CDATA[', '<![CDATA[]]>', ']]>', ']', '<?', '?>', '<?a?>', '<!DOCTYPE a [', '<!ENTITY a "', '>',
  '"', '""', '\'', '"a",', '"a" ', 'W/"', '[', '{', '[[', '{"a":', '["a",', '}', '\\u0041', '\r\n--', `\r\n--${'x'.repeat(69)}`, '; name="', ';a=', ';a="', 'bytes=', '0-', '1,', '0;', '0\r\n', 'a:b\r\n', 'a: b\n', '${filename}', '${', '=?', 'x-amz-meta-a=1&', 'a;', 'host;', 'x-5-3-a,',
  '<Object><Key>k</Key></Object>', '<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>', '<Tag><Key>k</Key><Value>v</Value></Tag>', '<Contents><Key>k</Key><Size>5</Size></Contents>', '<AllowedOrigin>*</AllowedOrigin>', '["starts-with","$content-type",""],', '{"acl":"a"},'
]

/**
 * A seed of about `length` bytes with one construct repeated.
 * @param seed with one or more §. @param place which of them. @param others `filled`: the other places share the length, with letters:
 * what is multiplied by the length of something else is seen only where both grow.
 */
export function endless(seed: string, place: number, unit: string, length: number, others: 'empty' | 'filled' = 'empty'): Buffer {
  const pieces = seed.split('§')
  const room = length - pieces.reduce((sum, piece) => sum + piece.length, 0)
  const share = others === 'empty' ? room : Math.floor(room / (pieces.length - 1))
  const filling = unit.repeat(Math.max(1, Math.floor(share / unit.length)))
  const letters = others === 'empty' ? '' : 'a'.repeat(Math.max(0, share))
  return Buffer.from(pieces.map((piece, i) => i === pieces.length - 1 ? piece : `${piece}${i === place ? filling : letters}`).join(''), 'latin1')
}

/** How many places a seed has. */
export function placesOf(seed: string): number {
  return seed.split('§').length - 1
}
