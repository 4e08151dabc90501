import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { S3Error } from '../errors.ts'
import { HeaderList } from '../http/headers.ts'
import type { HttpRequest, RequestNote } from '../http/message.ts'
import { parseTarget } from '../http/target.ts'
import type { Admitted } from './gate.ts'
import type { AccessRecord, Termination } from './log.ts'
import type { Watched } from './rate-watch.ts'
import { noBody, RequestBody } from './request-body.ts'

/** What one connection remembers from request to request. */
export interface Connection {
  readonly socket: Socket
  /** Once true, nothing more that arrives on it is looked at: after an error its bytes may not be where we think. */
  closing: boolean
  /** The exchange under way; the next one waits for it, so that a pipelined request never runs behind a refused one. */
  current: Exchange | null
  /** Resolves when every exchange begun so far is over. */
  turn: Promise<void>
  /** Pipelined requests that wait for their turn. */
  waiting: number
  /** Socket counters when the last exchange was over. */
  received: number
  sent: number
}

/** Thrown where a client is waited for that is no longer there. Nothing is answered to it. */
export class ClientGone extends Error {
  constructor() {
    super('The client has closed the connection.')
    this.name = 'ClientGone'
  }
}

export function openConnection(socket: Socket): Connection {
  return { socket, closing: false, current: null, turn: Promise.resolve(), waiting: 0, received: 0, sent: 0 }
}

/** Breaks a connection so that no client can take what it got for a whole answer: RST where the socket can, else a bare close. */
export function breakConnection(socket: Socket): void {
  if (socket instanceof TLSSocket) socket.destroy()
  else socket.resetAndDestroy()
}

/** One request and its answer on one connection: identity, life time, and what the access line will say. */
export class Exchange implements Watched {
  readonly id = randomBytes(8).toString('hex').toUpperCase()
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly connection: Connection
  /** Rejects when the client goes away or is cut; never resolves. */
  readonly ended: Promise<never>
  /** Resolves when the answer has left or the connection is gone. */
  readonly closed: Promise<void>
  status: number | null = null
  errorCode: string | null = null
  request: HttpRequest | null = null
  /** Resolves when the access line has been written. */
  performed: Promise<void> = Promise.resolve()
  /** True when the rest of the request is not worth waiting for: broken framing, or a client that is too slow. */
  abandoned = false
  /** True once the whole answer has been written, though the connection is still held open. */
  answered = false

  readonly #abort = new AbortController()
  readonly #started = performance.now()
  #end: (reason: Error) => void = () => undefined
  #finished = false
  #termination: Termination | null = null
  #note: RequestNote = {}
  #body: RequestBody | null = null
  #awaitsContinue = false

  constructor(req: IncomingMessage, res: ServerResponse, connection: Connection) {
    this.req = req
    this.res = res
    this.connection = connection
    this.ended = new Promise((_resolve, reject) => { this.#end = reject })
    this.ended.catch(() => undefined)
    res.once('finish', () => { this.#finished = true })
    this.closed = new Promise((resolve) => {
      res.once('close', () => {
        if (!this.#finished) this.#over(new ClientGone(), 'client')
        resolve()
      })
    })
    req.on('error', () => undefined)
    res.on('error', () => undefined)
  }

  /** True when no answer can be given any more. */
  get over(): boolean {
    return this.res.destroyed || this.connection.socket.destroyed
  }

  /** True when the client may send its body only after a 100 that has not been sent. */
  get awaitsContinue(): boolean {
    return this.#awaitsContinue
  }

  /**
   * Makes the request that the stages see.
   * @throws S3Error InvalidURI.
   */
  admit(admitted: Admitted, facts: { readonly secure: boolean; readonly remoteAddress: string; readonly highWaterMark: number }): HttpRequest {
    this.#awaitsContinue = admitted.expectsContinue
    const request: HttpRequest = {
      id: this.id,
      method: this.req.method ?? '',
      target: parseTarget(this.req.url ?? ''),
      headers: HeaderList.fromRaw(this.req.rawHeaders),
      host: admitted.host,
      body: this.#openBody(admitted.contentLength, facts.highWaterMark),
      contentLength: admitted.contentLength,
      remoteAddress: facts.remoteAddress,
      secure: facts.secure,
      signal: this.#abort.signal,
      sendContinue: () => { this.#sendContinue() },
      annotate: (note) => { this.#note = { ...this.#note, ...note } }
    }
    this.request = request
    return request
  }

  /** Breaks the connection, for a reason of ours or of the store. */
  breakOff(by: 'gateway' | 'store'): void {
    this.#over(new ClientGone(), by)
    breakConnection(this.connection.socket)
  }

  /** Gives the exchange up because of what the client sent or did not send: it is answered with the error if that can still be. */
  fail(error: S3Error): void {
    this.abandoned = true
    this.connection.closing = true
    this.#over(this.res.headersSent ? new ClientGone() : error, 'client')
    if (this.answered) this.connection.socket.destroySoon()
    else if (this.res.headersSent) breakConnection(this.connection.socket)
  }

  clientOwes(): 'upload' | 'download' | null {
    if (this.connection.socket.writableLength > 0) return 'download'
    return this.#body?.waiting === true && !this.#awaitsContinue ? 'upload' : null
  }

  received(): number {
    return this.connection.socket.bytesRead
  }

  sent(): number {
    return this.connection.socket.bytesWritten - this.connection.socket.writableLength
  }

  cut(direction: 'upload' | 'download'): void {
    if (direction === 'upload') {
      this.fail(new S3Error('RequestTimeout'))
    } else {
      this.#over(new ClientGone(), 'client')
      breakConnection(this.connection.socket)
    }
  }

  /** The access line, when all is over. */
  record(): AccessRecord {
    const { socket } = this.connection
    return {
      requestId: this.id,
      method: this.req.method ?? '',
      operation: this.#note.operation ?? null,
      bucket: this.#note.bucket ?? null,
      client: this.#note.client ?? null,
      status: this.status,
      errorCode: this.errorCode,
      bytesIn: socket.bytesRead - this.connection.received,
      bytesOut: socket.bytesWritten - this.connection.sent,
      durationMs: Math.round((performance.now() - this.#started) * 10) / 10,
      remote: this.request?.remoteAddress ?? socket.remoteAddress ?? '',
      termination: this.#termination ?? 'complete'
    }
  }

  #openBody(contentLength: number | null, highWaterMark: number): Readable {
    if (contentLength === 0) return noBody()
    this.#body = new RequestBody(this.req, highWaterMark)
    return this.#body
  }

  #sendContinue(): void {
    if (!this.#awaitsContinue || this.res.headersSent || this.over) return
    this.#awaitsContinue = false
    this.res.writeContinue()
  }

  #over(reason: Error, by: 'client' | 'gateway' | 'store'): void {
    const phase = this.res.headersSent ? 'response' : this.req.complete ? 'handling' : 'request'
    this.#termination ??= `${by}/${phase}`
    this.#body?.cutShort()
    this.#abort.abort(reason)
    this.#end(reason)
  }
}
