import { createHash, createHmac } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { SignatureV4 } from '@aws-sdk/signature-v4'
import { Sha256 } from '../../bench/sha256.ts'
import { emptySha256 } from '../../src/http/checksums.ts'
import { Signer, type SigningRequest } from '../../src/upstream/signer.ts'
import { percentEncode } from '../../src/http/target.ts'

const identity = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }
const day = new Date('2013-05-24T00:00:00Z')
const signer = new Signer('us-east-1', () => day)
const plain: SigningRequest = {
  method: 'GET',
  host: 'examplebucket.s3.amazonaws.com',
  path: '/',
  query: [],
  headers: {},
  payloadHash: emptySha256
}

/** AWS "Create a signed request", written out here a second time. */
function expected(request: SigningRequest, date: string, region: string, secret: string): string {
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  const headers = Object.entries({ ...request.headers, host: request.host, 'x-amz-date': date, 'x-amz-content-sha256': request.payloadHash })
    .map(([name, value]) => [name, value.trim().replace(/ +/g, ' ')] as const)
    .sort(([a], [b]) => a < b ? -1 : 1)
  const query = request.query
    .map(([name, value]) => [percentEncode(name, { keepSlash: false }), percentEncode(value ?? '', { keepSlash: false })] as const)
    .sort(([a, x], [b, y]) => a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1)
    .map((pair) => pair.join('=')).join('&')
  const canonical = [
    request.method,
    request.path,
    query,
    ...headers.map((pair) => pair.join(':')),
    '',
    headers.map(([name]) => name).join(';'),
    request.payloadHash
  ].join('\n')
  const scope = `${date.slice(0, 8)}/${region}/s3/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(Buffer.from(canonical, 'latin1')).digest('hex')].join('\n')
  const key = ['s3', 'aws4_request'].reduce<Buffer>((k, text) => hmac(k, text), hmac(hmac(`AWS4${secret}`, date.slice(0, 8)), region))
  return hmac(key, toSign).toString('hex')
}

await t.test('the signatures AWS publishes', async (t) => {
  const cases: [string, Partial<SigningRequest>, string][] = [
    ['GET object', { path: '/test.txt', headers: { range: 'bytes=0-9' } }, 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'],
    ['GET lifecycle', { query: [['lifecycle', null]] }, 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
    ['list', { query: [['max-keys', '2'], ['prefix', 'J']] }, '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7']
  ]
  for (const [name, parts, signature] of cases) {
    const signed = await signer.sign({ ...plain, ...parts }, identity)
    t.equal(signed.signature, signature, name)
    t.match(
      signed.headers['authorization'],
      new RegExp(`^AWS4-HMAC-SHA256 Credential=${identity.accessKeyId}/20130524/us-east-1/s3/aws4_request, SignedHeaders=[a-z0-9;-]+, Signature=${signature}$`)
    )
    t.equal(signed.headers['x-amz-date'], '20130524T000000Z')
    t.equal(signed.chunkScope.scope, '20130524/us-east-1/s3/aws4_request')
  }
})

await t.test('equals an independent computation, for odd keys, queries and header bytes', async (t) => {
  const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/)
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 24 })
    .map((raw) => Buffer.from(raw).toString('latin1').replace(/[\x00-\x1f\x7f]/g, ' ').trim())
  const arbitrary = fc.record({
    method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'HEAD'),
    path: fc.string({ unit: 'grapheme' }).map((key) => `/${percentEncode(key, { keepSlash: true })}`),
    query: fc.uniqueArray(fc.tuple(fc.string({ unit: 'grapheme', minLength: 1 }), fc.option(fc.string({ unit: 'grapheme' }))), {
      // The library leaves out a parameter of this name, and an object key of that one.
      maxLength: 4,
      selector: ([name]) => name
    }).filter((all) => all.every(([name]) => name !== '__proto__' && name.toLowerCase() !== 'x-amz-signature')),
    headers: fc.dictionary(word.map((name) => `x-amz-meta-${name}`), bytes, { maxKeys: 4 }),
    payloadHash: fc.constantFrom('UNSIGNED-PAYLOAD', emptySha256)
  })
  let count = 0
  await fc.assert(
    fc.asyncProperty(arbitrary, fc.date({ min: new Date('2020-01-01'), max: new Date('2040-01-01'), noInvalidDate: true }), async (parts, now) => {
      const request = { ...plain, ...parts }
      const { headers, signature } = await new Signer('eu-west-3', () => now).sign(request, identity)
      count += 1
      return signature === expected(request, headers['x-amz-date'] ?? '', 'eu-west-3', identity.secretAccessKey)
    }),
    { numRuns: 400 }
  )
  t.comment(`${count} signatures equal to an independent computation`)
})

await t.test('session tokens are sent and signed; identities do not mix', async (t) => {
  const token = await signer.sign(plain, { ...identity, sessionToken: 'the/token' })
  t.equal(token.headers['x-amz-security-token'], 'the/token')
  t.notOk('x-amz-security-token' in (await signer.sign(plain, { ...identity, sessionToken: '' })).headers, 'an empty one is none')
  t.match(token.headers['authorization'], /SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,/)
  const other = { accessKeyId: 'OTHER', secretAccessKey: 'other' }
  const [a, b, c] = await Promise.all([identity, other, identity].map((who) => signer.sign(plain, who)))
  t.equal(a?.signature, c?.signature)
  t.equal(b?.signature, expected(plain, '20130524T000000Z', 'us-east-1', 'other'))
  t.match(b?.headers['authorization'], /Credential=OTHER\//)
})

await t.test('two objects with the same access key and different secrets sign differently', async (t) => {
  const old = await signer.sign(plain, { ...identity })
  const rotated = await signer.sign(plain, { ...identity, secretAccessKey: 'rotated' })
  t.not(old.signature, rotated.signature)
})

await t.test('signs as the library does by itself', async (t) => {
  const library = new SignatureV4({ credentials: identity, region: 'us-east-1', service: 's3', sha256: Sha256, uriEscapePath: false, applyChecksum: false })
  const value = fc.string().map((text) => text.replace(/[^\x20-\x7e\t]/g, 'x'))
  const name = fc.constantFrom(
    'cache-control',
    'content-type',
    'range',
    'user-agent',
    'x-amz-meta-a',
    'x-amz-meta-__proto__',
    'x-amzn-trace-id',
    'expect',
    'if-match',
    'proxy-a',
    'sec-a'
  )
  const parameter = fc.tuple(
    fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom('uploads', 'X-Amz-Signature', 'prefix', '__proto__')),
    fc.option(fc.string())
  )
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value), fc.array(parameter, { maxLength: 4 }), async (headers, query) => {
      const bag = Object.create(null) as Record<string, string | string[]>
      for (const [key, text] of query) bag[key] = bag[key] === undefined ? text ?? '' : [bag[key], text ?? ''].flat()
      const ours = await signer.sign({ ...plain, headers, query }, identity)
      const theirs = await library.sign({
        method: 'GET',
        protocol: 'https:',
        hostname: plain.host,
        path: plain.path,
        query: bag,
        headers: { ...headers, 'host': plain.host, 'x-amz-content-sha256': emptySha256 }
      }, { signingDate: day })
      t.strictSame(ours.headers, theirs.headers)
    }),
    { numRuns: 300 }
  )
})

await t.test('a new day has another key, and each second its date', async (t) => {
  let now = new Date('2026-11-29T23:59:59.400Z')
  const clock = new Signer('us-east-1', () => now)
  const seen: string[] = []
  for (const at of ['2026-11-29T23:59:59.900Z', '2026-11-30T00:00:00.000Z', '2026-11-30T00:00:01.001Z', '2026-11-29T23:59:59.999Z']) {
    now = new Date(at)
    const { headers, signature } = await clock.sign(plain, identity)
    t.equal(headers['x-amz-date'], at.replace(/[-:]|\.\d+/g, ''))
    t.equal(signature, expected(plain, headers['x-amz-date'] ?? '', 'us-east-1', identity.secretAccessKey))
    seen.push(signature)
  }
  t.equal(seen[0], seen[3])
  t.equal(new Set(seen).size, 3)
})
