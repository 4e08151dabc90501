import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { StagedReadable } from '../http/stage.ts'
import type { IdentitySource } from './credentials.ts'
import type { RequestAddress } from './endpoint.ts'
import { SignedChunks, signedChunksLength, signedChunksPayload } from './signed-chunks.ts'
import { emptyBodyHash, type Signer } from './signer.ts'
import type { UpstreamIdentity, UpstreamRequest } from './types.ts'

/** A request as it goes on the wire. */
export interface WireRequest {
  /** With the query, percent-encoded. */
  readonly path: string
  /** Name, value, name, value, … */
  readonly headers: string[]
  readonly body: Buffer | Readable | null
  /** Bytes of `body`. */
  readonly contentLength: number
}

type Framing = Pick<WireRequest, 'body' | 'contentLength'>

/** Signs requests and frames their bodies. */
export class RequestWriter {
  readonly #signer: Signer
  readonly #ownIdentity: IdentitySource
  readonly #signStreams: boolean

  constructor(signer: Signer, ownIdentity: IdentitySource, signStreams: boolean) {
    this.#signer = signer
    this.#ownIdentity = ownIdentity
    this.#signStreams = signStreams
  }

  /** @param body `request.body`, null where it turned out to be empty */
  async write(request: UpstreamRequest, body: Buffer | Readable | null, address: RequestAddress): Promise<WireRequest> {
    const path = address.query === '' ? address.path : `${address.path}?${address.query}`
    const identity = request.identity === undefined ? await this.#ownIdentity() : request.identity
    const { headers, framing } = identity === null
      ? { headers: { ...joined(request.headers), host: address.host }, framing: plain(request, body) }
      : await this.#signed(request, body, address, identity)
    return { path, ...framing, headers: flat(request.method, headers, framing) }
  }

  async #signed(
    request: UpstreamRequest, body: Buffer | Readable | null, address: RequestAddress, identity: UpstreamIdentity
  ): Promise<{ headers: Readonly<Record<string, string>>; framing: Framing }> {
    const headers = joined(request.headers)
    const target = { method: request.method, host: address.host, path: address.path, query: request.query, headers }
    if (!this.#signStreams || !(body instanceof Readable)) {
      const signed = await this.#signer.sign({ ...target, payloadHash: payloadHash(body) }, identity)
      return { headers: signed.headers, framing: plain(request, body) }
    }
    headers['x-amz-decoded-content-length'] = String(request.contentLength)
    const { chunkScope, signature, headers: signed } = await this.#signer.sign({ ...target, payloadHash: signedChunksPayload }, identity)
    const framer = new SignedChunks(chunkScope, await chunkScope.signingKey(), signature, request.contentLength)
    return {
      headers: signed,
      framing: {
        body: new StagedReadable(body, [framer], { destroySource: true }),
        contentLength: signedChunksLength(request.contentLength)
      }
    }
  }
}

function plain(request: UpstreamRequest, body: Buffer | Readable | null): Framing {
  return { body, contentLength: body === null ? 0 : request.contentLength }
}

/** S3 joins repeated fields with ","; sent joined, they are what the signer sees. */
function joined(headers: UpstreamRequest['headers']): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of headers) {
    const before = out[name]
    out[name] = before === undefined ? value : `${before},${value}`
  }
  return out
}

function payloadHash(body: Buffer | Readable | null): string {
  if (body === null) return emptyBodyHash
  return Buffer.isBuffer(body) ? createHash('sha256').update(body).digest('hex') : 'UNSIGNED-PAYLOAD'
}

/** undici's flat header list, with what is not signed: framing, and the wish for bytes as they are stored. */
function flat(method: string, headers: Readonly<Record<string, string>>, framing: Framing): string[] {
  const out: string[] = []
  for (const [name, value] of Object.entries(headers)) out.push(name, value)
  if (framing.body !== null) out.push('content-length', String(framing.contentLength))
  if (method === 'GET') out.push('accept-encoding', 'identity')
  return out
}
