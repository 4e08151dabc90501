import { createHmac } from 'node:crypto'
import t from 'tap'
import { authenticateForm } from '../../src/auth/authenticate.ts'
import type { AuthContext } from '../../src/auth/types.ts'
import type { FormUpload } from '../../src/auth/authenticate.ts'
import { S3Error } from '../../src/errors.ts'
import { accessKeyId, context, day, httpRequest, secretAccessKey, signingKey, timestamp } from '../support/signing.ts'

type Fields = Readonly<Record<string, string>>
const credential = `${accessKeyId}/${day}/us-east-1/s3/aws4_request`
const request = httpRequest({
  method: 'POST',
  target: '/bucket',
  headers: [['Host', 'gateway.test'], ['Content-Type', 'multipart/form-data; boundary=x'], ['x-amz-acl', 'public-read']]
})
const fields: Fields = { 'key': 'user/eric/photo.jpg', 'acl': 'private', 'content-type': 'image/jpeg', 'x-amz-meta-a': 'é' }
const conditions: readonly unknown[] = [
  { bucket: 'bucket' },
  ['starts-with', '$key', 'user/eric/'],
  { acl: 'private' },
  ['Starts-With', '$Content-Type', 'image/'],
  ['eq', '$x-amz-meta-a', 'é']
]
const v4Conditions: readonly unknown[] = [{ 'x-amz-algorithm': 'AWS4-HMAC-SHA256' }, { 'x-amz-credential': credential }, { 'x-amz-date': timestamp }]

function policyOf(list: readonly unknown[], expiration: unknown = '2013-05-24T01:00:00.000Z'): string {
  return Buffer.from(JSON.stringify({ expiration, conditions: list })).toString('base64')
}

function v4(policy: string, more: Fields = fields): Fields {
  const signature = createHmac('sha256', signingKey(secretAccessKey, day, 'us-east-1')).update(policy).digest('hex')
  return { ...more, 'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-credential': credential, 'x-amz-date': timestamp, policy, 'x-amz-signature': signature }
}

function v2(policy: string, more: Fields = fields): Fields {
  return { ...more, awsaccesskeyid: accessKeyId, policy, signature: createHmac('sha1', secretAccessKey).update(policy).digest('base64') }
}

function uploadOf(form: Fields, bucket = 'bucket', expanded = form): FormUpload {
  return { fields: new Map(Object.entries(form)), expanded: () => new Map(Object.entries(expanded)), bucket }
}

function outcome(form: Fields, options: { readonly size?: number; readonly bucket?: string; readonly context?: Partial<AuthContext> } = {}): string {
  try {
    return authenticateForm(request, uploadOf(form, options.bucket), context(options.context)).withFile(options.size ?? 5).scheme
  } catch (error) {
    return error instanceof S3Error ? error.code : String(error)
  }
}

function without(form: Fields, name: string): Fields {
  return Object.fromEntries(Object.entries(form).filter(([field]) => field !== name))
}

const signed = (more: readonly unknown[] = [], extra: Fields = {}): Fields => v4(policyOf([...conditions, ...v4Conditions, ...more]), { ...fields, ...extra })

await t.test('valid forms', async (t) => {
  t.equal(outcome(signed()), 'post-policy')
  t.equal(outcome(v2(policyOf(conditions))), 'post-policy')
  t.equal(outcome(signed([], { 'x-ignore-me': '1' })), 'post-policy')
  const { headers, payload, client } = authenticateForm(request, uploadOf(signed()), context()).withFile(5)
  t.same(
    [...headers].sort(),
    [['content-type', 'image/jpeg'], ['x-amz-acl', 'private'], ['x-amz-meta-a', Buffer.from('é').toString('latin1')]],
    'headers come from the fields, not from the request'
  )
  t.match(payload, { framing: 'plain', length: 5, checksum: null })
  t.equal(client?.accessKeyId, accessKeyId)
})

await t.test('a list of content types, with and without blanks', async (t) => {
  for (
    const [list, expected] of [
      ['image/jpeg,image/png', 'post-policy'],
      ['image/jpeg, image/png', 'post-policy'],
      [' image/jpeg ,\timage/png ', 'post-policy'],
      ['image/jpeg, text/html', 'AccessDenied'],
      ['image/jpeg,', 'AccessDenied'],
      [', image/png', 'AccessDenied']
    ] as const
  ) t.equal(outcome(signed([], { 'content-type': list })), expected, list)
  const other = v4(policyOf([...conditions, ...v4Conditions]), { ...fields, key: 'user/eric/a, b' })
  t.equal(outcome(other), 'post-policy', 'no other field is a list')
})

await t.test('signatures', async (t) => {
  const form = signed()
  const old = v2(policyOf(conditions))
  t.equal(outcome({ ...form, 'x-amz-signature': '0'.repeat(64) }), 'SignatureDoesNotMatch')
  t.equal(outcome({ ...form, policy: policyOf([]) }), 'SignatureDoesNotMatch')
  t.equal(outcome({ ...old, signature: 'AAAA' }), 'SignatureDoesNotMatch')
  t.equal(outcome({ ...old, policy: policyOf([]) }), 'SignatureDoesNotMatch')
  t.equal(outcome({ ...old, awsaccesskeyid: 'other' }), 'InvalidAccessKeyId')
  t.equal(outcome({ ...form, 'x-amz-credential': credential.replace(accessKeyId, 'other') }), 'InvalidAccessKeyId')
  t.equal(outcome({ ...form, ...old }), 'InvalidArgument', 'both')
  for (const name of ['awsaccesskeyid', 'signature']) t.equal(outcome({ ...form, [name]: 'x' }), 'InvalidArgument', `Version 4 and ${name}`)
  for (const name of ['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-signature']) {
    t.equal(outcome({ ...old, [name]: 'x' }), 'InvalidArgument', `Version 2 and ${name}`)
  }
  const anyAlgorithm = policyOf([...conditions, ['starts-with', '$x-amz-algorithm', ''], ...v4Conditions.slice(1)])
  t.equal(outcome({ ...v4(anyAlgorithm), 'x-amz-algorithm': 'AWS4-HMAC-SHA512' }), 'InvalidArgument', 'another algorithm')
  t.equal(outcome({ ...form, 'x-amz-credential': credential.replace('s3', 'sts') }), 'InvalidArgument')
  t.equal(outcome({ ...form, 'x-amz-date': '20130525T000000Z' }), 'InvalidArgument')
  t.equal(outcome({ ...form, 'x-amz-algorithm': 'AWS4-ECDSA-P256-SHA256' }), 'NotImplemented')
  t.equal(outcome(old, { context: { v2Query: false } }), 'InvalidRequest')
  t.equal(outcome(form, { context: { regions: ['eu-central-1'] } }), 'InvalidArgument')
  t.equal(outcome(fields), 'AccessDenied', 'anonymous')
  t.equal(outcome({ ...fields, policy: policyOf(conditions) }), 'InvalidArgument', 'policy alone')
  for (const base of [form, old]) {
    for (const name of Object.keys(base)) {
      if (!/^x-amz-(?!meta)|^policy|^aws|^signature/.test(name)) continue
      t.equal(outcome(without(base, name)), 'InvalidArgument', `without ${name}`)
    }
  }
  t.equal(outcome(signed([['starts-with', '$x-amz-security-token', '']], { 'x-amz-security-token': 't' })), 'InvalidToken')
})

await t.test('the file name is expanded after the signature has verified, and before the conditions', async (t) => {
  const form = signed([], { key: 'user/eric/${filename}' })
  const { fields, withFile } = authenticateForm(request, uploadOf(form, 'bucket', { ...form, key: 'user/eric/a' }), context())
  t.equal(fields.get('key'), 'user/eric/a')
  t.equal(withFile(1).scheme, 'post-policy')
  t.throws(() => authenticateForm(request, uploadOf(form, 'bucket', { ...form, key: 'other/a' }), context()), { code: 'AccessDenied' })
  const never = (): never => {
    throw new Error('expanded')
  }
  const mutations: readonly Fields[] = [
    { 'x-amz-signature': '0'.repeat(64) },
    { 'x-amz-credential': credential.replace(accessKeyId, 'other') },
    { 'x-amz-date': 'x' },
    { policy: '' },
    { policy: 'AAAA' }
  ]
  for (const changed of mutations) {
    t.throws(() => authenticateForm(request, { ...uploadOf({ ...form, ...changed }), expanded: never }, context()), S3Error)
  }
})

await t.test('every condition, broken once', async (t) => {
  const form = signed()
  for (
    const [name, value] of [['key', 'user/erik/x'], ['acl', 'public-read'], ['content-type', 'text/html'], ['content-type', 'image/png,text/html'], [
      'x-amz-meta-a',
      'e'
    ]] as const
  ) {
    t.equal(outcome({ ...form, [name]: value }), 'AccessDenied', `${name}: ${value}`)
    t.equal(outcome(without(form, name)), 'AccessDenied', `without ${name}`)
  }
  t.equal(outcome({ ...form, 'content-type': 'image/png,image/gif' }), 'post-policy')
  t.equal(outcome(form, { bucket: 'other' }), 'AccessDenied', 'bucket of the URL')
  t.equal(outcome({ ...form, bucket: 'bucket' }, { bucket: 'other' }), 'AccessDenied', 'a field does not change it')
  t.equal(outcome(v4(policyOf([...conditions.slice(1), ...v4Conditions]))), 'AccessDenied', 'no condition on the bucket')
  t.equal(outcome(v2(policyOf(conditions.slice(1)))), 'AccessDenied', 'no condition on the bucket, Version 2')
  for (const [name, value] of [['acl', 'privateer'], ['x-amz-meta-a', 'é!'], ['content-type', 'Image/png']] as const) {
    t.equal(outcome({ ...form, [name]: value }), 'AccessDenied', `${name} begins with what it must be: ${value}`)
  }
  t.equal(outcome(form, { bucket: 'bucket2' }), 'AccessDenied', 'a longer bucket')
  t.equal(outcome(signed([['starts-with', '$X-Amz-Meta-B', '']])), 'post-policy', 'an empty prefix needs no field')
  t.equal(outcome(signed([['eq', '$x-amz-meta-b', '']])), 'AccessDenied', 'an empty value needs a field')
  t.equal(outcome(signed([{ 'X-Amz-Meta-B': 'b' }], { 'x-amz-meta-b': 'b' })), 'post-policy', 'names in any case')
  t.equal(outcome(form, { context: { now: () => new Date('2013-05-24T00:59:59.999Z') } }), 'post-policy', 'the last moment')
  for (const name of ['x-amz-storage-class', 'x-ignore', 'tagging', 'success_action_status', 'x-amz-checksum-crc32']) {
    t.equal(outcome({ ...form, [name]: '1' }), 'AccessDenied', `extra ${name}`)
  }
  t.equal(outcome(form, { context: { now: () => new Date('2013-05-24T01:00:00Z') } }), 'AccessDenied', 'expired')
})

await t.test('content-length-range', async (t) => {
  const range = signed([['content-length-range', 2, '10'], ['content-length-range', 0, 8]])
  t.equal(outcome(signed(), { size: 2 ** 40 }), 'post-policy', 'no range')
  t.equal(outcome(signed([['content-length-range', 0, '9007199254740991']]), { size: 2 ** 53 - 1 }), 'post-policy')
  for (const most of ['9007199254740992', 2 ** 53, '01234567890123456', ' 1', '1\n', '', true]) {
    t.equal(outcome(signed([['content-length-range', 0, most]])), 'InvalidPolicyDocument', JSON.stringify(most))
  }
  for (const [size, code] of [[1, 'EntityTooSmall'], [2, 'post-policy'], [8, 'post-policy'], [9, 'EntityTooLarge'], [11, 'EntityTooLarge']] as const) {
    t.equal(outcome(range, { size }), code, `${size} bytes`)
  }
})

await t.test('policies that cannot be read', async (t) => {
  const broken: readonly string[] = [
    '',
    '{}',
    'bm90IGpzb24=',
    Buffer.from('[]').toString('base64'),
    Buffer.from('null').toString('base64'),
    Buffer.from([0xff, 0xfe]).toString('base64'),
    `${policyOf(conditions)}!`,
    `!${policyOf(conditions)}`,
    `${policyOf(conditions)}===`,
    policyOf([], null),
    policyOf([], 'tomorrow'),
    policyOf([], '2013-05-24'),
    policyOf([], '2013-02-30T00:00:00Z'),
    Buffer.from(JSON.stringify({ expiration: '2013-05-24T01:00:00Z' })).toString('base64'),
    Buffer.from(JSON.stringify({ EXPIRATION: '2013-05-24T01:00:00Z', conditions: [] })).toString('base64'),
    Buffer.from(JSON.stringify({ expiration: '2013-05-24T01:00:00Z', CONDITIONS: [] })).toString('base64'),
    ...[
      [{}],
      [{ a: '1', b: '2' }],
      [{ acl: 1 }],
      ['x'],
      [[]],
      [['eq', '$key']],
      [['eq', 'key', 'x']],
      [['ends-with', '$key', 'x']],
      [['content-length-range', 0]],
      [['content-length-range', -1, 0]],
      [['content-length-range', 0, 'x']],
      [['content-length-range', 0, 1.5]],
      [['eq', '$key', 'a', 'b']],
      [[1, 2, 3]],
      [null]
    ].map((list) => policyOf(list))
  ]
  for (const policy of broken) t.equal(outcome(v4(policy)), 'InvalidPolicyDocument', Buffer.from(policy, 'base64').toString().slice(0, 80))
})

await t.test('a policy in lines is read as one text', async (t) => {
  const policy = policyOf([...conditions, ...v4Conditions])
  t.equal(outcome(v4(policy.replace(/.{64}/g, '$&\r\n'))), 'post-policy')
})

await t.test('which fields become headers', async (t) => {
  const plain = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'content-type', 'expires']
  const named = [...plain, 'x-amz-meta-b', 'x-amz-storage-class']
  const form = signed(
    [...named, 'success_action_status', 'x-amz', 'x-amz-meta-c'].map((name) => ['starts-with', `$${name}`, '']),
    { ...Object.fromEntries(named.map((name) => [name, 'image/v'])), 'success_action_status': '201', 'x-amz': '1', 'x-ignore-b': '1', 'x-amz-meta-c': '\t' }
  )
  const { headers } = authenticateForm(request, uploadOf(form), context()).withFile(5)
  t.same([...headers.keys()].sort(), [...named, 'x-amz-acl', 'x-amz-meta-a', 'x-amz-meta-c'].sort())
  t.equal(outcome(signed([['starts-with', '$x-amz-meta b', '']], { 'x-amz-meta b': '1' })), 'InvalidArgument')
})

await t.test('fields that cannot be headers', async (t) => {
  const any = [['starts-with', '$x-amz-meta-b', ''], ['starts-with', '$x-amz-acl', ''], ['starts-with', '$content-md5', ''], [
    'starts-with',
    '$x-amz-checksum-crc32',
    ''
  ]]
  t.equal(outcome(signed(any, { 'x-amz-meta-b': 'a\r\nx-amz-acl: public-read' })), 'InvalidArgument')
  t.equal(outcome(signed(any, { 'x-amz-acl': 'private' })), 'InvalidArgument', 'acl twice')
  t.equal(outcome(signed(any, { 'content-md5': 'x' })), 'InvalidDigest')
  t.equal(outcome(signed(any, { 'x-amz-checksum-crc32': 'x' })), 'InvalidRequest')
})
