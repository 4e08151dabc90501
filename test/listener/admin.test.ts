import { once } from 'node:events'
import { get, request, type IncomingMessage } from 'node:http'
import t from 'tap'
import { createAdminListener } from '../../src/listener/admin.ts'

async function fetchText(port: number, path: string): Promise<{ status: number | undefined; type: string | undefined; body: string }> {
  const [response] = await once(get({ host: '127.0.0.1', port, path }), 'response') as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { status: response.statusCode, type: response.headers['content-type'], body }
}

await t.test('health and metrics', async (t) => {
  let ok = true
  const admin = createAdminListener({ host: '127.0.0.1', port: 0 }, {
    ready: async () => ({ ok, checks: { store: ok ? 'ok' : 'unreachable' } }),
    status: () => ({ version: '1' }),
    metrics: () => '# TYPE a counter\na 1\n',
    page: null
  })
  const { port } = await admin.start()
  t.teardown(() => admin.stop())
  t.match(await fetchText(port, '/livez'), { status: 200 })
  t.match(await fetchText(port, '/readyz'), { status: 200, body: '{"status":"ready","checks":{"store":"ok"}}' })
  ok = false
  t.match(await fetchText(port, '/readyz'), { status: 503, body: '{"status":"not ready","checks":{"store":"unreachable"}}' })
  t.match(await fetchText(port, '/livez'), { status: 200 }, 'a gateway that is not ready is alive')
  t.match(await fetchText(port, '/metrics'), { status: 200, type: /^text\/plain; version=0.0.4/, body: '# TYPE a counter\na 1\n' })
  for (const path of ['/bucket/key', '/', '/status.json']) t.match(await fetchText(port, path), { status: 404 }, path)
})

await t.test('a page says what it says to nobody else, and refreshes unless it is told not to', async (t) => {
  const admin = createAdminListener({ host: '127.0.0.1', port: 0 }, {
    ready: async () => ({ ok: true, checks: {} }),
    status: () => ({}),
    metrics: () => '',
    page: { html: async (refreshed) => refreshed ? 'refreshed' : 'still', json: async () => ({ version: '1' }), policy: 'default-src none' }
  })
  const { port } = await admin.start()
  t.teardown(() => admin.stop())
  const headersOf = async (path: string): Promise<IncomingMessage['headers']> =>
    (await once(get({ host: '127.0.0.1', port, path, agent: false }), 'response') as [IncomingMessage])[0].resume().headers
  t.match(await fetchText(port, '/'), { status: 200, type: 'text/html; charset=utf-8', body: 'refreshed' })
  t.match(await fetchText(port, '/?refresh=off'), { status: 200, body: 'still' })
  t.match(await fetchText(port, '/?refresh=off&refresh=off'), { status: 200, body: 'refreshed' })
  t.match(await fetchText(port, '/status.json'), { status: 200, type: 'application/json; charset=utf-8', body: '{"version":"1"}' })
  t.match(await headersOf('/'), { refresh: /^\d+$/, 'content-security-policy': 'default-src none', 'cache-control': 'no-store' })
  t.equal((await headersOf('/?refresh=off'))['refresh'], undefined)
  for (const method of ['POST', 'PUT', 'DELETE']) {
    const [{ statusCode }] = await once(request({ host: '127.0.0.1', port, path: '/', method, agent: false }).end(), 'response') as [IncomingMessage]
    t.equal(statusCode, 404, method)
  }
})
