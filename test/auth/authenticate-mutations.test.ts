// Every single-field change of a valid request is refused.
import t from 'tap'
import { authenticate } from '../../src/auth/authenticate.ts'
import { S3Error } from '../../src/errors.ts'
import { byTurns } from '../support/by-turns.ts'
import { context, emptyHash, httpRequest, signHeader, signHeaderV2, signQuery, signQueryV2, type Draft, type Headers } from '../support/signing.ts'

const host: Headers = [['Host', 'gateway.test:9000']]
const put: Headers = [...host, ['Content-Length', '0'], ['x-amz-meta-name', 'some  value'], ['x-amz-acl', 'private']]
const valid: readonly (readonly [name: string, draft: Draft])[] = [
  ['GET', signHeader({ method: 'GET', target: '/bucket/key.txt', headers: [...host, ['Range', 'bytes=0-9']] })],
  ['GET with a query', signHeader({ method: 'GET', target: '/bucket?list-type=2&prefix=a%2Fb&delimiter=%2F', headers: host })],
  ['PUT', signHeader({ method: 'PUT', target: '/bucket/dir/%C3%A9t%C3%A9%20%2B', headers: put }, { payloadHash: emptyHash })],
  [
    'PUT streaming',
    signHeader({ method: 'PUT', target: '/bucket/key', headers: [...put, ['x-amz-decoded-content-length', '0']] }, {
      payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
    })
  ],
  ['PUT part', signHeader({ method: 'PUT', target: '/bucket/key?partNumber=1&uploadId=abc', headers: put }, { payloadHash: 'UNSIGNED-PAYLOAD' })],
  ['presigned GET', signQuery({ method: 'GET', target: '/bucket/key.txt?response-content-type=text%2Fplain', headers: host })],
  ['presigned PUT', signQuery({ method: 'PUT', target: '/bucket/key?x-amz-storage-class=STANDARD', headers: put })],
  ['V2 GET', signHeaderV2({ method: 'GET', target: '/bucket/key?versionId=abc', headers: host })],
  ['V2 PUT', signHeaderV2({ method: 'PUT', target: '/bucket/key', headers: [...put, ['Content-Type', 'text/plain']] })],
  ['V2 presigned PUT', signQueryV2({ method: 'PUT', target: '/bucket/key', headers: put })]
]

/** Headers that no scheme here signs; what they say is not protected, and a test would be wrong to expect it. */
const unsigned: Readonly<Record<string, readonly string[]>> = {
  'V2 GET': ['host'],
  'V2 PUT': ['host', 'content-length'],
  'V2 presigned PUT': ['host', 'content-length']
}

function outcome(draft: Draft): string {
  try {
    authenticate(httpRequest(draft), context())
    return 'accepted'
  } catch (error) {
    return error instanceof S3Error && error.status < 500 ? 'refused' : String(error)
  }
}

function* changedText(text: string): Generator<string> {
  for (let i = 0; i < text.length; i += 1) {
    for (const [turn, other] of ['0', 'z', '%41', '/', '', `${text[i] ?? ''}${text[i] ?? ''}`].entries()) {
      if (other !== text[i] && byTurns((i + turn) % 3 === 0)) yield text.slice(0, i) + other + text.slice(i + 1)
    }
  }
  yield `${text}x`
}

function* mutations(name: string, draft: Draft): Generator<readonly [what: string, draft: Draft]> {
  for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'get']) if (method !== draft.method) yield [method, { ...draft, method }]
  for (const target of changedText(draft.target)) yield [target, { ...draft, target }]
  for (const parameter of ['acl', 'tagging', 'versionId=1', 'x-amz-copy-source=%2Fother%2Fkey', 'X-Amz-Expires=9', 'retention', 'legal-hold']) {
    const target = `${draft.target}${draft.target.includes('?') ? '&' : '?'}${parameter}`
    yield [target, { ...draft, target }]
  }
  for (const [i, [field, value]] of draft.headers.entries()) {
    if (unsigned[name]?.includes(field.toLowerCase()) === true) continue
    const without = draft.headers.filter((_, j) => j !== i)
    yield [`without ${field}`, { ...draft, headers: without }]
    yield [`${field} twice`, { ...draft, headers: [...draft.headers, [field, value]] }]
    for (const other of changedText(value)) yield [`${field}: ${other}`, { ...draft, headers: [...without, [field, other]] }]
  }
}

/** Mutations that say the same thing in other words. */
function sameMeaning(original: Draft, changed: Draft): boolean {
  const text = (draft: Draft): string =>
    JSON.stringify([
      draft.method,
      decodeURIComponent(draft.target.split('?')[0]!),
      (draft.target.split('?')[1] ?? '').split('&').filter((p) => p !== '').map((p) => decodeURIComponent(p.replace(/=$/, '').replace(/\+/g, ' '))).sort(),
      draft.headers.map(([name, value]) => [name.toLowerCase(), value.replace(/\s+/g, ' ').replaceAll(', ', ',').trim()]).sort()
    ])
  try {
    return text(original) === text(changed)
  } catch {
    return false
  }
}

await t.test('single-field mutations', async (t) => {
  let count = 0
  const wrong: string[] = []
  for (const [name, draft] of valid) {
    t.equal(outcome(draft), 'accepted', name)
    for (const [what, changed] of mutations(name, draft)) {
      if (sameMeaning(draft, changed)) continue
      count += 1
      const result = outcome(changed)
      if (result !== 'refused') wrong.push(`${name}: ${what}: ${result}`)
    }
  }
  t.same(wrong, [])
  t.ok(count > 2000)
  t.comment(`${count.toLocaleString('en')} single-field mutations of valid requests, 0 accepted`)
})

const amzHeaders = [
  'acl',
  'bypass-governance-retention',
  'checksum-algorithm',
  'checksum-crc32',
  'checksum-crc32c',
  'checksum-crc64nvme',
  'checksum-mode',
  'checksum-sha1',
  'checksum-sha256',
  'checksum-type',
  'confirm-remove-self-bucket-access',
  'copy-source',
  'copy-source-if-match',
  'copy-source-if-modified-since',
  'copy-source-if-none-match',
  'copy-source-if-unmodified-since',
  'copy-source-range',
  'copy-source-server-side-encryption-customer-algorithm',
  'copy-source-server-side-encryption-customer-key',
  'copy-source-server-side-encryption-customer-key-md5',
  'create-session-mode',
  'decoded-content-length',
  'expected-bucket-owner',
  'fetch-owner',
  'grant-full-control',
  'grant-read',
  'grant-read-acp',
  'grant-write',
  'grant-write-acp',
  'if-match-size',
  'id-2',
  'meta-a',
  'meta-sealgate',
  'metadata-directive',
  'mfa',
  'mp-object-size',
  'object-attributes',
  'object-lock-legal-hold',
  'object-lock-mode',
  'object-lock-retain-until-date',
  'object-ownership',
  'optional-object-attributes',
  'rename-source',
  'request-payer',
  'restore',
  'sdk-checksum-algorithm',
  'security-token',
  'server-side-encryption',
  'server-side-encryption-aws-kms-key-id',
  'server-side-encryption-bucket-key-enabled',
  'server-side-encryption-context',
  'server-side-encryption-customer-algorithm',
  'server-side-encryption-customer-key',
  'server-side-encryption-customer-key-md5',
  'skip-destination-validation',
  'source-expected-bucket-owner',
  'storage-class',
  'tagging',
  'tagging-directive',
  'te',
  'trailer',
  'transition-default-minimum-object-size',
  'website-redirect-location',
  'write-offset-bytes'
].map((name) => `x-amz-${name}`)

await t.test('no x-amz header counts unsigned', async (t) => {
  let count = 0
  const wrong: string[] = []
  for (const [i, [name, draft]] of valid.entries()) {
    for (const [j, field] of amzHeaders.entries()) {
      for (const [turn, spelling] of [field, field.toUpperCase()].entries()) {
        if (!byTurns((i + j) % 2 === turn)) continue
        if (draft.headers.some(([present]) => present.toLowerCase() === field)) continue
        count += 1
        if (outcome({ ...draft, headers: [...draft.headers, [spelling, '1']] }) !== 'refused') wrong.push(`${name}: ${spelling}`)
      }
    }
  }
  t.same(wrong, [])
  t.ok(count > 500)
  t.comment(`${count.toLocaleString('en')} requests with an unsigned x-amz header, 0 accepted`)
})
