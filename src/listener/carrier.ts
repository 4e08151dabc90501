import { fastify, type FastifyHttpOptions, type FastifyInstance } from 'fastify'
import type { Server } from 'node:http'

/**
 * Fastify without its logger and without compilers of schemas: no route has a schema, and the two compilers are 110 modules at start
 * (docs/decisions/0185-what-a-start-loads.md).
 */
export function carrier(options: Omit<FastifyHttpOptions<Server>, 'logger' | 'schemaController'>): FastifyInstance {
  return fastify({ ...options, logger: false, schemaController: { compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler } } })
}

/** @throws Error when a route has a schema: it would need the compiler. */
function noCompiler(): () => never {
  return () => {
    throw new Error('No route has a schema.')
  }
}
