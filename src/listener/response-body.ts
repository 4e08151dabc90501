import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Finding, S3Error } from '../errors.ts'
import type { HttpResponse } from '../http/message.ts'
import { ClientGone } from './connection.ts'
import type { Exchange } from './exchange.ts'

/** @throws TypeError where a streamed answer has no length. */
export function declaredLength(headers: HttpResponse['headers']): number {
  const value = headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1]
  // Without a length a client cannot distinguish a cut body from a complete one.
  if (value === undefined || !/^[0-9]+$/.test(value)) throw new TypeError('A streamed answer needs a Content-Length.')
  return Number(value)
}

/** Resolves when the stream has something to read or has ended; rejects when it has failed. Reads nothing. */
export async function firstChunk(body: Readable): Promise<void> {
  if (body.readableLength === 0) await signOf(body, ['readable', 'end'])
}

/**
 * The waiting bytes of a body, which must be all of it. Nothing has been written yet, so a failure still becomes an error status.
 * @throws S3Error InternalError when more comes; the stream's own error.
 */
export async function rest(body: Readable): Promise<Buffer | undefined> {
  const whole = body.read() as Buffer | null
  let surplus = 0
  body.on('data', (chunk: Buffer) => {
    surplus += chunk.length
  })
  await signOf(body, ['end'])
  if (surplus > 0) throw new S3Error('InternalError', { cause: new Finding('a body longer than announced') })
  return whole ?? undefined
}

/** Resolves on one of the events, or when the stream has ended already; rejects when it fails or closes without a reason. */
async function signOf(body: Readable, events: readonly ('readable' | 'end')[]): Promise<void> {
  if (body.errored !== null) throw body.errored
  if (body.readableEnded) return
  if (body.destroyed) throw new S3Error('InternalError')
  // Listeners of our own: `events.once` would need an AbortSignal to let go of them, whose abort costs more than the rest.
  await new Promise<void>((resolve, reject) => {
    const settle = (outcome: () => void): void => {
      for (const event of events) body.off(event, came)
      body.off('error', failed).off('close', closed)
      outcome()
    }
    const came = (): void => {
      settle(resolve)
    }
    const failed = (error: Error): void => {
      settle(() => {
        reject(error)
      })
    }
    const closed = (): void => {
      settle(() => {
        reject(new S3Error('InternalError'))
      })
    }
    for (const event of events) body.on(event, came)
    body.on('error', failed).on('close', closed)
  })
}

/** Sends `length` bytes. Breaks the connection before a byte too many or an early end could look right. */
export async function sendExactly(exchange: Exchange, body: Readable, length: number): Promise<void> {
  let sent = 0
  let failed = false
  body.on('data', (chunk: Buffer) => {
    sent += chunk.length
    exchange.sentBody(chunk.length)
    if (sent > length) exchange.breakOff('store')
  })
  // Before pipeline sees the failure: it would close the connection as if the answer were complete.
  body.once('error', (error) => {
    failed = !exchange.over
    exchange.breakOff(blame(error))
  })
  await pipeline(body, exchange.res, { end: false }).catch((error: unknown) => {
    // A client that disconnects closes the answer, and pipeline destroys the body: nobody's failure.
    throw exchange.over && !failed ? new ClientGone() : error
  })
  if (sent !== length) {
    exchange.breakOff('store')
    throw new ClientGone()
  }
}

function blame(error: unknown): 'gateway' | 'store' {
  return error instanceof S3Error && error.code !== 'InternalError' ? 'store' : 'gateway'
}
