import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { carrier } from './carrier.ts'
import { expositionType } from '../observe/registry.ts'

interface AdminSources {
  /** Store, state bucket and keys reachable, self-tests passed: each check with its state in one word. */
  ready(): Promise<{ readonly ok: boolean; readonly checks: Readonly<Record<string, string>> }>
  /** Prometheus text exposition format 0.0.4. */
  metrics(): string | Promise<string>
  /** State of the gateway and its store as JSON: read only, of a size that the configuration bounds. */
  status(): unknown
  /** null: there is none. */
  readonly page: AdminPage | null
}

/** A page for people, and what it says as JSON. */
export interface AdminPage {
  /** @param refreshed the browser will load it again by itself */
  html(refreshed: boolean): Promise<string>
  json(): Promise<unknown>
  /** Value of the header Content-Security-Policy. */
  readonly policy: string
}

const REFRESH_SECONDS = 15

interface AdminListener {
  start(): Promise<{ readonly host: string; readonly port: number }>
  stop(): Promise<void>
}

/**
 * Health and metrics on a port of their own, so that no bucket name can collide with them and no client reaches them: `/livez` (the process runs),
 * `/readyz` (it can serve), `/metrics`, `/status`, and the page at `/` and
 * `/status.json`.
 */
export function createAdminListener(address: { readonly host: string; readonly port: number }, sources: AdminSources): AdminListener {
  const app = carrier({ requestTimeout: 10_000, connectionTimeout: 60_000, bodyLimit: 1024, forceCloseConnections: true })
  app.get('/livez', () => ({ status: 'live' }))
  app.get('/readyz', async (_request, reply) => {
    const { ok, checks } = await sources.ready()
    return reply.code(ok ? 200 : 503).send({ status: ok ? 'ready' : 'not ready', checks })
  })
  app.get('/metrics', async (_request, reply) => reply.type(expositionType).send(await sources.metrics()))
  app.get('/status', async (_request, reply) => reply.send(await sources.status()))
  if (sources.page !== null) addPage(app, sources.page)
  return {
    async start() {
      // Fastify writes into the object it is given.
      await app.listen({ host: address.host, port: address.port })
      const bound = app.server.address() as AddressInfo
      return { host: bound.address, port: bound.port }
    },
    async stop() {
      await app.close()
    }
  }
}

/** People who read slowly can stop the refresh (WCAG 2.2, 2.2.1). Nothing is cached, framed or fetched by pages of others. */
function addPage(app: FastifyInstance, page: AdminPage): void {
  const headers = {
    'cache-control': 'no-store',
    'content-security-policy': page.policy,
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff'
  }
  app.get<{ Querystring: { refresh?: unknown } }>('/', async ({ query }, reply) => {
    const refreshed = query.refresh !== 'off'
    if (refreshed) reply.header('refresh', String(REFRESH_SECONDS))
    return reply.headers(headers).type('text/html; charset=utf-8').send(await page.html(refreshed))
  })
  app.get('/status.json', async (_request, reply) => reply.headers(headers).send(await page.json()))
}
