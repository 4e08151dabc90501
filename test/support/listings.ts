// Listings as stores write them, for the tests that hold the scanner to the parser.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'

const folder = join(import.meta.dirname, '..', 's3', 'listings')

/** Answers of real stores, byte for byte, by file name. */
export const samples: ReadonlyMap<string, Buffer> = new Map(readdirSync(folder).toSorted().map((file) => [file, readFileSync(join(folder, file))]))

/** Values that stores write, plain and less plain. */
const texts: Readonly<Record<string, readonly string[]>> = {
  Key: [
    'a',
    'folder/b.txt',
    'a%20b%2Bc+d',
    '%zz',
    'a &amp; b',
    '&lt;&gt;&apos;&quot;&#39;&#x1F600;',
    'ü漢😀',
    ' ',
    '',
    'note.instruction',
    'line&#xD;&#10;end',
    'a\r\nb',
    '&#0;',
    '&#xD800;',
    '&#1114112;',
    '&nbsp;',
    'a & b',
    ']]>'
  ],
  ETag: [
    '"0123456789abcdef0123456789abcdef"',
    '&quot;0123456789abcdef0123456789abcdef&quot;',
    '&#34;aa-2&#34;',
    'bare',
    '"00ff00ff00ff00ff00ff00ff00ff00ff-12"',
    '""',
    '',
    '"',
    '"a',
    '&quot;a"',
    ' "a" ',
    '""a""',
    '&#x22;a&#x22;',
    '"a&amp;b"',
    '"ä"',
    'W/"a"'
  ],
  Size: ['0', '1', '512', '532', '00532', '1048576', '999999999999999', '1000000000000000', '', ' 5 ', '-1', '1e3', '&#53;'],
  VersionId: ['null', 'v1', 'a&amp;b', ''],
  IsLatest: ['true', 'false', ' true ', '', 'TRUE'],
  UploadId: ['u', '2~abc.def_-', ''],
  PartNumber: ['1', '10000', '', 'x', '&#49;'],
  LastModified: ['2026-01-01T00:00:00.000Z', ''],
  StorageClass: ['STANDARD', ''],
  ChecksumAlgorithm: ['CRC32', ''],
  ChecksumCRC32: ['y/Q5Jg==', ' y/Q5Jg== ', '&#121;/Q5Jg=='],
  ChecksumType: ['FULL_OBJECT'],
  Owner: ['<ID>abc</ID><DisplayName>x&amp;y</DisplayName>', '<ID>abc</ID><DisplayName/>', '', ' ', '<ID><Deep>x</Deep></ID>'],
  RestoreStatus: ['<IsRestoreInProgress>false</IsRestoreInProgress>'],
  UserMetadata: ['<X-Amz-Meta-A>b</X-Amz-Meta-A>', '<Items><Key>X-Amz-Meta-Sealgate</Key></Items>', ''],
  Prefix: ['p/', 'folder/', 'p%2F', ''],
  EncodingType: ['url', 'url', 'URL', ' url', ''],
  KeyCount: ['3', '0', '', 'x', '1000'],
  NextMarker: ['z', ''],
  IsTruncated: ['true', 'true', 'false', ' true', ''],
  Name: ['bucket'],
  MaxKeys: ['1000'],
  Bucket: ['bucket'],
  UploadIdMarker: ['']
}

const inEntry = [
  'Key',
  'ETag',
  'Size',
  'VersionId',
  'IsLatest',
  'UploadId',
  'PartNumber',
  'LastModified',
  'StorageClass',
  'ChecksumAlgorithm',
  'ChecksumCRC32',
  'ChecksumType',
  'Owner',
  'RestoreStatus',
  'UserMetadata',
  'Prefix'
]
const inRoot = ['EncodingType', 'KeyCount', 'NextMarker', 'IsTruncated', 'Name', 'MaxKeys', 'Prefix', 'Key', 'Bucket', 'Owner', 'UploadIdMarker']
const entries = ['Contents', 'Version', 'DeleteMarker', 'CommonPrefixes', 'Upload', 'Part']

/** What a store may write and none does. */
const oddities = [
  '<!-- c -->',
  '<![CDATA[x]]>',
  '<?pi x?>',
  'text',
  '<a:Key xmlns:a="u">k</a:Key>',
  '<Key a="b">k</Key>',
  '<Key >k</Key>',
  '<Key>k</Key >',
  '</Contents>',
  '<Contents>',
  '<!DOCTYPE a>',
  '&',
  '<',
  '\u0000',
  '<Contents/>',
  '<_/>',
  '<1a/>'
]

/** Mostly the first values of a list, which are the plain ones. @param odd how many of a hundred are any value */
function valueOf(name: string, odd: number): fc.Arbitrary<string> {
  const values = texts[name] ?? ['']
  return fc.oneof({ weight: 100 - odd, arbitrary: fc.constantFrom(...values.slice(0, 2)) }, { weight: odd, arbitrary: fc.constantFrom(...values) })
}

function elementOf(names: readonly string[], odd: number): fc.Arbitrary<string> {
  return fc.constantFrom(...names).chain((name) => valueOf(name, odd).map((text) => text === '' && odd > 20 ? `<${name}/>` : `<${name}>${text}</${name}>`))
}

const spaceBetween = fc.constantFrom('', '', '', '', '\n', '  ', '\t\r\n')

function content(element: fc.Arbitrary<string>, odd: number, most: number): fc.Arbitrary<string> {
  const pieces = fc.oneof({ weight: 200, arbitrary: element }, { weight: odd, arbitrary: fc.constantFrom(...oddities) })
  return fc.array(fc.tuple(pieces, spaceBetween), { maxLength: most }).map((all) => all.map(([piece, space]) => piece + space).join(''))
}

/** Fields of an entry, most of them once. */
function entryOf(name: string, odd: number): fc.Arbitrary<string> {
  const once = fc.shuffledSubarray(odd > 20 ? inEntry : inEntry.filter((field) => field !== 'UserMetadata')).chain((names) =>
    fc.tuple(...names.map((field) => elementOf([field], odd))).map((all) => all.join(''))
  )
  return fc.oneof({ weight: 80, arbitrary: once }, { weight: odd, arbitrary: content(elementOf(inEntry, odd), odd, 8) }).map((fields) =>
    `<${name}>${fields}</${name}>`
  )
}

const listings = [['ListBucketResult', 'Contents'], ['ListVersionsResult', 'Version'], ['ListMultipartUploadsResult', 'Upload'], [
  'ListPartsResult',
  'Part'
]] as const

/** @param odd from 0, what stores write, to 100 */
export function listingOf(odd: number): fc.Arbitrary<string> {
  const declaration = fc.constantFrom(
    '',
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    '<?xml version="1.0" encoding="ISO-8859-1"?>',
    '\ufeff',
    '\n<?xml version=\'1.0\'?>'
  )
  const attributes = fc.constantFrom(
    '',
    ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"',
    ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"',
    ' xmlns=\'a\'',
    ' xmlns:a="b"',
    ' a="&amp;"'
  )
  return fc.constantFrom(...listings).chain(([root, row]) => {
    const entry = fc.oneof(
      { weight: 100, arbitrary: entryOf(row, odd) },
      { weight: 20, arbitrary: entryOf(root === 'ListVersionsResult' ? 'DeleteMarker' : 'CommonPrefixes', odd) },
      { weight: odd, arbitrary: fc.constantFrom(...entries).chain((name) => entryOf(name, odd)) }
    )
    const head = fc.shuffledSubarray(inRoot).chain((names) => fc.tuple(...names.map((name) => elementOf([name], odd))).map((all) => all.join('')))
    return fc.tuple(declaration, attributes, head, content(entry, odd, 5), head, fc.boolean()).map(([start, tag, before, rows, after, both]) =>
      `${start}<${root}${tag}>${before}${rows}${both && odd > 20 ? after : ''}</${root}>`
    )
  })
}

/** What changes a document into one that is nearly of a store. */
export const tokens = [
  '<',
  '>',
  '/',
  '&',
  ';',
  '"',
  ' ',
  '\n',
  'a',
  '0',
  '-',
  '\u0000',
  '\u00ff',
  '&amp;',
  '&#34;',
  '&#0;',
  '&x;',
  '<a>',
  '</a>',
  '<a/>',
  '<Key>k</Key>',
  '<Size>7</Size>',
  '<Size><a/></Size>',
  '<ETag>e</ETag>',
  '<!---->',
  '<![CDATA[c]]>',
  '<?p?>',
  '<Checksum>c</Checksum>',
  '<UserMetadata/>',
  '<Contents>',
  '</Contents>',
  'x:',
  ' x="y"',
  ']]>'
]
