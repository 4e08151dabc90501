import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
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
    metrics: () => '# TYPE a counter\na 1\n'
  })
  const { port } = await admin.start()
  t.teardown(() => admin.stop())
  t.match(await fetchText(port, '/livez'), { status: 200 })
  t.match(await fetchText(port, '/readyz'), { status: 200, body: '{"status":"ready","checks":{"store":"ok"}}' })
  ok = false
  t.match(await fetchText(port, '/readyz'), { status: 503, body: '{"status":"not ready","checks":{"store":"unreachable"}}' })
  t.match(await fetchText(port, '/livez'), { status: 200 }, 'a gateway that is not ready is alive')
  t.match(await fetchText(port, '/metrics'), { status: 200, type: /^text\/plain; version=0.0.4/, body: '# TYPE a counter\na 1\n' })
  t.match(await fetchText(port, '/bucket/key'), { status: 404 })
})
