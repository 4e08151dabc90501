import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { Agent as PlainAgent, request as plainRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import type { SinkReach, SinkTransport } from './audit-sink.ts'

interface HttpSinkFiles {
  /** File of authorities in PEM; null: those Node trusts. */
  readonly ca: string | null
  /** File with a bearer token, read for every request; null: none is sent. */
  readonly tokenFile: string | null
}

/** Bytes of an answer that are read. */
const MOST_ANSWER = 65_536

/** POST of JSON lines (application/x-ndjson). A batch counts as sent when the answer is 2xx; anything else is tried again. */
export function httpTransport(url: URL, files: HttpSinkFiles): SinkTransport {
  return new Posts(url, files)
}

class Posts implements SinkTransport {
  readonly name: string
  readonly batch = { lines: 1000, bytes: 1024 * 1024 }
  readonly #url: URL
  readonly #files: HttpSinkFiles
  #agent: { readonly ca: string; readonly agent: Agent | PlainAgent } | null = null

  constructor(url: URL, files: HttpSinkFiles) {
    // A query may be a credential.
    this.name = `${url.origin}${url.pathname}`
    this.#url = url
    this.#files = files
  }

  async send(lines: readonly Buffer[], signal: AbortSignal): Promise<void> {
    const status = await this.#post(Buffer.concat(lines), signal)
    if (status < 200 || status > 299) throw Object.assign(new Error('The sink has refused the lines.'), { code: `HTTP_${status}` })
  }

  /** By a request without lines. */
  async reach(signal: AbortSignal): Promise<SinkReach> {
    const status = await this.#post(Buffer.alloc(0), signal)
    if (status >= 200 && status <= 299) return { ok: true, detail: `answers ${status} to a request without lines` }
    // What is refused for its address, method or token is refused with lines too; other servers want a body.
    const refused = status >= 500 || status < 400 || [401, 403, 404, 405, 407].includes(status)
    return { ok: refused ? false : null, detail: `answers ${status} to a request without lines` }
  }

  /** @returns the status of the answer. */
  async #post(body: Buffer, signal: AbortSignal): Promise<number> {
    const { ca, tokenFile } = this.#files
    const [authorities, token] = [ca === null ? '' : await readFile(ca, 'utf8'), tokenFile === null ? '' : (await readFile(tokenFile, 'utf8')).trim()]
    const sent = (this.#url.protocol === 'https:' ? request : plainRequest)(this.#url, {
      method: 'POST',
      agent: this.#agentFor(authorities),
      signal,
      headers: {
        'Content-Type': 'application/x-ndjson',
        'Content-Length': body.length,
        'User-Agent': 'sealgate',
        ...token === '' ? {} : { Authorization: `Bearer ${token}` }
      }
    })
    return statusOf(sent, body)
  }

  close(): void {
    this.#agent?.agent.destroy()
    this.#agent = null
  }

  /** A renewed file of authorities gets new connections. */
  #agentFor(ca: string): Agent | PlainAgent {
    if (this.#agent === null || this.#agent.ca !== ca) {
      this.close()
      const options = { keepAlive: true, maxSockets: 1 }
      const agent = this.#url.protocol === 'https:' ? new Agent({ ...options, minVersion: 'TLSv1.2', ...ca === '' ? {} : { ca } }) : new PlainAgent(options)
      this.#agent = { ca, agent }
    }
    return this.#agent.agent
  }
}

/** Reads the answer to its end, or so much of it that a sink cannot hold the gateway. */
async function statusOf(sent: ClientRequest, body: Buffer): Promise<number> {
  sent.end(body)
  const [answer] = await once(sent, 'response') as [IncomingMessage]
  let bytes = 0
  for await (const chunk of answer) {
    bytes += (chunk as Buffer).length
    if (bytes > MOST_ANSWER) break
  }
  return answer.statusCode ?? 0
}
