import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createPlainServer, type AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import t from 'tap'
import { tlsFactsOf } from '../../src/upstream/tls-facts.ts'

const pem = (name: string): string => readFileSync(new URL(`../support/tls/${name}.pem`, import.meta.url), 'utf8')
const cert = pem('localhost-cert')
const never = new AbortController().signal

await t.test('protocol, end and fault of a certificate; nothing is sent', async (t) => {
  const sent: Buffer[] = []
  const server = createServer({ cert, key: pem('localhost-key') }, (socket) => {
    socket.on('data', (chunk: Buffer) => sent.push(chunk)).on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const endpoint = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.match(await tlsFactsOf(endpoint, '127.0.0.1', cert, never), { protocol: 'TLSv1.3', expires: new Date('2126-10-28T02:07:20Z'), fault: null })
  t.match(await tlsFactsOf(endpoint, '127.0.0.1', null, never), { fault: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  t.match(await tlsFactsOf(endpoint, '127.0.0.1', pem('renewed-cert'), never), { fault: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  t.match(await tlsFactsOf(endpoint, '127.0.0.2', cert, never), null, 'nobody listens there')
  t.same(sent, [])
})

await t.test('a server without TLS, and a stop', async (t) => {
  const server = createPlainServer((socket) => {
    socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const endpoint = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.equal(await tlsFactsOf(endpoint, '127.0.0.1', null, never), null)
  t.equal(await tlsFactsOf(endpoint, '127.0.0.1', null, AbortSignal.abort()), null)
})
