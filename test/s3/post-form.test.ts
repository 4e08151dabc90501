import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import t from 'tap'
import fc from 'fast-check'
import { readFormFields } from '../../src/s3/post-form.ts'
import { codeOf } from '../support/error-code.ts'

const boundary = '----WebKitFormBoundaryAbC'
const contentType = `multipart/form-data; boundary=${boundary}`

interface Form {
  fields?: [name: string, value: string][]
  file?: Buffer | null
  filename?: string
  after?: [name: string, value: string][]
  end?: string
}

function field([name, value]: [string, string]): Buffer {
  return Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
}

function encode({ fields = [], file = Buffer.from('data'), filename = 'f.txt', after = [], end = `--${boundary}--\r\n` }: Form): Buffer {
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${filename}"\r\nContent-Type: text/plain\r\n\r\n`
  const part = file === null ? [] : [Buffer.from(head), file, Buffer.from('\r\n')]
  return Buffer.concat([...fields.map(field), ...part, ...after.map(field), Buffer.from(end)])
}

interface Outcome {
  readonly fields: Map<string, string>
  readonly filename: string
  readonly file: Buffer
  readonly fileLength: number | null
}

async function* pieces(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer, void> {
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const size = sizes[i % sizes.length] ?? 1
    yield Buffer.from(bytes.subarray(at, at + size))
    at += size
  }
}

async function read(bytes: Buffer, sizes = [65536], length: number | null = bytes.length, type = contentType): Promise<Outcome> {
  const { expanded, filename, openFile } = await readFormFields(Readable.from(pieces(bytes, sizes)), type)
  const { file, fileLength } = await openFile(length)
  return { fields: new Map(expanded()), filename, file: Buffer.concat(await file.toArray() as Buffer[]), fileLength }
}

/** Bytes that look like the delimiter as far as they can. */
const nasty = Buffer.from(`\r\n--${boundary.slice(0, -1)}\r\r\n\r\n-\r\n--\r\n--${boundary.slice(0, 5)}\n--${boundary}--`)

await t.test('whole, byte by byte, and cut at every place', async (t) => {
  const fields: [string, string][] = [['key', 'user/${filename}'], ['Policy', 'eyJ9'], ['X-Amz-Meta-Ä', 'ü\r\n'], ['empty', '']]
  const expected = JSON.stringify([['key', 'user/a b.txt'], ['policy', 'eyJ9'], ['x-amz-meta-ä', 'ü\r\n'], ['empty', '']])
  let count = 0
  for (const file of [Buffer.alloc(0), Buffer.from('a'), nasty, Buffer.from('\r\n'), Buffer.from('--'), randomBytes(300)]) {
    for (const end of [`--${boundary}--\r\n`, `--${boundary}--`, `--${boundary}--\r\nepilogue\r\n--${boundary}\r\n`]) {
      const bytes = encode({ fields, file, filename: 'a b.txt', end })
      const cuts = end.endsWith('--\r\n') ? Array.from({ length: bytes.length - 1 }, (_, i) => [i + 1, bytes.length]) : []
      for (const split of [[1], [2], [3], [7], [65536], ...cuts]) {
        for (const length of split.length === 1 ? [bytes.length, null] : [bytes.length]) {
          const got = await read(bytes, split, length)
          const same = got.file.equals(file) && got.fileLength === file.length && got.filename === 'a b.txt'
          if (!same || JSON.stringify([...got.fields]) !== expected) t.fail(`split ${split.join()} of ${bytes.length}`)
          count += 1
        }
      }
    }
  }
  t.comment(`${count.toLocaleString('en')} readings of forms cut into pieces`)
  t.ok(count > 3000)
})

await t.test('every truncation is an error, never a shorter file', async (t) => {
  const bytes = encode({ fields: [['key', 'k']], file: nasty, end: `--${boundary}--` })
  for (let length = 0; length < bytes.length; length += 1) {
    const code = await codeOf(read(bytes.subarray(0, length)))
    if (code !== 'MalformedPOSTRequest') t.fail(`${length} of ${bytes.length}: ${code}`)
  }
  t.comment(`${bytes.length} truncations, 0 accepted`)
})

await t.test('random forms, random splits', async (t) => {
  const value = fc.string({ maxLength: 50 }).filter((v) => !v.includes('${'))
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/).filter((n) => n !== 'file')
  const fields = fc.uniqueArray(fc.tuple(name, value), { selector: ([n]) => n, maxLength: 8 })
  const file = fc.oneof(fc.uint8Array({ maxLength: 2000 }), fc.constant(new Uint8Array(nasty)))
  await fc.assert(
    fc.asyncProperty(fields, file, fields, fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), async (before, data, after, sizes) => {
      const got = await read(encode({ fields: before, file: Buffer.from(data), after }), sizes)
      if (!got.file.equals(Buffer.from(data)) || JSON.stringify([...got.fields]) !== JSON.stringify(before)) throw new Error('differs')
    }),
    { numRuns: 300 }
  )
  t.pass('fields before the file kept, fields after it ignored')
})

await t.test('large files stream with their length known', async (t) => {
  const file = randomBytes(3_000_000)
  const bytes = encode({ fields: [['key', 'k']], file })
  for (const sizes of [[65536], [1, 1000, 65536], [4_000_000]]) {
    const got = await read(bytes, sizes)
    t.ok(got.file.equals(file))
    t.equal(got.fileLength, file.length)
  }
  t.equal((await read(bytes, [65536], null)).fileLength, null, 'chunked: no length')
  t.equal(await codeOf(read(encode({ file, after: [['submit', 'Send']] }))), 'MalformedPOSTRequest', 'a field behind a large file')
  t.equal(await codeOf(read(encode({ file, end: `--${boundary}--` }))), 'MalformedPOSTRequest', 'another end than the length counted on')
  t.equal(await codeOf(read(bytes.subarray(0, -10), [65536], bytes.length)), 'MalformedPOSTRequest')
  t.equal((await read(encode({ file: file.subarray(0, 200_000), after: [['submit', 'Send']] }))).fileLength, 200_000, 'exact for small ones')
})

await t.test('the file is not read ahead of its reader', async (t) => {
  let given = 0
  const bytes = encode({ file: Buffer.alloc(20_000_000, 'x') })
  async function* counting(): AsyncGenerator<Buffer, void> {
    for await (const chunk of pieces(bytes, [65536])) {
      given += chunk.length
      yield chunk
    }
  }
  const { openFile } = await readFormFields(Readable.from(counting()), contentType)
  await new Promise((resolve) => setImmediate(resolve))
  t.ok(given < 300_000, `${given} bytes taken for the fields`)
  const { file } = await openFile(bytes.length)
  await new Promise((resolve) => setImmediate(resolve))
  t.ok(given < 3_000_000, `${given} bytes taken before anybody read`)
  file.destroy()
})

await t.test('names, file names and ends as clients write them', async (t) => {
  t.equal((await read(encode({ filename: 'C:\\\\Dir\\\\a.txt' }))).filename, 'a.txt', 'a path of Windows')
  t.equal((await read(encode({ filename: '../../etc/passwd' }))).filename, 'passwd')
  t.equal((await read(encode({ filename: 'a\\"b%22c.txt' }))).filename, 'a"b"c.txt')
  t.equal((await read(encode({ filename: '$&.txt', fields: [['key', '${filename}/${filename}']] }))).fields.get('key'), '$&.txt/$&.txt')
  t.equal(await codeOf(read(encode({ filename: 'x"; name="key' }))), 'MalformedPOSTRequest', 'a part has one name')
})

await t.test('the file name is expanded on demand, never in what is signed, and within the bound of the fields', async (t) => {
  const signed = ['AWSAccessKeyId', 'Policy', 'Signature', 'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-Security-Token', 'X-Amz-Signature']
  const variable = '${filename}'
  const form = encode({ fields: [...signed, 'key', 'x-amz-meta-a'].map((name) => [name, `a/${variable}`]), filename: 'ä.txt' })
  const { fields, expanded } = await readFormFields(Readable.from(pieces(form, [65536])), contentType)
  t.ok([...fields.values()].every((value) => value === `a/${variable}`), 'as sent')
  t.same([...expanded()].filter(([, value]) => value === 'a/ä.txt').map(([name]) => name), ['key', 'x-amz-meta-a'])
  for (
    const [count, length, code] of [[1, 1024, 'ok'], [19, 1024, 'ok'], [20, 1024, 'MaxMessageLengthExceeded'], [1200, 1024, 'MaxMessageLengthExceeded'], [
      1,
      1025,
      'InvalidArgument'
    ], [0, 65_000, 'InvalidArgument']] as const
  ) {
    t.equal(await codeOf(read(encode({ fields: [['x', variable.repeat(count)]], filename: 'f'.repeat(length) }))), code, `${count} times ${length}`)
  }
  t.equal(await codeOf(read(encode({ fields: [['policy', variable.repeat(1200)]], filename: 'f'.repeat(1024) }))), 'ok', 'a policy is not expanded')
  const most = `${variable}${'x'.repeat(20 * 1024 - 1 - 1024)}`
  t.equal((await read(encode({ fields: [['x', most]], filename: 'f'.repeat(1024) }))).fields.get('x')?.length, 20 * 1024 - 1)
  t.equal(await codeOf(read(encode({ fields: [['x', `${most}y`]], filename: 'f'.repeat(1024) }))), 'MaxMessageLengthExceeded')
})

await t.test('malformed forms', async (t) => {
  const good = encode({ fields: [['key', 'k']] })
  for (
    const type of [
      'multipart/form-data',
      'multipart/form-data; boundary=',
      `multipart/form-data; boundary=${'a'.repeat(71)}`,
      'multipart/form-data; boundary=other'
    ]
  ) {
    t.equal(await codeOf(read(good, [65536], good.length, type)), 'MalformedPOSTRequest', type)
  }
  t.equal((await read(good, [65536], good.length, `multipart/form-data; charset=utf-8; boundary="${boundary}"`)).file.toString(), 'data')
  t.equal((await read(Buffer.concat([Buffer.from('\r\n'), good]))).file.toString(), 'data', 'a line end in front')
  const part = (head: string): Buffer => Buffer.from(`--${boundary}\r\n${head}\r\n\r\nv\r\n--${boundary}--\r\n`)
  const bad: [bytes: Buffer, code: string][] = [
    [Buffer.from(`--${boundary}--\r\n`), 'MalformedPOSTRequest'],
    [part('Content-Type: text/plain'), 'MalformedPOSTRequest'],
    [part('Content-Disposition: attachment; name="a"'), 'MalformedPOSTRequest'],
    [part('Content-Disposition: form-data; filename="a"'), 'MalformedPOSTRequest'],
    [part('Content-Disposition: form-data; name="a"; name="key"'), 'MalformedPOSTRequest'],
    [Buffer.from(`--${boundary}x\r\n`), 'MalformedPOSTRequest'],
    [encode({ fields: [['a', `1\r\n--${boundary}x`]] }), 'MalformedPOSTRequest'],
    [encode({ fields: [['a', '1']], file: null }), 'InvalidArgument'],
    [encode({ fields: [['Key', '1'], ['key', '2']] }), 'InvalidArgument'],
    [encode({ fields: [['a', 'x'.repeat(20_480)]] }), 'MaxMessageLengthExceeded'],
    [encode({ fields: Array.from({ length: 1500 }, (_, i) => [`n${i}`, '']) }), 'MaxMessageLengthExceeded'],
    [Buffer.concat([Buffer.from(`--${boundary}\r\n`), Buffer.alloc(1_000_000, 'h')]), 'MaxMessageLengthExceeded'],
    [Buffer.alloc(1_000_000, 'x'), 'MalformedPOSTRequest']
  ]
  for (const [bytes, code] of bad) t.equal(await codeOf(read(bytes)), code, bytes.toString('latin1', 0, 120).replaceAll('\r\n', ' '))
  t.equal((await read(encode({ fields: [['a', 'x'.repeat(20_479)]] }))).fields.get('a')?.length, 20_479)
  const latin1 = Buffer.from(encode({ fields: [['key', '\u0001']] }).toString('latin1').replace('\u0001', '\xe4'), 'latin1')
  t.equal(await codeOf(read(latin1)), 'MalformedPOSTRequest', 'fields are UTF-8')
})

await t.test('the client going away is its own error', async (t) => {
  const bytes = encode({ file: randomBytes(1_000_000) })
  async function* broken(): AsyncGenerator<Buffer, void> {
    yield bytes.subarray(0, 600_000)
    throw new Error('aborted')
  }
  const { file } = await (await readFormFields(Readable.from(broken()), contentType)).openFile(bytes.length)
  await t.rejects(file.toArray(), { message: 'aborted' })
})
