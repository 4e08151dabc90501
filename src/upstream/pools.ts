import type { LookupFunction } from 'node:net'
import { Client, Pool, type Dispatcher } from 'undici'
import { BoundedCache } from '../collections/bounded-cache.ts'
import { hearingConnector } from './connector.ts'
import { isUnaskedAnswer } from './errors.ts'

export interface PoolSettings {
  readonly connections: number
  /** PEM certificates that alone are trusted; null: those Node trusts. */
  readonly ca: string | null
  readonly connectSeconds: number
  /** Older connections are closed after their request, so that a change in DNS is followed. */
  readonly maxAgeSeconds: number
  readonly firstByteSeconds: number
  /** Longest pause between two reads of a body. */
  readonly stallSeconds: number
  /** Replaces the system's resolver. */
  readonly lookup: LookupFunction | null
  /** A connection was closed because an answer came on it that no request had asked for. */
  readonly unasked: () => void
}

/** Less than what one read brings, so that a socket whose reader is paused holds one read and not two. */
const socketBytes = 16_384
/** Virtual-host style has one host, and so one pool, per bucket. */
const maxOrigins = 64

/** HTTP/1.1 connections to the store, per origin. The caller bounds how many requests run at once. */
export class Pools {
  readonly #settings: PoolSettings
  readonly #pools = new BoundedCache<Pool>(maxOrigins, (pool) => { void pool.close() })

  constructor(settings: PoolSettings) {
    this.#settings = settings
  }

  at(origin: string): Dispatcher {
    return this.#pools.get(origin) ?? this.#open(origin)
  }

  /** A connection of its own for one request, so that a retry does not meet another stale one. */
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
    const { connections, maxAgeSeconds, unasked } = this.#settings
    const pool = new Pool(origin, { ...this.#options(), connections, clientTtl: maxAgeSeconds * 1000 })
    pool.on('disconnect', (_origin, _targets, error) => { if (isUnaskedAnswer(error)) unasked() })
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
      // Shorter than the idle time of any store, so that it is the gateway that closes first.
      keepAliveTimeout: 4000,
      keepAliveMaxTimeout: 60_000,
      connect: hearingConnector({
        allowH2: false,
        timeout: s.connectSeconds * 1000,
        autoSelectFamily: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        keepAlive: true,
        noDelay: true,
        ...{  highWaterMark: socketBytes },
        ...(s.ca === null ? {} : { ca: s.ca }),
        ...(s.lookup === null ? {} : { lookup: s.lookup })
      })
    }
  }
}
