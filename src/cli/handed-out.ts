import type { Worker } from 'node:cluster'

interface Handle {
  close(): void
}

/**
 * Node keeps a connection that the primary has handed to a worker until the worker has taken it, and forgets it when the worker ends before: the client
 * would wait until the primary ends (nodejs/node#21746). This closes it with the worker. There is one at most: Node waits before it hands out the next.
 */
export function closeUntaken({ process }: Pick<Worker, 'process'>): void {
  let untaken: Handle | null = null
  const send = process.send.bind(process) as (...args: unknown[]) => boolean
  Object.assign(process, {
    send: (message: { readonly act?: string }, ...more: unknown[]): boolean => {
      // Messages of our own have a callback in this place, or nothing.
      if (message.act === 'newconn') untaken = more[0] as Handle
      return send(message, ...more)
    }
  })
  // Before Node's own listener, which hands out the next one.
  process.prependListener('internalMessage', ({ ack }: { readonly ack?: number }) => {
    if (ack !== undefined) untaken = null
  })
  process.once('exit', () => {
    untaken?.close()
  })
}
