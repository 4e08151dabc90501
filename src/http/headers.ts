/**
 * Header fields as they came: order, repetition and bytes kept (Node hands header bytes over as latin1 characters).
 * Names compare without case (RFC 9110 5.1).
 */
export class HeaderList {
  readonly entries: readonly (readonly [name: string, value: string])[]
  readonly #joined = new Map<string, string>()
  /** Fields that came more than once: almost always none, so that most lists need no arrays of values. */
  readonly #repeated = new Map<string, string[]>()

  /** @param entries an array is kept, not copied. */
  constructor(entries: Iterable<readonly [name: string, value: string]>) {
    this.entries = Array.isArray(entries) ? entries : [...entries]
    for (const [name, value] of this.entries) {
      const lower = name.toLowerCase()
      const before = this.#joined.get(lower)
      this.#joined.set(lower, before === undefined ? value : `${before},${value}`)
      if (before === undefined) continue
      const values = this.#repeated.get(lower)
      if (values === undefined) this.#repeated.set(lower, [before, value])
      else values.push(value)
    }
  }

  /** From Node's flat `rawHeaders` array: name, value, name, value, … */
  static fromRaw(raw: readonly string[]): HeaderList {
    const entries: [string, string][] = []
    for (let i = 0; i + 1 < raw.length; i += 2) entries.push([raw[i] ?? '', raw[i + 1] ?? ''])
    return new HeaderList(entries)
  }

  /** All values of a field joined with "," as SigV4 joins them; undefined when absent. */
  get(name: string): string | undefined {
    return this.#joined.get(name.toLowerCase())
  }

  /** Every value of a field in the order received. */
  all(name: string): readonly string[] {
    const lower = name.toLowerCase()
    const value = this.#joined.get(lower)
    return value === undefined ? [] : this.#repeated.get(lower) ?? [value]
  }

  /** Distinct lower-case names of the fields that came more than once. */
  repeatedNames(): IterableIterator<string> {
    return this.#repeated.keys()
  }

  has(name: string): boolean {
    return this.#joined.has(name.toLowerCase())
  }

  /** Distinct lower-case names in the order first seen. */
  names(): IterableIterator<string> {
    return this.#joined.keys()
  }
}
