/**
 * Index of the first member that passes a test which, once true, stays true for all that follow; the length when none passes. Asks about log2 of the
 * length many.
 */
export function firstWhere<T>(sorted: readonly T[], test: (member: T) => boolean): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (test(sorted[middle] as T)) high = middle
    else low = middle + 1
  }
  return low
}
