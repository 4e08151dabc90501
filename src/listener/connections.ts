import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Exchange } from './exchange.ts'
import { Line } from '../collections/line.ts'
import { connectionId, plainAddress } from './client-address.ts'
import { Connection, breakConnection } from './connection.ts'

/**
 * The connections of one listener, including those in their TLS handshake, up to a limit. At the limit one is closed for a new one: the oldest
 * without an authenticated request, else an idle one. So connections that do nothing, or nothing signed, do not keep others out.
 */
export class Connections {
  #limit: number
  #server: Server | null = null
  readonly #admitted: (exchange: Exchange) => boolean
  readonly #displaced: () => void
  /** Addresses that PROXY headers have named, by connection. */
  readonly #named = new Map<string, string>()
  readonly #addressOf = (socket: Socket): string =>
    (this.#named.size === 0 ? undefined : this.#named.get(connectionId(socket))) ?? plainAddress(socket.remoteAddress)
  /** Without an authenticated request so far. */
  readonly #strangers = new Line<Connection<Exchange>>()
  readonly #clients = new Line<Connection<Exchange>>()
  /** By their addresses: Node does not expose the TCP socket below a TLS socket. The oldest first. */
  readonly #handshakes = new Map<string, Socket>()
  #taken = 0
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

  /** How many have been taken from the port so far. */
  get taken(): number {
    return this.#taken
  }

  /** State of a connection; undefined when it is gone, or its handshake has not ended. */
  of(socket: Socket): Connection<Exchange> | undefined {
    return (socket as Placed)[placeOf]?.connection
  }

  /** At most so many from now on. None is closed before a new one comes. */
  limitTo(limit: number): void {
    this.#limit = limit
    // The listener itself makes room for new connections. This limit is for those that come while the closed ones still end.
    if (this.#server !== null) this.#server.maxConnections = limit + Math.max(16, Math.ceil(limit / 16))
  }

  follow(server: Server, secure: boolean): void {
    this.#server = server
    this.limitTo(this.#limit)
    server.on('connection', (socket: Socket) => {
      this.#taken += 1
      if (secure) this.#begin(socket)
    })
    server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#add(socket)
    })
  }

  /** A PROXY header has named the client of a connection. */
  name(socket: Socket, address: string): void {
    const id = connectionId(socket)
    this.#named.set(id, plainAddress(address))
    socket.once('close', () => {
      this.#named.delete(id)
    })
  }

  /** A request on this connection has been authenticated. */
  trust(connection: Connection<Exchange>): void {
    const place = (connection.socket as Placed)[placeOf]
    if (place === undefined || place.trusted) return
    place.leave()
    setPlace(connection.socket, { connection, trusted: true, leave: this.#clients.add(connection) })
  }

  /** Closes every connection that has had its requests and waits for another one. */
  closeIdle(): void {
    for (const { current, socket, unused } of this.#open()) if (current === null && !unused) socket.destroy()
  }

  /** Closes those too that have had no request, or are in their handshake, and new ones. */
  closeUnused(): void {
    this.#closing = true
    for (const socket of this.#handshakes.values()) socket.destroy()
    for (const { current, socket } of this.#open()) if (current === null) socket.destroy()
  }

  /** Breaks every connection, visibly for a client that waits for an answer. @returns whether one waited. */
  breakAll(): boolean {
    const open = this.#open()
    const waits = open.some(({ current }) => current !== null)
    for (const { current, socket } of open) {
      if (current === null) breakConnection(socket)
      else current.breakOff('gateway')
    }
    return waits
  }

  #open(): Connection<Exchange>[] {
    return [...this.#strangers.members(), ...this.#clients.members()]
  }

  #begin(socket: Socket): void {
    if (this.#closing || !this.#makeRoom()) {
      socket.destroy()
      return
    }
    const name = connectionId(socket)
    this.#handshakes.set(name, socket)
    socket.once('close', () => {
      if (this.#handshakes.get(name) === socket) this.#handshakes.delete(name)
    })
  }

  #add(socket: Socket): void {
    this.#handshakes.delete(connectionId(socket))
    socket.on('error', () => undefined)
    if (this.#closing || !this.#makeRoom()) {
      socket.destroy()
      return
    }
    const connection = new Connection<Exchange>(socket, this.#addressOf)
    setPlace(socket, { connection, trusted: false, leave: this.#strangers.add(connection) })
    socket.once('close', () => {
      forget(socket)
    })
  }

  /** @returns false when every connection carries an admitted request */
  #makeRoom(): boolean {
    while (this.count >= this.#limit) if (!this.#closeOne()) return false
    return true
  }

  #closeOne(): boolean {
    this.#displaced()
    const [handshake] = this.#handshakes
    // A handshake is short: when half of all connections are in their handshake, it is an attack.
    const unfinished = handshake !== undefined && (this.#handshakes.size > this.#limit / 2 || this.#strangers.size === 0)
    const socket = unfinished ? handshake[1] : this.#leastNeeded()
    if (unfinished) this.#handshakes.delete(handshake[0])
    if (socket === undefined) return false
    forget(socket)
    socket.destroy()
    return true
  }

  #leastNeeded(): Socket | undefined {
    const one = this.#strangers.find(({ current }) => current === null || !this.#admitted(current))
      ?? this.#clients.find(({ current, idle }) => idle || current?.responseSent === true)
    return one?.socket
  }
}

/** What Connections knows of a socket that it has taken. With the socket, and not in a Map, whose old tables would keep sockets that are gone. */
interface Place {
  readonly connection: Connection<Exchange>
  /** One of its requests has been authenticated. */
  readonly trusted: boolean
  /** Out of the line in which it is. */
  readonly leave: () => void
}

const placeOf = Symbol('place')

type Placed = Socket & { readonly [placeOf]?: Place }

function setPlace(socket: Socket, place: Place | undefined): void {
  Object.assign(socket, { [placeOf]: place })
}

function forget(socket: Socket): void {
  ;(socket as Placed)[placeOf]?.leave()
  setPlace(socket, undefined)
}
