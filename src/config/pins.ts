// Which keys of the configuration may seal and open which objects (docs/decisions/0026, 0150).

/** The keys that may seal and open objects at one place, by their names in `keys`. */
export interface KeyPins {
  /** Seals new objects whose client asks for no key. */
  readonly key: string
  /** A client may ask for these by SSE-KMS key id, alias or ARN. */
  readonly allowedKeys: readonly string[]
  /** Open objects here, and seal none: former keys. */
  readonly openKeys: readonly string[]
}

/** The keys of a bucket, and those of the names in it that have keys of their own. */
export interface PolicyKeys {
  readonly bucket: KeyPins
  readonly prefixes: ReadonlyMap<string, KeyPins>
  /** Different lengths of the prefixes, in UTF-16 units, longest first: a lookup takes as many steps, however many prefixes there are. */
  readonly lengths: readonly number[]
}

/** @param prefixes see `buckets.NAME.prefixes` in docs/REFERENCE.md. */
export function policyKeys(bucket: KeyPins, prefixes: Readonly<Record<string, KeyPins>>): PolicyKeys {
  const lengths = [...new Set(Object.keys(prefixes).map(({ length }) => length))]
  return { bucket, prefixes: new Map(Object.entries(prefixes)), lengths: lengths.toSorted((a, b) => b - a) }
}

/**
 * The keys for one object name, from the configuration alone: those of the longest prefix that it begins with, else the bucket's. No key of the bucket
 * opens under a prefix that does not name it.
 * @param key null: for what belongs to the bucket as a whole.
 */
export function pinsAt(policy: { readonly keys: PolicyKeys }, key: string | null): KeyPins {
  const prefix = key === null ? null : prefixAt(policy, key)
  return prefix === null ? policy.keys.bucket : policy.keys.prefixes.get(prefix) ?? policy.keys.bucket
}

/** The prefix whose keys an object name has; null: it has those of the bucket. */
export function prefixAt({ keys }: { readonly keys: PolicyKeys }, key: string): string | null {
  const length = keys.lengths.find((each) => each <= key.length && keys.prefixes.has(key.slice(0, each)))
  return length === undefined ? null : key.slice(0, length)
}

/** The keys that new objects may be sealed with, by name. */
export function sealingKeys({ key, allowedKeys }: Pick<KeyPins, 'key' | 'allowedKeys'>): readonly string[] {
  return [key, ...allowedKeys]
}

/** Names of the keys that may open objects. The envelope, which the store could replace, can name only these. */
export function keysOf(pins: KeyPins): readonly string[] {
  return [...sealingKeys(pins), ...pins.openKeys]
}

/** Names of the keys that may open any object of a bucket. */
export function allKeysOf({ keys }: { readonly keys: PolicyKeys }): readonly string[] {
  return [keys.bucket, ...keys.prefixes.values()].flatMap(keysOf)
}
