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
  return [...idleKeys(config), ...storeDecides(config), ...separatedByStore(config)]
}

/** A key that no bucket may use opens nothing: objects sealed under it are refused. */
function idleKeys({ keys, buckets }: Config): ConfigWarning[] {
  const used = new Set(buckets.flatMap(([, policy]) => policy.encryption === 'off' ? policy.openKeys : keysOf(policy)))
  return Object.keys(keys).filter((name) => !used.has(name)).map((name) => ({
    path: `keys.${name}`, message: 'no bucket may use it: name it as key, in allowedKeys, or in openKeys where old objects are sealed under it'
  }))
}

/** The store is not trusted with plaintext, and here it says who gets it. */
function storeDecides({ buckets }: Config): ConfigWarning[] {
  return buckets.filter(([, { encryption, publicRead }]) => encryption === 'on' && publicRead === 'store').map(([pattern]) => ({
    path: `buckets.${pattern}.publicRead`,
    message: 'the store decides who reads plaintext here, without a signature, and could let everybody: prefer true or { prefixes: […] }'
  }))
}

/** Clients whose patterns share buckets and whose rights differ at the store alone. */
function separatedByStore({ clients }: Config): ConfigWarning[] {
  return clients.flatMap((client, i) => {
    const { upstream } = client
    const shared = upstream !== null && clients.some((other) =>
      other !== client && other.upstream?.accessKeyId !== upstream.accessKeyId && overlap(client.buckets, other.buckets))
    return shared ? [{
      path: `clients.${i}.upstream`,
      message: 'within the buckets that it shares with other clients, the store\'s policies alone keep it apart from them, and the store is not trusted: give each its own buckets'
    }] : []
  })
}

/** Whether one name can match patterns of both lists: each is a name, or a prefix followed by "*". */
function overlap(some: readonly string[], others: readonly string[]): boolean {
  return some.some((a) => others.some((b) => {
    const [x, y] = [a.replace(/\*$/, ''), b.replace(/\*$/, '')]
    return a.endsWith('*') ? b.endsWith('*') ? x.startsWith(y) || y.startsWith(x) : y.startsWith(x) : b.endsWith('*') ? x.startsWith(y) : x === y
  }))
}
