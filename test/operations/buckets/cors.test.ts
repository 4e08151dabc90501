// Answers to browsers: for which buckets, at what cost to the store, and by whose rules.
import t from 'tap'
import { DeleteBucketCorsCommand, HeadObjectCommand, PutBucketCorsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import { rawRequest } from '../../support/raw-client.ts'

const Bucket = 'browsed'
const store = await startTestStore({ buckets: [Bucket] })
const gateway = await startTestGateway(store)
const s3 = gateway.client()
t.teardown(async () => {
  await gateway.close()
  await store.close()
})
await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x' }))

await t.test('regression: preflights do not reveal which buckets exist, and send nothing to the store for those that are not configured', async (t) => {
  const narrow = await startTestGateway(store, {
    sections: { buckets: { 'else*': { encryption: 'on', key: 'main' }, [Bucket]: { encryption: 'on', key: 'main' } } }
  })
  const ask = async (bucket: string, of = narrow) =>
    rawRequest(of.endpoint, `OPTIONS /${bucket}/k HTTP/1.1\r\nHost: x\r\nOrigin: https://b.example\r\nAccess-Control-Request-Method: GET\r\n\r\n`)
  const told = async (bucket: string, of = narrow) => {
    const { status, body } = await ask(bucket, of)
    return [status, body.toString().replaceAll(bucket, '').replace(/<RequestId>.*<\/HostId>/, '')]
  }
  store.requests.length = 0
  const one = await told('nowhere')
  t.match(one, [403, /<Code>AccessForbidden</])
  t.notOk(store.requests.some(({ query }) => query.has('cors')))
  t.same(await told('elsewhere'), one, 'no such bucket')
  t.same(await told(Bucket), one, 'no rules')
  await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: [{ AllowedOrigins: ['https://a.example'], AllowedMethods: ['GET'] }] } }))
  const other = await startTestGateway(store)
  t.same(await told(Bucket, other), one, 'rules that do not match')
  await other.close()
  await s3.send(new DeleteBucketCorsCommand({ Bucket }))
  await narrow.close()
})

await t.test('regression: invented names neither flood the store nor keep anybody waiting', async (t) => {
  const flooded = await startTestGateway(store, { keyring: gateway.keyring })
  const ask = async (bucket: string, origin = 'https://a.example') =>
    rawRequest(flooded.endpoint, `OPTIONS /${bucket}/k HTTP/1.1\r\nHost: x\r\nOrigin: ${origin}\r\nAccess-Control-Request-Method: GET\r\n\r\n`)
  const asked = () => store.requests.filter(({ query }) => query.has('cors')).length
  const { promise: released, resolve: release } = Promise.withResolvers<undefined>()
  store.rules.add({ when: { query: { cors: true } }, fault: { type: 'late', until: async () => released }, times: Infinity })
  store.requests.length = 0
  const started = performance.now()
  const answers = Promise.all(Array.from({ length: 300 }, async (_, i) => ask(`invented-${i}`)))
  while (asked() < 4) await new Promise((resolve) => setTimeout(resolve, 5))
  await flooded.client().send(new HeadObjectCommand({ Bucket, Key: 'a' }))
  t.equal(asked(), 4, 'the store has four of them when a HEAD that came later is answered')
  release(undefined)
  t.same([...new Set((await answers).map(({ status }) => status))], [403])
  const allowed = 20 + 5 * (performance.now() - started) / 1000 + 1
  t.ok(asked() <= allowed, `${asked()} of at most ${allowed} in all`)
  store.rules.clear()
  await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: [{ AllowedOrigins: ['*'], AllowedMethods: ['GET'] }] } }))
  t.match(await ask(Bucket), { status: 200 }, 'a bucket that signed requests use is still looked up')
  await s3.send(new DeleteBucketCorsCommand({ Bucket }))
  await flooded.close()
})

await t.test('the reason for missing CORS headers is logged, and the answer is unchanged', async (t) => {
  const lines: unknown[] = []
  const blind = await startTestGateway(store, {
    keyring: gateway.keyring,
    operatorLog: (...line) => {
      lines.push(line)
    }
  })
  store.rules.add({ when: { method: 'GET', query: { cors: true } }, fault: { type: 'error', status: 500, code: 'InternalError' }, times: Infinity })
  const withOrigin = blind.client()
  withOrigin.middlewareStack.add((next) => async (args) => {
    Object.assign((args.request as { headers: Record<string, string> }).headers, { origin: 'https://a.example' })
    return next(args)
  }, { step: 'build' })
  lines.length = 0
  t.equal((await withOrigin.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).$metadata.httpStatusCode, 200)
  t.match(lines, [['warn', 'CORS rules not looked up', {
    bucket: Bucket,
    requestId: /./,
    code: 'ServiceUnavailable',
    service: 'store',
    operation: 'GET bucket ?cors',
    status: 500,
    trouble: 'server-error'
  }]])
  store.rules.clear()
  const count = blind.metric('sealgate_limited_total{limit="CORS look-ups"}')
  const asks = Array.from(
    { length: 60 },
    async (_, i) =>
      rawRequest(blind.endpoint, `OPTIONS /untold-${i}/k HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\r\n`)
  )
  t.same([...new Set((await Promise.all(asks)).map(({ status }) => status))], [403])
  t.ok(blind.metric('sealgate_limited_total{limit="CORS look-ups"}') > count, 'what a limit turned away is counted')
  t.equal(lines.length, 1, 'and not told line by line')
  await blind.close()
})

await t.test('one look-up for preflights that come together, and absences are remembered', async (t) => {
  const fresh = await startTestGateway(store)
  const ask = async (method = 'GET') =>
    rawRequest(fresh.endpoint, `OPTIONS /together/k HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: ${method}\r\n\r\n`)
  store.requests.length = 0
  for (let round = 0; round < 3; round += 1) await Promise.all(Array.from({ length: 10 }, async () => ask()))
  t.same(store.requests.map(({ method, query }) => [method, query.has('cors')]), [['GET', true], ['OPTIONS', false]])
  await fresh.close()
})

await t.test('rules of the gateway itself: no request to the store', async (t) => {
  const cors = [{ origins: ['https://*.example'], methods: ['PUT', 'GET'], maxAge: 60 }]
  const own = await startTestGateway(store, { sections: { listen: { host: '127.0.0.1', port: 0, cors } } })
  store.requests.length = 0
  const ask = async (origin: string) =>
    rawRequest(
      own.endpoint,
      `OPTIONS /any/k HTTP/1.1\r\nHost: x\r\nOrigin: ${origin}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-any\r\n\r\n`
    )
  t.match(await ask('https://a.example'), {
    status: 200,
    headers: { 'access-control-allow-origin': 'https://a.example', 'access-control-allow-headers': 'x-any', 'access-control-max-age': '60' }
  })
  t.match(await ask('https://a.other'), { status: 403 })
  t.match(await rawRequest(own.endpoint, 'GET /any/k HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n'), {
    status: 403,
    headers: { 'access-control-allow-origin': 'https://a.example', 'access-control-expose-headers': /^ETag, x-amz-checksum-crc32,/ }
  })
  t.same(store.requests, [])
  await own.close()
})

await t.test('a store that keeps no rules gets the preflight itself', async (t) => {
  const lone = await startTestGateway(store)
  store.rules.add({ when: { method: 'GET', query: { cors: true } }, fault: { type: 'error', status: 501, code: 'NotImplemented' }, times: Infinity })
  store.rules.add({
    when: { method: 'OPTIONS' },
    times: Infinity,
    fault: {
      type: 'answer',
      status: 200,
      headers: [['Access-Control-Allow-Origin', 'https://a.example'], ['Access-Control-Allow-Methods', 'PUT'], ['X-Other', 'a']]
    }
  })
  const answer = await rawRequest(
    lone.endpoint,
    `OPTIONS /${Bucket}/k HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n`
  )
  t.match(answer, { status: 200, headers: { 'access-control-allow-origin': 'https://a.example', 'access-control-expose-headers': /^ETag, / } })
  t.equal(answer.headers['x-other'], undefined)
  store.rules.clear()
  await lone.close()
})
