// Work side by side: `parallel` stops at the first failure (here), in-flight.ts counts work that a stop waits for, turns.ts lets work on
// one thing begin only when the work on it before has ended. No input or output.
/**
 * Runs work over the items of pages, at most `limit` at once, across the ends of pages. The first failure stops it: what is
 * under way ends, nothing new begins.
 */
export async function forEachOf<T>(pages: AsyncIterable<readonly T[]>, limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const running = new Set<Promise<void>>()
  const failures: unknown[] = []
  const begin = async (): Promise<void> => {
    for await (const page of pages) {
      for (const item of page) {
        if (running.size >= limit) await Promise.race(running)
        if (failures.length > 0) return
        const done: Promise<void> = work(item).catch((error: unknown) => {
          failures.push(error)
        }).finally(() => {
          running.delete(done)
        })
        running.add(done)
      }
    }
  }
  await begin().catch((error: unknown) => {
    failures.push(error)
  })
  await Promise.all(running)
  if (failures.length > 0) throw failures[0]
}

/** Runs `work` over all items, at most `limit` at once; results in the order of the items. The first failure fails all. */
export async function inParallel<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [i, item] of queue) results[i] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  return results
}
