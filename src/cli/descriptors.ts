import { readFileSync } from 'node:fs'

/** Files, log, audit, admin port, and what Node itself holds open. */
const OWN = 64

/**
 * How many client connections to hold so that descriptors are left for those to the store: a gateway that has spent all on
 * idle clients serves nobody. Node raises its soft limit to the hard one at start.
 * @param wanted the configured number of client connections. @param toStore connections to the store, all pools.
 * @param available what the operating system grants; null: not known.
 */
export function connectionsWithin(wanted: number, toStore: number, available: number | null): number {
  if (available === null) return wanted
  // Where there is too little for all, each side gets half: a request holds one connection on each.
  return Math.min(wanted, Math.max(available - toStore - OWN, Math.floor((available - OWN) / 2), 1))
}

/** File descriptors that this process may have open; null where the system does not say (not Linux). */
export function availableDescriptors(path = '/proc/self/limits'): number | null {
  try {
    const limit = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync(path, 'utf8'))?.[1]
    return limit === undefined ? null : Number(limit)
  } catch {
    return null
  }
}
