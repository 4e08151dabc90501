// A test store that locks names as MinIO does: a name that is being read, and from its beginning that of a conditional PutObject or copy. Nothing waits for
// a part of an upload.
import { setTimeout as delay } from 'node:timers/promises'
import { HELD_COPY_BYTES } from '../../src/operations/copy/by-upload.ts'
import type { TestStore } from './hostile.ts'
import type { SeenRequest } from './rules.ts'

/** Up to here the gateway reads a body whole before it asks the store to write: the end of a longer one can be held back until then. */
const HELD_BYTES = HELD_COPY_BYTES
/** Milliseconds that the end of a smaller one comes late: what asks for a write at once meets the read. */
const LATE_MS = 50

export interface NameLocks {
  /** Names of which such a read has begun. */
  readonly reads: readonly string[]
  /** Conditional writes that met a name that was being read: MinIO lets them wait until it gives up. */
  readonly refused: readonly string[]
  remove(): void
}

/**
 * Locks names of a bucket. The end of a body that is read for a copy is held back until the store is asked to write anything, as if no
 * buffer on the way were large enough for it, or comes late; a conditional write of a name that is being read is refused at once.
 * @param sizes bytes of the objects whose first read as a whole by `If-Match` is such a read, by key
 */
export function lockNames(store: TestStore, bucket: string, sizes: Readonly<Record<string, number>>): NameLocks {
  const open = new Map<string, PromiseWithResolvers<void>>()
  const [reads, refused]: [string[], string[]] = [[], []]
  const isRead = ({ method, key, headers, query }: SeenRequest): boolean => {
    const size = sizes[key] ?? 0
    const whole = [undefined, `bytes=0-${size - 1}`].includes(headers.get('range'))
    return method === 'GET' && headers.has('if-match') && whole && !query.has('tagging') && !reads.includes(key)
  }
  const isConditional = ({ method, headers, query }: SeenRequest): boolean =>
    method === 'PUT' && !query.has('partNumber') && (headers.has('if-match') || headers.has('if-none-match'))
  const begin = (key: string): true => {
    reads.push(key)
    open.set(key, Promise.withResolvers())
    return true
  }
  const writes = store.rules.add({
    when: {
      test: (request) => {
        if (request.method !== 'PUT' && request.method !== 'POST') return false
        const waits = request.bucket === bucket && isConditional(request) && open.has(request.key)
        if (waits) refused.push(request.key)
        for (const { resolve } of open.values()) resolve()
        open.clear()
        return waits
      }
    },
    times: Infinity,
    fault: { type: 'error', status: 503, code: 'SlowDownWrite' }
  })
  const held = Object.keys(sizes).map((key) => {
    let ended = Promise.resolve()
    return store.rules.add({
      when: {
        bucket,
        key,
        test: (request) => {
          if (!isRead(request)) return false
          begin(key)
          const small = (sizes[key] ?? 0) <= HELD_BYTES
          const written = open.get(key)?.promise ?? ended
          ended = small ? Promise.race([written, delay(LATE_MS)]).then(() => void open.delete(key)) : written
          return true
        }
      },
      times: Infinity,
      fault: { type: 'held-end', until: () => ended }
    })
  })
  return {
    reads,
    refused,
    remove() {
      for (const rule of [writes, ...held]) rule.remove()
    }
  }
}
