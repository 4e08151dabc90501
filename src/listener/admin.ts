import type { AddressInfo } from 'node:net'
import { fastify } from 'fastify'
import { expositionType } from '../observe/registry.ts'

interface AdminSources {
  /** Store, state bucket and keys reachable, self-tests passed: each check with its state in one word. */
  ready(): Promise<{ readonly ok: boolean; readonly checks: Readonly<Record<string, string>> }>
  /** Prometheus text exposition format 0.0.4. */
  metrics(): string | Promise<string>
  /** State of the gateway and its store as JSON: read only, of a size that the configuration bounds. */
  status(): unknown
}

interface AdminListener {
  start(): Promise<{ readonly host: string; readonly port: number }>
  stop(): Promise<void>
}

/**
 * Health and metrics on a port of their own, so that no bucket name can collide with them and no client reaches them: `/livez` (the process runs),
 * `/readyz` (it can serve), `/metrics`, `/status`.
 */
export function createAdminListener(address: { readonly host: string; readonly port: number }, sources: AdminSources): AdminListener {
  const app = fastify({ logger: false, requestTimeout: 10_000, connectionTimeout: 60_000, bodyLimit: 1024, forceCloseConnections: true })
  app.get('/livez', () => ({ status: 'live' }))
  app.get('/readyz', async (_request, reply) => {
    const { ok, checks } = await sources.ready()
    return reply.code(ok ? 200 : 503).send({ status: ok ? 'ready' : 'not ready', checks })
  })
  app.get('/metrics', async (_request, reply) => reply.type(expositionType).send(await sources.metrics()))
  app.get('/status', async (_request, reply) => reply.send(await sources.status()))
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
