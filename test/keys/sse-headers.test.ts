import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import {
  agreesWithUpload,
  decodeContext,
  encodeContext,
  sseOfAccess,
  sseOfWrite,
  sseResponseHeaders,
  type UploadEncryption
} from '../../src/keys/sse-headers.ts'
import { customerKeyOf, openWithCustomerKey, requireCustomerKey, sealWithCustomerKey } from '../../src/keys/ssec.ts'

const sse = 'x-amz-server-side-encryption'
const base64 = (bytes: Buffer): string => bytes.toString('base64')
const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('base64')
const key = randomBytes(32)
const customer = { [`${sse}-customer-algorithm`]: 'AES256', [`${sse}-customer-key`]: base64(key), [`${sse}-customer-key-md5`]: md5(key) }
const headers = (fields: Readonly<Record<string, string | undefined>>): ReadonlyMap<string, string> =>
  new Map(Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined))

function failure(work: () => unknown): S3Error | string {
  try {
    work()
    return 'no error'
  } catch (error) {
    return error instanceof S3Error ? error : String(error)
  }
}

const context = base64(Buffer.from('{"b":"2","a":"ü"}'))

await t.test('what a write may ask for', async (t) => {
  t.same(sseOfWrite(headers({}), true), { mode: 'none' })
  t.same(sseOfWrite(headers({ [sse]: 'AES256' }), true), { mode: 'AES256' })
  t.same(sseOfWrite(headers({ [sse]: 'AES256', [`${sse}-bucket-key-enabled`]: 'true' }), true), { mode: 'AES256' })
  t.same(sseOfWrite(headers({ [sse]: 'aws:kms' }), true), { mode: 'aws:kms', keyId: null, context: {}, bucketKeyEnabled: null })
  t.same(
    sseOfWrite(
      headers({
        [sse]: 'aws:kms',
        [`${sse}-aws-kms-key-id`]: 'alias/main',
        [`${sse}-context`]: context,
        [`${sse}-bucket-key-enabled`]: 'False'
      }),
      true
    ),
    { mode: 'aws:kms', keyId: 'alias/main', context: { a: 'ü', b: '2' }, bucketKeyEnabled: false }
  )
  const asked = sseOfWrite(headers(customer), true)
  t.equal(asked.mode, 'SSE-C')
  t.ok(asked.mode === 'SSE-C' && asked.customer.key.export().equals(key) && asked.customer.md5 === md5(key))
})

await t.test('request and answer, as S3 answers: writes', async (t) => {
  const rows: [string, Readonly<Record<string, string | undefined>>, string, RegExp][] = [
    ['unknown algorithm', { [sse]: 'aes:kms' }, 'InvalidArgument', /encryption method specified is not supported/],
    ['lower case', { [sse]: 'aes256' }, 'InvalidArgument', /not supported/],
    ['empty', { [sse]: '' }, 'InvalidArgument', /not supported/],
    ['dual layer', { [sse]: 'aws:kms:dsse' }, 'NotImplemented', /dsse/],
    ['fsx', { [sse]: 'aws:fsx' }, 'InvalidArgument', /not supported/],
    ['key id alone', { [`${sse}-aws-kms-key-id`]: 'k' }, 'InvalidArgument', /requires HTTP header x-amz-server-side-encryption : aws:kms/],
    ['key id with AES256', { [sse]: 'AES256', [`${sse}-aws-kms-key-id`]: 'k' }, 'InvalidArgument', /requires HTTP header/],
    ['context with AES256', { [sse]: 'AES256', [`${sse}-context`]: context }, 'InvalidArgument', /requires HTTP header/],
    ['empty key id', { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: '' }, 'InvalidArgument', /key id/],
    ['key id with a blank', { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: 'a b' }, 'InvalidArgument', /key id/],
    ['flag', { [sse]: 'aws:kms', [`${sse}-bucket-key-enabled`]: 'yes' }, 'InvalidArgument', /true or false/],
    ['flag alone', { [`${sse}-bucket-key-enabled`]: '1' }, 'InvalidArgument', /true or false/],
    ['SSE-C and AES256', { ...customer, [sse]: 'AES256' }, 'InvalidArgument', /incompatible/],
    ['SSE-C and aws:kms', { ...customer, [sse]: 'aws:kms' }, 'InvalidArgument', /incompatible/],
    ['SSE-C and a key id', { ...customer, [`${sse}-aws-kms-key-id`]: 'k' }, 'InvalidArgument', /incompatible/],
    ['conflict before algorithm', { ...customer, [sse]: 'AES256', [`${sse}-customer-algorithm`]: 'AES128' }, 'InvalidArgument', /incompat/],
    ['context not base64', { [sse]: 'aws:kms', [`${sse}-context`]: '{"a":"b"}' }, 'InvalidArgument', /Base64-encoded UTF-8/]
  ]
  for (const [name, fields, code, message] of rows) {
    t.match(failure(() => sseOfWrite(headers(fields), true)), { code, message }, name)
  }
})

await t.test('request and answer, as S3 answers: customer keys', async (t) => {
  const short = randomBytes(24)
  const rows: [string, Readonly<Record<string, string | undefined>>, string, RegExp][] = [
    ['algorithm', { ...customer, [`${sse}-customer-algorithm`]: 'AES128' }, 'InvalidEncryptionAlgorithmError', /Supported value: AES256/],
    ['no algorithm', { ...customer, [`${sse}-customer-algorithm`]: undefined }, 'InvalidArgument', /valid encryption algorithm/],
    ['no key', { ...customer, [`${sse}-customer-key`]: undefined }, 'InvalidArgument', /appropriate secret key/],
    ['no MD5', { ...customer, [`${sse}-customer-key-md5`]: undefined }, 'InvalidArgument', /client calculated MD5/],
    ['wrong MD5', { ...customer, [`${sse}-customer-key-md5`]: md5(short) }, 'InvalidArgument', /MD5 hash of the key did not match/],
    ['MD5 no base64', { ...customer, [`${sse}-customer-key-md5`]: 'x' }, 'InvalidArgument', /did not match/],
    [
      'short key',
      { ...customer, [`${sse}-customer-key`]: base64(short), [`${sse}-customer-key-md5`]: md5(short) },
      'InvalidArgument',
      /secret key was invalid/
    ],
    ['short key, other MD5', { ...customer, [`${sse}-customer-key`]: base64(short) }, 'InvalidArgument', /did not match/],
    ['key no base64', { ...customer, [`${sse}-customer-key`]: '!' }, 'InvalidArgument', /secret key was invalid/],
    [
      'zero key',
      { ...customer, [`${sse}-customer-key`]: base64(Buffer.alloc(32)), [`${sse}-customer-key-md5`]: md5(Buffer.alloc(32)) },
      'InvalidArgument',
      /secret key was invalid/
    ]
  ]
  const source = (fields: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> =>
    Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.replace('x-amz-', 'x-amz-copy-source-'), value]))
  for (const [name, fields, code, message] of rows) {
    for (
      const work of [
        () => sseOfWrite(headers(fields), true),
        () => sseOfAccess(headers(fields), true),
        () => customerKeyOf(headers(source(fields)), 'copy-source', true)
      ]
    ) {
      const error = failure(work)
      t.match(error, { code, message }, name)
      t.notMatch(JSON.stringify(error), fields[`${sse}-customer-key`] ?? 'none was sent', 'the key is not repeated')
    }
    t.match(failure(() => sseOfWrite(headers(fields), false)), {
      code: 'InvalidRequest',
      message: /secure connection/
    }, 'without TLS nothing else is looked at')
  }
  t.equal(customerKeyOf(headers(customer), 'copy-source', true), null)
  t.ok(customerKeyOf(headers(source(customer)), 'copy-source', true)?.key.export().equals(key))
  t.equal(customerKeyOf(headers({}), 'object', false), null)
})

await t.test('requests that take an object as it is may carry a customer key and nothing else', async (t) => {
  t.equal(sseOfAccess(headers({}), true), null)
  t.ok(sseOfAccess(headers(customer), true)?.key.export().equals(key))
  for (const name of [sse, `${sse}-aws-kms-key-id`, `${sse}-context`, `${sse}-bucket-key-enabled`]) {
    t.match(failure(() => sseOfAccess(headers({ [name]: 'AES256' }), true)), {
      code: 'InvalidArgument',
      message: /not supported for this operation/
    })
  }
})

await t.test('encryption contexts: base64 of a JSON object of strings, sorted, and nothing else', async (t) => {
  const encode = (text: string): string => base64(Buffer.from(text))
  for (
    const text of [
      '',
      '[]',
      'null',
      '"a"',
      '{"a":1}',
      '{"a":null}',
      '{"a":{"b":"c"}}',
      '{"":"a"}',
      '{"__proto__":"a"}',
      '{"a":"\\ud800"}',
      '{'
    ]
  ) {
    t.match(failure(() => decodeContext(encode(text))), { code: 'InvalidArgument', message: /string-string map/ }, text)
  }
  const notUtf8 = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x22, 0x22, 0x7d])
  t.match(failure(() => decodeContext(base64(notUtf8))), { message: /string-string map/ })
  for (const name of ['aws:s3:arn', 'Aws:x', 'sealgate:realm']) {
    t.match(failure(() => decodeContext(encode(JSON.stringify({ [name]: 'x' })))), { code: 'InvalidArgument', message: /reserved/ }, name)
  }
  t.match(failure(() => decodeContext(encode(JSON.stringify({ a: 'x'.repeat(1536) })))), { code: 'InvalidArgument', message: /1536/ })
  const text = (minLength: number): fc.Arbitrary<string> => fc.string({ unit: 'grapheme', minLength, maxLength: 10 })
  fc.assert(fc.property(fc.dictionary(text(1), text(0), { maxKeys: 5 }), (pairs) => {
    fc.pre(!Object.keys(pairs).some((name) => name === '__proto__' || /^(aws|sealgate):/i.test(name)))
    const decoded = decodeContext(encodeContext(pairs))
    return Object.keys(decoded).length === Object.keys(pairs).length
      && Object.entries(pairs).every(([name, value]) => decoded[name] === value)
  }))
})

await t.test('answers tell the mode, and the context only where S3 does', async (t) => {
  t.same(sseResponseHeaders({ mode: 'none' }, 'write'), [])
  t.same(sseResponseHeaders({ mode: 'AES256' }, 'access'), [[sse, 'AES256']])
  t.same(sseResponseHeaders({ mode: 'SSE-C', md5: 'm' }, 'write'), [
    [`${sse}-customer-algorithm`, 'AES256'],
    [`${sse}-customer-key-MD5`, 'm']
  ])
  const kms = { mode: 'aws:kms', keyId: 'k', context: { a: 'b' }, bucketKeyEnabled: true } as const
  t.same(sseResponseHeaders(kms, 'write'), [
    [sse, 'aws:kms'],
    [`${sse}-aws-kms-key-id`, 'k'],
    [`${sse}-context`, base64(Buffer.from('{"a":"b"}'))],
    [`${sse}-bucket-key-enabled`, 'true']
  ])
  t.same(sseResponseHeaders(kms, 'access'), [[sse, 'aws:kms'], [`${sse}-aws-kms-key-id`, 'k'], [`${sse}-bucket-key-enabled`, 'true']])
  t.same(sseResponseHeaders({ ...kms, context: {}, bucketKeyEnabled: false }, 'write'), [
    [sse, 'aws:kms'],
    [`${sse}-aws-kms-key-id`, 'k']
  ])
})

await t.test('a customer key opens what it sealed; a wrong one is distinguished from damage', async (t) => {
  const mine = customerKeyOf(headers(customer), 'object', true)!
  const otherBytes = randomBytes(32)
  const other = customerKeyOf(
    headers({
      ...customer,
      [`${sse}-customer-key`]: base64(otherBytes),
      [`${sse}-customer-key-md5`]: md5(otherBytes)
    }),
    'object',
    true
  )!
  const sealed = sealWithCustomerKey(mine)
  t.equal(sealed.wrapped.keyId, 'ssec')
  t.equal(sealed.wrapped.blob.length, 48)
  t.ok(openWithCustomerKey(mine, { blob: sealed.wrapped.blob, scope: 'bucket' }).equals(sealed.key))
  t.notOk(sealed.key.export().equals(key))
  t.notOk(sealWithCustomerKey(mine).wrapped.blob.equals(sealed.wrapped.blob), 'salted')
  t.match(failure(() => openWithCustomerKey(other, { blob: sealed.wrapped.blob, scope: 'bucket' })), {
    code: 'InvalidRequest',
    status: 400,
    message: /correct secret key/
  })
  let accepted = 0
  for (let bit = 0; bit < 48 * 8; bit++) {
    const blob = Buffer.from(sealed.wrapped.blob)
    blob.writeUInt8(blob.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    if (failure(() => openWithCustomerKey(mine, { blob, scope: 'bucket' })) === 'no error') accepted += 1
  }
  t.equal(accepted, 0)
  for (const length of [0, 47, 49]) {
    t.match(failure(() => openWithCustomerKey(mine, { blob: Buffer.alloc(length), scope: 'bucket' })), { code: 'SealgateIntegrityError' })
  }
  t.match(
    failure(() => {
      requireCustomerKey('ssec', null)
    }),
    { code: 'InvalidRequest', message: /stored using a form/ }
  )
  t.match(
    failure(() => {
      requireCustomerKey('local:main:v1', mine)
    }),
    { code: 'InvalidRequest', message: /not applicable/ }
  )
  requireCustomerKey('ssec', mine)
  requireCustomerKey('local:main:v1', null)
})

await t.test('what a request that continues an upload may say of encryption', async (t) => {
  const upload = (mode: 'none' | 'AES256' | 'aws:kms' | 'SSE-C'): UploadEncryption => ({
    mode,
    context: { a: '1' },
    bucketKeyEnabled: true,
    answersTo: (id) => id === 'mine'
  })
  const asked = { keyId: null, context: {}, bucketKeyEnabled: null, mode: 'aws:kms' } as const
  for (const mode of ['none', 'AES256', 'aws:kms', 'SSE-C'] as const) {
    t.equal(agreesWithUpload({ mode: 'none' }, upload(mode)), true, mode)
    t.equal(agreesWithUpload({ mode: 'AES256' }, upload(mode)), mode === 'AES256' || mode === 'none', mode)
    for (
      const [more, agrees] of [
        [{}, true],
        [{ keyId: 'mine' }, true],
        [{ keyId: 'other' }, false],
        [{ context: { a: '1' } }, true],
        [{ context: { a: '2' } }, false],
        [{ context: { a: '1', b: '2' } }, false],
        [{ bucketKeyEnabled: true }, true],
        [{ bucketKeyEnabled: false }, false]
      ] as const
    ) t.equal(agreesWithUpload({ ...asked, ...more }, upload(mode)), agrees && mode === 'aws:kms', `${mode} ${JSON.stringify(more)}`)
  }
})
