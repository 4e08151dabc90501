import { createHmac } from 'node:crypto'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import { parseTarget } from '../../src/http/target.ts'
import { canonicalRequests } from '../../src/sigv4/canonical.ts'
import { equalSignatures, SigningSecret } from '../../src/sigv4/signing.ts'
import { signingKey } from '../support/signing.ts'

await t.test('signing keys are right, kept, and few', (t) => {
  const secret = new SigningSecret('secret')
  const first = secret.signingKey('20130524', 'region-0')
  t.same(first.export(), signingKey('secret', '20130524', 'region-0'))
  t.equal(secret.signingKey('20130524', 'region-0'), first, 'derived once')
  for (let i = 1; i < 16; i += 1) secret.signingKey('20130524', `region-${i}`)
  t.equal(secret.signingKey('20130524', 'region-0'), first, 'sixteen are kept')
  // Regions come from requests that are not authenticated yet: keys for all of them would fill the memory.
  const unused = secret.signingKey('20130525', 'region-0')
  for (let i = 16; i < 48; i += 1) {
    secret.signingKey('20130524', `region-${i}`)
    if (secret.signingKey('20130524', 'region-0') !== first) t.fail(`the key in use is dropped for region-${i}`)
  }
  t.not(secret.signingKey('20130525', 'region-0'), unused, 'what is not used makes room')
  t.same(secret.signingKey('20130525', 'region-0').export(), unused.export())
  t.equal(createHmac('sha1', secret.v2Key).digest('hex'), createHmac('sha1', 'secret').digest('hex'))
  t.end()
})

await t.test('signatures of any length and characters are compared', (t) => {
  t.ok(equalSignatures('ab', 'ab'))
  t.ok(equalSignatures('', ''))
  for (const [expected, received] of [['ab', 'aB'], ['ab', 'a'], ['ab', 'abc'], ['ab', ''], ['a', '\u0161'], ['\u00e4', '\u00e4']] as const) {
    t.notOk(equalSignatures(expected, received), `${expected} ${received}`)
  }
  t.end()
})

const forms = (
  target: string,
  headers: readonly (readonly [string, string])[] = [],
  signed: readonly string[] = [],
  without: string | null = null
): string[] => [
  ...canonicalRequests({ method: 'GET', target: parseTarget(target), headers: new HeaderList(headers), host: 'Host  a' }, signed, 'HASH', without)
]
const form = (path: string, query: string): string => `GET\n${path}\n${query}\n\n\nHASH`

await t.test('the query is sorted by name, then by value, as encoded and as received', (t) => {
  t.same(forms('/b?b=2&a=2&a=10&c&a=1&B=1'), [form('/b', 'B=1&a=1&a=10&a=2&b=2&c=')])
  t.same(forms('/b?b=1&a=1'), [form('/b', 'a=1&b=1')], 'two of them')
  t.same(forms('/b?a=z&a=y'), [form('/b', 'a=y&a=z')], 'two of one name')
  t.same(forms('/b?a=2&a=2&X-Amz-Signature=x&a=1', [], [], 'X-Amz-Signature'), [form('/b', 'a=1&a=2&a=2')])
  t.same(forms('/b?a=x%2Fy'), [form('/b', 'a=x%2Fy')], 'nothing to encode: one form')
  t.same(forms('/b?a=x/y&b'), [form('/b', 'a=x%2Fy&b='), form('/b', 'a=x/y&b=')])
  t.same(forms('/b?a=b=c'), [form('/b', 'a=b%3Dc'), form('/b', 'a=b=c')])
  t.same(forms('/b?=1'), [form('/b', '=1')])
  t.same(forms('/b/a!'), [form('/b/a%21', ''), form('/b/a!', '')])
  t.same(forms('/b/a!?a=!'), [form('/b/a%21', 'a=%21'), form('/b/a!', 'a=%21'), form('/b/a%21', 'a=!'), form('/b/a!', 'a=!')])
  const others = { '%7e': '~', '%2F': '/', '%41': 'A', '%5F': '_', '%2D': '-', '%2E': '.', '%30': '0', '%61': 'a', '%5a': 'Z', '%c3%a4': '%C3%A4' }
  for (const [sent, encoded] of Object.entries(others)) {
    t.same(forms(`/b/${sent}`), [form(`/b/${encoded}`, ''), form(`/b/${sent}`, '')], sent)
  }
  for (const kept of ['%20', '%2B', '%3A', '%40', '%5B', '%5E', '%60', '%7B', '%7F', '%C3%A4', '~', '-._/']) {
    t.same(forms(`/b/${kept}`), [form(`/b/${kept}`, '')], kept)
  }
  t.end()
})

await t.test('header values lose white space at the ends and have one space inside', (t) => {
  const [text] = forms('/', [['A', ' x '], ['a', 'y\t z'], ['b', '\tx  y\t\tz '], ['c', ''], ['d', '\u00a0x']], ['a', 'b', 'c', 'd', 'host', 'none'])
  t.equal(text, 'GET\n/\n\na:x,y z\nb:x y z\nc:\nd:\u00a0x\nhost:Host a\nnone:\n\na;b;c;d;host;none\nHASH')
  t.end()
})
