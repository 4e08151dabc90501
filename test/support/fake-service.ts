import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

/** One request that the server took. */
export interface ServiceRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** The JSON of the body; empty without one. */
  readonly body: Readonly<Record<string, unknown>>
}

/** What the server does with a request instead of answering it. Return false to answer as usual. */
export type ServiceMisbehaviour = (request: ServiceRequest, response: ServerResponse) => boolean

interface Tls {
  readonly key: string
  readonly cert: string
}

/** A refusal, which becomes the answer. */
export class Refusal extends Error {
  readonly status: number
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}) {
    super(`status ${status}`)
    this.status = status
    this.body = body
    this.headers = headers
  }
}

/** An HTTP server for a simulated key service: it records, misbehaves on demand, and answers with JSON what `perform` returns or refuses. */
export abstract class FakeService {
  readonly calls: ServiceRequest[] = []
  misbehave: ServiceMisbehaviour | null = null
  /** Changes a good answer, once. */
  alter: ((answer: Record<string, unknown>) => unknown) | null = null
  readonly #server: Server
  readonly #secure: boolean

  constructor(tls: Tls | null) {
    const take = (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        this.#answer(parsed(request, Buffer.concat(chunks).toString()), response)
      })
    }
    this.#secure = tls !== null
    this.#server = tls === null ? createServer(take) : createTlsServer(tls, take)
  }

  get address(): string {
    return `${this.#secure ? 'https' : 'http'}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Requests whose path matches. */
  count(path: RegExp): number {
    return this.calls.filter((call) => path.test(call.path)).length
  }

  async listen(test: { teardown(work: () => Promise<void>): void }): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    test.teardown(async () => {
      this.#server.closeAllConnections()
      await new Promise((resolve) => this.#server.close(resolve))
    })
    return this
  }

  /** @throws Refusal */
  protected abstract perform(request: ServiceRequest): unknown

  #answer(request: ServiceRequest, response: ServerResponse): void {
    this.calls.push(request)
    if (this.misbehave?.(request, response) === true) return
    try {
      const answer = this.perform(request)
      const alter = this.alter
      this.alter = null
      answerJson(response, 200, alter === null ? answer : alter({ ...answer as object }))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      answerJson(response, error.status, error.body, error.headers)
    }
  }
}

function parsed(request: IncomingMessage, text: string): ServiceRequest {
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://server')
  const json = text.startsWith('{') ? JSON.parse(text) as Record<string, unknown> : {}
  return { method: request.method ?? '', path: decodeURIComponent(pathname), query: searchParams, headers: request.headers, text, body: json }
}

export function answerJson(response: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers }).end(bytes)
}
