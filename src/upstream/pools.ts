import type { LookupFunction, Socket } from 'node:net'
import { Client, Pool, type Dispatcher, buildConnector } from '../http/undici.ts'
import { BoundedCache } from '../collections/bounded-cache.ts'
import { isUnsolicitedResponse, codeOf } from './errors.ts'
import { S3Error } from '../errors.ts'

interface PoolSettings {
  readonly connections: number
  /** PEM certificates that are trusted exclusively; null: those that Node trusts. */
  readonly ca: string | null
  readonly connectSeconds: number
  /** Older connections are closed after their request, so that a change in DNS is followed. */
  readonly maxAgeSeconds: number
  readonly firstByteSeconds: number
  /** Longest pause between two reads of a body. */
  readonly stallSeconds: number
  /** Replaces the system's resolver. */
  readonly lookup: LookupFunction | null
  /** A connection was closed because an answer came on it that no request was waiting for. */
  readonly onUnsolicited: () => void
}

/** Less than one read brings, so that a socket with a paused reader holds one read and not two. */
const socketBytes = 16_384
/** Virtual-host style has one host, and so one pool, per bucket. */
const maxOrigins = 64

/** HTTP/1.1 connections to the store, per origin. The caller bounds how many requests run at once. */
export class Pools {
  readonly #settings: PoolSettings
  readonly #pools = new BoundedCache<Pool>(maxOrigins, (pool) => {
    void pool.close()
  })

  constructor(settings: PoolSettings) {
    this.#settings = settings
  }

  at(origin: string): Dispatcher {
    return this.#pools.get(origin) ?? this.#open(origin)
  }

  /** A new connection for one request, so that a retry does not get another stale one. */
  fresh(origin: string): Client {
    return new Client(origin, this.#options())
  }

  /** Open sockets. */
  get connected(): number {
    let sum = 0
    for (const pool of this.#pools.values()) sum += pool.stats.connected
    return sum
  }

  /** Resolves when the requests in flight have ended. */
  async close(): Promise<void> {
    const pools = this.#pools.values()
    this.#pools.clear()
    await Promise.all(pools.map(async (pool) => pool.close()))
  }

  #open(origin: string): Pool {
    const { connections, maxAgeSeconds, onUnsolicited } = this.#settings
    const pool = new Pool(origin, { ...this.#options(), connections, clientTtl: maxAgeSeconds * 1000 })
    pool.on('disconnect', (_origin, _targets, error) => {
      if (isUnsolicitedResponse(error)) onUnsolicited()
    })
    this.#pools.set(origin, pool)
    return pool
  }

  #options(): Client.Options {
    const s = this.#settings
    return {
      pipelining: 1,
      allowH2: false,
      strictContentLength: true,
      maxHeaderSize: 32768,
      headersTimeout: s.firstByteSeconds * 1000,
      bodyTimeout: s.stallSeconds * 1000,
      // Shorter than the idle time of any store, so that the gateway closes first.
      keepAliveTimeout: 4000,
      keepAliveMaxTimeout: 60_000,
      connect: lingeringConnector({
        allowH2: false,
        timeout: s.connectSeconds * 1000,
        autoSelectFamily: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        keepAlive: true,
        noDelay: true,
        ...{ highWaterMark: socketBytes },
        ...(s.ca === null ? {} : { ca: s.ca }),
        ...(s.lookup === null ? {} : { lookup: s.lookup })
      })
    }
  }
}

/** Milliseconds to read what has arrived on a connection that can no longer be written to. Usually its end has arrived already. */
const LINGER_MS = 1000

/**
 * undici's connector, with sockets that are read to their end. A store that refuses a body without reading it answers and closes, and the
 * unread bytes reset the connection (RFC 9112 9.6). The failed write would destroy the socket together with the answer that arrived
 * before the reset, and a refusal would be reported as a store that cannot be reached.
 */
function lingeringConnector(options: buildConnector.BuildOptions): buildConnector.connector {
  const connect = buildConnector(options)
  return (to, callback) => {
    connect(to, (...result) => {
      if (result[0] === null) readBeforeClose(result[1])
      callback(...result)
    })
  }
}

type Done = (error?: Error | null) => void

function readBeforeClose(socket: Socket): void {
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

/** Every result of the reads ends the socket: an answer before the whole body was sent, the end, or an error. */
function whenRead(socket: Socket, done: Done, error: Error): void {
  const timer = setTimeout(done, LINGER_MS, error)
  socket.once('close', () => {
    clearTimeout(timer)
  })
}

interface Waiter {
  readonly grant: () => void
}

/**
 * At most `limit` exchanges at once, with a bounded queue behind them. undici's pool has a queue of its own, but without a bound, and a request
 * cannot leave it before it gets a connection.
 */
export class ConnectionQueue {
  readonly #limit: number
  readonly #lineLimit: number
  readonly #waitMs: number
  readonly #line = new Set<Waiter>()
  #taken = 0

  constructor(limit: number, lineLimit: number, waitMs: number) {
    this.#limit = limit
    this.#lineLimit = lineLimit
    this.#waitMs = waitMs
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#line.size
  }

  /**
   * @returns a function that releases the connection; further calls do nothing
   * @throws S3Error SlowDown when the queue is full or the wait too long; the signal's reason when it aborts
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#taken < this.#limit) {
      this.#taken += 1
    } else {
      if (this.#line.size >= this.#lineLimit) throw new S3Error('SlowDown')
      await this.#wait(signal)
    }
    return this.#release()
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    const waiter: Waiter = {
      grant: () => {
        resolve(undefined)
      }
    }
    const leave = (reason: unknown) => {
      // A waiter that has left the queue already holds a connection, which must not be lost.
      if (this.#line.delete(waiter)) reject(reason)
    }
    const onAbort = () => {
      leave(signal.reason)
    }
    const timer = setTimeout(() => {
      leave(new S3Error('SlowDown'))
    }, this.#waitMs)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#line.add(waiter)
    try {
      await promise
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  #release(): () => void {
    let held = true
    return () => {
      if (!held) return
      held = false
      const [next] = this.#line
      if (next === undefined) {
        this.#taken -= 1
        return
      }
      this.#line.delete(next)
      next.grant()
    }
  }
}
