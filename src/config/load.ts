import { readFileSync } from 'node:fs'
import type { z } from 'zod'
import { conceal } from './conceal.ts'
import { keyConfig } from './key-schema.ts'
import type { BucketPolicy, Config, UpstreamConfig } from './config.ts'
import { policyKeys, type KeyPins } from './pins.ts'
import { configSections, type Sources } from './schema.ts'
import { expand, isMap, readTree, type ConfigFault, type Tree, faultsOf, noSuch, wordsOf } from './tree.ts'
import { checkTree, defaultOf, ONLY } from './checks.ts'
import { isS3ecType } from './s3ec-checks.ts'
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

/** The text of a configuration file, not parsed yet. @throws ConfigError when it cannot be read. */
export function readConfigText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(file, [{ path: '', message: `cannot be read: ${systemWords(error)}` }])
  }
}

/**
 * Fills in `${NAME}` from the environment and secrets from their files, checks everything, and returns one frozen Config. Printing it shows `******` for secrets.
 * @param text in YAML. @throws ConfigError with every fault found.
 */
export function parseConfig(text: string, sources: Sources): Config {
  const faults: ConfigFault[] = []
  const written = readTree(text, faults)
  const config = written === null ? null : build(withProfiles(expand(written, '', sources.env, faults) as Tree), sources, faults)
  // A variable that is not set also makes an empty text: the first fault of a place explains the others.
  const first = faults.filter((fault, i) => fault.path === '' || faults.findIndex((f) => f.path === fault.path) === i)
  if (first.length > 0 || config === null) throw new ConfigError(sources.file, first)
  return freeze(config)
}

/** The options that the `profile` of a store stands for; those that are written have precedence. */
function withProfiles(tree: Tree): Tree {
  const { upstream, upstreams } = tree
  return {
    ...tree,
    ...upstream === undefined ? {} : { upstream: withProfile(upstream) },
    ...isMap(upstreams) ? { upstreams: mapValues(upstreams, withProfile) } : {}
  }
}

function withProfile(store: unknown): unknown {
  const profile = isMap(store) ? profileNames.find((known) => known === store['profile']) : undefined
  return profile === undefined || !isMap(store) ? store : { ...storeProfiles[profile].options, ...store }
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
  const upstreams = take('upstreams', schema.upstreams)
  const clients = take('clients', schema.clients)
  const keys = take('keys', schema.keys)
  const buckets = take('buckets', schema.buckets)
  const auth = take('auth', schema.auth)
  const keyCache = take('keyCache', schema.keyCache)
  const limits = take('limits', schema.limits)
  const log = take('log', schema.log)
  const audit = take('audit', schema.audit)
  const workers = take('workers', schema.workers)

  checkTree(tree, clients, faults)
  if (
    listen === null || upstream === null || upstreams === null || clients === null || keys === null || buckets === null || auth === null
    || keyCache === null || limits === null || log === null || audit === null || workers === null
  ) return null

  const keyConfigs = mapValues(keys, keyConfig)
  const { region, ...rest } = listen
  const { perClient, ...shared } = limits
  return {
    listen: { ...rest, regions: typeof region === 'string' ? [region] : region },
    admin,
    upstreams: {
      ...upstream === undefined ? {} : { [ONLY]: upstreamConfig(ONLY, 'upstream', upstream) },
      ...mapValues(upstreams ?? {}, ({ default: _, ...raw }, name) => upstreamConfig(name, `upstreams.${name}`, raw))
    },
    clients: clients.map(({ upstream: own, upstreams: each, ...client }) =>
      conceal({
        ...client,
        limits: limitsOf(client.limits, perClient),
        identities: mapValues(own === undefined ? each : { ...each, [ONLY]: own }, (identity) => conceal(identity))
      })
    ),
    keys: keyConfigs,
    buckets: resolvePolicies(buckets, keyConfigs, defaultOf(upstreams ?? { [ONLY]: {} })),
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

type RawPolicy = Omit<BucketPolicy, 'keys' | 'upstream'> & Omit<KeyPins, 'key'> & {
  readonly key?: string | undefined
  readonly prefixes: Readonly<Record<string, KeyPins>>
  readonly upstream?: string | undefined
}

function resolvePolicies(buckets: Readonly<Record<string, RawPolicy>>, keys: Config['keys'], store: string | null): (readonly [string, BucketPolicy])[] {
  // Keys of the S3 Encryption Client seal nothing.
  const names = Object.keys(keys).filter((name) => !isS3ecType(keys[name]?.type))
  const only = names.length === 1 ? names[0] ?? '' : ''
  return Object.entries(buckets).map(([pattern, { key = only, allowedKeys, openKeys, prefixes, ...policy }]) =>
    [pattern, { ...policy, keys: policyKeys({ key, allowedKeys, openKeys }, prefixes), upstream: policy.upstream ?? store ?? '' }] as const
  )
}

type RawUpstream = NonNullable<z.output<ReturnType<typeof configSections>['upstream']>>

function upstreamConfig(name: string, section: string, raw: RawUpstream): UpstreamConfig {
  const { endpoint, accessKeyId, secretAccessKey, sessionToken, credentials, conditions, ...store } = raw
  return {
    ...store,
    name,
    section,
    endpoint: new URL(endpoint).origin,
    conditions: defined(conditions),
    credentials: credentials ?? conceal({ accessKeyId: accessKeyId ?? '', secretAccessKey: secretAccessKey ?? '', sessionToken })
  }
}

function mapValues<T, U>(map: Readonly<Record<string, T>>, change: (value: T, name: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, change(value, name)]))
}

function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> }
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const item of Object.values(value)) freeze(item)
  }
  return value
}
