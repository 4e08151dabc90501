import { parseDocument } from 'yaml'
import type { Sources } from './schema.ts'

/** One thing wrong with a configuration: where, and what it must be. */
export interface ConfigFault {
  /** Dotted path such as `clients.0.secretAccessKey`; empty for the file as a whole. */
  readonly path: string
  readonly message: string
}

export type Tree = Readonly<Record<string, unknown>>

export function isMap(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * The YAML text as a tree of plain values, with nothing filled in yet; null where the text is no map of sections.
 * Faults are added to `faults`: they name lines and quote nothing.
 */
export function readTree(text: string, faults: ConfigFault[]): Tree | null {
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true })
  for (const { code, linePos } of document.errors) {
    const line = linePos?.[0].line ?? 0
    const tab = code === 'TAB_AS_INDENT' || code === 'BAD_INDENT' ? ' (indent with spaces, each level by the same number)' : ''
    faults.push({ path: '', message: `line ${line}: not valid YAML: ${code.toLowerCase().replaceAll('_', ' ')}${tab}` })
  }
  if (faults.length > 0) return null
  const tree = plain(() => document.toJS({ maxAliasCount: 100 }) as unknown, faults)
  if (isMap(tree)) return tree
  if (faults.length === 0) faults.push({ path: '', message: tree === null ? 'is empty: it must be a map of sections' : 'must be a map of sections' })
  return null
}

function plain(read: () => unknown, faults: ConfigFault[]): unknown {
  try {
    return read()
  } catch {
    // An alias without its anchor, or more aliases than a configuration has use for.
    faults.push({ path: '', message: 'has aliases (*NAME) that cannot be resolved' })
    return null
  }
}

/** Replaces `${NAME}` in texts (`$${` stands for `${`) and leaves out options that were given no value. */
export function expand(value: unknown, path: string, env: Sources['env'], faults: ConfigFault[]): unknown {
  if (typeof value === 'string') {
    return value.replace(/(\$?)\$\{([^}]*)\}/g, (whole, escape: string, variable: string) => {
      if (escape !== '') return whole.slice(1)
      const found = env[variable]
      if (found === undefined) faults.push({ path, message: `the environment variable ${variable} is not set` })
      return found ?? ''
    })
  }
  const at = (name: string | number): string => path === '' ? String(name) : `${path}.${name}`
  if (Array.isArray(value)) return value.map((item, i) => expand(item, at(i), env, faults))
  if (!isMap(value)) return value
  const entries = Object.entries(value).filter(([, item]) => item !== null)
  return Object.fromEntries(entries.map(([name, item]) => [name, expand(item, at(name), env, faults)]))
}
