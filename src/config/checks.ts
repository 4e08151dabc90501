import { shareOwnBuckets } from './config.ts'
import { isLoopback } from './loopback.ts'
import { checkS3ec, isS3ecType } from './s3ec-checks.ts'
import { isMap, type ConfigFault, type Tree } from './tree.ts'

/** The name of the one store of a configuration that has it as `upstream`. */
export const ONLY = 'default'

/**
 * What options must be to each other. The tree itself is checked, so that options are compared even where a section has other faults.
 * @param clients as the schema read them; null: they have faults.
 */
export function checkTree(tree: Tree, clients: unknown, faults: ConfigFault[]): void {
  checkListen(tree['listen'], faults)
  checkPorts(tree, faults)
  checkReferences(tree['buckets'] ?? { '*': {} }, tree['keys'], faults)
  checkClients(clients ?? tree['clients'], faults)
  checkUpstreams(tree, faults)
  checkKeyCredentials(tree['keys'], faults)
  checkAudit(tree, faults)
}

/** The store of buckets that name none: the only one, or that with `default: true`; null: there is none such. */
export function defaultOf(upstreams: Tree): string | null {
  const [only = null, ...others] = Object.keys(upstreams)
  if (others.length === 0) return only
  return Object.entries(upstreams).find(([, store]) => isMap(store) && store['default'] === true)?.[0] ?? null
}

function checkListen(listen: unknown, faults: ConfigFault[]): void {
  if (!isMap(listen)) return
  const { host, tls, allowPlainBeyondLoopback, clientAddress = 'peer', trustedProxies = [] } = listen
  if (clientAddress !== 'peer' && Array.isArray(trustedProxies) && trustedProxies.length === 0) {
    faults.push({ path: 'listen.clientAddress', message: 'needs trustedProxies: who else may say it?' })
  }
  if (typeof host !== 'string' || isLoopback(host) || tls !== undefined || allowPlainBeyondLoopback === true) return
  faults.push({ path: 'listen.host', message: `${host} is not a loopback address: give listen.tls, or set allowPlainBeyondLoopback: true` })
}

/** Two listeners on one port, or a gateway that is its own store. Only valid ports are compared: other faults are reported elsewhere. */
function checkPorts(tree: Tree, faults: ConfigFault[]): void {
  const { listen = {}, admin } = tree
  if (!isMap(listen)) return
  const { host = '127.0.0.1', port = 9000 } = listen
  const own = Number(port)
  if (isMap(admin) && own !== 0 && Number(admin['port'] ?? 9001) === own && overlap(host, admin['host'] ?? '127.0.0.1')) {
    faults.push({ path: 'admin.port', message: `is that of listen.port (${own}): the admin listener needs another` })
  }
  for (const [section, store] of sectionsOf(tree)) {
    const endpoint = endpointOf(store)
    if (endpoint === null || Number(endpoint.port || (endpoint.protocol === 'https:' ? 443 : 80)) !== own) continue
    const at = endpoint.hostname.replace(/^\[|\]$/g, '')
    if (at === host || (isLoopback(at) && overlap(host, at))) {
      faults.push({ path: `${section}.endpoint`, message: 'is the address of this gateway itself (listen): name the store' })
    }
  }
}

/** null: other faults are reported elsewhere. */
function endpointOf({ endpoint }: Tree): URL | null {
  return typeof endpoint === 'string' && URL.canParse(endpoint) ? new URL(endpoint) : null
}

/** Of the addresses: one can be written in several ways. */
function sameEndpoint(a: Tree, b: Tree): boolean {
  const [one, other] = [endpointOf(a), endpointOf(b)]
  return one !== null && other !== null && one.protocol === other.protocol && one.port === other.port && overlap(one.hostname, other.hostname)
}

/** True when two listeners on these hosts would need the same address. */
function overlap(a: unknown, b: unknown): boolean {
  const any = (host: unknown): boolean => host === '0.0.0.0' || host === '::'
  const plain = (host: unknown): unknown => host === 'localhost' ? '127.0.0.1' : host
  return any(a) || any(b) || plain(a) === plain(b)
}

function checkReferences(buckets: unknown, keys: unknown, faults: ConfigFault[]): void {
  if (!isMap(buckets) || !isMap(keys)) return
  for (const [pattern, policy] of Object.entries(buckets)) {
    if (!isMap(policy)) continue
    if (policy['key'] === undefined && policy['encryption'] !== 'off' && sealing(keys).length !== 1) {
      faults.push({ path: `buckets.${pattern}.key`, message: 'must be given, because keys does not name exactly one that seals' })
    }
    checkPins(`buckets.${pattern}`, policy, keys, faults)
    checkS3ec(`buckets.${pattern}`, policy, keys, faults)
    const { prefixes } = policy
    for (const [prefix, pins] of Object.entries(isMap(prefixes) ? prefixes : {})) {
      if (isMap(pins)) checkPins(`buckets.${pattern}.prefixes.${prefix}`, pins, keys, faults)
    }
  }
}

/** Names of keys that can seal. */
function sealing(keys: Tree): readonly string[] {
  return Object.entries(keys).filter(([, key]) => !isMap(key) || !isS3ecType(key['type'])).map(([name]) => name)
}

/** The names of keys in a policy, or in one of its prefixes. */
function checkPins(path: string, pins: Tree, keys: Tree, faults: ConfigFault[]): void {
  for (const [option, used] of [['key', [pins['key']]], ['allowedKeys', pins['allowedKeys']], ['openKeys', pins['openKeys']]] as const) {
    const unknown = Array.isArray(used) ? used.filter((each) => typeof each === 'string' && !Object.hasOwn(keys, each)) : []
    for (const each of unknown) faults.push({ path: `${path}.${option}`, message: `keys has no ${String(each)}` })
    const mute = Array.isArray(used) ? used.filter((each) => typeof each === 'string' && Object.hasOwn(keys, each) && !sealing(keys).includes(each)) : []
    for (const each of mute) faults.push({ path: `${path}.${option}`, message: `${String(each)} seals nothing: name it in s3ec.keys` })
  }
}

function checkClients(clients: unknown, faults: ConfigFault[]): void {
  if (!Array.isArray(clients)) return
  const ids = clients.map((client: unknown) => isMap(client) ? client['accessKeyId'] : undefined)
  const seen = new Set<string>()
  for (const [i, id] of ids.entries()) {
    if (typeof id !== 'string') continue
    if (seen.has(id)) faults.push({ path: `clients.${i}.accessKeyId`, message: 'is used by another client' })
    seen.add(id)
  }
}

function checkUpstreams(tree: Tree, faults: ConfigFault[]): void {
  const { upstream, upstreams = {}, buckets = { '*': {} }, clients } = tree
  if (upstream === undefined && tree['upstreams'] === undefined) faults.push({ path: 'upstream', message: 'must be given' })
  if (upstream !== undefined && tree['upstreams'] !== undefined) faults.push({ path: 'upstreams', message: 'give either upstream or upstreams' })
  if (!isMap(upstreams)) return
  const sections = sectionsOf(tree)
  for (const [section, store] of sections) checkCredentials(section, store, faults)
  if (upstream === undefined) checkSeveral(sections, faults)
  const names = upstream === undefined ? Object.keys(upstreams) : [ONLY]
  const known = (path: string, name: unknown): void => {
    if (typeof name === 'string' && !names.includes(name)) faults.push({ path, message: `upstreams has no ${name}` })
  }
  for (const [pattern, policy] of Object.entries(isMap(buckets) ? buckets : {})) {
    const path = `buckets.${pattern}.upstream`
    if (!isMap(policy)) continue
    known(path, policy['upstream'])
    if (policy['upstream'] === undefined && names.length > 1 && defaultOf(upstreams) === null) {
      faults.push({ path, message: 'must be given, because no upstream has default: true' })
    }
  }
  for (const [i, client] of (Array.isArray(clients) ? clients : []).entries()) {
    if (!isMap(client)) continue
    for (const name of Object.keys(isMap(client['upstreams']) ? client['upstreams'] : {})) known(`clients.${i}.upstreams.${name}`, name)
    if (client['upstream'] === undefined || upstream !== undefined) continue
    faults.push({ path: `clients.${i}.upstream`, message: 'give upstreams: an identity for each store, by the names in upstreams' })
  }
}

type Sections = readonly (readonly [section: string, store: Tree])[]

function sectionsOf({ upstream, upstreams }: Tree): Sections {
  const several = isMap(upstreams) ? Object.entries(upstreams).map(([name, store]) => [`upstreams.${name}`, store] as const) : []
  return [['upstream', upstream] as const, ...several].flatMap(([section, store]) => isMap(store) ? [[section, store] as const] : [])
}

/** What stores must not share, and what none of several may leave out. */
function checkSeveral(sections: Sections, faults: ConfigFault[]): void {
  for (const [i, [section, store]] of sections.entries()) {
    const before = sections.slice(0, i)
    if (store['realm'] === undefined && sections.length > 1) {
      faults.push({ path: `${section}.realm`, message: 'must be given where there are several stores; that of the only store was default unless it was given' })
    }
    const first = store['default'] === true ? before.find(([, other]) => other['default'] === true) : undefined
    if (first !== undefined) faults.push({ path: `${section}.default`, message: `is true for ${first[0]} also` })
    const own = stateBucketOf(store)
    const shared = before.find(([, other]) => sameEndpoint(store, other) && shareOwnBuckets(own, stateBucketOf(other)))
    if (shared !== undefined) {
      faults.push({ path: `${section}.stateBucket`, message: `is that of ${shared[0]}, at the same endpoint, or they have a bucket for probes in common` })
    }
  }
}

function stateBucketOf({ stateBucket }: Tree): string {
  return typeof stateBucket === 'string' ? stateBucket : 'sealgate-state'
}

function checkCredentials(section: string, upstream: Tree, faults: ConfigFault[]): void {
  const [id, secret, chain] = ['accessKeyId', 'secretAccessKey', 'credentials'].map((option) => Object.hasOwn(upstream, option))
  if (chain === true ? id !== true && secret !== true : id === true && secret === true) return
  faults.push({ path: `${section}.credentials`, message: 'give either accessKeyId and secretAccessKey, or credentials: aws' })
}

/** The chain needs the bytes of a key, which no key service gives out. */
function checkAudit({ audit, keys }: Tree, faults: ConfigFault[]): void {
  if (!isMap(audit) || typeof audit['key'] !== 'string' || !isMap(keys)) return
  const key = Object.hasOwn(keys, audit['key']) ? keys[audit['key']] : undefined
  if (key === undefined) faults.push({ path: 'audit.key', message: `keys has no ${audit['key']}` })
  else if (isMap(key) && key['type'] !== 'local') faults.push({ path: 'audit.key', message: 'must name a key of type local: a keyring of its own will do' })
}

/** A key service needs both halves or none: without them the AWS chain is used. */
function checkKeyCredentials(keys: unknown, faults: ConfigFault[]): void {
  if (!isMap(keys)) return
  for (const [name, key] of Object.entries(keys)) {
    if (!isMap(key)) continue
    const [id, secret, token, chain] = ['accessKeyId', 'secretAccessKey', 'sessionToken', 'credentials'].map((option) => Object.hasOwn(key, option))
    if (id === secret && (chain !== true || id !== true) && (token !== true || id === true)) continue
    faults.push({
      path: `keys.${name}.credentials`,
      message: 'give both accessKeyId and secretAccessKey, or credentials: aws, or none of them (which is credentials: aws)'
    })
  }
}
