import { createHash } from 'node:crypto'
import { Agent, request as httpRequest } from 'node:http'
import { presignV2, presignV4, signV4, signV2, type Draft } from './sign.ts'

export interface User {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Who asks: the users of both endpoints, by role. */
export type Role = 'main' | 'alt' | 'tenant' | 'anonymous' | 'unknown'

/** One way to the store: directly, or through the gateway. */
export interface Side {
  readonly name: 'store' | 'unsealed' | 'sealed'
  /** `http://host:port` */
  readonly endpoint: string
  /** First part of the names of its buckets. The three have one length, so that no limit depends on the side. */
  readonly prefix: string
  readonly users: Readonly<Partial<Record<Role, User>>>
  /** Where it keeps connections; else each request has its own: radosgw 16 leaves bytes behind some answers (HEAD of the service), which would be
   * read as the next one. */
  readonly agent?: Agent
}

/**
 * One request, the same for every side. In every text `{bucket:x}` stands for the side's bucket called x, and `{name}` for
 * what an earlier answer of that side gave (`save`).
 */
export interface Step {
  readonly method: string
  readonly bucket?: string
  /** Decoded; goes percent-encoded. */
  readonly key?: string
  /** Goes as it is, in place of bucket and key. */
  readonly path?: string
  readonly query?: readonly (readonly [name: string, value: string | null])[]
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly body?: string | Buffer
  readonly as?: Role
  readonly sign?: 'header' | 'query' | 'v2-header' | 'v2-query' | 'wrong-secret'
  /** Seconds a presigned query is valid. */
  readonly expires?: number
  /** No Content-MD5 is added to documents. */
  readonly bare?: boolean
  /** Neither Content-Length nor Transfer-Encoding. */
  readonly noLength?: boolean
  /** Remembers a header (`header:name`) or the text of the first XML element of a name. */
  readonly save?: Readonly<Record<string, string>>
  /** Wait before it, in milliseconds. */
  readonly after?: number
}

export interface Answer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
}

/** What one side has named and remembered in one scenario. */
export class Memory {
  readonly side: Side
  readonly #scenario: string
  readonly #saved = new Map<string, string>()

  constructor(side: Side, scenario: string) {
    this.side = side
    this.#scenario = scenario
  }

  bucket(symbol: string): string {
    return `${this.side.prefix}-${this.#scenario}-${symbol}`
  }

  fill(text: string): string {
    return text.replace(/\{bucket:([a-z0-9-]+)\}/g, (_, symbol: string) => this.bucket(symbol))
      .replace(/\{([a-z0-9-]+)\}/gi, (whole, name: string) => this.#saved.get(name) ?? whole)
  }

  remember(name: string, value: string): void {
    this.#saved.set(name, value)
  }

  /** Own names turned back into symbols, longest first, so that two sides can be compared. */
  blind(text: string): string {
    let out = text.replaceAll(`${this.side.prefix}-${this.#scenario}-`, '{bucket}-')
    for (const [name, value] of [...this.#saved].sort((a, b) => b[1].length - a[1].length)) {
      if (value.length >= 8) out = out.replaceAll(value, `{${name}}`)
    }
    return out.replaceAll(this.side.endpoint, '{endpoint}').replaceAll(new URL(this.side.endpoint).host, '{host}')
  }
}

const agent = new Agent({ keepAlive: false, maxSockets: 16 })

function encode(text: string, keepSlash: boolean): string {
  const out = encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  return keepSlash ? out.replaceAll('%2F', '/') : out
}

function draftOf(step: Step, memory: Memory): Draft & { readonly body: Buffer } {
  const body = typeof step.body === 'string' ? Buffer.from(memory.fill(step.body), 'utf8') : step.body ?? Buffer.alloc(0)
  const path = step.path !== undefined
    ? memory.fill(step.path)
    : `/${step.bucket === undefined ? '' : encode(memory.bucket(step.bucket), false)}${step.key === undefined ? '' : `/${encode(memory.fill(step.key), true)}`}`
  const query = (step.query ?? []).map(([name, value]) => value === null ? encode(name, false) : `${encode(name, false)}=${encode(memory.fill(value), false)}`)
  const headers: [string, string][] = [
    ['host', new URL(memory.side.endpoint).host],
    ...(step.headers ?? []).map(([name, value]): [string, string] => [name.toLowerCase(), memory.fill(value)])
  ]
  if (typeof step.body === 'string' && step.bare !== true && !headers.some(([name]) => name === 'content-md5')) {
    headers.push(['content-md5', createHash('md5').update(body).digest('base64')])
  }
  return { method: step.method, path, query, headers, body }
}

function signed(step: Step, draft: Draft & { readonly body: Buffer }, side: Side): Draft {
  const role = step.as ?? 'main'
  if (role === 'anonymous') return draft
  const user = role === 'unknown' ? { accessKeyId: 'NOBODYATALL', secretAccessKey: 'nothing' } : side.users[role]
  if (user === undefined) throw new Error(`${side.name} has no user for ${role}`)
  switch (step.sign ?? 'header') {
    case 'header':
      return signV4(draft, user, draft.body)
    case 'query':
      return presignV4(draft, user, step.expires ?? 300)
    case 'v2-header':
      return signV2(draft, user)
    case 'v2-query':
      return presignV2(draft, user, step.expires ?? 300)
    case 'wrong-secret':
      return signV4(draft, { ...user, secretAccessKey: 'wrong' }, draft.body)
  }
}

/** Sends a step on one side. @throws when no whole answer comes within 30 seconds. */
export async function send(step: Step, memory: Memory): Promise<Answer> {
  const draft = draftOf(step, memory)
  const { method, path, query, headers } = signed(step, draft, memory.side)
  const { hostname, port } = new URL(memory.side.endpoint)
  const flat = headers.flatMap(([name, value]) => [name, value])
  const hasLength = headers.some(([name]) => name === 'content-length' || name === 'transfer-encoding')
  if (!hasLength && step.noLength !== true && (method === 'PUT' || method === 'POST' || draft.body.length > 0)) {
    flat.push('content-length', String(draft.body.length))
  }
  return new Promise((resolve, reject) => {
    const target = query.length === 0 ? path : `${path}?${query.join('&')}`
    const outgoing = httpRequest({ hostname, port, method, path: target, headers: flat, agent: memory.side.agent ?? agent, timeout: 30_000 })
    outgoing.once('timeout', () => {
      outgoing.destroy(new Error('no answer in 30 s'))
    })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
      })
      incoming.once('error', reject)
      incoming.once('end', () => {
        const list: [string, string][] = []
        for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
          list.push([(incoming.rawHeaders[i] ?? '').toLowerCase(), incoming.rawHeaders[i + 1] ?? ''])
        }
        resolve({ status: incoming.statusCode ?? 0, headers: list, body: Buffer.concat(chunks) })
      })
    })
    if (step.noLength === true) outgoing.useChunkedEncodingByDefault = false
    outgoing.end(draft.body.length === 0 ? undefined : draft.body)
  })
}
