import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { breakConnection, openConnection, type Connection } from './exchange.ts'

/** The connections of one listener, those whose TLS handshake is still under way included. */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  /** By their addresses: Node does not say which TCP socket a TLS socket stands on. */
  readonly #handshakes = new Map<string, Socket>()
  #closing = false

  get count(): number {
    return this.#open.size + this.#handshakes.size
  }

  /** What is remembered of a connection; undefined when it is gone, or not secured yet. */
  of(socket: Socket): Connection | undefined {
    return this.#open.get(socket)
  }

  follow(server: Server, secure: boolean): void {
    if (secure) server.on('connection', (socket: Socket) => { this.#begin(socket) })
    server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => { this.#add(socket) })
  }

  /** Closes every connection that carries no request, and those that still come. */
  closeIdle(): void {
    this.#closing = true
    for (const socket of this.#handshakes.values()) socket.destroy()
    for (const { current, socket } of this.#open.values()) if (current === null) socket.destroy()
  }

  /** Breaks every connection, visibly for a client that waits for an answer. */
  breakAll(): void {
    for (const { current, socket } of this.#open.values()) {
      if (current === null) breakConnection(socket)
      else current.breakOff('gateway')
    }
  }

  #begin(socket: Socket): void {
    if (this.#closing) socket.destroy()
    const name = addresses(socket)
    this.#handshakes.set(name, socket)
    socket.once('close', () => { this.#handshakes.delete(name) })
  }

  #add(socket: Socket): void {
    if (this.#closing) socket.destroy()
    this.#handshakes.delete(addresses(socket))
    this.#open.set(socket, openConnection(socket))
    socket.once('close', () => { this.#open.delete(socket) })
    socket.on('error', () => undefined)
  }
}

function addresses({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return [localAddress, localPort, remoteAddress, remotePort].join(' ')
}
