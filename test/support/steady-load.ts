import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as secureConnect } from 'node:tls'
import { setTimeout as delay } from 'node:timers/promises'
import { WireClient } from './listener.ts'

interface Load {
  readonly port: number
  readonly secure: boolean
  /** Clients that open a connection for each request. */
  readonly short: number
  /** Clients that keep their connection until an answer ends it. */
  readonly keep: number
  /** Milliseconds of a client between two requests. */
  readonly pause: number
  readonly target: string
  /** Runs when some answers have come. */
  readonly then: () => unknown
}

interface Outcome {
  answers: number
  /** What was not answered, or not in full, although the port was open. */
  readonly lost: string[]
}

/** Asks until the port is closed. No client sends anything twice. */
export async function loadUntilClosed({ port, secure, short, keep, pause, target, then }: Load): Promise<Outcome> {
  const outcome: Outcome = { answers: 0, lost: [] }
  let closed = false
  const warm = Promise.withResolvers<undefined>()
  const open = (): Socket => secure ? secureConnect({ port, host: '127.0.0.1', rejectUnauthorized: false }) : connect(port, '127.0.0.1')
  const ask = async (keeps: boolean): Promise<void> => {
    const socket = open()
    let code = ''
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? error.name
    })
    // Written at once: both kinds of sockets keep it until they are connected.
    const client = new WireClient(socket)
    let ends = !keeps
    for (let nth = 1; nth === 1 || !ends; nth += 1) {
      client.write(`GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`)
      const answer = await client.answer()
      if (code === 'ECONNREFUSED') {
        closed = true
        return
      }
      if (answer?.whole === true && answer.status < 500) outcome.answers += 1
      else outcome.lost.push(`request ${nth} of a connection: ${answer?.status ?? 'no answer'} ${code}`)
      if (outcome.answers > 200) warm.resolve(undefined)
      ends ||= answer?.headers.get('connection') !== 'keep-alive'
      await delay(pause)
    }
    socket.destroy()
    if (!socket.closed) await once(socket, 'close')
  }
  const client = async (keeps: boolean): Promise<void> => {
    while (!closed) await ask(keeps)
  }
  const clients = Array.from({ length: short + keep }, async (_, index) => client(index >= short))
  await warm.promise
  await then()
  await Promise.all(clients)
  return outcome
}
