// Writes the test vectors of docs/FORMAT.md: node test/vectors/generate.ts [directory]
// Every byte comes from the names of the vectors: a second run writes the same files, and a new vector changes no other.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import process from 'node:process'
import { records } from './records.ts'
import { allChecksums, checksum, customer, keyring, kms, object, type Headers, type KeyMaker, type ObjectOptions, type Vector } from './objects.ts'
import {
  cut,
  derive,
  entry,
  flip,
  kinds,
  MIB5,
  padded,
  seal,
  sealManifest,
  SEGMENT,
  sizeOf,
  storedPartSize,
  streamKeyOf,
  streamSize,
  u64,
  u8,
  type Body
} from './writer.ts'

const zeros = (size: number): Buffer => Buffer.alloc(size)
const at = 'realm, bucket and name of the object are those that the box is bound to'

/** All vectors by the paths of their files, without `.json`. */
export function vectors(): ReadonlyMap<string, Vector> {
  const all = new Map<string, Vector>()
  const add = (name: string, description: string, options: ObjectOptions = {}): void => {
    all.set(name, object(name, description, options))
  }
  const bad = (name: string, kind: string, condition: string, options: ObjectOptions, description = condition): void => {
    add(`bad-${name}`, description, { ...options, fails: [kind, condition] })
  }
  singles(add)
  keys(add, bad)
  envelopes(bad)
  attributes(bad)
  digests(add, bad)
  sealed(add, bad)
  empties(add, bad)
  multiparts(add, bad)
  manifests(bad)
  bodies(bad)
  for (const [name, vector] of records()) all.set(`records/${name}`, vector)
  return all
}

type Add = (name: string, description: string, options?: ObjectOptions) => void
type Bad = (name: string, kind: string, condition: string, options: ObjectOptions, description?: string) => void

function singles(add: Add): void {
  const hello = Buffer.from('Hello, world!\n')
  add('example', 'the worked example of FORMAT', { size: hello.length, plaintext: hello, isSealed: true, written: [['content-type', 'text/plain']] })
  for (const size of [1, 65_479, 65_480, 65_481, 131_000, 131_001]) {
    const ranges = size < 65_481 ? [] : [[65_479, 65_480], [size - 1, size - 1], [65_480, size - 1]] as const
    add(`single-${size}`, `a single of ${size} bytes`, { size, ...ranges.length > 0 ? { ranges } : {} })
  }
  add('single-0', 'a single of 0 bytes, as version 0.1.0 wrote it: its only segment is empty', { kind: 'single', size: 0 })
  add('single-late-digests', 'MD5 and SHA-256 are in the manifest', { size: 300, late: true })
  add('single-digests-not-announced', 'the manifest has digests and the flag is 0: they are of no account', {
    size: 300,
    manifest: { flags: 1, count: 1, md5: zeros(16), checksums: checksum(1, 1, zeros(4)) }
  })
  add('single-unicode', 'a name beyond ASCII, with a control character, not normalised', { size: 300, at: { object: 'Gro\u0308ße/漢字/😀 \u0001' } })
  add('single-public', 'the public mark', { size: 20, isPublic: true })
  add('single-two-checksums', 'two checksums, one of them of parts that are forgotten', {
    size: 20,
    attributes: (own) => ({ count: 2, checksums: Buffer.concat([own.checksums, checksum(2, 2, derive('two checksums', 4))]) })
  })
  for (const sse of [1, 2, 3]) add(`single-sse-${sse}`, `code ${sse} of server-side encryption`, { size: 20, sse })
  for (const algorithm of allChecksums) add(`single-${algorithm}`, `a checksum of ${algorithm}`, { size: 3, algorithm })
  add('single-no-digests', 'neither MD5 nor checksum', { size: 20, algorithm: null, attributes: { flags: 0, md5: zeros(0) } })
}

function keys(add: Add, bad: Bad): void {
  const context = { '𐀀': 'Küste', '～': 'a,"b"', 'team': '' }
  add('key-context', 'an encryption context of the client, whose names have another order in UTF-16 than in UTF-8', { size: 30, key: keyring({ context }) })
  add('key-of-object', 'the bucket key serves this object alone', { size: 30, scope: 2, key: keyring({ context: { team: 'a' } }) })
  add('key-decrypt-only', 'a version of the master key that opens and wraps no more', { size: 30, key: keyring({ state: 'decrypt-only' }) })
  add('key-kms', 'AWS KMS, with a context of the client', { size: 30, key: kms({ 'team': 'a,b="c"', 'Küste': '' }), sse: 2 })
  add('key-kms-object', 'AWS KMS, the bucket key serves this object alone', { size: 30, scope: 2, key: kms(), sse: 2, at: { object: 'a/ö "b",{c}' } })
  add('key-kms-long', 'a wrapped bucket key of 6,144 bytes', { size: 30, key: kms({}, 6144) })
  add('key-customer', 'SSE-C', { size: 30, key: customer(), sse: 3 })
  bad('key-customer', 'key', 'Key providers, SSE-C: the check value is that of the key given', {
    size: 30,
    key: customer(),
    members: { customerKey: derive('another key', 32).toString('hex') }
  })
  bad('key-customer-scope', 'format', 'Metadata: the scope is 1 with SSE-C', { size: 30, scope: 2, key: customer() })
  bad('key-customer-blob-longer', 'format', 'Key providers, SSE-C: the blob has 48 bytes', { size: 30, key: customer((blob) => Buffer.concat([blob, u8(0)])) })
  bad('key-customer-blob-shorter', 'format', 'Key providers, SSE-C: the blob has 48 bytes', { size: 30, key: customer((blob) => blob.subarray(0, 47)) })
  bad('key-disabled', 'key', 'Key providers: a version that is disabled is not used', { size: 30, key: keyring({ state: 'disabled' }) })
  bad('key-missing', 'key', 'Key providers: the keyring has the version that the key id names', { size: 30, key: keyring({ id: 'v2-test' }) })
  bad('key-zero', 'box', 'Reading, step 2: the bucket key is not zero', { size: 30, key: keyring({ bucketKey: zeros(32) }) })
  bad('key-zero-given', 'box', 'Reading, step 2: the bucket key is not zero', { size: 30, key: kms({}, 184, zeros(32)) })
  bad('key-short', 'box', 'Reading, step 2: the bucket key has 32 bytes', { size: 30, key: keyring({ bucketKey: derive('a short key', 31) }) })
  bad('key-other', 'box', 'Reading, step 2: the box opens under the bucket key', {
    size: 30,
    key: kms(),
    members: { bucketKey: derive('another key', 32).toString('hex') }
  })
  bad('key-blob', 'box', 'Reading, step 2: the wrapped bucket key opens', { size: 30, raw: (raw) => changed(raw, 20) }, 'one bit of the wrapped bucket key')
  bad('key-object', 'box', 'Key providers: the context has the name of the object where the scope is 2', {
    size: 30,
    scope: 2,
    at: { object: 'a' },
    asked: { object: 'b' }
  })
  const reserved = { 'AWS:s3:arn': 'arn:aws:s3:::photos' }
  bad('key-reserved-name', 'format', 'Key providers: no pair of the client has a reserved name', { size: 30, key: keyring({ context: reserved }) })
  bad('key-reserved-realm', 'format', 'Key providers: no pair of the client has a reserved name', {
    size: 30,
    key: keyring({ context: { 'sealgate:realm': 'main' } })
  })
  const contextOf = (text: string): KeyMaker => keyring({ context: { a: '1' }, contextText: Buffer.from(text).toString('base64') })
  const strings = 'Key providers: names and values of the client are well-formed text, no name is empty or __proto__'
  bad('key-context-surrogate', 'format', strings, { size: 30, key: contextOf('{"a":"\\ud800"}') })
  bad('key-context-surrogate-name', 'format', strings, { size: 30, key: contextOf('{"\\udc00":"1"}') })
  bad('key-context-no-name', 'format', strings, { size: 30, key: keyring({ context: { '': '1' } }) })
  bad('key-context-proto', 'format', strings, { size: 30, key: keyring({ context: Object.fromEntries([['__proto__', '1']]) as Record<string, string> }) })
  bad('key-context-not-json', 'format', 'Metadata: the context is JSON', { size: 30, key: contextOf('{"a":"1"') })
  bad('key-context-array', 'format', 'Metadata: the context is an object of strings', { size: 30, key: contextOf('["a","1"]') })
  // A blank behind the JSON, and bits of the last character that are not 0.
  bad('key-context-base64', 'format', 'Metadata: the base64 of a context is canonical', {
    size: 30,
    key: keyring({ context: { a: '1' }, contextText: 'eyJhIjoiMSJ9IB==' })
  })
  bad('key-context-long', 'format', 'Metadata: a context has at most 1,536 bytes of JSON', { size: 30, key: keyring({ context: { a: 'x'.repeat(1529) } }) })
  add('key-context-longest', 'a context of 1,536 bytes of JSON', { size: 30, key: keyring({ context: { a: 'x'.repeat(1528) } }) })
  bad('key-context-value', 'format', 'Metadata: the context is an object of strings', {
    size: 30,
    key: keyring({ context: { a: '1' }, contextText: Buffer.from('{"a":1}').toString('base64') })
  })
}

const changed = (bytes: Buffer, offset: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy.writeUInt8(copy.readUInt8(offset) ^ 1, offset)
  return copy
}

function envelopes(bad: Bad): void {
  const size = 20
  bad('version', 'format', 'Metadata: version 1', { size, envelope: { version: 2 } })
  bad('version-0', 'format', 'Metadata: version 1', { size, envelope: { version: 0 } })
  bad('suite', 'format', 'Metadata: suite 1', { size, envelope: { suite: 2 } })
  bad('kind', 'format', 'Metadata: kind 1, 2 or 3', { size, envelope: { kind: 4 } })
  bad('kind-0', 'format', 'Metadata: kind 1, 2 or 3', { size, envelope: { kind: 0 } })
  bad('scope', 'format', 'Metadata: scope 1 or 2', { size, envelope: { scope: 3 } })
  bad('scope-0', 'format', 'Metadata: scope 1 or 2', { size, envelope: { scope: 0 } })
  bad('padding', 'format', 'Terminology: base64url has no padding', { size, text: (text) => `${text}${'='.repeat(-text.length & 3 || 4)}` })
  bad('alphabet', 'format', 'Terminology: base64url has `-` and `_`', { size, text: (text) => text.replaceAll('-', '+').replaceAll('_', '/') })
  bad('line-end', 'format', 'Terminology: base64url has no white space', { size, text: (text) => `${text}\n` })
  bad('trailing-bits', 'format', 'Terminology: base64url is canonical, its unused bits are 0', {
    size,
    // A wrapped key of this size leaves bits of the last character unused.
    key: kms({}, 185),
    text: (text) => {
      if (text.length % 4 === 0) throw new RangeError('The last character has no unused bits.')
      return `${text.slice(0, -1)}${String.fromCharCode(text.charCodeAt(text.length - 1) + 1)}`
    }
  })
  const long = padded(...Array.from({ length: 4 }, (_, i) => entry(`x-amz-meta-${i}`, 'a'.repeat(200))))
  bad('long', 'format', 'Metadata: at most 9,216 characters', {
    size,
    key: kms({}, 6144),
    at: { bucket: 'b'.repeat(255) },
    isSealed: true,
    attributes: { sealed: long }
  })
  bad('cut', 'format', 'Metadata: no bytes are missing', { size, raw: (raw) => raw.subarray(0, 110) })
  bad('box-cut', 'format', 'Metadata: the box has a wrap and a data key, 80 bytes', { size, raw: (raw) => raw.subarray(0, 4 + 7 + 82 + 32 + 40 + 79) })
  bad('no-bucket', 'format', 'Metadata: the name of the bucket has 1 to 255 bytes', { size, key: kms(), at: { bucket: '' } })
  bad('bucket-utf8', 'format', 'Terminology: text is UTF-8', { size, key: kms(), at: { bucket: '\ufffd' }, envelope: { bucketBytes: u8(255) } })
  bad('no-blob', 'format', 'Metadata: the wrapped bucket key has 1 to 6,144 bytes', { size, key: kms({}, 0) })
  bad('long-blob', 'format', 'Metadata: the wrapped bucket key has 1 to 6,144 bytes', { size, key: kms({}, 6145) })
  bad('bucket', 'place', 'Reading, step 1: the bucket of the envelope is the one asked', { size, asked: { bucket: 'other' } })
  bad('bound-bucket', 'box', `Reading, step 2: ${at}`, {
    size,
    key: kms(),
    asked: { bucket: 'videos' },
    raw: (raw) => Buffer.from(raw.toString('latin1').replace('photos', 'videos'), 'latin1')
  })
  bad('realm', 'box', `Reading, step 2: ${at}`, { size, key: kms(), asked: { realm: 'other' } })
  bad('object', 'box', `Reading, step 2: ${at}`, { size, key: kms(), asked: { object: 'holidays/sea.jpg2' } })
  bad('normalised', 'box', 'Terminology: nothing is normalised', { size, key: kms(), at: { object: 'o\u0308' }, asked: { object: 'ö' } })
  bad('box', 'box', 'Reading, step 2: the box opens', { size, raw: (raw) => changed(raw, raw.length - 30) }, 'one bit of the box')
  bad('clear-scope', 'box', 'Reading, step 2: the clear fields are in the AAD', {
    size,
    key: kms(),
    raw: (raw) => Buffer.concat([raw.subarray(0, 3), u8(2), raw.subarray(4)])
  })
  bad('header', 'box', 'Reading, step 2: the stream header is in the AAD', { size, raw: (raw) => changed(raw, 4 + 7 + 82 + 32 + 5) })
  bad('commitment', 'commitment', 'Reading, step 3: the commitment is that of the data key', {
    size,
    envelope: { commitment: derive('another commitment', 32) }
  })
  bad('zero-data-key', 'box', 'Reading, step 3: the data key is not zero', { size, dataKey: zeros(32) })
}

function attributes(bad: Bad): void {
  const size = 20
  for (const bit of [5, 6, 7]) {
    bad(`attributes-flag-${bit}`, 'format', 'Metadata, attributes: the flags above bit 4 are 0', {
      size,
      attributes: (own) => ({ flags: own.flags + 2 ** bit })
    })
  }
  bad('attributes-sse', 'format', 'Metadata, attributes: server-side encryption is 0 to 3', { size, attributes: { sse: 4 } })
  bad('attributes-three-checksums', 'format', 'Metadata, attributes: at most two checksums', {
    size,
    attributes: (own) => ({ count: 3, checksums: Buffer.concat([own.checksums, own.checksums, own.checksums]) })
  })
  for (const code of [0, 11]) {
    bad(`attributes-checksum-${code}`, 'format', 'Checksums: algorithms 1 to 10', {
      size,
      attributes: { checksums: checksum(code, 1, zeros(code === 0 ? 0 : 32)) }
    })
  }
  for (const type of [0, 3]) {
    bad(`attributes-checksum-type-${type}`, 'format', 'Checksums: types 1 and 2', { size, attributes: { checksums: checksum(1, type, zeros(4)) } })
  }
  bad('attributes-length', 'format', 'Terminology: u64 fields have at most 10,000 × 5,367,071,380', { size, attributes: { length: u64(53_670_713_800_001) } })
  bad('attributes-length-64', 'format', 'Terminology: u64 fields have at most 10,000 × 5,367,071,380', { size, attributes: { length: u64(2n ** 64n - 1n) } })
  bad('attributes-surplus', 'format', 'Metadata: no surplus bytes', { size, attributes: (own) => ({ checksums: Buffer.concat([own.checksums, u8(0)]) }) })
  bad('attributes-cut', 'format', 'Metadata: no bytes are missing', { size, attributes: (own) => ({ checksums: own.checksums.subarray(0, -1) }) })
  bad('attributes-none', 'format', 'Metadata: no bytes are missing', { size, envelope: { attributes: zeros(0) } })
  bad('attributes-multipart-length', 'format', 'Metadata: a multipart object has no length in its attributes', {
    parts: [[1, 20]],
    attributes: { length: u64(20) }
  })
}

const image: Headers = [['content-type', 'image/jpeg']]

function digests(add: Add, bad: Bad): void {
  const size = 20
  const ok = (name: string, description: string, written: Headers, returned: Headers = written): void => {
    add(`metadata-${name}`, description, { size, written, returned })
  }
  const no = (name: string, description: string, written: Headers, returned: Headers): void => {
    bad(`metadata-${name}`, 'metadata', 'Reading, step 5: the metadata digest is that of what the store returned', { size, written, returned }, description)
  }
  const one = (name: string, value: string): Headers => [...image, [`x-amz-meta-${name}`, value]]
  no('type', 'the content type was changed', image, [['content-type', 'text/html']])
  no('no-type', 'the content type was taken away', image, [])
  no('type-given', 'a content type where there was none', [], image)
  no('value', 'a value was changed', one('a', '1'), one('a', '2'))
  no('case', 'values have case', one('a', 'x'), one('a', 'X'))
  no('name', 'a name was changed', one('a', '1'), one('b', '1'))
  no('removed', 'an entry was taken away', one('a', '1'), image)
  no('added', 'an entry was put in', image, one('a', '1'))
  no('moved', 'the border between name and value', one('a', 'bc'), one('ab', 'c'))
  no('encoding', 'a content encoding was put in', image, [...image, ['content-encoding', 'gzip']])
  no('encoding-order', 'codings have an order', [...image, ['content-encoding', 'gzip, br']], [...image, ['content-encoding', 'br, gzip']])
  no('underscore', 'a name with `-` that comes back with `_`', one('a-b', '1'), one('a_b', '1'))
  no('spaces-removed', 'a space is not nothing', one('a', '1 2'), one('a', '12'))
  no('name-of-word', 'the name of an entry whose value is not bound', one('a', '=?UTF-8?B?w7Y=?='), one('b', '=?UTF-8?B?w7Y=?='))
  no('word-removed', 'an entry whose value is not bound was taken away', one('a', 'ö'), image)
  no('word-put-in', 'a bound value became an encoded word', one('a', 'o'), one('a', '=?UTF-8?B?w7Y=?='))
  ok('other-headers', 'what the store adds of its own is not bound', image, [...image, ['cache-control', 'no-store'], ['content-language', 'de'], [
    'x-amz-meta-sealgate-other',
    '1'
  ]])
  ok('underscore', 'names with `_`', [...one('a_b', '1'), ['x-amz-meta-c-d', '2']])
  ok('underscore-lost', 'names with `_` that the store returns with `-`', [...one('z_b', '1'), ['x-amz-meta-c-d', '2']], [...one('z-b', '1'), [
    'x-amz-meta-c-d',
    '2'
  ]])
  ok('underscore-empty', 'a `_` in the name of an empty entry is of no account', one('a-b', '1'), [...one('a-b', '1'), ['x-amz-meta-c_d', '']])
  ok('order', 'names are sorted bytewise, `-` before `_` and letters', [...one('a1', '3'), ['x-amz-meta-a.b', '1'], ['x-amz-meta-a', '2'], [
    'x-amz-meta-a-b',
    '4'
  ]])
  ok('spaces', 'double spaces, and spaces at the ends, of which the store keeps none', one('a', '  1   2  '), one('a', '1 2'))
  ok('spaces-kept', 'double spaces, and blanks at the ends, which the store keeps', one('a', '1 2'), one('a', ' \t1   2\t '))
  ok('tab', 'a value with a tab is not bound', one('a', '1\t2'), one('a', '=?UTF-8?Q?1=092?='))
  ok('word', 'an encoded word is not bound', one('a', '=?UTF-8?B?w7Y=?='), one('a', 'Ã¶'))
  ok('latin1', 'a value beyond ASCII is not bound', one('a', 'ö'), one('a', '=?ISO-8859-1?Q?=F6?='))
  ok('case', 'names have no case', one('A-B', '1'), [['Content-Type', 'image/jpeg'], ['X-Amz-Meta-a-b', '1']])
  ok('empty', 'an entry without a value is none', one('a', ''), image)
  ok('default-type', 'no content type, and the store says the default', [], [['content-type', 'binary/octet-stream']])
  ok('octet-stream', 'no content type, and the store says another default', [], [['content-type', 'application/octet-stream']])
  ok('type-spaces', 'a content type with spaces', [['content-type', ' text/plain;  charset=utf-8 ']], [['content-type', 'text/plain; charset=utf-8']])
  ok('encoding', 'codings without case, blanks and aws-chunked', [...image, ['content-encoding', 'aws-chunked, GZIP ,br,']], [...image, [
    'content-encoding',
    'gzip,br,aws-chunked'
  ]])
  ok('encoding-chunked', 'aws-chunked alone is no content encoding', image, [...image, ['content-encoding', 'aws-chunked']])
}

/** What a sealed entry may say. */
const described: Headers = [
  ['content-type', 'text/html; charset=utf-8'],
  ['content-encoding', 'gzip'],
  ['content-language', 'de, en'],
  ['content-disposition', 'attachment; filename="a  b.html"'],
  ['cache-control', 'max-age=60'],
  ['expires', 'Thu, 01 Jan 2026 00:00:00 GMT'],
  ['x-amz-meta-a-b', '1'],
  ['x-amz-meta-a_b', '2'],
  ['x-amz-meta-empty', ''],
  ['x-amz-meta-latin1', 'ö'],
  ['x-amz-meta-spaces', 'a  b\tc'],
  ['x-amz-meta-utf8', Buffer.from('漢字').toString('latin1')],
  ['x-amz-meta-word', '=?UTF-8?B?w7Y=?='],
  ['x-amz-meta-~!#$%&\'*+.^|`', '=']
]

function sealed(add: Add, bad: Bad): void {
  const size = 20
  const ok = (name: string, description: string, written: Headers, options: ObjectOptions = {}): void => {
    add(`sealed-${name}`, description, { size, isSealed: true, written, ...options })
  }
  ok('none', 'no metadata at all: 64 zeros', [])
  ok('type', 'a content type', [['content-type', 'text/html']])
  ok('all', 'every header, and user metadata of every kind', described)
  ok('ignored', 'what the store returns is of no account', [['content-type', 'text/html']], {
    returned: [['content-type', 'text/plain'], ['content-encoding', 'br'], ['cache-control', 'no-store'], ['x-amz-meta-a', 'b']]
  })
  ok('64', 'entries of exactly 64 bytes need no padding', [['content-type', 'a'.repeat(61)]])
  ok('65', 'entries of 65 bytes are padded to 128', [['content-type', 'a'.repeat(62)]])
  ok('long-name', 'a name of 255 bytes', [[`x-amz-meta-${'n'.repeat(255)}`, 'v']])
  ok('no-name', 'a name of 0 bytes', [['x-amz-meta-', 'v'], ['x-amz-meta-a', 'b']])
  ok('late', 'digests in the manifest', [['content-type', 'text/html']], { late: true })
  ok('public', 'sealed metadata and the public mark', [['content-type', 'text/html']], { isPublic: true })
  ok('multipart', 'a multipart object', described, { parts: [[1, 20]] })
  ok('customer', 'SSE-C', described, { key: customer(), sse: 3 })
  ok('kms', 'AWS KMS', described, { key: kms(), sse: 2 })
  const no = (name: string, condition: string, bytes: Buffer): void => {
    bad(`sealed-${name}`, 'format', `Sealed metadata: ${condition}`, { size, isSealed: true, attributes: { sealed: bytes } })
  }
  const type = entry('content-type', 'text/html')
  const user = (name: string, value = ''): Buffer => entry(`x-amz-meta-${name}`, value)
  no('missing', 'at least 64 bytes', zeros(0))
  no('code', 'codes 1 to 7', padded(u8(8), type.subarray(1)))
  no('order', 'codes 1 to 6 ascend', padded(entry('content-language', 'de'), entry('content-encoding', 'gzip')))
  no('twice', 'codes 1 to 6 ascend strictly', padded(type, type))
  no('user-first', 'user metadata comes last', padded(user('a', '1'), type))
  no('names-order', 'names ascend', padded(user('b'), user('a')))
  no('names-twice', 'names ascend strictly', padded(user('a', '1'), user('a', '2')))
  no('name-case', 'names are in lower case', padded(user('A', '1')))
  no('name-colon', 'names have the characters of the list', padded(user('a:b', '1')))
  no('name-utf8', 'names have the characters of the list', padded(user('ö', '1')))
  no('name-reserved', 'a name does not begin with sealgate', padded(user('sealgate', '1')))
  no('name-reserved-longer', 'a name does not begin with sealgate', padded(user('sealgate-key', '1')))
  no('value-empty', 'a describing header has 1 byte or more', padded(entry('content-type', '')))
  no('value-space', 'no spaces at the start of a value', padded(entry('content-type', ' text/html')))
  no('value-tab', 'no tabs at the end of a value', padded(user('a', '1\t')))
  no('value-line', 'values have no line ends', padded(user('a', '1\n2')))
  no('value-last-line', 'values have no line ends', padded(user('a', '1\n')))
  no('value-zero', 'values have no zeros', padded(user('a', '1\u00002')))
  no('value-delete', 'values have no 0x7f', padded(entry('cache-control', '\u007f')))
  no('default-type', 'binary/octet-stream has no entry', padded(entry('content-type', 'binary/octet-stream')))
  no('chunked', 'aws-chunked is no content encoding', padded(entry('content-encoding', 'aws-chunked')))
  no('chunked-member', 'aws-chunked is no content encoding', padded(entry('content-encoding', 'gzip, AWS-Chunked')))
  no('padding-longer', 'as many padding bytes as 64 needs', Buffer.concat([padded(type), zeros(64)]))
  no('padding-surplus', 'as many padding bytes as 64 needs', Buffer.concat([padded(type), zeros(1)]))
  no('padding-shorter', 'as many padding bytes as 64 needs', padded(type).subarray(0, -1))
  no('padding-none', 'as many padding bytes as 64 needs', type)
  no('padding-64', 'no padding behind 64 bytes', Buffer.concat([entry('content-type', 'a'.repeat(61)), zeros(64)]))
  no('padding-byte', 'padding bytes are zeros', changed(padded(type), 63))
  no('padding-entry', 'a byte 0 ends the entries', Buffer.concat([type, zeros(20), user('a', '1'), zeros(26)]))
  no('value-cut', 'no bytes are missing', Buffer.concat([zeros(0), u8(1, 0, 62), Buffer.alloc(61, 97)]))
  bad('sealed-flag-clear', 'format', 'Metadata: no surplus bytes', { size, attributes: { sealed: padded(type) } }, 'sealed metadata and a metadata digest')
}

function empties(add: Add, bad: Bad): void {
  add('empty', 'an object without a body', { kind: 'empty' })
  add('empty-sealed', 'an object without a body, its metadata sealed', { kind: 'empty', isSealed: true, written: described })
  add('empty-directory', 'a name that ends in /, with content', { kind: 'empty', isSealed: true, at: { object: 'holidays/' } })
  add('empty-public', 'an object without a body that all may read', { kind: 'empty', isPublic: true })
  add('empty-customer', 'an object without a body under SSE-C', { kind: 'empty', key: customer(), sse: 3 })
  const kind = 'empty'
  bad('empty-zeros', 'length', 'Reading, step 4: an empty object has no body', { kind, body: () => [512] })
  bad('empty-byte', 'length', 'Reading, step 4: an empty object has no body', { kind, body: () => [1] })
  bad('empty-single', 'length', 'Reading, step 4: an empty object has no body', { kind, body: () => emptySingle() }, 'the body of a single of 0 bytes')
  bad('empty-late', 'format', 'Metadata, attributes: bit 1 is 0 for an empty object', { kind, attributes: (own) => ({ flags: own.flags + 2 }) })
  bad('empty-length', 'format', 'Metadata, attributes: an empty object has no length', { kind, attributes: { length: u64(0) } })
  bad('empty-header', 'box', 'Metadata: an empty object has no stream header', { kind, envelope: { header: derive('a header', 40) } })
  const clear = (to: number) => (raw: Buffer): Buffer => Buffer.concat([raw.subarray(0, 2), u8(to), raw.subarray(3)])
  bad(
    'empty-of-multipart',
    'box',
    'Reading, step 2: the kind is in the AAD',
    { parts: [[1, 20]], raw: clear(kinds.empty), body: () => [] },
    'a multipart object cut to nothing'
  )
  bad('empty-of-single', 'box', 'Reading, step 2: the kind is in the AAD', {
    size: 20,
    raw: (raw) => Buffer.concat([clear(kinds.empty)(raw).subarray(0, 4 + 7 + 82 + 32), raw.subarray(4 + 7 + 82 + 32 + 40)]),
    body: () => []
  }, 'a single cut to nothing')
  bad('multipart-of-empty', 'box', 'Reading, step 2: the kind is in the AAD', { kind, raw: clear(kinds.multipart) })
}

function emptySingle(): Body {
  const key = streamKeyOf(derive('bad-empty-single: data key', 32))
  const { body } = seal('bad-empty-single: stream', key, { kind: 1, number: 1, length: 0 }, zeros(0))
  const tail = sealManifest('bad-empty-single', key, u8(1, 0, 0, 0))
  return [...body, 512 - sizeOf(body) - sizeOf(tail), ...tail]
}

/** 510 parts with MD5 and SHA-512: more than one segment of manifest. Two parts are there; the others are zeros. */
const many = Array.from({ length: 510 }, (_, i): [number, number] => [i + 1, i === 509 ? 10 : MIB5])

function multiparts(add: Add, bad: Bad): void {
  const two = [[3, MIB5 + 1], [9, 10]] as const
  const border = MIB5 + 1
  add('multipart-one', 'one part, two segments', { parts: [[1, 70_000]] })
  add('multipart-empty', 'one part of 0 bytes', { parts: [[1, 0]] })
  add('multipart-two', 'parts 3 and 9, of 5 MiB + 1 and 10 bytes', {
    parts: two,
    ranges: [[0, 0], [65_479, 65_480], [border - 1, border], [border, border], [border + 9, border + 9], [MIB5 - 70_000, border + 9], [0, border + 9]]
  })
  add('multipart-five-mib', 'one part of 5 MiB, padded', { parts: [[1, MIB5]], ranges: [[MIB5 - 1, MIB5 - 1]] })
  add('multipart-last-five-mib', 'two parts of 5 MiB, both padded', { parts: [[1, MIB5], [2, MIB5]], ranges: [[MIB5 - 1, MIB5]] })
  add('multipart-last-smaller', 'a last part of 5 MiB less 1, not padded', { parts: [[10_000, MIB5 - 1]] })
  add('multipart-last-empty', 'a part of 5 MiB, and one of 0 bytes', { parts: [[1, MIB5], [2, 0]], ranges: [[MIB5 - 1, MIB5 - 1]] })
  add('multipart-numbers', 'the highest numbers there are', { parts: [[9999, MIB5], [10_000, 1]] })
  add('multipart-no-digests', 'parts without digests', { parts: [[1, 20]], algorithm: null, part: (part) => ({ ...part, flags: 0, digests: zeros(0) }) })
  add('multipart-mixed-digests', 'one part with MD5 and checksum, one without', {
    parts: [[1, MIB5], [2, 20]],
    part: (part, index) => index === 0 ? part : { ...part, flags: 0, digests: zeros(0) }
  })
  add('multipart-checksums', 'two checksums of the object', {
    parts: [[1, 20]],
    manifest: { count: 2, checksums: Buffer.concat([checksum(3, 1, derive('a CRC', 8)), checksum(7, 2, derive('a SHA-512', 64))]) }
  })
  for (const algorithm of allChecksums) add(`multipart-${algorithm}`, `parts with checksums of ${algorithm}`, { parts: [[1, 3]], algorithm })
  add('multipart-public', 'the public mark', { parts: [[1, 20]], isPublic: true })
  const last = 509 * MIB5
  bad('multipart-sparse', 'header', 'Reading, step 7: the stored header of a stream is that in the manifest', {
    parts: many,
    present: [0, 509],
    algorithm: 'sha512',
    released: MIB5,
    ranges: [[0, 100], [MIB5 - 1, MIB5 - 1], [last, last + 9]]
  }, 'a manifest of two segments; of 510 parts the first and the last are there')
  const no = (name: string, kind: string, condition: string, options: ObjectOptions, description = condition): void => {
    bad(`multipart-${name}`, kind, condition, { parts: two, ...options }, description)
  }
  const padding = streamSize(border) + 3
  no('gap', 'zeros', 'Reading, step 8: all zeros are zero', { body: (body) => flip(body, padding), released: border }, 'a bit between two parts')
  no(
    'last-gap',
    'zeros',
    'Reading, step 8: all zeros are zero',
    { body: (body, { zeros: end }) => flip(body, end - 1), released: border },
    'a bit in front of the manifest'
  )
  no(
    'bit',
    'segment',
    'Streams: the tag of a segment verifies',
    { body: (body) => flip(body, 2 * SEGMENT + 5), released: 131_000 },
    'a bit of segment 2 of the first part'
  )
  no(
    'last-tag',
    'segment',
    'Streams: the tag of a segment verifies',
    { body: (body, { streams }) => flip(body, streams - 1), released: border },
    'a bit of the last tag of the last part'
  )
  no('stored-header', 'header', 'Streams: the stored header is that in the manifest', {
    body: (body) => flip(body, storedPartSize(border) + 7),
    released: border
  }, 'a bit of the header of part 9')
  no('swapped-bodies', 'header', 'Streams: the stored header is that in the manifest', {
    parts: [[1, MIB5], [2, MIB5]],
    body: (
      body
    ) => [...cut(body, storedPartSize(MIB5), 2 * storedPartSize(MIB5)), ...cut(body, 0, storedPartSize(MIB5)), ...cut(body, 2 * storedPartSize(MIB5), Infinity)]
  }, 'two parts of equal length changed places')
}

function manifests(bad: Bad): void {
  const parts = [[1, 20]] as const
  const two = [[3, MIB5], [9, 10]] as const
  const no = (name: string, condition: string, options: ObjectOptions, description = condition): void => {
    bad(`manifest-${name}`, 'manifest', `Manifest: ${condition}`, { parts, ...options }, description)
  }
  no('kind', 'the kind is that of the envelope', { manifest: { kind: 1 } })
  no('kind-3', 'the kind is that of the envelope', { manifest: { kind: 3 } })
  for (const bit of [0, 1, 7]) no(`flag-${bit}`, 'a multipart object has no flags', { manifest: { flags: 2 ** bit } })
  for (const bit of [1, 2, 7]) {
    bad(`manifest-single-flag-${bit}`, 'manifest', 'Manifest: the flags above bit 0 are 0', {
      size: 20,
      late: true,
      manifest: (own) => ({ flags: own.flags + 2 ** bit })
    })
  }
  bad('manifest-single-kind', 'manifest', 'Manifest: the kind is that of the envelope', { size: 20, manifest: { kind: 2 } })
  bad('manifest-single-algorithm', 'manifest', 'Manifest: a single has 0 as algorithm of the parts', { size: 20, manifest: { algorithm: 5 } })
  bad('manifest-single-surplus', 'manifest', 'Manifest: nothing follows', { size: 20, manifest: { surplus: u8(0) } })
  bad('manifest-single-cut', 'manifest', 'Manifest: no bytes are missing', {
    size: 20,
    late: true,
    manifest: (own) => ({ checksums: own.checksums.subarray(1) })
  })
  bad(
    'manifest-empty',
    'manifest',
    'Manifest: no bytes are missing',
    { size: 20, body: (body, { streams }) => withEmptyManifest(body, streams) },
    'a manifest of 0 bytes'
  )
  const unchecked = (part: { readonly digests?: Buffer }): { flags: number; digests: Buffer } => ({
    flags: 1,
    digests: (part.digests ?? zeros(0)).subarray(0, 16)
  })
  no('algorithm', 'the algorithm of the parts is 0 to 10', { manifest: { algorithm: 11 }, part: (part) => ({ ...part, ...unchecked(part) }) })
  no('three-checksums', 'at most two checksums', {
    manifest: { count: 3, checksums: Buffer.concat(Array.from({ length: 3 }, () => checksum(1, 1, zeros(4)))) }
  })
  no('checksum-algorithm', 'algorithms 1 to 10', { manifest: { count: 1, checksums: checksum(11, 1, zeros(32)) } })
  no('checksum-type', 'types 1 and 2', { manifest: { count: 1, checksums: checksum(1, 3, zeros(4)) } })
  no('no-parts', '1 to 10,000 parts', { parts: [], manifest: { total: 0 } })
  no('fewer-parts', 'nothing follows', { parts: two, manifest: { total: 1 } }, 'fewer parts than are there')
  no('more-parts', 'no bytes are missing', { manifest: { total: 2 } }, 'more parts than are there')
  for (const bit of [2, 7]) no(`part-flag-${bit}`, 'the flags of a part above bit 1 are 0', { part: (part) => ({ ...part, flags: 3 + 2 ** bit }) })
  no('part-checksum', 'no part has a checksum where there is no algorithm', {
    manifest: { algorithm: 0 },
    part: (part) => ({ ...part, flags: 3, digests: part.digests?.subarray(0, 16) ?? zeros(0) })
  })
  no('part-0', 'numbers are 1 to 10,000', { parts: [[0, 20]] })
  no('part-10001', 'numbers are 1 to 10,000', { parts: [[10_001, 20]] })
  no('descending', 'numbers ascend', { parts: [[9, MIB5], [3, 10]] })
  no('equal-numbers', 'numbers ascend strictly', { parts: [[3, MIB5], [3, 10]] })
  no('swapped', 'numbers ascend', { parts: two, manifest: (own) => ({ parts: swapped(own.parts) }) }, 'the parts changed places in the manifest')
  no('small-first', 'every part but the last has 5 MiB or more', { parts: [[1, MIB5 - 1], [2, MIB5]] })
  no('small-both', 'every part but the last has 5 MiB or more', { parts: [[1, 20], [2, 20]] })
  no('part-length', 'a part has at most 5,367,071,380 bytes', { part: (part) => ({ ...part, length: 5_367_071_381 }) })
  no('part-length-64', 'a part has at most 5,367,071,380 bytes', {
    manifest: (own) => ({ parts: Buffer.concat([own.parts.subarray(0, 3), u64(2n ** 64n - 1n), own.parts.subarray(11)]) })
  })
  no('surplus', 'nothing follows', { manifest: { surplus: u8(0) } })
  bad('manifest-sum', 'length', 'Reading, step 6: storedSize of the sum of lengths is the size of the body', { parts, total: 21 })
  bad('manifest-sum-less', 'length', 'Reading, step 6: storedSize of the sum of lengths is the size of the body', { parts, total: 19 })
}

/** The body with a manifest of 0 bytes. */
function withEmptyManifest(body: Body, streams: number): Body {
  const tail = sealManifest('bad-manifest-empty', streamKeyOf(derive('bad-manifest-empty: data key', 32)), zeros(0))
  return [...cut(body, 0, streams), sizeOf(body) - streams - sizeOf(tail), ...tail]
}

function swapped(parts: Buffer): Buffer {
  const half = parts.length / 2
  return Buffer.concat([parts.subarray(half), parts.subarray(0, half)])
}

function bodies(bad: Bad): void {
  const size = 65_480 + 2 * 65_520 + 10
  const segment = (body: Body, i: number): Body => cut(body, i * SEGMENT, (i + 1) * SEGMENT)
  const tag = 'Streams: the tag of a segment verifies'
  bad('segments-swapped', 'segment', tag, {
    size,
    released: 65_480,
    body: (body) => [...segment(body, 0), ...segment(body, 2), ...segment(body, 1), ...cut(body, 3 * SEGMENT, Infinity)]
  }, 'segments 1 and 2 in the wrong order')
  bad('segment-doubled', 'segment', tag, {
    size,
    released: 131_000,
    body: (body) => [...segment(body, 0), ...segment(body, 1), ...segment(body, 1), ...cut(body, 3 * SEGMENT, Infinity)]
  }, 'segment 1 in place of segment 2')
  bad('bit', 'segment', tag, { size: 500, body: (body) => flip(body, 200) }, 'a bit of the only segment')
  bad('tag', 'segment', tag, { size: 500, body: (body, { streams }) => flip(body, streams - 1) }, 'a bit of a tag')
  bad('stored-header', 'header', 'Streams: the stored header is that in the envelope', { size: 500, body: (body) => flip(body, 5) })
  bad('stored-header-size', 'header', 'Streams: a header begins with 0x28', { size: 500, body: (body) => flip(body, 0) })
  bad('sealed-header-size', 'header', 'Streams: a header begins with 0x28', {
    size: 500,
    envelope: (own) => ({ header: changed(own.header, 0) }),
    body: (body) => flip(body, 0)
  }, 'the header in the envelope and in the body begins with another byte')
  bad(
    'zeros',
    'zeros',
    'Reading, step 8: all zeros are zero',
    { size: 500, body: (body, { streams }) => flip(body, streams) },
    'the first byte behind the stream'
  )
  bad(
    'last-zero',
    'zeros',
    'Reading, step 8: all zeros are zero',
    { size: 500, body: (body, { zeros: end }) => flip(body, end - 1) },
    'the last byte before the manifest'
  )
  bad('zeros-large', 'zeros', 'Reading, step 8: all zeros are zero', { size, released: size - 10, body: (body, { streams }) => flip(body, streams + 100) })
  const footer = (offset: number) => (body: Body): Body => flip(body, sizeOf(body) - offset)
  bad('footer', 'footer', 'Footer: begins with `sealgate`', { size: 500, body: footer(12) })
  bad('footer-size', 'footer', 'Footer: the manifest begins in the body', { size: 500, body: footer(3) })
  bad('footer-no-stream', 'footer', 'Footer: the size is one of a stream', { size: 500, body: (body) => [...cut(body, 0, sizeOf(body) - 1), u8(55)] })
  bad('footer-most', 'footer', 'Footer: the manifest has at most 1,310,562 bytes', {
    size: 2_000_000,
    released: 1_965_560,
    body: (body) => [...cut(body, 0, sizeOf(body) - 4), Buffer.from('0013ff63', 'hex')]
  })
  bad('manifest-bit', 'manifest', 'Reading, step 8: the manifest opens', { size: 500, body: footer(20) }, 'a bit of the tag of the manifest')
  bad(
    'manifest-header',
    'manifest',
    'Reading, step 8: the manifest opens',
    { size: 500, body: (body, { zeros: start }) => flip(body, start + 1) },
    'a bit of the salt of the manifest'
  )
  bad('manifest-header-size', 'manifest', 'Streams: a header begins with 0x28', { size: 500, body: (body, { zeros: start }) => flip(body, start) })
  bad('manifest-of-other', 'manifest', 'Reading, step 8: the manifest opens', {
    size: 500,
    body: (body, { zeros: start }) => [...cut(body, 0, start), ...sealManifest('another object', derive('another stream key', 32), u8(1, 0, 0, 0))]
  }, 'the manifest and footer of another object')
  const law = 'Reading, step 4: storedSize of the length is the size of the body'
  bad('body-cut', 'length', law, { size: 500, body: (body) => cut(body, 0, sizeOf(body) - 1) }, 'the last byte is missing')
  bad('body-no-tail', 'length', law, { size: 500, body: (body, { streams }) => cut(body, 0, streams) })
  bad('body-longer', 'length', law, { size: 500, body: (body) => [...body, 1] }, 'a byte more')
  bad('body-none', 'length', law, { size: 500, body: () => [] }, 'a single without a body')
  bad('body-other-size', 'length', law, { size: 500, total: 501 }, 'a size that obeys the law, of another length')
  bad('multipart-none', 'length', 'Size law: a multipart object has a body', { parts: [[1, 0]], body: () => [] })
  bad('multipart-off-the-law', 'length', 'Size law: the size of the body is one that the law gives', {
    parts: [[1, 0]],
    body: (body, { streams }) => [...cut(body, 0, streams), 5, ...cut(body, streams, Infinity)]
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const directory = process.argv[2] ?? dirname(fileURLToPath(import.meta.url))
  mkdirSync(join(directory, 'records'), { recursive: true })
  for (const [name, vector] of vectors()) writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(vector, null, 2)}\n`)
}
