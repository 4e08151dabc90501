import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** Node's servers close connections that have been idle for 5 s. */
const FRESH_MS = 3000

/**
 * Sends ready-made requests at a steady pace, whether earlier ones are back or not, and takes the time of each. It reads just
 * enough of an answer to know its end and allocates next to nothing: a client that collects garbage would measure itself.
 */
export class Pacer {
  readonly #port: number
  readonly #idle: Connection[] = []

  /** @param endpoint http://host:port */
  constructor(endpoint: string) {
    this.#port = Number(new URL(endpoint).port)
  }

  /**
   * @param requests sent in turn
   * @param rate requests per second
   * @returns milliseconds from sending to the last byte of the answer, sorted
   * @throws Error when an answer is not 200 or breaks off
   */
  async run(requests: readonly Buffer[], rate: number, seconds: number): Promise<Float64Array> {
    const times = new Float64Array(rate * seconds)
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    let answered = 0
    const done = (connection: Connection): void => {
      times[answered++] = performance.now() - connection.sent
      this.#idle.push(connection)
      if (answered === times.length) resolve(undefined)
    }
    const from = performance.now()
    for (let i = 0; i < times.length; i += 1) {
      const due = from + i * 1000 / rate
      while (performance.now() < due) await delay(Math.max(0, due - performance.now() - 1))
      const connection = this.#fresh() ?? new Connection(connect(this.#port, '127.0.0.1'))
      connection.send(requests[i % requests.length] ?? Buffer.alloc(0), done, reject)
    }
    await promise
    return times.sort()
  }

  close(): void {
    for (const connection of this.#idle.splice(0)) connection.close()
  }

  /** The connection used last, unless it has been idle for so long that the server may be closing it. */
  #fresh(): Connection | undefined {
    const last = this.#idle.pop()
    if (last === undefined || performance.now() - last.sent < FRESH_MS) return last
    last.close()
    this.close()
    return undefined
  }
}

class Connection {
  readonly #socket: Socket
  /** When the last request was sent. */
  sent = 0
  /** Bytes of the answer that are missing; null until its head has come. */
  #left: number | null = null
  #done: (connection: Connection) => void = () => undefined
  #failed: (error: Error) => void = () => undefined

  constructor(socket: Socket) {
    this.#socket = socket.setNoDelay(true)
    socket.on('error', (error) => {
      this.#failed(error)
    })
    socket.on('close', () => {
      this.#failed(new Error(`a connection ended ${this.#left === 0 ? 'between' : 'before'} answers`))
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#left = (this.#left ?? answerLength(chunk)) - chunk.length
      } catch (error) {
        socket.destroy(error as Error)
        return
      }
      if (this.#left === 0) this.#done(this)
    })
  }

  send(request: Buffer, done: (connection: Connection) => void, failed: (error: Error) => void): void {
    this.#left = null
    this.#done = done
    this.#failed = failed
    this.sent = performance.now()
    this.#socket.write(request)
  }

  close(): void {
    this.#socket.removeAllListeners('close').destroy()
  }
}

/** Bytes of an answer with its head, which is in the first chunk. @throws Error when it is not 200 */
function answerLength(chunk: Buffer): number {
  const end = chunk.indexOf('\r\n\r\n')
  const head = chunk.toString('latin1', 0, Math.max(0, end))
  if (end < 0 || !head.startsWith('HTTP/1.1 200')) throw new Error(`an answer begins with ${head.slice(0, 20)}`)
  return end + 4 + Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
}
