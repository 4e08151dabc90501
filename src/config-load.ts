import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { parseDocument } from 'yaml'
import type { z } from 'zod'
import type { BucketPolicy, Config } from './config.ts'
import { configSections, isLoopback, type Sources } from './config-schema.ts'

/** One thing wrong with a configuration: where, and what it must be. */
export interface ConfigFault {
  /** Dotted path such as `clients.0.secretAccessKey`; empty for the file as a whole. */
  readonly path: string
  readonly message: string
}

/** Everything that is wrong with a configuration, in one error. Values are not quoted: they may be secrets. */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[]

  constructor(file: string, faults: readonly ConfigFault[]) {
    super([`${file} is not a valid configuration:`, ...faults.map((f) => `  ${f.path === '' ? '(file)' : f.path}: ${f.message}`)].join('\n'))
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/**
 * Reads the YAML file, fills in `${NAME}` from the environment and secrets from their files, checks everything, and gives
 * one frozen Config. Printing it shows `******` for secrets.
 * @throws ConfigError with every fault found.
 */
export function loadConfig(sources: Sources): Config {
  return parseConfig(readConfigText(sources.file), sources)
}

/** The text of a configuration file, not yet looked at. @throws ConfigError when it cannot be read. */
export function readConfigText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(file, [{ path: '', message: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})` }])
  }
}

/** As `loadConfig`, for text that is already there. */
export function parseConfig(text: string, sources: Sources): Config {
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true })
  if (document.errors.length > 0) {
    const faults = document.errors.map((e) => ({ path: '', message: `line ${e.linePos?.[0].line ?? 0}: ${e.code.toLowerCase().replaceAll('_', ' ')}` }))
    throw new ConfigError(sources.file, faults)
  }
  const faults: ConfigFault[] = []
  const tree = expand(document.toJS({ maxAliasCount: 100 }), '', sources.env, faults)
  const config = isMap(tree) ? build(tree, sources, faults) : null
  if (!isMap(tree)) faults.push({ path: '', message: 'must be a map of sections' })
  // A variable that is not set also makes an empty text: the first fault of a place explains the others.
  const first = faults.filter((fault, i) => fault.path === '' || faults.findIndex((f) => f.path === fault.path) === i)
  if (first.length > 0 || config === null) throw new ConfigError(sources.file, first)
  return freeze(config)
}

type Tree = Readonly<Record<string, unknown>>

function isMap(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Replaces `${NAME}` in texts (`$${` stands for `${`) and leaves out options that were given no value. */
function expand(value: unknown, path: string, env: Sources['env'], faults: ConfigFault[]): unknown {
  if (typeof value === 'string') {
    return value.replace(/(\$?)\$\{([^}]*)\}/g, (whole, escape: string, variable: string) => {
      if (escape !== '') return whole.slice(1)
      const found = env[variable]
      if (found === undefined) faults.push({ path, message: `the environment variable ${variable} is not set` })
      return found ?? ''
    })
  }
  const at = (name: string | number): string => path === '' ? String(name) : `${path}.${name}`
  if (Array.isArray(value)) return value.map((item, i) => expand(item, at(i), env, faults))
  if (!isMap(value)) return value
  const entries = Object.entries(value).filter(([, item]) => item !== null)
  return Object.fromEntries(entries.map(([name, item]) => [name, expand(item, at(name), env, faults)]))
}

/** Section by section, so that a fault in one does not hide those of another. */
function build(tree: Tree, sources: Sources, faults: ConfigFault[]): Config | null {
  const schema = configSections(sources)
  for (const name of Object.keys(tree)) {
    if (!Object.hasOwn(schema, name)) faults.push({ path: name, message: `no such section; there are ${Object.keys(schema).join(', ')}` })
  }
  const take = <T>(name: keyof typeof schema, section: z.ZodType<T>): T | null => {
    const result = section.safeParse(tree[name])
    if (result.success) return result.data
    for (const issue of result.error.issues) faults.push(...describe(name, issue, tree[name] === undefined))
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
  checkReferences(tree['buckets'] ?? { '*': {} }, tree['keys'], faults)
  checkClients(clients ?? tree['clients'], faults)
  checkCredentials(tree['upstream'], faults)
  if (listen === null || upstream === null || clients === null || keys === null || buckets === null || auth === null
    || keyCache === null || limits === null || log === null || audit === null || workers === null) return null

  const { region, ...rest } = listen
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
    clients: clients.map((client) => conceal({ ...client, upstream: client.upstream === null ? null : conceal(client.upstream) })),
    keys, buckets: resolvePolicies(buckets, keys), auth, keyCache, limits, log, audit, workers
  }
}

function describe(section: string, issue: z.core.$ZodIssue, absent: boolean): ConfigFault[] {
  const path = [section, ...issue.path].join('.')
  if (absent && issue.path.length === 0) return [{ path, message: 'must be given' }]
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ path: `${path}.${key}`, message: 'no such option' }))
  if (issue.code === 'invalid_key') return [{ path, message: issue.issues[0]?.message ?? 'not a valid name' }]
  return [{ path, message: issue.message }]
}

type RawPolicy = Omit<BucketPolicy, 'key'> & { readonly key?: string | undefined }

function resolvePolicies(buckets: Readonly<Record<string, RawPolicy>>, keys: Config['keys']): (readonly [string, BucketPolicy])[] {
  const names = Object.keys(keys)
  const only = names.length === 1 ? names[0] ?? '' : ''
  return Object.entries(buckets).map(([pattern, policy]) => [pattern, { ...policy, key: policy.key ?? only }] as const)
}

// From here on the tree itself is looked at, so that what belongs together is checked even where a section has other faults.

function checkListen(listen: unknown, faults: ConfigFault[]): void {
  if (!isMap(listen)) return
  const { host, tls, allowPlainBeyondLoopback } = listen
  if (typeof host !== 'string' || isLoopback(host) || tls !== undefined || allowPlainBeyondLoopback === true) return
  faults.push({ path: 'listen.host', message: `${host} is not a loopback address: give listen.tls, or set allowPlainBeyondLoopback: true` })
}

function checkReferences(buckets: unknown, keys: unknown, faults: ConfigFault[]): void {
  if (!isMap(buckets) || !isMap(keys)) return
  for (const [pattern, policy] of Object.entries(buckets)) {
    if (!isMap(policy)) continue
    if (policy['key'] === undefined && policy['encryption'] !== 'off' && Object.keys(keys).length !== 1) {
      faults.push({ path: `buckets.${pattern}.key`, message: 'must be given, because keys does not name exactly one' })
    }
    for (const [option, used] of [['key', [policy['key']]], ['allowedKeys', policy['allowedKeys']]] as const) {
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

function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> }
}

/** Keeps the secrets of an object out of logs and dumps: both ways of printing it show stars. */
function conceal<T extends { readonly secretAccessKey: string }>(identity: T): T {
  const shown = (): Record<string, unknown> => ({
    ...identity, secretAccessKey: '******', ...('sessionToken' in identity && identity.sessionToken !== null ? { sessionToken: '******' } : {})
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
