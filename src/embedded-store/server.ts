import { createServer } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { S3Error } from '../errors.ts'
import { HeaderList } from '../http/message.ts'
import { parseTarget } from '../http/target.ts'
import { errorAnswer, hostId } from './request.ts'
import { requestId } from './locks.ts'
import { Store } from './store.ts'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { HttpRequest, HttpResponse } from '../http/message.ts'
import type { RequestTarget } from '../http/target.ts'
import type { StoreOptions } from './store.ts'

interface ServerOptions extends StoreOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
}

interface RunningStore {
  /** `http://host:port` */
  readonly endpoint: string
  /** Stops listening and breaks open connections. */
  close(): Promise<void>
}

/** Serves a request: the store itself, or a wrapper from a test. */
type Exchange = (request: HttpRequest, response: ServerResponse) => Promise<void>

/**
 * The embedded S3 server: the upstream of `npm start` and of the tests. It is plain node:http, not Fastify: there are no
 * routes to match and no hooks to run, it must not share faults with the gateway's own listener, and it must be fast enough
 * that benchmarks measure the gateway.
 * @throws errors of the backend while it loads, and errors of listening (EADDRINUSE, …)
 */
export async function startStore(options: ServerOptions): Promise<RunningStore> {
  const store = await Store.open(options)
  const server = createStoreServer(async (request, response) => {
    await sendAnswer(response, request, await store.handle(request))
  })
  const endpoint = await listen(server, options.host, options.port)
  return { endpoint, close: () => closeServer(server) }
}

/** A server that hands every request to `exchange`, also those that expect "100 Continue". Not yet listening. */
export function createStoreServer(exchange: Exchange): Server {
  const server = createServer({
    requestTimeout: 0,
    headersTimeout: 60_000,
    keepAliveTimeout: 60_000,
    highWaterMark: 256 * 1024,
    maxHeaderSize: 64 * 1024,
    noDelay: true
  })
  const accept = (message: IncomingMessage, response: ServerResponse): void => {
    // Errors of the socket end here: the reader of the body and the writer of the answer get their own.
    message.on('error', () => undefined)
    response.on('error', () => undefined)
    serve(message, response, exchange).catch(() => {
      response.destroy()
    })
  }
  server.on('request', accept)
  server.on('checkContinue', accept)
  // RFC 9110 10.1.1 would allow 417 for other expectations; S3 ignores them.
  server.on('checkExpectation', accept)
  return server
}

async function serve(message: IncomingMessage, response: ServerResponse, exchange: Exchange): Promise<void> {
  // A body that was refused is read to its end: closing the connection under it would lose the answer.
  response.once('close', () => {
    if (!message.complete) message.resume()
  })
  const id = requestId()
  const method = message.method ?? ''
  const target = readTarget(message.url ?? '')
  if (target instanceof S3Error) return sendAnswer(response, { id, method }, errorAnswer(target, { id, method, target: nowhere }))
  const gone = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) gone.abort()
  })
  await exchange({
    id,
    method,
    target,
    headers: HeaderList.fromRaw(message.rawHeaders),
    host: message.headers.host ?? '',
    body: message,
    contentLength: message.headers['transfer-encoding'] === undefined ? Number(message.headers['content-length'] ?? 0) : null,
    remoteAddress: message.socket.remoteAddress ?? '',
    secure: false,
    signal: gone.signal,
    sendContinue: continueSender(message, response)
  }, response)
}

/**
 * A client that waits for "100 Continue" and gets a final answer instead may send its body or may not (RFC 9110 10.1.1), so
 * it is not known what the next bytes on the connection are: it closes, unless the 100 was sent.
 */
function continueSender(message: IncomingMessage, response: ServerResponse): () => void {
  if (message.headers.expect?.toLowerCase() !== '100-continue') return () => undefined
  response.shouldKeepAlive = false
  return () => {
    if (response.shouldKeepAlive) return
    response.shouldKeepAlive = true
    response.writeContinue()
  }
}

function readTarget(url: string): RequestTarget | S3Error {
  try {
    return parseTarget(url)
  } catch (error) {
    if (error instanceof S3Error) return error
    throw error
  }
}

const nowhere = parseTarget('/')

/** Writes an answer. A body that fails halfway breaks the connection: it must not look complete. */
export async function sendAnswer(
  response: ServerResponse,
  { id, method }: Pick<HttpRequest, 'id' | 'method'>,
  { status, headers, body }: HttpResponse
): Promise<void> {
  response.writeHead(status, [...headers, ['x-amz-request-id', id], ['x-amz-id-2', hostId]].flat())
  if (body === null || method === 'HEAD') response.end()
  else if (Buffer.isBuffer(body)) response.end(body)
  else await pipeline(body, response)
}

/** @returns the endpoint */
export async function listen(server: Server, host: string, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const { address, port: bound } = server.address() as AddressInfo
  return `http://${address.includes(':') ? `[${address}]` : address}:${bound}`
}

export async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve()
    })
    server.closeAllConnections()
  })
}
