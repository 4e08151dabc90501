import fc from 'fast-check'
import t from 'tap'
import { isLoopback, parseEndpoint, requestAddress } from '../../src/upstream/request-writer.ts'

await t.test('endpoints that cannot be used are refused by name', async (t) => {
  const bad = [
    'nonsense',
    'ftp://store',
    'http://store/base',
    'http://store/?q',
    'http://store/#f',
    'http://key:secret@store',
    'http://key@store',
    ''
  ]
  for (const endpoint of bad) t.throws(() => parseEndpoint(endpoint, 'path'), /^upstream\.endpoint/, endpoint)
  for (const ip of ['http://127.0.0.1:9000', 'https://[::1]']) {
    t.throws(() => parseEndpoint(ip, 'virtual-host'), /virtual-host/, ip)
    t.equal(parseEndpoint(ip, 'path').pathname, '/')
  }
})

await t.test('loopback', async (t) => {
  for (const host of ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9:99', '[::1]:80']) t.ok(isLoopback(new URL(`http://${host}`)), host)
  for (const host of ['10.0.0.1', '127.0.0.1.example.com', 'localhost.example.com', '[::2]', 'example.com', '128.0.0.1']) {
    t.notOk(isLoopback(new URL(`http://${host}`)), host)
  }
})

await t.test('addresses', async (t) => {
  const none = { bucket: null, key: null, query: [] }
  const place = { bucket: 'my.bucket', key: 'a b/../ü', query: [] }
  const http = new URL('http://store:9000')
  const https = new URL('https://store.example:443')
  t.same(requestAddress(http, 'path', none), { origin: 'http://store:9000', host: 'store:9000', path: '/', query: '' })
  t.same(requestAddress(http, 'path', { ...place, key: null }).path, '/my.bucket')
  t.same(requestAddress(http, 'path', place).path, '/my.bucket/a%20b/../%C3%BC')
  t.same(requestAddress(http, 'path', { ...place, key: '/' }).path, '/my.bucket//')
  t.same(requestAddress(https, 'virtual-host', place), {
    origin: 'https://my.bucket.store.example',
    host: 'my.bucket.store.example',
    path: '/a%20b/../%C3%BC',
    query: ''
  })
  t.same(requestAddress(https, 'virtual-host', { ...place, key: null }).path, '/')
  t.same(requestAddress(https, 'virtual-host', none).host, 'store.example')
  t.same(requestAddress(http, 'path', { ...none, query: [['acl', null], ['prefix', ''], ['k&=', 'a+b/ü']] }).query, 'acl&prefix=&k%26%3D=a%2Bb%2F%C3%BC')
})

await t.test('regression: a bucket name in upper case is refused in virtual-host style, because host names have no case', async (t) => {
  const place = { bucket: 'Sealgate-state', key: 'k', query: [] }
  t.throws(() => requestAddress(new URL('http://store'), 'virtual-host', place), { name: 'S3Error', code: 'InvalidBucketName', status: 400 })
  t.equal(requestAddress(new URL('http://store'), 'path', place).path, '/Sealgate-state/k')
})

await t.test('a key survives: decoding the path gives it back, and nothing in it ends the path', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (key) => {
      const { path } = requestAddress(new URL('http://store'), 'path', { bucket: 'b', key, query: [] })
      return decodeURIComponent(path) === `/b/${key}` && /^[A-Za-z0-9\-._~/%]+$/.test(path)
    }),
    { numRuns: 500 }
  )
  t.pass()
})
