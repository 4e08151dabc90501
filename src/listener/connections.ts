import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Exchange } from './exchange.ts'
import { breakConnection, Connection } from './connection.ts'

/**
 * The connections of one listener, with those in their TLS handshake, up to a limit. At the limit one is closed for a new one: the
 * oldest without an authenticated request, else an idle one. So connections that do nothing, or nothing with a signature, do not
 * keep others out.
 */
export class Connections {
  readonly #limit: number
  readonly #admitted: (exchange: Exchange) => boolean
  readonly #displaced: () => void
  /** Without an authenticated request so far. The oldest first, in all these maps. */
  readonly #strangers = new Map<Socket, Connection<Exchange>>()
  readonly #clients = new Map<Socket, Connection<Exchange>>()
  /** By their addresses: Node does not expose the TCP socket below a TLS socket. */
  readonly #handshakes = new Map<string, Socket>()
  #closing = false

  /**
   * @param admitted whether a request has been admitted (see Admission)
   * @param displaced called for every connection that is closed to make room, or because there is none
   */
  constructor(limit: number, admitted: (exchange: Exchange) => boolean, displaced: () => void) {
    this.#limit = limit
    this.#admitted = admitted
    this.#displaced = displaced
  }

  get count(): number {
    return this.#strangers.size + this.#clients.size + this.#handshakes.size
  }

  /** What is remembered of a connection; undefined when it is gone, or not secured yet. */
  of(socket: Socket): Connection<Exchange> | undefined {
    return this.#strangers.get(socket) ?? this.#clients.get(socket)
  }

  follow(server: Server, secure: boolean): void {
    if (secure) {
      server.on('connection', (socket: Socket) => {
        this.#begin(socket)
      })
    }
    server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#add(socket)
    })
  }

  /** A request on it has been authenticated. */
  trust(connection: Connection<Exchange>): void {
    if (this.#strangers.delete(connection.socket)) this.#clients.set(connection.socket, connection)
  }

  /** Closes every connection that carries no request, and those that still come. */
  closeIdle(): void {
    this.#closing = true
    for (const socket of this.#handshakes.values()) socket.destroy()
    for (const { current, socket } of this.#open()) if (current === null) socket.destroy()
  }

  /** Breaks every connection, visibly for a client that waits for an answer. */
  breakAll(): void {
    for (const { current, socket } of this.#open()) {
      if (current === null) breakConnection(socket)
      else current.breakOff('gateway')
    }
  }

  #open(): Connection<Exchange>[] {
    return [...this.#strangers.values(), ...this.#clients.values()]
  }

  #begin(socket: Socket): void {
    if (this.#closing || !this.#makeRoom()) {
      socket.destroy()
      return
    }
    const name = addresses(socket)
    this.#handshakes.set(name, socket)
    socket.once('close', () => {
      if (this.#handshakes.get(name) === socket) this.#handshakes.delete(name)
    })
  }

  #add(socket: Socket): void {
    this.#handshakes.delete(addresses(socket))
    socket.on('error', () => undefined)
    if (this.#closing || !this.#makeRoom()) {
      socket.destroy()
      return
    }
    this.#strangers.set(socket, new Connection(socket))
    socket.once('close', () => {
      this.#forget(socket)
    })
  }

  /** @returns false when every connection there is carries a request that has been let in */
  #makeRoom(): boolean {
    if (this.count < this.#limit) return true
    this.#displaced()
    const [handshake] = this.#handshakes
    // A handshake takes a moment: half of all connections in their handshake are an attack.
    const unfinished = handshake !== undefined && (this.#handshakes.size > this.#limit / 2 || this.#strangers.size === 0)
    const socket = unfinished ? handshake[1] : this.#leastNeeded()
    if (unfinished) this.#handshakes.delete(handshake[0])
    if (socket === undefined) return false
    this.#forget(socket)
    socket.destroy()
    return true
  }

  #leastNeeded(): Socket | undefined {
    for (const [socket, { current }] of this.#strangers) if (current === null || !this.#admitted(current)) return socket
    for (const [socket, { current, idle }] of this.#clients) if (idle || current?.responseSent === true) return socket
    return undefined
  }

  #forget(socket: Socket): void {
    this.#strangers.delete(socket)
    this.#clients.delete(socket)
  }
}

function addresses({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return [localAddress, localPort, remoteAddress, remotePort].join(' ')
}
