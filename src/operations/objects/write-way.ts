// How bytes reach the store, whatever they are encrypted for.
import type { Readable } from 'node:stream'
import type { Header } from '../../http/message.ts'
import type { UpstreamConfig } from '../../config/config.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { type ObjectContext, send } from '../context.ts'
import { expectSuccess } from '../responses.ts'

export interface StoredAnswer {
  /** For the client: ETag, checksum, encryption, version. */
  readonly headers: readonly Header[]
  readonly etag: string
}

/** A sealed body on its way to the store. */
export interface StreamedWrite {
  /** Of the object. */
  readonly headers: readonly Header[]
  readonly conditions: readonly Header[]
  /** Stored bytes. */
  readonly contentLength: number
  readonly checksum: UpstreamConfig['checksum']
  /** Sends the bytes, once, by a request that `submit` makes. @throws S3Error as `streamUpstream`. */
  readonly stream: (submit: (body: Readable) => Promise<UpstreamResponse>) => Promise<UpstreamResponse>
}

/** The store's answer to a write: the ETag, where the answer has one, need not be in a header. */
export interface Written {
  readonly response: Pick<UpstreamResponse, 'headers'>
  readonly etag: string | undefined
}

/** How a body that is streamed reaches the store. */
export interface Way {
  /** The request that has the conditions. */
  readonly conditions: 'put' | 'complete'
  /** @throws the store's error. */
  readonly store: (ctx: ObjectContext, write: StreamedWrite) => Promise<Written>
}

/** One PutObject. */
export const asPut: Way = {
  conditions: 'put',
  store: async (ctx, { headers, conditions, contentLength, checksum, stream }) => {
    const sent = { method: 'PUT', headers: [...headers, ...conditions], contentLength, checksum, pool: 'data' } as const
    return writtenBy(ctx, await stream((body) => send(ctx, { ...sent, body })))
  }
}

async function writtenBy(ctx: ObjectContext, response: UpstreamResponse): Promise<Written> {
  await expectSuccess(ctx, response)
  return { response, etag: response.headers.get('etag') }
}

/** Parts of a write whose body is held. `stored`: as `storedChecksum` says. */
interface HeldWrite {
  readonly headers: readonly Header[]
  readonly conditions: readonly Header[]
  readonly stored: UpstreamConfig['checksum']
}

/** One PutObject with a body that is held, which is sent again where nothing is lost by it. @throws the store's error. */
export async function putHeldBody(ctx: ObjectContext, { headers, conditions, stored }: HeldWrite, body: Buffer): Promise<Written> {
  const response = await send(ctx, {
    method: 'PUT',
    headers: [
      ...headers,
      ...conditions,
      // S3 demands a digest of a body that it shall lock (AWS API, PutObject).
      ...stored === null && headers.some(([name]) => name.startsWith('x-amz-object-lock-')) ? [contentMd5(body)] : []
    ],
    body,
    contentLength: body.length,
    checksum: stored,
    retry: conditions.length === 0,
    pool: 'data'
  })
  return writtenBy(ctx, response)
}
