import { once } from 'node:events'
import { request, type Agent, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { signQuery } from '../support/signing.ts'
import type { TestGateway } from '../support/gateway.ts'

export interface Presigned {
  readonly method: 'GET' | 'PUT'
  readonly path: string
  /** Signed with the URL. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly agent?: Agent
}

/** Sends a request whose URL was signed before: with less work than a client of the SDK. */
export async function presigned(
  { endpoint, accessKeyId, secretAccessKey }: TestGateway,
  { method, path, headers = {}, body, agent }: Presigned
): Promise<{ readonly status: number; readonly body: Buffer }> {
  const { host, hostname, port } = new URL(endpoint)
  const draft = signQuery({ method, target: path, headers: [['host', host], ...Object.entries(headers)] }, {
    id: accessKeyId,
    secret: secretAccessKey,
    time: new Date().toISOString().replace(/\.\d+|[-:]/g, '')
  })
  const sent = request({ hostname, port, method, path: draft.target, headers: Object.fromEntries(draft.headers), ...agent === undefined ? {} : { agent } })
  // The reader of the answer gets the error; the request emits it once more for a broken connection.
  sent.on('error', () => undefined)
  sent.end(body)
  const [response] = await once(sent, 'response') as [IncomingMessage]
  return { status: response.statusCode ?? 0, body: await buffer(response) }
}
