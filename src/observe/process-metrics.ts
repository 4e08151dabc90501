import { monitorEventLoopDelay } from 'node:perf_hooks'
import { cpuUsage, memoryUsage, resourceUsage, uptime } from 'node:process'
import type { Registry } from './registry.ts'

const SAMPLE_MS = 20

/**
 * Memory, CPU time and event loop delay of this process. The delay covers the time since the last snapshot.
 * @returns a function that stops the measuring
 */
export function measureProcess(registry: Registry): () => void {
  const resident = registry.gauge('process_resident_memory_bytes', 'Resident memory.')
  const heap = registry.gauge('nodejs_heap_used_bytes', 'Used heap of V8.')
  const external = registry.gauge('nodejs_external_memory_bytes', 'Memory outside the heap of V8: buffers.')
  const cpu = registry.counter('process_cpu_seconds_total', 'CPU time used, user and system.')
  let counted = 0
  const peak = registry.gauge('process_resident_memory_peak_bytes', 'Largest resident memory so far.')
  const up = registry.gauge('process_uptime_seconds', 'Time since the start of the process.', [], 'max')
  // Not one metric with a label `quantile`: that is the name of a summary's, which has a sum and a count as well.
  const delays = [['p50', 50], ['p99', 99], ['max', 100]] as const
  const delayed = delays.map(([name, percent]) => ({
    percent, gauge: registry.gauge(`nodejs_event_loop_delay_${name}_seconds`, `Event loop delay since the last scrape, ${name}.`, [], 'max')
  }))
  const histogram = monitorEventLoopDelay({ resolution: SAMPLE_MS })
  histogram.enable()
  registry.beforeSnapshot(() => {
    const memory = memoryUsage()
    const { user, system } = cpuUsage()
    resident.set({}, memory.rss)
    heap.set({}, memory.heapUsed)
    external.set({}, memory.external)
    const used = (user + system) / 1e6
    cpu.add({}, used - counted)
    counted = used
    peak.set({}, resourceUsage().maxRSS * 1024)
    up.set({}, uptime())
    for (const { gauge, percent } of delayed) gauge.set({}, histogram.count === 0 ? 0 : lateness(histogram.percentile(percent)))
    histogram.reset()
  })
  return () => { histogram.disable() }
}

/**
 * Node records the time from one sample to the next, of which the pause between them is no delay.
 * @param nanoseconds what it recorded. @returns seconds
 */
export function lateness(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - SAMPLE_MS / 1000)
}
