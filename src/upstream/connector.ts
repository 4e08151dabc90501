import type { Socket } from 'node:net'
import { buildConnector } from 'undici'
import { codeOf } from './errors.ts'

/** Milliseconds for what has arrived on a connection that takes no more to be read. The end of it is mostly there at once. */
const HEARING_MS = 1000

/**
 * undici's connector, with sockets that hear the store out. A store that refuses a body it has not read answers and closes, and what it left
 * unread resets the connection (RFC 9112 9.6). The write that finds that out would destroy the socket, and with it the answer that has
 * arrived before the reset: a refusal for good would be told as a store that cannot be reached.
 */
export function hearingConnector(options: buildConnector.BuildOptions): buildConnector.connector {
  const connect = buildConnector(options)
  return (to, callback) => {
    connect(to, (...result) => {
      if (result[0] === null) hearOut(result[1])
      callback(...result)
    })
  }
}

type Done = (error?: Error | null) => void

function hearOut(socket: Socket): void {
  const write = socket._write.bind(socket)
  const writev = socket._writev?.bind(socket)
  function heard(done: Done): Done {
    return (error) => {
      if (error instanceof Error && isReset(error)) whenRead(socket, done, error)
      else done(error)
    }
  }
  function heardWrite(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    write(chunk, encoding, heard(done))
  }
  socket._write = heardWrite
  if (writev === undefined) return
  function heardWritev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    writev?.(chunks, heard(done))
  }
  socket._writev = heardWritev
}

function isReset(error: Error): boolean {
  const code = codeOf(error)
  return code === 'ECONNRESET' || code === 'EPIPE'
}

/** Whatever the reads bring ends the socket: an answer before the whole body was sent, the end, or an error. */
function whenRead(socket: Socket, done: Done, error: Error): void {
  const timer = setTimeout(done, HEARING_MS, error)
  socket.once('close', () => { clearTimeout(timer) })
}
