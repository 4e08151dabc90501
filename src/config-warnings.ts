import type { Config } from './config.ts'
import { keysOf } from './config.ts'

/** Something that is allowed and that the operator should know: where, and why. */
export interface ConfigWarning {
  /** Dotted path, as of a ConfigFault. */
  readonly path: string
  readonly message: string
}

/** What a valid configuration leaves open. Printed by `config check`, logged at start and on reload. Quotes no secrets. */
export function configWarnings(config: Config): readonly ConfigWarning[] {
  return [...idleKeys(config)]
}

/** A key that no bucket may use opens nothing: objects sealed under it are refused. */
function idleKeys({ keys, buckets }: Config): ConfigWarning[] {
  const used = new Set(buckets.flatMap(([, policy]) => policy.encryption === 'off' ? policy.openKeys : keysOf(policy)))
  return Object.keys(keys).filter((name) => !used.has(name)).map((name) => ({
    path: `keys.${name}`, message: 'no bucket may use it: name it as key, in allowedKeys, or in openKeys where old objects are sealed under it'
  }))
}
