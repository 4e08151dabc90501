// Work side by side: `parallel` stops at the first failure (here), in-flight.ts counts work that a stop waits for, turns.ts lets work on
// one thing begin only when the work on it before has ended. No input or output.
interface Limits {
  /** Most tasks that run at the same time. */
  readonly limit: number
  /** Ends all tasks: the signal of the client or of the command. */
  readonly signal: AbortSignal
}

/** @param signal aborts with the first failure among all tasks, or with the signal that ends all tasks. */
type Task<T, R> = (item: T, signal: AbortSignal) => Promise<R>

/**
 * Runs `work` over all items, at most `limit` at once. The first failure stops it: no further item is begun, the signal of every task aborts, and no
 * task is running any more when this throws.
 * @throws the first failure, of the items or of a task; the reason of `signal`.
 */
export async function parallel<T>(items: Iterable<T> | AsyncIterable<T>, { limit, signal }: Limits, work: Task<T, void>): Promise<void> {
  const { joined, fail } = stopOf(signal)
  const queue = queueOf(items)
  const worker = async (): Promise<void> => {
    for await (const item of queue) {
      if (joined.aborted) return
      await work(item, joined).catch(fail)
    }
  }
  await Promise.all(Array.from({ length: limit }, () => worker().catch(fail)))
  joined.throwIfAborted()
}

/** As `parallel`. @returns the results in the order of the items. */
export async function parallelMap<T, R>(items: readonly T[], limits: Limits, work: Task<T, R>): Promise<R[]> {
  const results: R[] = []
  await parallel(items.entries(), limits, async ([i, item], signal) => {
    results[i] = await work(item, signal)
  })
  return results
}

/** Two tasks at once, as `parallel` runs them. */
export async function both<A, B>(
  signal: AbortSignal,
  first: (signal: AbortSignal) => Promise<A>,
  second: (signal: AbortSignal) => Promise<B>
): Promise<readonly [A, B]> {
  const { joined, fail } = stopOf(signal)
  const tasks = [first(joined), second(joined)] as const
  await Promise.all(tasks.map((task) => task.catch(fail)))
  joined.throwIfAborted()
  return Promise.all(tasks)
}

function stopOf(signal: AbortSignal): { readonly joined: AbortSignal; readonly fail: (error: unknown) => void } {
  const stop = new AbortController()
  return {
    joined: AbortSignal.any([signal, stop.signal]),
    // Only the first call counts.
    fail: (error) => {
      stop.abort(error)
    }
  }
}

/** One iterator for all workers: each item goes to one of them, and when one stops early it ends for all. */
async function* queueOf<T>(items: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T> {
  yield* items
}

/** The rows of pages. */
export async function* rowsOf<T>(pages: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
  for await (const page of pages) yield* page
}
