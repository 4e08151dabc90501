import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import { WrongServiceAnswer } from '../service/errors.ts'
import type { ServerTrust } from '../service/http.ts'
import { messageLength } from './kmip-ttlv.ts'

/** Longest answer in bytes that is read. Those that are asked for have some 500. */
export const MAX_ANSWER_BYTES = 16 * 1024
/** Milliseconds without a request; shorter than the idle time of servers and firewalls. */
const IDLE_MS = 4000
const LENGTH_KNOWN = 8

interface Waiting {
  readonly resolve: (answer: Buffer) => void
  readonly reject: (error: Error) => void
}

/** A TLS connection that carries one request of KMIP at a time. */
export class KmipConnection {
  readonly #socket: TLSSocket
  #waiting: Waiting | null = null
  #chunks: Buffer[] = []

  private constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#take(chunk)
    })
    socket.on('error', (error: Error) => {
      this.#end(error)
    })
    socket.on('close', () => {
      this.#end(new Error('The KMIP server has closed the connection.'))
    })
    socket.setTimeout(IDLE_MS, () => {
      if (this.#waiting === null) socket.destroy()
    })
  }

  /** @param address HOST:PORT. @throws errors of the network and of TLS; signal.reason. */
  static async open(address: string, { ca, client, serverName }: ServerTrust, signal: AbortSignal): Promise<KmipConnection> {
    const [host = '', port = ''] = address.split(/:(?=\d+$)/)
    const bare = host.replace(/^\[|\]$/g, '')
    const socket = connect({
      host: bare,
      port: Number(port),
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      // A number is no name that SNI knows (RFC 6066, 3); the certificate is compared with the host in either case.
      ...serverName === null ? {} : { servername: serverName },
      ...ca === null ? {} : { ca },
      ...client
    })
    socket.setNoDelay(true)
    try {
      await once(socket, 'secureConnect', { signal })
      return new KmipConnection(socket)
    } catch (error) {
      socket.on('error', () => undefined).destroy()
      throw signal.aborted ? signal.reason : error
    }
  }

  /** It can carry another request. */
  get usable(): boolean {
    return !this.#socket.destroyed && this.#socket.writable && this.#waiting === null
  }

  /**
   * Sends a message and reads the answer. The connection ends with a caller that leaves: the answer would be taken for that to the next request.
   * @throws WrongServiceAnswer, errors of the network, signal.reason.
   */
  async request(message: Buffer, signal: AbortSignal): Promise<Buffer> {
    const leave = (): void => {
      this.#end(signal.reason as Error)
    }
    signal.addEventListener('abort', leave, { once: true })
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        this.#waiting = { resolve, reject }
        if (signal.aborted) leave()
        else this.#socket.write(message)
      })
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  destroy(): void {
    this.#end(new Error('The key was closed.'))
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk)
    const whole = Buffer.concat(this.#chunks)
    try {
      if (this.#waiting === null) throw new WrongServiceAnswer('The KMIP server has sent what nobody asked for.')
      if (whole.length < LENGTH_KNOWN) return
      const length = messageLength(whole)
      if (length > MAX_ANSWER_BYTES || whole.length > length) {
        throw new WrongServiceAnswer(`The KMIP server answered with more than it was asked for, or than ${MAX_ANSWER_BYTES} bytes.`)
      }
      if (whole.length < length) return
    } catch (error) {
      this.#end(error as Error)
      return
    }
    const { resolve } = this.#waiting
    this.#waiting = null
    this.#chunks = []
    resolve(whole)
  }

  #end(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = null
    this.#chunks = []
    this.#socket.destroy()
    waiting?.reject(error)
  }
}
