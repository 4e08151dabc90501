/** Entries of a list, and of each list within one; characters of a text. */
const MOST_ENTRIES = 200
const MOST_INNER_ENTRIES = 40
const MOST_CHARACTERS = 300

/**
 * Cuts lists and texts, so that the page stays small whatever a configuration, a store or a scan contains.
 * @returns the facts, and in `leftOut` how many entries each list lost.
 */
export function bounded<T extends object>(facts: T): T & { readonly leftOut: Readonly<Record<string, number>> } {
  const leftOut = new Map<string, number>()
  const cut = (value: unknown, path: string, inner: boolean): unknown => {
    if (typeof value === 'string') return shortened(value)
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value)
    const kept = entries.slice(0, inner ? MOST_INNER_ENTRIES : MOST_ENTRIES)
    if (kept.length < entries.length) leftOut.set(path, (leftOut.get(path) ?? 0) + entries.length - kept.length)
    if (Array.isArray(value)) return kept.map(([, one]) => cut(one, path, true))
    return Object.fromEntries(kept.map(([name, one]) => [shortened(name), cut(one, path === '' ? name : `${path}.${shortened(name)}`, inner)]))
  }
  return { ...cut(facts, '', false) as T, leftOut: Object.fromEntries(leftOut) }
}

function shortened(text: string): string {
  return text.length <= MOST_CHARACTERS ? text : `${text.slice(0, MOST_CHARACTERS)}…`
}
