/**
 * Waits for work, but no longer than the signal: the work itself goes on, its late failure is swallowed.
 * @throws signal.reason as soon as the signal aborts.
 */
export function abandonOn<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const leave = (): void => { reject(signal.reason as Error) }
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
    work.then(resolve, reject).finally(() => { signal.removeEventListener('abort', leave) }).catch(leave)
  })
}
