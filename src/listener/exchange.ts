import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { S3Error } from '../errors.ts'
import { HeaderList } from '../http/message.ts'
import type { Admittance, HttpRequest, RequestNote } from '../http/message.ts'
import { parseTarget } from '../http/target.ts'
import { accessRecord, endedBy, type AccessRecord, type EndedBy, type Ending, type Phase } from '../observe/access-log.ts'
import type { Admitted } from './request-validation.ts'
import type { Guest, Places } from './admission.ts'
import { breakConnection, ClientGone, type Connection } from './connection.ts'
import type { Watched } from './rate-watch.ts'
import { noBody, RequestBody } from './request-body.ts'
import { newRequestId } from './request-id.ts'
import type { RequestMessage } from './request-body.ts'

/**
 * The phase of an exchange. `abandoned`: the rest of the request is not waited for, because its framing is broken or the client is too slow.
 * `answered`: the whole answer is written, and the connection stays open for the rest of the request. `sent`: the answer has been sent, so the fate
 * of the rest of the request ends nothing.
 */
type Progress = 'open' | 'abandoned' | 'answered' | 'sent'

/** One request and its answer on one connection: identity, phases, and the fields of the access log. */
export class Exchange implements Watched, Guest {
  readonly id = newRequestId()
  readonly req: RequestMessage
  readonly res: ServerResponse
  readonly connection: Connection<Exchange>
  /** Rejects when the client disconnects or is disconnected; never resolves. */
  readonly ended: Promise<never>
  /** Resolves when the answer has been sent or the connection is gone. */
  readonly closed: Promise<void>
  places: Places | null = null
  readonly #abort = new AbortController()
  readonly #started = performance.now()
  #end: (reason: Error) => void = () => undefined
  #progress: Progress = 'open'
  #request: HttpRequest | null = null
  #performed: Promise<void> = Promise.resolve()
  #inFlight = false
  #finished = false
  #bodySent = 0
  #errorCode: string | null = null
  #ending: Ending | null = null
  #status: number | null = null
  #firstByteSeconds: number | null = null
  #note: RequestNote = {}
  #body: RequestBody | null = null
  #awaitsContinue = false

  constructor(req: RequestMessage, res: ServerResponse, connection: Connection<Exchange>) {
    this.req = req
    this.res = res
    this.connection = connection
    this.ended = new Promise((_resolve, reject) => {
      this.#end = reject
    })
    this.ended.catch(() => undefined)
    res.once('finish', () => {
      this.#finished = true
    })
    this.closed = new Promise((resolve) => {
      res.once('close', () => {
        if (!this.#finished) this.#over(new ClientGone(), 'client')
        resolve()
      })
    })
    req.on('error', () => undefined)
    res.on('error', () => undefined)
  }

  /** Null until its head has passed validation. */
  get request(): HttpRequest | null {
    return this.#request
  }

  /** Resolves when the access line has been written. */
  get performed(): Promise<void> {
    return this.#performed
  }

  /** True once the answer has been sent while part of the request is still missing. */
  get responseSent(): boolean {
    return this.#progress === 'sent'
  }

  /** True when no answer can be sent any more. */
  get over(): boolean {
    return this.res.destroyed || this.connection.socket.destroyed
  }

  /** True when the client still waits for a 100 that has not been sent (RFC 9110 10.1.1). */
  get #withholdsBody(): boolean {
    return this.#awaitsContinue && this.req.waitingLength === 0
  }

  /** Takes the request from the reader of its body, so that the rest can be discarded. */
  dropBody(): void {
    this.#body?.destroy()
  }

  /**
   * Makes the request for the pipeline.
   * @throws S3Error InvalidURI.
   */
  admit(admitted: Admitted, facts: { readonly secure: boolean; readonly remoteAddress: string }, admit: (as: Admittance) => void): void {
    this.#awaitsContinue = admitted.expectsContinue
    const { contentLength } = admitted
    this.#request = {
      id: this.id,
      method: this.req.method ?? '',
      target: parseTarget(this.req.url ?? ''),
      headers: HeaderList.fromRaw(this.req.rawHeaders),
      host: admitted.host,
      body: contentLength === 0 ? noBody() : this.#openBody(),
      contentLength,
      remoteAddress: facts.remoteAddress,
      secure: facts.secure,
      signal: this.#abort.signal,
      sendContinue: () => {
        this.#sendContinue()
      },
      annotate: (note) => {
        this.#note = { ...this.#note, ...note }
      },
      admit
    }
  }

  /** It is handled from now on. @param work resolves when the access line has been written */
  perform(work: Promise<void>): void {
    this.#inFlight = true
    this.#performed = work
  }

  /** Nothing is done for it any more. @returns whether it was in flight until now */
  settle(): boolean {
    const was = this.#inFlight
    this.#inFlight = false
    return was
  }

  /** The whole answer is about to be written. @returns whether the rest of the request must be read and dropped first */
  answer(): boolean {
    const swallows = this.#progress !== 'abandoned' && !this.req.complete && !this.#withholdsBody && !this.over
    this.#progress = 'answered'
    return swallows
  }

  /** The answer has been sent, and the request is still arriving. */
  left(): void {
    this.#progress = 'sent'
  }

  /** Counts bytes of the answer's body that were written to the socket. */
  sentBody(bytes: number): void {
    this.#bodySent += bytes
  }

  /** Breaks the connection, for a reason of the gateway or the store. */
  breakOff(by: 'gateway' | 'store'): void {
    this.#over(new ClientGone(), by)
    breakConnection(this.connection.socket)
  }

  /** Aborts the exchange because of what the client sent or did not send. It is answered with the error where that is still possible. */
  fail(error: S3Error): void {
    const answered = this.#progress === 'answered' || this.#progress === 'sent'
    if (!answered) this.#progress = 'abandoned'
    this.connection.close()
    this.#over(this.res.headersSent ? new ClientGone() : error, 'client')
    if (answered) this.connection.socket.destroySoon()
    else if (this.res.headersSent) breakConnection(this.connection.socket)
  }

  clientOwes(): 'upload' | 'download' | null {
    if (this.connection.socket.writableLength > 0) return 'download'
    return this.#body?.waiting === true && !this.#awaitsContinue ? 'upload' : null
  }

  transferred(): number {
    return (this.#body?.received ?? 0) + this.#bodySent
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

  /** Records that the head of the answer has been written. */
  started(status: number): void {
    this.#status = status
    this.#firstByteSeconds = this.#seconds()
  }

  /** Records the error that is being answered. */
  failed(error: S3Error): void {
    this.#errorCode = error.code
    const by = this.#request === null ? 'gateway' : endedBy(error)
    if (by !== null) this.#ending ??= { by, in: by === 'limit' ? 'line' : this.#phase() }
  }

  /** Records the error that broke an answer in progress. */
  broken(error: S3Error): void {
    this.#errorCode ??= error.code
  }

  /** The line of the access log, when all has ended. */
  record(): AccessRecord {
    return accessRecord({
      requestId: this.id,
      principal: this.#note.client ?? null,
      sourceAddress: this.#request?.remoteAddress ?? this.connection.address,
      secure: this.#request?.secure ?? this.connection.socket instanceof TLSSocket,
      method: this.req.method ?? '',
      operation: this.#note.operation ?? null,
      upstream: this.#note.upstream ?? null,
      bucket: this.#note.bucket ?? null,
      key: this.#note.key ?? null,
      status: this.#status,
      code: this.#errorCode,
      bytesIn: this.#body?.received ?? 0,
      bytesOut: this.#bodySent,
      seconds: this.#seconds(),
      firstByteSeconds: this.#firstByteSeconds,
      userAgent: this.#request?.headers.get('user-agent') ?? null
    }, this.#ending)
  }

  #seconds(): number {
    return Math.round((performance.now() - this.#started) * 1000) / 1e6
  }

  #phase(): Phase {
    if (this.res.headersSent) return 'download'
    if (this.#request === null) return 'head'
    if (this.#note.operation === undefined) return 'authentication'
    return this.req.complete ? 'answer' : 'upload'
  }

  #openBody(): Readable {
    this.#body = new RequestBody(this.req)
    return this.#body
  }

  #sendContinue(): void {
    if (!this.#awaitsContinue || this.res.headersSent || this.over) return
    this.#awaitsContinue = false
    this.res.writeContinue()
  }

  #over(reason: Error, by: EndedBy): void {
    if (this.#progress !== 'sent') this.#ending ??= { by, in: this.#phase() }
    this.#body?.cutShort()
    this.#abort.abort(reason)
    this.#end(reason)
  }
}
