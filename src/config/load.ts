import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import type { z } from 'zod'
import type { BucketPolicy, Config, KeyConfig } from './config.ts'
import { configSections, isLoopback, type Sources } from './schema.ts'
import { expand, isMap, readTree, type ConfigFault, type Tree, faultsOf, noSuch, wordsOf } from './tree.ts'
import { profileNames, storeProfiles } from './store-profiles.ts'
import { systemWords } from '../diagnosis.ts'

type ClientLimits = Config['clients'][number]['limits']

/** All faults of a configuration in one error. Values are not quoted: they may be secrets. */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[]

  constructor(file: string, faults: readonly ConfigFault[]) {
    super([`${file} is not a valid configuration:`, ...faults.map((f) => `  ${f.path === '' ? '(file)' : f.path}: ${f.message}`)].join('\n'))
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/**
 * Reads the YAML file, fills in `${NAME}` from the environment and secrets from their files, checks everything, and returns one frozen Config.
 * Printing it shows `******` for secrets.
 * @throws ConfigError with every fault found.
 */
export function loadConfig(sources: Sources): Config {
  return parseConfig(readConfigText(sources.file), sources)
}

/** The text of a configuration file, not parsed yet. @throws ConfigError when it cannot be read. */
export function readConfigText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(file, [{ path: '', message: `cannot be read: ${systemWords(error)}` }])
  }
}

/** As `loadConfig`, for a text in memory. */
export function parseConfig(text: string, sources: Sources): Config {
  const faults: ConfigFault[] = []
  const written = readTree(text, faults)
  const config = written === null ? null : build(withProfile(expand(written, '', sources.env, faults) as Tree), sources, faults)
  // A variable that is not set also makes an empty text: the first fault of a place explains the others.
  const first = faults.filter((fault, i) => fault.path === '' || faults.findIndex((f) => f.path === fault.path) === i)
  if (first.length > 0 || config === null) throw new ConfigError(sources.file, first)
  return freeze(config)
}

/** The options that `upstream.profile` stands for; those that are written have precedence. */
function withProfile(tree: Tree): Tree {
  const { upstream } = tree
  const name = isMap(upstream) ? upstream['profile'] : undefined
  const profile = profileNames.find((known) => known === name)
  return profile === undefined || !isMap(upstream) ? tree : { ...tree, upstream: { ...storeProfiles[profile].options, ...upstream } }
}

/** Section by section, so that a fault in one does not hide those of another. */
function build(tree: Tree, sources: Sources, faults: ConfigFault[]): Config | null {
  const schema = configSections(sources)
  for (const name of Object.keys(tree)) {
    if (!Object.hasOwn(schema, name)) faults.push({ path: name, message: noSuch('section', name, Object.keys(schema)) })
  }
  const take = <T>(name: keyof typeof schema, section: z.ZodType<T>): T | null => {
    const result = section.safeParse(tree[name], { error: wordsOf })
    if (result.success) return result.data
    for (const issue of result.error.issues) faults.push(...faultsOf(name, issue, tree[name] === undefined))
    return null
  }
  const listen = take('listen', schema.listen)
  const admin = take('admin', schema.admin)
  const upstream = take('upstream', schema.upstream)
  const clients = take('clients', schema.clients)
  const keys = take('keys', schema.keys)
  const buckets = take('buckets', schema.buckets)
  const auth = take('auth', schema.auth)
  const keyCache = take('keyCache', schema.keyCache)
  const limits = take('limits', schema.limits)
  const log = take('log', schema.log)
  const audit = take('audit', schema.audit)
  const workers = take('workers', schema.workers)

  checkListen(tree['listen'], faults)
  checkPorts(tree, faults)
  checkReferences(tree['buckets'] ?? { '*': {} }, tree['keys'], faults)
  checkClients(clients ?? tree['clients'], faults)
  checkCredentials(tree['upstream'], faults)
  checkKeyCredentials(tree['keys'], faults)
  if (
    listen === null || upstream === null || clients === null || keys === null || buckets === null || auth === null
    || keyCache === null || limits === null || log === null || audit === null || workers === null
  ) return null

  const keyConfigs = Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, keyConfig(key)]))
  const { region, ...rest } = listen
  const { perClient, ...shared } = limits
  const { accessKeyId, secretAccessKey, sessionToken, credentials, conditions, ...store } = upstream
  return {
    listen: { ...rest, regions: typeof region === 'string' ? [region] : region },
    admin,
    upstream: {
      ...store,
      endpoint: new URL(store.endpoint).origin,
      conditions: defined(conditions),
      credentials: credentials ?? conceal({ accessKeyId: accessKeyId ?? '', secretAccessKey: secretAccessKey ?? '', sessionToken })
    },
    clients: clients.map((client) =>
      conceal({ ...client, limits: limitsOf(client.limits, perClient), upstream: client.upstream === null ? null : conceal(client.upstream) })
    ),
    keys: keyConfigs,
    buckets: resolvePolicies(buckets, keyConfigs),
    auth,
    keyCache,
    limits: shared,
    log,
    audit,
    workers
  }
}

/** The options of one client, with the defaults of all. */
function limitsOf(own: ClientLimits, all: ClientLimits): ClientLimits {
  return {
    requests: own.requests ?? all.requests,
    requestsPerSecond: own.requestsPerSecond ?? all.requestsPerSecond,
    bytesPerSecond: own.bytesPerSecond ?? all.bytesPerSecond
  }
}

type RawPolicy = Omit<BucketPolicy, 'key'> & { readonly key?: string | undefined }

function resolvePolicies(buckets: Readonly<Record<string, RawPolicy>>, keys: Config['keys']): (readonly [string, BucketPolicy])[] {
  const names = Object.keys(keys)
  const only = names.length === 1 ? names[0] ?? '' : ''
  return Object.entries(buckets).map(([pattern, policy]) => [pattern, { ...policy, key: policy.key ?? only }] as const)
}

// From here on the tree itself is checked, so that options that depend on each other are compared even where a section has other faults.

function checkListen(listen: unknown, faults: ConfigFault[]): void {
  if (!isMap(listen)) return
  const { host, tls, allowPlainBeyondLoopback } = listen
  if (typeof host !== 'string' || isLoopback(host) || tls !== undefined || allowPlainBeyondLoopback === true) return
  faults.push({ path: 'listen.host', message: `${host} is not a loopback address: give listen.tls, or set allowPlainBeyondLoopback: true` })
}

/** Two listeners on one port, or a gateway that is its own store. Only valid ports are compared: other faults are reported elsewhere. */
function checkPorts(tree: Tree, faults: ConfigFault[]): void {
  const { listen = {}, admin, upstream } = tree
  if (!isMap(listen)) return
  const { host = '127.0.0.1', port = 9000 } = listen
  const own = Number(port)
  if (isMap(admin) && own !== 0 && Number(admin['port'] ?? 9001) === own && overlap(host, admin['host'] ?? '127.0.0.1')) {
    faults.push({ path: 'admin.port', message: `is that of listen.port (${own}): the admin listener needs another` })
  }
  const endpoint = isMap(upstream) && typeof upstream['endpoint'] === 'string' && URL.canParse(upstream['endpoint']) ? new URL(upstream['endpoint']) : null
  if (endpoint === null || Number(endpoint.port || (endpoint.protocol === 'https:' ? 443 : 80)) !== own) return
  const store = endpoint.hostname.replace(/^\[|\]$/g, '')
  if (store === host || (isLoopback(store) && overlap(host, store))) {
    faults.push({ path: 'upstream.endpoint', message: 'is the address of this gateway itself (listen): name the store' })
  }
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
    if (policy['key'] === undefined && policy['encryption'] !== 'off' && Object.keys(keys).length !== 1) {
      faults.push({ path: `buckets.${pattern}.key`, message: 'must be given, because keys does not name exactly one' })
    }
    for (const [option, used] of [['key', [policy['key']]], ['allowedKeys', policy['allowedKeys']], ['openKeys', policy['openKeys']]] as const) {
      const unknown = Array.isArray(used) ? used.filter((each) => typeof each === 'string' && !Object.hasOwn(keys, each)) : []
      for (const each of unknown) faults.push({ path: `buckets.${pattern}.${option}`, message: `keys has no ${String(each)}` })
    }
  }
}

function checkClients(clients: unknown, faults: ConfigFault[]): void {
  if (!Array.isArray(clients)) return
  const ids = clients.map((client: unknown) => isMap(client) ? client['accessKeyId'] : undefined)
  for (const [i, id] of ids.entries()) {
    if (typeof id === 'string' && ids.indexOf(id) < i) faults.push({ path: `clients.${i}.accessKeyId`, message: 'is used by another client' })
  }
}

function checkCredentials(upstream: unknown, faults: ConfigFault[]): void {
  if (!isMap(upstream)) return
  const [id, secret, chain] = ['accessKeyId', 'secretAccessKey', 'credentials'].map((option) => Object.hasOwn(upstream, option))
  if (chain === true ? id !== true && secret !== true : id === true && secret === true) return
  faults.push({ path: 'upstream.credentials', message: 'give either accessKeyId and secretAccessKey, or credentials: aws' })
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

type RawKey = z.output<ReturnType<typeof configSections>['keys']>[string]

function keyConfig(key: RawKey): KeyConfig {
  if (key.type === 'local') return key
  const { accessKeyId, secretAccessKey, sessionToken, credentials, ...rest } = key
  const given = credentials === undefined && accessKeyId !== undefined && secretAccessKey !== undefined
  return { ...rest, credentials: given ? conceal({ accessKeyId, secretAccessKey, sessionToken }) : 'aws' }
}

function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> }
}

/** Keeps the secrets of an object out of logs and dumps: both ways of printing it show stars. */
function conceal<T extends { readonly secretAccessKey: string }>(identity: T): T {
  const shown = (): Record<string, unknown> => ({
    ...identity,
    secretAccessKey: '******',
    ...('sessionToken' in identity && identity.sessionToken !== null ? { sessionToken: '******' } : {})
  })
  return Object.defineProperties({ ...identity }, { [inspect.custom]: { value: shown }, toJSON: { value: shown } })
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const item of Object.values(value)) freeze(item)
  }
  return value
}
