import process from 'node:process'
import { collectWhole } from '../http/gc-tuning.ts'
import { nativeCore } from '../native/core.ts'

/** Milliseconds from one look to the next: of the requests to a process that is often idle, one of some thousand waits for the pause. */
const LOOK_MS = 60_000
/** Microseconds of CPU: a process that has done less has freed next to nothing. */
const WORTH = 200_000
/** Bytes of Buffers that a process without requests has for itself at most: beyond, they are what transfers have left in the old generation. */
const OWN_BUFFERS = 32 * 1024 * 1024

/**
 * Gives memory that nothing uses back to the system: at once, because a start leaves some MiB of it, and then once a minute where the process has worked
 * and serves nobody, with a pause of 2 to 12 ms. The C library keeps blocks of 64 KiB that were freed, and V8 does not look for dead Buffers while nothing
 * happens, so that a process would keep what its busiest minute took (docs/decisions/0190-memory-that-is-given-back.md). Without a native core
 * the C library keeps it.
 * @param busy whether a request is in flight. @param everyMs from one look to the next. @returns ends it
 */
export function giveIdleMemoryBack(busy: () => boolean, everyMs = LOOK_MS): () => void {
  nativeCore()?.trim()
  let before = process.cpuUsage()
  let collected = false
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage(before)
    if (busy() || (user + system < WORTH && !collected)) return
    // V8 frees the memory of dead Buffers beside the process, a moment later: the next look gives it back.
    collected = !collected && process.memoryUsage().arrayBuffers > OWN_BUFFERS
    if (collected) collectWhole()
    else nativeCore()?.trim()
    before = process.cpuUsage()
  }, everyMs)
  timer.unref()
  return () => {
    clearInterval(timer)
  }
}
