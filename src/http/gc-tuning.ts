import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { readonly type: 'minor' | 'major' }) => void

/** Bytes of bodies between two collections. Sealing allocates three times as much, which must stay below V8's 64 MiB. */
const COLLECT_EVERY = 6 * 1024 * 1024

let passed = 0
let collect: Collect | null = null

/**
 * Counts bytes of a body that have been read. Every chunk leaves Buffers behind whose memory V8 counts but does not see on its heap. The young
 * generation hardly grows, so it is not collected, until 64 MiB of them start a collection of the whole heap, which takes ten times as long.
 * Collecting the young generation in time halves the CPU of a large body (docs/PERFORMANCE.md).
 */
export function noteBodyBytes(bytes: number): void {
  passed += bytes
  if (passed < COLLECT_EVERY) return
  passed = 0
  collect ??= collector()
  collect({ type: 'minor' })
}

/** Collects the whole heap, which stops the process for some tens of milliseconds: for one that serves nobody. */
export function collectWhole(): void {
  collect ??= collector()
  collect({ type: 'major' })
}

/**
 * To be called once, before there are bodies. After a full collection V8 lets a heap of this size grow by only a few MiB until the next one, and by
 * less after some idle seconds. The remains of bodies between two young collections count against that. So one full collection led to the next, tens
 * of times a second, at four times the CPU (docs/PERFORMANCE.md). With this the heap may grow to two and a half times what is in use.
 */
export function leaveRoomForBodies(): void {
  setFlagsFromString('--heap-growing-percent=150')
}

/** V8's own function, which only a flag exposes; the flag is reset at once. */
function collector(): Collect {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as Collect
  setFlagsFromString('--no-expose-gc')
  return gc
}
