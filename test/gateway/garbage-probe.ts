// Loaded before the gateway by garbage.test.ts: collects everything on SIGWINCH, and on SIGUSR2 what a young collection can, and says what is left.
import { constants, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks'
import process from 'node:process'
import { getHeapSpaceStatistics } from 'node:v8'

const collect = globalThis.gc
if (collect === undefined) throw new Error('started without --expose-gc')

// What the types of Node do not say of entries of this kind.
type GcEntry = PerformanceEntry & { readonly detail: { readonly kind: number } }
let full = 0
new PerformanceObserver((list) => {
  full += (list.getEntries() as GcEntry[]).filter(({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR).length
}).observe({ entryTypes: ['gc'] })

process.on('SIGUSR2', () => {
  // What survives two is in the old generation.
  for (let i = 0; i < 3; i += 1) collect({ type: 'minor', execution: 'sync' })
  const old = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space')
  process.stdout.write(`${JSON.stringify({ msg: 'collected', oldBytes: old?.space_used_size, full })}\n`)
})

process.on('SIGWINCH', () => {
  for (let i = 0; i < 3; i += 1) collect({ type: 'major', execution: 'sync' })
})
