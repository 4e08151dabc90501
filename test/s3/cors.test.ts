import t from 'tap'
import { exposedWithETag, corsHeaders, corsRule, matchingRule, parseCors, requestedHeaders } from '../../src/s3/cors.ts'

const rules = parseCors(Buffer.from(`<CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <CORSRule><AllowedOrigin>start*end</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>
  <CORSRule><AllowedOrigin>https://a.example</AllowedOrigin><AllowedOrigin>*.b.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>POST</AllowedMethod>
    <AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Content-Type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>300</MaxAgeSeconds></CORSRule>
  <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule>
</CORSConfiguration>`))

await t.test('which rule answers', (t) => {
  const cases: readonly (readonly [origin: string, method: string, headers: string, rule: number])[] = [
    ['startend', 'GET', '', 0],
    ['start-x-end', 'GET', '', 0],
    ['starten', 'GET', '', -1],
    ['xstartend', 'GET', '', -1],
    ['startendx', 'GET', '', -1],
    ['startend', 'PUT', '', -1],
    ['startend', 'GET', 'x', -1],
    ['https://a.example', 'PUT', '', 1],
    ['https://a.example', 'POST', 'x-amz-date, CONTENT-TYPE', 1],
    ['https://a.example', 'PUT', 'authorization', -1],
    ['https://b.example', 'PUT', '', -1],
    ['https://x.b.example', 'PUT', '', 1],
    ['https://a.example', 'GET', '', -1],
    ['https://A.example', 'PUT', '', -1],
    ['anybody', 'HEAD', '', 2],
    ['', 'HEAD', '', 2],
    ['https://a.example', 'put', '', -1]
  ]
  for (const [origin, method, headers, rule] of cases) {
    const found = matchingRule(rules, { origin, method, headers: requestedHeaders(headers) })
    t.equal(found === undefined ? -1 : rules.indexOf(found), rule, `${origin} ${method} ${headers}`)
  }
  t.end()
})

await t.test('what a rule puts on an answer', (t) => {
  const [, named, everybody] = rules
  t.ok(named !== undefined && everybody !== undefined)
  if (named === undefined || everybody === undefined) return
  t.same(Object.fromEntries(corsHeaders(named, { origin: 'https://a.example', method: 'PUT', headers: ['x-amz-date', 'content-type'] })), {
    'access-control-allow-origin': 'https://a.example',
    'access-control-allow-methods': 'PUT, POST',
    'access-control-allow-headers': 'x-amz-date,content-type',
    'access-control-expose-headers': ['ETag', ...exposedWithETag].join(', '),
    'access-control-max-age': '300',
    'access-control-allow-credentials': 'true',
    'vary': 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method'
  })
  t.same(Object.fromEntries(corsHeaders(everybody, { origin: 'x', method: 'HEAD', headers: [] })), {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'HEAD',
    'vary': 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method'
  }, 'no credentials for everybody')
  t.end()
})

t.same(requestedHeaders(undefined), [])
t.same(requestedHeaders(' a ,, B, A,b'), ['a', 'b'], 'lower case, each once')
t.throws(() => parseCors(Buffer.from('nonsense')), { code: 'SealgateBadUpstream' })

await t.test('regression: matching does not multiply rules, patterns and names that repeat', async (t) => {
  t.equal(requestedHeaders(Array.from({ length: 101 }, (_, i) => `x-${i}`).join()), null, 'more than 100 names are not looked at')
  t.equal(requestedHeaders(Array.from({ length: 100 }, (_, i) => `x-${i}`).join())?.length, 100)
  t.equal(requestedHeaders('a,'.repeat(8000))?.length, 1)
  t.equal(matchingRule(rules, { origin: 'startend', method: 'GET', headers: null }), undefined)
  t.throws(() => parseCors(Buffer.from(`<C>${'<CORSRule></CORSRule>'.repeat(101)}</C>`)), { code: 'SealgateBadUpstream' })
  t.throws(() => parseCors(Buffer.from(`<C>${' '.repeat(256 * 1024)}</C>`)), { code: 'SealgateBadUpstream' })
})

await t.test('no rule makes an answer many times as large as the question', async (t) => {
  const many = Array.from({ length: 5000 }, (_, i) => `x-${i}`)
  const rule = corsRule({ origins: ['*'], methods: [...Array<string>(5000).fill('GET'), ...many], headers: ['*'], expose: many, maxAge: null })
  const size = corsHeaders(rule, { origin: 'o', method: 'GET', headers: [] }).flat().join('').length
  t.ok(size < 2500, String(size))
})

await t.test('what goes with ETag is exposed with it alone', async (t) => {
  const exposedBy = (expose: string[]) => corsRule({ origins: ['*'], methods: ['GET'], headers: [], expose, maxAge: null }).exposeHeaders.split(', ')
  t.same(exposedBy(['x-a']), ['x-a'])
  t.same(exposedBy(['x-a', 'etag', 'X-Amz-Version-Id']), ['x-a', 'etag', 'X-Amz-Version-Id', ...exposedWithETag.filter((name) => name !== 'x-amz-version-id')])
  t.ok(exposedWithETag.includes('x-amz-checksum-crc64nvme'))
})
