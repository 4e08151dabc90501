import { firstWhere } from '../collections/bisect.ts'

/** Labels beyond the second are not kept: two are enough to find one that is not a given one. */
type Labels = readonly [string] | readonly [string, string]

interface Literal {
  /** A name, or a prefix without its "*". */
  readonly text: string
  readonly label: string
}

/**
 * Patterns of bucket names, each a name or a prefix followed by "*", with a label each. Made in time that grows with their number as sorting does;
 * asked in time that grows with the length of one name: both lists of a configuration may have 10,000.
 */
export class PatternIndex {
  readonly #names = new Map<string, Labels>()
  readonly #prefixes = new Map<string, Labels>()
  readonly #longestPrefix: number
  /** In order of their text. */
  readonly #sorted: readonly Literal[]
  /** For each of them the next one with another label. */
  readonly #nextOther: Int32Array

  constructor(patterns: Iterable<readonly [pattern: string, label: string]>) {
    const literals: Literal[] = []
    for (const [pattern, label] of patterns) {
      const { text, isPrefix } = literalOf(pattern)
      const labels = isPrefix ? this.#prefixes : this.#names
      labels.set(text, withLabel(labels.get(text), label))
      literals.push({ text, label })
    }
    this.#longestPrefix = [...this.#prefixes.keys()].reduce((most, { length }) => Math.max(most, length), 0)
    this.#sorted = literals.sort((a, b) => a.text < b.text ? -1 : a.text > b.text ? 1 : 0)
    this.#nextOther = new Int32Array(literals.length)
    for (let i = literals.length - 1; i >= 0; i -= 1) {
      this.#nextOther[i] = this.#sorted[i + 1]?.label === this.#sorted[i]?.label ? this.#nextOther[i + 1] ?? i + 1 : i + 1
    }
  }

  /** Whether one name can match both this pattern and one of the index. @param except patterns with this label do not count; null: all do */
  overlaps(pattern: string, except: string | null = null): boolean {
    const { text, isPrefix } = literalOf(pattern)
    for (let length = 0; length <= Math.min(text.length, this.#longestPrefix); length += 1) {
      if (hasOther(this.#prefixes.get(text.slice(0, length)), except)) return true
    }
    return isPrefix ? this.#begins(text, except) : hasOther(this.#names.get(text), except)
  }

  /** Whether a name or a prefix begins with the text. */
  #begins(text: string, except: string | null): boolean {
    const first = firstWhere(this.#sorted, (literal) => literal.text >= text)
    const at = this.#sorted[first]?.label === except ? this.#nextOther[first] ?? first : first
    return this.#sorted[at]?.text.startsWith(text) === true
  }
}

/** The value of the longest prefix that a name begins with, in time that grows with the longest of them. */
export class PrefixMap<T> {
  readonly #values: ReadonlyMap<string, T>
  readonly #longest: number

  constructor(entries: readonly (readonly [prefix: string, value: T])[]) {
    this.#values = new Map(entries)
    this.#longest = entries.reduce((most, [{ length }]) => Math.max(most, length), 0)
  }

  longest(name: string): T | undefined {
    for (let length = Math.min(name.length, this.#longest); length >= 0; length -= 1) {
      const value = this.#values.get(name.slice(0, length))
      if (value !== undefined) return value
    }
    return undefined
  }
}

function literalOf(pattern: string): { readonly text: string; readonly isPrefix: boolean } {
  return pattern.endsWith('*') ? { text: pattern.slice(0, -1), isPrefix: true } : { text: pattern, isPrefix: false }
}

function withLabel(labels: Labels | undefined, label: string): Labels {
  if (labels === undefined) return [label]
  return labels.length === 2 || labels[0] === label ? labels : [labels[0], label]
}

function hasOther(labels: Labels | undefined, except: string | null): boolean {
  return labels?.some((label) => label !== except) === true
}
