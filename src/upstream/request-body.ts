import type { Readable } from 'node:stream'
import { Finding, S3Error } from '../errors.ts'

/**
 * Waits until a stream has given its first byte, or has ended well with none, before a connection is taken for it.
 * A source that fails at once then never reaches the store, and one that ends empty against its declared length cannot
 * become what undici would send for it: a complete, empty message.
 * @returns the stream, or null when there is nothing to send
 * @throws S3Error InternalError when the stream has another length than declared, as far as that is known here; whatever
 * the stream fails with
 */
export async function awaitFirstByte(body: Readable, contentLength: number): Promise<Readable | null> {
  await firstByteOrEnd(body)
  const empty = body.readableLength === 0
  if (empty === (contentLength === 0)) return empty ? null : body
  const error = new S3Error('InternalError', { cause: new Finding(`body of another length than the declared ${contentLength}`) })
  body.destroy(error)
  throw error
}

async function firstByteOrEnd(body: Readable): Promise<void> {
  // Later failures reach the exchange; without a listener in between they would end the process.
  body.on('error', () => undefined)
  if (body.errored !== null) throw body.errored
  if (body.readableEnded || body.readableLength > 0) return
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  const onReadable = () => {
    // "readable" also announces the end; read(0) makes an empty stream say so by "end".
    if (body.readableLength > 0) resolve(undefined)
    else body.read(0)
  }
  const onEnd = () => { resolve(undefined) }
  const onClose = () => { reject(body.errored ?? new S3Error('IncompleteBody')) }
  body.on('readable', onReadable).on('end', onEnd).on('error', reject).on('close', onClose)
  try {
    await promise
  } finally {
    body.off('readable', onReadable).off('end', onEnd).off('error', reject).off('close', onClose)
  }
}
