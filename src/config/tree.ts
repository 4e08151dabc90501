import { isMap as isYamlMap, isNode, isScalar, LineCounter, parseDocument, visit, type Document } from 'yaml'
import type { z } from 'zod'
import type { Sources } from './schema.ts'

/** One fault of a configuration: its place, and what the value must be. */
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
 * The YAML text as a tree of plain values, before anything is filled in; null where the text is not a map of sections. Faults are added to `faults`:
 * they name lines and quote nothing.
 */
export function readTree(text: string, faults: ConfigFault[]): Tree | null {
  const lines = new LineCounter()
  // The library compares each key of a map with all others: `repeatedKeys` asks a set.
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: false, lineCounter: lines })
  for (const { code, linePos } of document.errors) {
    const line = linePos?.[0].line ?? 0
    const tab = code === 'TAB_AS_INDENT' || code === 'BAD_INDENT' ? ' (indent with spaces, each level by the same number)' : ''
    faults.push({ path: '', message: `line ${line}: not valid YAML: ${code.toLowerCase().replaceAll('_', ' ')}${tab}` })
  }
  for (const at of repeatedKeys(document)) faults.push({ path: '', message: `line ${lines.linePos(at).line}: not valid YAML: duplicate key` })
  if (faults.length > 0) return null
  const tree = plain(() => document.toJS({ maxAliasCount: 100 }) as unknown, faults)
  if (isMap(tree)) return tree
  if (faults.length === 0) faults.push({ path: '', message: tree === null ? 'is empty: it must be a map of sections' : 'must be a map of sections' })
  return null
}

/** Offsets of keys that their map has before (YAML 1.2, 3.2.1.3: keys are unique). */
function repeatedKeys(document: Document): number[] {
  const found: number[] = []
  visit(document, {
    Map: (_, { items }) => {
      const seen = new Set<unknown>()
      for (const { key } of items) {
        const value = isScalar(key) ? key.value : key
        if (seen.has(value)) found.push(isNode(key) ? key.range?.[0] ?? 0 : 0)
        seen.add(value)
      }
    }
  })
  return found
}

function plain(read: () => unknown, faults: ConfigFault[]): unknown {
  try {
    return read()
  } catch {
    // An alias without its anchor, or more aliases than any configuration needs.
    faults.push({ path: '', message: 'has aliases (*NAME) that cannot be resolved' })
    return null
  }
}

type OptionValue = string | number | boolean | readonly string[] | null

/**
 * The text with options set, or with null left out, by their paths (`upstream.maxParts`). Everything else stays as it is, comments and layout
 * included; only where the section is written in braces or is not there is the file laid out anew, with its comments.
 */
export function editTree(text: string, changes: Readonly<Record<string, OptionValue>>): string {
  return Object.entries(changes).reduce((before, [path, value]) => editOption(before, path.split('.'), value), text)
}

function editOption(text: string, path: readonly string[], value: OptionValue): string {
  const document = parseDocument(text)
  const name = path.at(-1) ?? ''
  const section = document.getIn(path.slice(0, -1), true)
  if (isYamlMap(section) && section.flow !== true) {
    const pair = section.items.find(({ key }) => isScalar(key) && key.value === name)
    if (pair === undefined && value === null) return text
    const key = (pair ?? section.items[0])?.key
    const at = isNode(key) ? key.range?.[0] : undefined
    const old = isNode(pair?.value) ? pair.value.range : null
    const line = at === undefined ? -1 : text.lastIndexOf('\n', at) + 1
    const end = text.indexOf('\n', old?.[1])
    if (at !== undefined && pair === undefined) {
      return `${text.slice(0, at)}${name}: ${showOption(value)}${text.includes('\r\n') ? '\r\n' : '\n'}${text.slice(line, at)}${text.slice(at)}`
    }
    if (old !== null && old !== undefined && value !== null) {
      return `${text.slice(0, old[0])}${/\s$/.test(text.slice(0, old[0])) ? '' : ' '}${showOption(value)}${text.slice(old[1])}`
    }
    if (old !== null && old !== undefined && section.items.length > 1) return `${text.slice(0, line)}${end < 0 ? '' : text.slice(end + 1)}`
  }
  if (value === null) document.deleteIn(path)
  else document.setIn(path, value)
  return document.toString({ lineWidth: 0 })
}

/** As it is written in the file. Only for values that need no quotes. */
export function showOption(value: OptionValue): string {
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
}

/** Replaces `${NAME}` in texts (`$${` means `${`) and leaves out options that were given no value. */
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

/**
 * The message for a value that a schema refuses, where the option has none of its own: what it must be, and what kind of value it has. Values are not
 * quoted: they may be secrets.
 */
export function wordsOf(issue: z.core.$ZodRawIssue): string | undefined {
  const { input } = issue
  if (issue.code === 'invalid_type') return input === undefined ? 'must be given' : `must be ${nouns[issue.expected] ?? issue.expected}, not ${kindOf(input)}`
  if (issue.code === 'invalid_value') return `must be ${oneOf(issue.values.map(String))}`
  if (issue.code === 'too_small') return 'must not be empty'
  if (issue.code === 'unrecognized_keys') return optionsOf(issue.inst)
  return issue.code === 'invalid_key' ? 'is not a valid name' : undefined
}

const nouns: Readonly<Record<string, string>> = {
  string: 'a text',
  boolean: 'true or false',
  object: 'a map of options',
  record: 'a map of names',
  array: 'a list'
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'boolean') return String(value)
  return typeof value === 'string' ? 'a text' : typeof value === 'number' ? 'a number' : 'a map'
}

function oneOf(values: readonly string[]): string {
  return values.length === 1 ? values.join() : `${values.slice(0, -1).join(', ')} or ${values.at(-1) ?? ''}`
}

/** Names of the options of a map, separated by blanks; '' where the schema is not one. */
function optionsOf(schema: unknown): string {
  const definition = (schema as { readonly _zod?: { readonly def?: { readonly shape?: object } } } | undefined)?._zod?.def?.shape
  return Object.keys(definition ?? {}).join(' ')
}

/** The faults of an issue: one for each option that does not exist. @param absent the section is not in the file at all. */
export function faultsOf(section: string, issue: z.core.$ZodIssue, absent: boolean): ConfigFault[] {
  const path = [section, ...issue.path].join('.')
  if (absent && issue.path.length === 0) return [{ path, message: 'must be given' }]
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: `${path}.${key}`, message: noSuch('option', key, issue.message.split(' ')) }))
  }
  if (issue.code === 'invalid_key') return [{ path, message: issue.issues[0]?.message ?? issue.message }]
  return [{ path, message: issue.message }]
}

/** "no such option; did you mean …?", or the list of those there are. */
export function noSuch(what: string, name: string, known: readonly string[]): string {
  const near = known.find((each) => distance(name.toLowerCase(), each.toLowerCase()) <= Math.min(2, Math.floor(each.length / 3)))
  return near === undefined ? `no such ${what}; there are ${known.join(', ')}` : `no such ${what}; did you mean ${near}?`
}

/** Letters to insert, remove or replace between two names (Levenshtein); names too different in length count as far. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Infinity
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1]
    for (const [j, other] of Array.from(b).entries()) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? Infinity
}
