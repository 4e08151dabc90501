// Requests signed by the signer of the AWS SDK for JavaScript, with keys, queries and headers of every kind.
import t from 'tap'
import fc from 'fast-check'
import { SignatureV4 } from '@aws-sdk/signature-v4'
import { Sha256 } from '../../bench/sha256.ts'
import { authenticate } from '../../src/auth/authenticate.ts'
import { S3Error } from '../../src/errors.ts'
import { percentEncode } from '../../src/http/target.ts'
import { byTurns } from '../support/by-turns.ts'
import { accessKeyId, context, httpRequest, now, secretAccessKey, type Draft } from '../support/signing.ts'

const signer = new SignatureV4({
  service: 's3',
  region: 'eu-central-1',
  uriEscapePath: false,
  sha256: Sha256,
  credentials: { accessKeyId, secretAccessKey }
})

function encodedQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query).map(([name, value]) => `${percentEncode(name, { keepSlash: false })}=${percentEncode(value, { keepSlash: false })}`).join('&')
}

async function sign(
  method: string,
  path: string,
  query: Readonly<Record<string, string>>,
  extra: Readonly<Record<string, string>>,
  presign: boolean
): Promise<Draft> {
  const request = {
    method,
    protocol: 'http:',
    hostname: 'gateway.test',
    path,
    query,
    headers: { host: 'gateway.test', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', ...extra }
  }
  const signed = presign ? await signer.presign(request, { signingDate: now, expiresIn: 60 }) : await signer.sign(request, { signingDate: now })
  const text = encodedQuery(signed.query as Record<string, string>)
  // The signer moves x-amz headers into the query; the rest the client has to send with the URL.
  const headers = presign ? Object.entries(request.headers).filter(([name]) => !name.startsWith('x-amz-')) : Object.entries(signed.headers)
  return { method, target: `${path}${text === '' ? '' : `?${text}`}`, headers }
}

function outcome(draft: Draft): string {
  try {
    return authenticate(httpRequest(draft), context({ regions: ['us-east-1', 'eu-central-1'] })).scheme
  } catch (error) {
    return error instanceof S3Error ? error.code : String(error)
  }
}

const key = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('..', '.', 'a//b', '/', 'a/../b', 'x%2Fy', '+ ', '!*\'()', 'ünï')
)
const wellFormed = (text: string): boolean => text.isWellFormed()
const queries = fc.dictionary(
  fc.string({ minLength: 1, maxLength: 8 }).filter((name) => !/^x-amz-|^awsaccess|^signature$|^__proto__$/i.test(name) && wellFormed(name)),
  fc.string({ unit: 'binary', maxLength: 8 }).filter(wellFormed),
  { maxKeys: 4, noNullPrototype: true }
)
const headerText = fc.string({ minLength: 1, maxLength: 12 }).map((value) => value.trim()).filter((value) => value !== '')
const headers = fc.dictionary(fc.constantFrom('x-amz-meta-a', 'x-amz-acl', 'content-type', 'x-amz-meta-b', 'range'), headerText, {
  maxKeys: 3,
  noNullPrototype: true
})

await t.test('signed requests verify, and not with one character changed', async (t) => {
  let count = 0
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'PUT', 'DELETE', 'HEAD', 'POST'),
      key.filter(wellFormed),
      queries,
      headers,
      fc.boolean(),
      fc.nat(),
      async (method, name, query, extra, presign, position) => {
        const path = `/bucket/${percentEncode(name, { keepSlash: true })}`
        const draft = await sign(method, path, query, extra, presign)
        if (outcome(draft) !== (presign ? 'v4-query' : 'v4-header')) throw new Error(`${outcome(draft)} ${JSON.stringify(draft)}`)
        count += 1
        const at = 1 + position % (path.length - 1)
        const target = `${draft.target.slice(0, at)}${draft.target[at] === 'q' ? 'r' : 'q'}${draft.target.slice(at + 1)}`
        const changed = outcome({ ...draft, target })
        return changed === 'SignatureDoesNotMatch' || changed === 'InvalidURI'
      }
    ),
    { numRuns: byTurns(false) ? 1500 : 300 }
  )
  t.comment(`${count.toLocaleString('en')} requests of the SDK's signer verified, 0 of their mutations`)
})

await t.test('reserved characters on the wire, whichever way the client signs them', async (t) => {
  const bare = '/bucket/a!b\'(c)*d+e=f@g:h,i;j$k&l'
  const strict = `/bucket/${percentEncode('a!b\'(c)*d+e=f@g:h,i;j$k&l', { keepSlash: true })}`
  for (const signedPath of [bare, strict]) {
    for (const sentPath of [bare, strict]) {
      const draft = await sign('GET', signedPath, {}, {}, false)
      const expected = signedPath === bare && sentPath === strict ? 'SignatureDoesNotMatch' : 'v4-header'
      t.equal(outcome({ ...draft, target: sentPath }), expected, `signed ${signedPath}, sent ${sentPath}`)
    }
  }
})

await t.test('queries left bare on the wire', async (t) => {
  const draft = await sign('GET', '/bucket', { prefix: 'a/b c', delimiter: '/', marker: '' }, {}, false)
  for (const query of ['prefix=a/b%20c&delimiter=/&marker=', 'marker&delimiter=%2f&prefix=a%2fb+c', 'delimiter=%2F&prefix=a%2Fb%20c&marker']) {
    t.equal(outcome({ ...draft, target: `/bucket?${query}` }), 'v4-header', query)
  }
  t.equal(outcome({ ...draft, target: '/bucket?prefix=a/b%2Bc&delimiter=/&marker=' }), 'SignatureDoesNotMatch')
})
