import { firstWhere } from '../collections/bisect.ts'

/**
 * Orders strings as S3 lists keys: by their UTF-8 bytes. UTF-16 order differs only where surrogates (which encode
 * U+10000 and up) meet U+E000–U+FFFF, so moving these two ranges past each other saves the encoding.
 * @returns negative, zero or positive
 */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i += 1) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return codePointRank(x) - codePointRank(y)
  }
  return a.length - b.length
}

function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

/** A map that can be walked in UTF-8 order from any key on. */
export class SortedMap<V> {
  readonly #values = new Map<string, V>()
  readonly #keys: string[] = []

  constructor(entries: Iterable<readonly [string, V]> = []) {
    for (const [key, value] of entries) this.#values.set(key, value)
    this.#keys = [...this.#values.keys()].sort(compareUtf8)
  }

  get size(): number {
    return this.#keys.length
  }

  get(key: string): V | undefined {
    return this.#values.get(key)
  }

  set(key: string, value: V): void {
    if (!this.#values.has(key)) {
      const last = this.#keys.at(-1)
      // Keys often come in order, and then nothing has to move.
      if (last === undefined || compareUtf8(last, key) < 0) this.#keys.push(key)
      else this.#keys.splice(firstWhere(this.#keys, (other) => compareUtf8(other, key) >= 0), 0, key)
    }
    this.#values.set(key, value)
  }

  delete(key: string): void {
    if (!this.#values.delete(key)) return
    this.#keys.splice(firstWhere(this.#keys, (other) => compareUtf8(other, key) >= 0), 1)
  }

  /** The first key not before `key`. */
  atOrAfter(key: string): string | undefined {
    return this.#keys[firstWhere(this.#keys, (other) => compareUtf8(other, key) >= 0)]
  }

  /** The first key after `key`. */
  after(key: string): string | undefined {
    return this.#keys[firstWhere(this.#keys, (other) => compareUtf8(other, key) > 0)]
  }

  /** The first key after all that start with `prefix`. */
  afterPrefix(prefix: string): string | undefined {
    return this.#keys[firstWhere(this.#keys, (other) => compareUtf8(other, prefix) > 0 && !other.startsWith(prefix))]
  }

  *values(): Generator<V> {
    for (const key of this.#keys) yield this.#values.get(key) as V
  }
}
