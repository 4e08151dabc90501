import type { Config } from '../config/config.ts'
import { isOwnBucket, policyFor, upstreamOf } from '../config/config.ts'
import { pinsAt } from '../config/pins.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { OperatorLog } from './types.ts'
import type { Store } from '../operations/context.ts'
import { S3Error } from '../errors.ts'
import { readScanRecords, type ScanRecord } from '../operations/buckets/scan-record.ts'
import { StateBucket } from '../store-client/state-bucket.ts'

const EVERY_MS = 300_000
const TIMEOUT_MS = 60_000

/** The last scan of a bucket, as `sealgate scan` has left it in the state bucket. */
export interface LastScan extends ScanRecord {
  readonly bucket: string
  /** Name in `upstreams`. */
  readonly store: string
}

interface Sources {
  readonly config: Config
  readonly stores: readonly Pick<Store, 'settings' | 'upstream'>[]
  readonly keys: KeyRegistry
}

/**
 * Reads the results of scans when somebody asks for them, at most every five minutes. Whoever asks gets what is known by then, so that nothing waits
 * for a store; while one does not give them, they stay as they were.
 */
export class LastScans {
  readonly #log: OperatorLog
  readonly #stop = new AbortController()
  #found = new Map<string, readonly LastScan[]>()
  #sources: Sources | null = null
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<unknown> | null = null

  constructor(log: OperatorLog) {
    this.#log = log
  }

  get all(): readonly LastScan[] {
    const sources = this.#sources
    if (sources !== null && this.#reading === null && !this.#stop.signal.aborted && performance.now() - this.#readAt >= EVERY_MS) {
      this.#readAt = performance.now()
      this.#reading = Promise.all(sources.stores.map((store) => this.#readStore(sources, store))).finally(() => {
        this.#reading = null
      })
    }
    return [...this.#found.values()].flat()
  }

  /** From now on with this configuration. */
  use(sources: Sources): void {
    this.#sources = sources
    this.#found = new Map([...this.#found].filter(([store]) => sources.stores.some(({ settings }) => settings.name === store)))
    this.#readAt = Number.NEGATIVE_INFINITY
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#reading
  }

  async #readStore({ config, keys }: Sources, { settings, upstream }: Sources['stores'][number]): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)])
    const leave = keys.enter()
    try {
      const records = await readScanRecords({
        state: new StateBucket(upstream, settings.stateBucket, signal),
        realm: settings.realm,
        openerOf: (bucket, keyId, use) => {
          // Only buckets that are served from this store: others cannot be asked for.
          if (isOwnBucket(config, bucket) || upstreamOf(config, bucket).name !== settings.name) throw new S3Error('AccessDenied')
          return keys.openerOf(keyId, pinsAt(policyFor(config, bucket), null), use).provider
        },
        useFor: (bucket) => ({
          requestId: 'scan-record',
          principal: 'gateway',
          sourceAddress: '',
          operation: 'ReadScanRecord',
          bucket,
          objectKey: null,
          versionId: null,
          signal
        })
      })
      this.#found.set(settings.name, [...records].map(([bucket, record]) => ({ bucket, store: settings.name, ...record })))
    } catch (error) {
      if (this.#stop.signal.aborted) return
      this.#log('warn', 'results of scans not read', { upstream: settings.name, reason: error instanceof S3Error ? error.code : 'unknown error' })
    } finally {
      leave()
    }
  }
}
