/**
 * Header fields as they came: order, repetition and bytes kept (Node hands header bytes over as latin1 characters).
 * Names compare without case (RFC 9110 5.1).
 */
export class HeaderList {
  readonly entries: readonly (readonly [name: string, value: string])[]
  readonly #index = new Map<string, string[]>()

  constructor(entries: Iterable<readonly [name: string, value: string]>) {
    this.entries = [...entries]
    for (const [name, value] of this.entries) {
      const lower = name.toLowerCase()
      const values = this.#index.get(lower)
      if (values === undefined) this.#index.set(lower, [value])
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
    return this.#index.get(name.toLowerCase())?.join(',')
  }

  /** Every value of a field in the order received. */
  all(name: string): readonly string[] {
    return this.#index.get(name.toLowerCase()) ?? []
  }

  has(name: string): boolean {
    return this.#index.has(name.toLowerCase())
  }

  /** Distinct lower-case names in the order first seen. */
  names(): IterableIterator<string> {
    return this.#index.keys()
  }
}
