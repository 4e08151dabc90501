import type { ConfigFault } from './tree.ts'
import { isOwnBucket, usedKeysOf, type Config } from './config.ts'
import { PatternIndex } from './patterns.ts'

/** What a valid configuration leaves open. Printed by `config check`, logged at start and on reload. Quotes no secrets. */
export function configWarnings(config: Config): readonly ConfigFault[] {
  return [
    ...idleKeys(config),
    ...storeDecides(config),
    ...separatedByStore(config),
    ...unverifiedRanges(config),
    ...unboundCiphers(config),
    ...unreachable(config),
    ...sharedRealms(config)
  ]
}

/** A key that no bucket may use opens nothing: objects sealed under it are refused. */
function idleKeys({ keys, buckets, audit }: Config): ConfigFault[] {
  const used = new Set(buckets.flatMap(([, policy]) => policy.encryption === 'off' ? policy.keys.bucket.openKeys : usedKeysOf(policy)))
  if (audit.key !== null) used.add(audit.key)
  return Object.keys(keys).filter((name) => !used.has(name)).map((name) => ({
    path: `keys.${name}`,
    message: 'no bucket may use it: name it as key, in allowedKeys, in openKeys where old objects are sealed under it, or in s3ec.keys'
  }))
}

/** The store is not trusted with plaintext, but decides here who reads it. */
function storeDecides({ buckets }: Config): ConfigFault[] {
  return buckets.filter(([, { encryption, publicRead }]) => encryption === 'on' && publicRead === 'store').map(([pattern]) => ({
    path: `buckets.${pattern}.publicRead`,
    message: 'the store decides who reads plaintext here, without a signature, and could let everybody: prefer marked, true or { prefixes: […] }'
  }))
}

/** What P1 of docs/THREAT-MODEL.md does not hold for. */
function unverifiedRanges({ buckets }: Config): ConfigFault[] {
  return buckets.filter(([, { s3ec }]) => s3ec?.unauthenticatedRanges === true).map(([pattern]) => ({
    path: `buckets.${pattern}.s3ec.unauthenticatedRanges`,
    message: 'the store can change bytes of such a range unnoticed: prefer "sealgate encrypt --from s3ec", after which every range is verified'
  }))
}

/** Nothing in an object binds its data key to the cipher of its body there, so that the store chooses between them (CVE-2020-8912). */
function unboundCiphers({ buckets }: Config): ConfigFault[] {
  return buckets.filter(([, { s3ec }]) => s3ec?.read.includes('v2-cbc') === true && s3ec.read.includes('v2-legacy')).map(([pattern]) => ({
    path: `buckets.${pattern}.s3ec.read`,
    message: 'the store can call an object of v2-legacy one of v2-cbc, which nothing verifies: list v2-cbc only as long as there are such objects'
  }))
}

/** Clients whose patterns share buckets and whose rights differ at the store alone. */
function separatedByStore({ clients, upstreams }: Config): ConfigFault[] {
  const stores = new Set(clients.flatMap(({ identities }) => Object.keys(identities)))
  // By store: the patterns of each client with the identity that it has there.
  const patterns = new Map([...stores].map((name) => [
    name,
    new PatternIndex(clients.flatMap(({ buckets, identities }) => buckets.map((pattern) => [pattern, identities[name]?.accessKeyId ?? ''] as const)))
  ]))
  return clients.flatMap((client, i) =>
    Object.entries(client.identities).filter(([name, { accessKeyId }]) => client.buckets.some((pattern) => patterns.get(name)?.overlaps(pattern, accessKeyId)))
      .map(([name]) => ({
        path: `clients.${i}.${upstreams[name]?.section ?? name}`,
        message:
          'within the buckets that it shares with other clients, the store\'s policies alone keep it apart from them, and the store is not trusted: give each its own buckets'
      }))
  )
}

/** The realm is what keeps objects of one store from opening at another. */
function sharedRealms({ upstreams }: Config): ConfigFault[] {
  return Object.values(upstreams).flatMap(({ section, realm }, i, all) => {
    const first = all.slice(0, i).find((other) => other.realm === realm)
    return first === undefined ?
      [] :
      [{
        path: `${section}.realm`,
        message: `is that of ${first.section} also: an object of a bucket there opens in the bucket of that name, or an alias, here`
      }]
  })
}

/** Buckets that are named in one place and refused by another. */
function unreachable({ buckets, clients, upstreams }: Config): ConfigFault[] {
  const found: ConfigFault[] = []
  const policies = new PatternIndex(buckets.map(([pattern]) => [pattern, '']))
  for (const [i, client] of clients.entries()) {
    for (const [j, pattern] of client.buckets.entries()) {
      if (!policies.overlaps(pattern)) {
        found.push({ path: `clients.${i}.buckets.${j}`, message: `buckets has no policy for ${pattern}: such requests are refused` })
      }
    }
  }
  for (const [pattern] of buckets) {
    if (isOwnBucket({ upstreams }, pattern)) found.push({ path: `buckets.${pattern}`, message: 'is a bucket of the gateway itself, which no client may use' })
  }
  for (const { name, section } of Object.values(upstreams)) {
    if (!buckets.some(([, policy]) => policy.upstream === name)) found.push({ path: section, message: 'no bucket is there: name it as upstream of a bucket' })
  }
  return found
}
