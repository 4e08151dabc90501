import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** Requests of one connection that may wait behind the one in progress. No S3 client pipelines. */
const maxPipelined = 8

/** State of one connection across its requests. `E`: an exchange of one of them. */
export class Connection<E> {
  readonly socket: Socket
  readonly #addressOf: (socket: Socket) => string
  #closing = false
  #current: E | null = null
  #unused = true
  /** Resolves when every exchange started so far has ended. */
  #turn: Promise<void> = Promise.resolve()
  #waiting = 0
  #received = 0

  /** @param addressOf the client's address, as long as the connection is there. */
  constructor(socket: Socket, addressOf: (socket: Socket) => string) {
    this.socket = socket
    this.#addressOf = addressOf
  }

  /** Of the client: the other side, or what a PROXY header names. Empty when the connection has gone. */
  get address(): string {
    return this.#addressOf(this.socket)
  }

  /** Once true, all further bytes are ignored: after an error the boundaries of messages are not known. */
  get closing(): boolean {
    return this.#closing
  }

  /** The exchange in progress; the next one waits for it, so that a pipelined request never runs behind a refused one. */
  get current(): E | null {
    return this.#current
  }

  /** True when no request is in progress and none waits. */
  get idle(): boolean {
    return this.#current === null && this.#waiting === 0
  }

  /** True until its first request begins. */
  get unused(): boolean {
    return this.#unused
  }

  /** True when nothing has arrived since the last exchange ended. */
  get silent(): boolean {
    return this.socket.bytesRead === this.#received
  }

  /** No further request of this connection is served. */
  close(): void {
    this.#closing = true
  }

  /**
   * One request at a time: pipelined requests wait, and are dropped when the request before them closes the connection.
   * @param serve calls `begin` at once; resolves when the exchange has ended
   * @returns false: too many are waiting already
   */
  take(serve: () => Promise<void>): boolean {
    if (this.idle) {
      this.#turn = serve()
      return true
    }
    if (this.#waiting >= maxPipelined) return false
    this.#waiting += 1
    this.#turn = this.#turn.then(() => {
      this.#waiting -= 1
      return this.#closing || this.socket.destroyed ? undefined : serve()
    })
    return true
  }

  begin(exchange: E): void {
    this.#current = exchange
    this.#unused = false
  }

  /** The exchange in progress has ended. */
  end(): void {
    this.#current = null
    this.#received = this.socket.bytesRead
  }
}

/** Thrown while waiting for a client that has disconnected. It gets no answer. */
export class ClientGone extends Error {
  constructor() {
    super('The client has closed the connection.')
    this.name = 'ClientGone'
  }
}

/** Breaks a connection so that no client can take its bytes for a whole answer: RST where the socket can, else a bare close. */
export function breakConnection(socket: Socket): void {
  // While a FIN is on its way the kernel refuses the reset, and Node would forget the socket without closing it.
  if (socket instanceof TLSSocket || socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
