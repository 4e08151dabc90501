import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import t from 'tap'
import { ask, upstreamTo } from '../support/raw-store.ts'
import { codeOf } from '../support/error-code.ts'

await t.test('certificates are verified', async (t) => {
  // For these tests only: self-signed for localhost and 127.0.0.1, good for a hundred years from 2026.
  const pem = (name: string) => readFileSync(new URL(`../support/tls/localhost-${name}.pem`, import.meta.url), 'utf8')
  const cert = pem('cert')
  const hashes: (string | undefined)[] = []
  const server = createServer({ key: pem('key'), cert }, (request, response) => {
    hashes.push(request.headers['x-amz-content-sha256'] as string | undefined)
    request.resume().on('end', () => response.writeHead(200, { 'content-length': 0, 'etag': '"e"' }).end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const put = async (endpoint: string, ca: string | null) =>
    codeOf(
      upstreamTo(t, endpoint, {}, {}, { ca }).request(ask({ method: 'PUT', body: Readable.from([Buffer.from('x')]), contentLength: 1 }))
    )
  t.equal(await put(`https://127.0.0.1:${port}`, null), 'SealgateBadUpstream', 'self-signed')
  t.equal(await put(`https://127.0.0.1:${port}`, cert), 'ok')
  t.equal(await put(`https://localhost.localhost:${port}`, cert), 'ServiceUnavailable', 'a name that does not resolve')
  t.equal(await put(`http://127.0.0.1:${port}`, null), 'ServiceUnavailable', 'plain HTTP to a TLS port')
  t.same(hashes, ['UNSIGNED-PAYLOAD'])
})
