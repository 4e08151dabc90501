import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { pipeline } from 'node:stream/promises'
import type { HttpResponse, Pending } from '../http/message.ts'
import type { Exchange } from './exchange.ts'
import { S3Error, Finding } from '../errors.ts'
import { renderError } from '../s3/error-document.ts'
import { ClientGone } from './connection.ts'

/** Sent as `x-amz-id-2` and `HostId`: identifies the process that answered. */
export const hostId = randomBytes(32).toString('base64')

/**
 * Bytes of an unread request body that are read and dropped after an early answer. A connection closed over unread bytes is reset, and the reset can
 * overtake the answer; most SDKs send the whole body before they read an answer.
 */
const drainBytes = 8 * 1024 * 1024
const drainMs = 5000
/** Milliseconds: a client that sends nothing for this time has stopped, or waits for the answer. */
const quietMs = 250
/** Bodies up to this many bytes that are complete in memory are sent in one write with their head. */
const shortBytes = 65_536

/** Set by the listener only: these headers of a handler's response are dropped. */
const reserved = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date', 'server', 'x-amz-request-id', 'x-amz-id-2'])
/** Heartbeats that an answer may take and still be an ordinary one, with every header and its own status. */
const patience = 3
const declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'

export interface RespondOptions {
  /** Milliseconds between the heartbeats of a pending answer. */
  readonly heartbeatMs: number
  /** True while the listener stops: every answer closes its connection. */
  readonly stopping: () => boolean
  /** Called with a failure that the client gets inside a 200. */
  readonly report: (exchange: Exchange, error: unknown) => void
  /** Called when the answer has been sent and only the rest of the request is still read and dropped. */
  readonly sent: (exchange: Exchange) => void
}

/**
 * Writes an answer. A body that fails before its first chunk makes this throw with nothing written, so that the caller can
 * answer with an error status; one that fails later, or does not have the announced length, breaks the connection.
 */
export async function respond(exchange: Exchange, response: HttpResponse, options: RespondOptions): Promise<void> {
  if (response.pending !== undefined) {
    await respondPending(exchange, response, response.pending, options)
    return
  }
  const bodyless = exchange.req.method === 'HEAD' || response.status === 204 || response.status === 304
  if (response.body === null || Buffer.isBuffer(response.body)) {
    const body = bodyless ? null : response.body ?? Buffer.alloc(0)
    writeHead(exchange, response.status, body === null ? response.headers : withLength(response.headers, body.length), options)
    if (body !== null) exchange.sentBody(body.length)
    await finish(exchange, options, body === null || body.length === 0 ? undefined : body)
  } else if (bodyless) {
    response.body.destroy()
    writeHead(exchange, response.status, response.headers, options)
    await finish(exchange, options)
  } else {
    await respondStream(exchange, response, response.body, options)
  }
}

/** Writes an error document, or no body where HTTP demands none. */
export async function respondError(exchange: Exchange, error: S3Error, options: RespondOptions): Promise<void> {
  exchange.failed(error)
  const bodyless = exchange.req.method === 'HEAD' || error.status === 304
  const body = bodyless ? null : errorDocument(exchange, error)
  const headers = body === null ? error.headers : [...error.headers, ['Content-Type', 'application/xml'] as const]
  await respond(exchange, { status: error.status, headers, body }, options)
}

function errorDocument(exchange: Exchange, error: S3Error): Buffer {
  return renderError(error, { resource: exchange.request?.target.rawPath ?? '', requestId: exchange.id, hostId })
}

type Headers = readonly (readonly [name: string, value: string])[]

function withLength(headers: Headers, length: number): Headers {
  return [...headers.filter(([name]) => name.toLowerCase() !== 'content-length'), ['Content-Length', String(length)]]
}

function writeHead(exchange: Exchange, status: number, headers: Headers, options: RespondOptions): void {
  const flat = ['x-amz-id-2', hostId, 'x-amz-request-id', exchange.id, 'Server', 'Sealgate']
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    // RFC 9110 8.6: no Content-Length in a 204.
    if (reserved.has(lower) || (status === 204 && lower === 'content-length')) continue
    flat.push(name, value)
  }
  // The missing rest of the request would otherwise be parsed as the next request.
  const close = options.stopping() || exchange.connection.closing || !exchange.req.complete
  if (close) {
    exchange.connection.close()
    flat.push('Connection', 'close')
  }
  exchange.res.writeHead(status, flat)
  exchange.started(status)
}

function write(exchange: Exchange, bytes: Buffer | string): void {
  exchange.res.write(bytes)
  exchange.sentBody(Buffer.byteLength(bytes))
}

async function respondStream(exchange: Exchange, response: HttpResponse, body: Readable, options: RespondOptions): Promise<void> {
  try {
    const length = declaredLength(response.headers)
    await Promise.race([firstChunk(body), exchange.ended])
    if (length <= shortBytes && body.readableLength === length) {
      const whole = await Promise.race([rest(body), exchange.ended])
      writeHead(exchange, response.status, response.headers, options)
      exchange.sentBody(length)
      await finish(exchange, options, whole)
      return
    }
    writeHead(exchange, response.status, response.headers, options)
    await sendExactly(exchange, body, length)
  } catch (error) {
    body.on('error', () => undefined)
    body.destroy()
    throw error
  }
  await finish(exchange, options)
}

/**
 * Ends the answer, with its body where that is in memory: head and body then go in one write. An unread request body is read and dropped first,
 * within bounds, while the client already has its answer.
 */
async function finish(exchange: Exchange, options: RespondOptions, body?: Buffer): Promise<void> {
  const { req, res } = exchange
  if (exchange.answer()) {
    if (body === undefined) res.flushHeaders()
    // The callback of an empty write also runs after all earlier bytes have been sent.
    res.write(body ?? '', (error) => {
      if (!(error instanceof Error)) options.sent(exchange)
    })
    await drain(req, exchange)
    res.end()
  } else if (body === undefined) {
    res.end()
  } else {
    res.end(body)
  }
  await exchange.closed
}

async function drain(req: IncomingMessage, exchange: Exchange): Promise<void> {
  const { socket } = exchange.connection
  const from = socket.bytesRead
  const until = performance.now() + drainMs
  exchange.dropBody()
  const over = Promise.race([once(req, 'end').catch(() => undefined), exchange.closed]).then(() => true)
  req.resume()
  for (let before = -1; socket.bytesRead > before && socket.bytesRead - from < drainBytes && performance.now() < until;) {
    before = socket.bytesRead
    if (await Promise.race([over, delay(quietMs, false, { ref: false })])) return
  }
}

async function respondPending(exchange: Exchange, response: HttpResponse, pending: Pending, options: RespondOptions): Promise<void> {
  const settled = pending.document.then((document) => ({ document }), (error: unknown) => ({ error }))
  // HTTP/1.0 has no chunked framing: such a client waits without heartbeats.
  const waiting = new AbortController()
  const waited = exchange.req.httpVersion === '1.0' ? [] : [pause(patience * options.heartbeatMs, waiting.signal)]
  const early = await Promise.race([settled, exchange.ended, ...waited]).finally(() => {
    waiting.abort()
  })
  if (early !== undefined && 'error' in early) throw early.error
  const headers = [...response.headers, ...pending.headers()].filter(([name]) => name.toLowerCase() !== 'content-length')
  if (early !== undefined) {
    await respond(exchange, { status: response.status, headers, body: early.document }, options)
    return
  }
  writeHead(exchange, response.status, headers, options)
  write(exchange, declaration)
  // AWS keeps the connection alive with white space between the declaration and the root element.
  const heartbeat = setInterval(() => {
    write(exchange, ' ')
  }, options.heartbeatMs)
  try {
    const late = await Promise.race([settled, exchange.ended])
    write(exchange, withoutDeclaration('error' in late ? lateError(exchange, late.error, options) : late.document))
  } finally {
    clearInterval(heartbeat)
  }
  await finish(exchange, options)
}

/** AWS: a 200 whose head was sent may still carry an error document; SDKs report it as an error. */
function lateError(exchange: Exchange, error: unknown, options: RespondOptions): Buffer {
  options.report(exchange, error)
  const known = error instanceof S3Error ? error : new S3Error('InternalError', { cause: error })
  exchange.failed(known)
  return errorDocument(exchange, known)
}

function withoutDeclaration(document: Buffer): string {
  return document.toString('utf8').replace(/^<\?xml[^>]*\?>\s*/, '')
}

async function pause(ms: number, signal: AbortSignal): Promise<undefined> {
  return delay(ms, undefined, { ref: false, signal }).catch(() => undefined)
}

/** @throws TypeError where a streamed answer has no length. */
function declaredLength(headers: HttpResponse['headers']): number {
  const value = headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1]
  // Without a length a client cannot distinguish a cut body from a complete one.
  if (value === undefined || !/^[0-9]+$/.test(value)) throw new TypeError('A streamed answer needs a Content-Length.')
  return Number(value)
}

/** Resolves when the stream has something to read or has ended; rejects when it has failed. Reads nothing. */
async function firstChunk(body: Readable): Promise<void> {
  if (body.readableLength === 0) await signOf(body, ['readable', 'end'])
}

/**
 * The waiting bytes of a body, which must be all of it. Nothing has been written yet, so a failure still becomes an error status.
 * @throws S3Error InternalError when more comes; the stream's own error.
 */
async function rest(body: Readable): Promise<Buffer | undefined> {
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
async function sendExactly(exchange: Exchange, body: Readable, length: number): Promise<void> {
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
