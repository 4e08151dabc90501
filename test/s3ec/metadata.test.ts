import { randomBytes, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import { S3ecError } from '../../src/s3ec/fault.ts'
import { describe, describeWith, type Description, plaintextSizeOf } from '../../src/s3ec/description.ts'
import { hasMarks, instructionsOf, isClientEntry, marksOf } from '../../src/s3ec/metadata.ts'
import { headersOf, recipes, withInstructionFile, write, type Recipe, type Written } from '../support/s3ec-writer.ts'
import { faultOf } from './open.ts'

const keys = { aes: randomBytes(32), rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey }

function read(metadata: Readonly<Record<string, string>>): Description {
  const marks = marksOf(headersOf(metadata))
  if (marks.kind !== 'described') throw new TypeError(`marks: ${marks.kind}`)
  return describe(marks.entries)
}

const words: Readonly<Record<string, string>> = {
  '1 AES cbc': 'v1',
  '1 RSA cbc': 'v1-rsa',
  '2 AES/GCM gcm': 'v2',
  '2 RSA-OAEP-SHA1 gcm': 'v2',
  '2 kms+context gcm': 'v2',
  '2 kms gcm': 'v2-legacy',
  '2 AESWrap gcm': 'v2-legacy',
  '2 RSA/ECB/OAEPWithSHA-256AndMGF1Padding gcm': 'v2-legacy',
  '2 kms cbc': 'v2-cbc',
  '2 AESWrap cbc': 'v2-cbc',
  '2 RSA/ECB/OAEPWithSHA-256AndMGF1Padding cbc': 'v2-cbc',
  '3 AES/GCM gcm': 'v3',
  '3 RSA-OAEP-SHA1 gcm': 'v3',
  '3 kms+context gcm': 'v3'
}

/** Whether the same comes out: a description, up to what is not in it. */
function same(a: Description, b: Description): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

await t.test('every kind of object is described, from its metadata and from an instruction file', async (t) => {
  for (const recipe of recipes) {
    const written = await write(Buffer.alloc(100), recipe, keys)
    const description = read(written.metadata)
    const { version, cipher, wrap, readable } = description
    t.match(description, { version: recipe.version, wrap: recipe.wrap, cipher: recipe.cipher ?? (recipe.version === 1 ? 'cbc' : 'gcm') })
    t.equal(readable, words[`${version} ${wrap} ${cipher}`], readable)
    t.match(description.material, recipe.material ?? {})
    t.equal(description.notedSize, recipe.noted === false || version === 3 ? null : 100)
    const { file, object } = withInstructionFile(written)
    const marks = marksOf(headersOf(object.metadata))
    t.equal(marks.kind, version === 3 ? 'needs-instructions' : 'none')
    const instructions = instructionsOf(file)
    t.ok(marks.kind !== 'instruction-file' && instructions !== null && same(describeWith(marks.entries, instructions), description), `${readable} by its file`)
  }
})

await t.test('the metadata as the other writers put it', async (t) => {
  const written = await write(Buffer.from('x'), { version: 3, wrap: 'AES/GCM', material: { 'ключ': 'значение' } }, keys)
  const text = JSON.stringify({ 'ключ': 'значение' })
  const utf8 = Buffer.from(text).toString('latin1')
  const twice = Buffer.from(utf8).toString('base64')
  const quoted = [...Buffer.from(utf8)].map((byte) => `=${byte.toString(16).padStart(2, '0')}`).join('')
  const python = text.replaceAll(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).replace(':', ': ')
  for (const value of [utf8, python, `=?UTF-8?B?${twice}?=`, `=?utf-8?q?${quoted}?=`, `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`]) {
    t.strictSame(read({ ...written.metadata, 'x-amz-m': value }).material, { 'ключ': 'значение' }, value)
  }
  t.strictSame(
    read({ ...written.metadata, 'x-amz-m': '', 'x-amz-t': '', 'x-amz-unencrypted-content-length': '' }).material,
    {},
    'entries without a value are none'
  )
  const upper = new HeaderList(Object.entries(written.metadata).map(([name, value]) => [`X-Amz-Meta-${name.toUpperCase()}`, value] as const))
  t.equal(marksOf(upper).kind, 'described', 'names in any case')
  t.equal(marksOf(headersOf({ 'x-amz-crypto-instr-file': '' })).kind, 'instruction-file')
  t.equal(marksOf(headersOf({ colour: 'blue', 'x-amz-unencrypted-content-length': '1' })).kind, 'none')
  t.notOk(hasMarks(headersOf({ colour: 'blue' })))
  t.ok(hasMarks(headersOf({ 'x-amz-iv': '' })))
  t.ok(isClientEntry('x-amz-meta-x-amz-unencrypted-content-md5'))
  t.notOk(isClientEntry('x-amz-meta-colour'))
})

await t.test('entries of two versions on one object, in every combination: all refused', async (t) => {
  const of = new Map<string, Written>()
  for (const recipe of recipes) of.set(`${recipe.version} ${recipe.wrap} ${recipe.cipher ?? ''}`, await write(Buffer.from('x'), recipe, keys))
  let refused = 0
  for (const [a, first] of of) {
    for (const [b, second] of of) {
      if (a[0] === b[0]) continue
      // Each single entry of the one beside all of the other.
      for (const [name, value] of Object.entries(second.metadata)) {
        if (Object.hasOwn(first.metadata, name) || name === 'x-amz-unencrypted-content-length') continue
        t.not(faultOf(() => read({ ...first.metadata, [name]: value })), 'none', `${a} with ${name} of ${b}`)
        refused += 1
      }
      t.equal(faultOf(() => read({ ...first.metadata, ...second.metadata })), 's3ec-collision', `${a} and ${b}`)
      const file = instructionsOf(Buffer.from(JSON.stringify(second.metadata)))
      const marks = marksOf(headersOf(first.metadata))
      t.ok(
        file !== null && marks.kind !== 'instruction-file' && faultOf(() => describeWith(marks.entries, file)) === 's3ec-collision',
        `${a} with the file of ${b}`
      )
      refused += 2
    }
  }
  t.ok(refused > 500, String(refused))
  const twice = new HeaderList([...headersOf((await write(Buffer.from('x'), { version: 2, wrap: 'AES/GCM' }, keys)).metadata).entries, [
    'x-amz-meta-x-amz-iv',
    'AAAA'
  ]])
  t.equal(faultOf(() => marksOf(twice)), 's3ec-collision', 'one entry twice')
})

await t.test('an instruction file that does not fit to its object', async (t) => {
  const third = withInstructionFile(await write(Buffer.from('x'), { version: 3, wrap: 'AES/GCM' }, keys))
  const second = withInstructionFile(await write(Buffer.from('x'), { version: 2, wrap: 'AES/GCM' }, keys))
  const whole = await write(Buffer.from('x'), { version: 3, wrap: 'AES/GCM' }, keys)
  const entries = (metadata: Readonly<Record<string, string>>) => {
    const marks = marksOf(headersOf(metadata))
    return marks.kind === 'instruction-file' ? new Map<string, string>() : marks.entries
  }
  const file = (text: string | Buffer) => instructionsOf(Buffer.from(text)) ?? new Map<string, string>()
  t.equal(faultOf(() => describeWith(entries(third.object.metadata), file(second.file))), 's3ec-collision', 'of version 2 beside an object of version 3')
  t.equal(
    faultOf(() => describeWith(entries(second.object.metadata), file(third.file))),
    's3ec-collision',
    'of version 3 beside an object without its commitment'
  )
  t.equal(faultOf(() => describeWith(entries(third.object.metadata), file(JSON.stringify(whole.metadata)))), 's3ec-collision', 'with a commitment of its own')
  t.equal(faultOf(() => describeWith(entries(whole.metadata), file(third.file))), 's3ec-collision', 'beside an object that has its data key')
  const size = { 'x-amz-unencrypted-content-length': '2' }
  t.equal(
    faultOf(() => describeWith(entries(second.object.metadata), file(JSON.stringify({ ...JSON.parse(String(second.file)) as object, ...size })))),
    's3ec-collision'
  )
  const numbers = String(second.file).replace('"128"', '128')
  t.not(numbers, String(second.file))
  t.equal(faultOf(() => describeWith(entries(second.object.metadata), file(numbers))), 'none', 'numbers instead of texts')
  for (
    const none of [
      '',
      'null',
      '[]',
      '{',
      '{}',
      '{"a":1.5}',
      '{"x-amz-iv":"a"}',
      '{"x-amz-key":{}}',
      '"x-amz-key"',
      `${String(second.file)} x`,
      `{"x-amz-key":"${'a'.repeat(20_000)}"}`
    ]
  ) {
    t.equal(instructionsOf(Buffer.from(none)), null, none.slice(0, 20))
  }
  t.equal(faultOf(() => instructionsOf(Buffer.from('{"x-amz-key":"a","x-amz-key":"b"}'))), 's3ec-collision', 'one name twice')
  t.equal(faultOf(() => instructionsOf(Buffer.from('{"x-amz-key":"a","X-Amz-Key":"b"}'))), 's3ec-collision', 'one name in two spellings')
})

await t.test('every entry missing, empty, and in wrong forms', async (t) => {
  const optional = new Set(['x-amz-matdesc', 'x-amz-m', 'x-amz-unencrypted-content-length'])
  for (const recipe of recipes) {
    const { metadata } = await write(Buffer.from('x'), recipe, keys)
    for (const [name, value] of Object.entries(metadata)) {
      const { [name]: _, ...rest } = metadata
      const needed = !optional.has(name) || (recipe.wrap === 'kms+context' && name === 'x-amz-matdesc')
      for (const changed of [rest, { ...rest, [name]: '' }]) {
        const fault = faultOf(() => {
          const marks = marksOf(headersOf(changed))
          if (marks.kind === 'described') describe(marks.entries)
          else if (marks.kind === 'needs-instructions') throw new S3ecError('s3ec-instructions')
        })
        t.equal(fault === 'none', !needed, `${recipe.version} ${recipe.wrap} without ${name}: ${fault}`)
      }
      for (
        const wrong of [
          `${value} `,
          ` ${value}`,
          `${value}A`,
          value.replace(/=$/, ''),
          '!',
          '\u0000',
          '-1',
          '{"a":1}',
          '{"a":"b","a":"b"}',
          '{"a":{}}',
          '=?x?='
        ].filter((w) => w !== value)
      ) {
        const fault = faultOf(() => read({ ...metadata, [name]: wrong }))
        const json = /^x-amz-(?:matdesc|m|t)$/.test(name)
        if (json && wrong.trim() === value) t.equal(fault, 'none', 'white space around JSON')
        else t.not(fault, 'none', `${recipe.version} ${recipe.wrap} ${name}: ${wrong.slice(0, 30)}`)
      }
    }
  }
})

await t.test('algorithms that the format has, and not together', async (t) => {
  const base = (recipe: Recipe) => write(Buffer.from('x'), recipe, keys)
  const cases: [Recipe, Record<string, string>][] = [
    [{ version: 2, wrap: 'AES/GCM' }, { 'x-amz-cek-alg': 'AES/CBC/PKCS5Padding', 'x-amz-tag-len': '', 'x-amz-iv': randomBytes(16).toString('base64') }],
    [{ version: 2, wrap: 'AES/GCM' }, { 'x-amz-cek-alg': 'AES/CTR/NoPadding' }],
    [{ version: 2, wrap: 'AES/GCM' }, { 'x-amz-wrap-alg': 'AES' }],
    [{ version: 2, wrap: 'AES/GCM' }, { 'x-amz-wrap-alg': 'toString' }],
    [{ version: 2, wrap: 'AES/GCM' }, { 'x-amz-tag-len': '96' }],
    [{ version: 2, wrap: 'kms', cipher: 'cbc' }, { 'x-amz-tag-len': '128' }],
    [{ version: 2, wrap: 'kms+context' }, { 'x-amz-matdesc': '{"aws:x-amz-cek-alg":"115"}' }],
    // An object of `kms+context` that the store calls one of `kms`, to have it opened as CBC (CVE-2020-8912).
    [{ version: 2, wrap: 'kms', cipher: 'cbc' }, { 'x-amz-matdesc': '{"aws:x-amz-cek-alg":"AES/GCM/NoPadding"}' }],
    [{ version: 3, wrap: 'kms+context' }, { 'x-amz-t': '{"aws:x-amz-cek-alg":"AES/GCM/NoPadding"}' }],
    [{ version: 3, wrap: 'AES/GCM' }, { 'x-amz-w': '12' }],
    [{ version: 3, wrap: 'AES/GCM' }, { 'x-amz-w': '01' }],
    [{ version: 3, wrap: 'AES/GCM' }, { 'x-amz-w': 'constructor' }],
    [{ version: 3, wrap: 'AES/GCM' }, { 'x-amz-c': '114' }],
    [{ version: 3, wrap: 'AES/GCM' }, { 'x-amz-i': Buffer.alloc(28).toString('base64') }],
    [{ version: 3, wrap: 'AES/GCM' }, { 'x-amz-t': '{"a":"b"}' }]
  ]
  for (const [recipe, change] of cases) {
    const { metadata } = await base(recipe)
    t.not(faultOf(() => read({ ...metadata, ...change })), 'none', JSON.stringify(change))
  }
})

await t.test('sizes: by arithmetic for GCM, by the note or not at all for CBC', (t) => {
  for (let size = 0; size <= 64; size += 1) {
    const padded = 16 * (Math.floor(size / 16) + 1)
    t.equal(plaintextSizeOf({ cipher: 'gcm', notedSize: null }, size + 16), size)
    t.equal(plaintextSizeOf({ cipher: 'cbc', notedSize: null }, padded), null)
    for (let noted = 0; noted <= 80; noted += 1) {
      t.equal(faultOf(() => plaintextSizeOf({ cipher: 'gcm', notedSize: noted }, size + 16)) === 'none', noted === size)
      const fits = 16 * (Math.floor(noted / 16) + 1) === padded
      t.equal(faultOf(() => plaintextSizeOf({ cipher: 'cbc', notedSize: noted }, padded)) === 'none', fits)
      if (fits) t.equal(plaintextSizeOf({ cipher: 'cbc', notedSize: noted }, padded), noted)
    }
  }
  for (const stored of [0, 1, 15, 2 ** 36 - 15]) t.equal(faultOf(() => plaintextSizeOf({ cipher: 'gcm', notedSize: null }, stored)), 's3ec-length')
  t.equal(plaintextSizeOf({ cipher: 'gcm', notedSize: null }, 2 ** 36 - 16), 2 ** 36 - 32)
  for (const stored of [0, 1, 15, 17, 31]) t.equal(faultOf(() => plaintextSizeOf({ cipher: 'cbc', notedSize: null }, stored)), 's3ec-length')
  t.end()
})

await t.test('JSON: what is accepted means the same to JSON.parse, and names come once', (t) => {
  const flat = fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), { maxKeys: 6 })
  fc.assert(fc.property(flat, fc.constantFrom(undefined, 1, '\t'), (object, space) => {
    const text = Buffer.from(JSON.stringify(object, null, space)).toString('latin1')
    const { material } = read({ 'x-amz-key': Buffer.alloc(48).toString('base64'), 'x-amz-iv': Buffer.alloc(16).toString('base64'), 'x-amz-matdesc': text })
    return JSON.stringify(material) === JSON.stringify(JSON.parse(Buffer.from(text, 'latin1').toString('utf8')))
  }))
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('{', '}', '"', ':', ',', 'a', '\\', ' ', '1', '[', ']') }), (text) => {
    const found = instructionsOf(Buffer.from(`{"x-amz-key":"k",${text}}`))
    if (found === null) return true
    return typeof (JSON.parse(`{"x-amz-key":"k",${text}}`) as Record<string, unknown>)['x-amz-key'] === 'string'
  }))
  t.end()
})
