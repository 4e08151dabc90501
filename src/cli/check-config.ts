import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Config, BucketPolicy, UpstreamConfig } from '../config/config.ts'
import { ONLY } from '../config/checks.ts'
import { readConfig } from './sealed-config.ts'
import { configWarnings } from '../config/warnings.ts'
import { UsageError } from './command-line.ts'
import { checkFiles } from './config-files.ts'
import { deploymentWarnings } from './deployment-warnings.ts'
import { exitCodes, type Platform } from './platform.ts'
import { configSections } from '../config/schema.ts'
import { isLoopback } from '../config/loopback.ts'
import { showBytes, showSeconds } from '../config/units.ts'
import { kindOf } from '../keys/configured-key.ts'

interface Named {
  readonly config: string | undefined
}

/** The path of `--config FILE`, else of SEALGATE_CONFIG; null: neither. */
export function configFile({ config }: Named, platform: Platform): string | null {
  const file = config ?? platform.env['SEALGATE_CONFIG']
  return file === undefined || file === '' ? null : resolve(platform.cwd, file)
}

/** As `configFile`. @throws UsageError when no configuration is named. */
export function requiredConfig(named: Named, platform: Platform): string {
  const file = configFile(named, platform)
  if (file === null) throw new UsageError('No configuration is named: give --config FILE or SEALGATE_CONFIG.')
  return file
}

/** Reads a configuration with its secrets, and checks the files it names. @throws ConfigError with every fault found. */
export async function loadWhole(file: string, { env }: Pick<Platform, 'env'>): Promise<Config> {
  const config = await readConfig({ file, env })
  await checkFiles(config, file)
  return config
}

interface CheckValues extends Named {
  readonly online: boolean
  readonly bucket: string | undefined
  readonly upstream: string | undefined
}

/** `sealgate config check`. @returns the exit code. @throws UsageError, ConfigError with every fault. */
export async function runConfig(values: CheckValues, platform: Platform): Promise<number> {
  for (const option of ['bucket', 'upstream'] as const) {
    if (values[option] !== undefined && !values.online) throw new UsageError(`--${option} needs --online.`)
  }
  const file = requiredConfig(values, platform)
  const config = await loadWhole(file, platform)
  platform.stdout.write(`${file} is valid.\n\n${await summaryOf(config)}`)
  const warnings = [...configWarnings(config), ...await deploymentWarnings(config, file)]
  if (warnings.length > 0) platform.stdout.write(`\nWarnings:\n${warnings.map(({ path, message }) => `  ${path}: ${message}\n`).join('')}`)
  if (!values.online) return exitCodes.done
  const [{ checkOnline }, { storesNamed }] = await Promise.all([import('./online.ts'), import('./store-command.ts')])
  return checkOnline(config, storesNamed(config, values.upstream), values.bucket ?? null, platform)
}

/** `sealgate config example`: the file of the package. @returns the exit code. */
export async function printExample(platform: Platform): Promise<number> {
  platform.stdout.write(await readFile(new URL('../../config/sealgate.example.yaml', import.meta.url), 'utf8'))
  return exitCodes.done
}

type Row = readonly [section: string, name: string, text: string]

/** The meaning of a configuration, for people: one line per setting. Secrets do not appear; clients appear by their ids. */
export async function summaryOf(config: Config): Promise<string> {
  const { listen, admin, upstreams, clients, keys, buckets, audit, workers, log } = config
  const address = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port === 0 ? '(any free port)' : port}`
  const several = Object.keys(upstreams).length > 1
  const stores = Object.values(upstreams).map((store) => [several ? store.name : '', store] as const)
  const rows: Row[] = [
    ['listen', '', `${listen.tls === null ? 'http' : 'https'}://${address(listen.host, listen.port)}, ${transportOf(listen)}`],
    [
      'admin',
      '',
      admin === null
        ? 'none: no readiness, no metrics'
        : `http://${address(admin.host, admin.port)} /livez /readyz /metrics${admin.page ? ' and the page' : ''}`
    ],
    ...stores.map(([name, store]): Row => ['store', name, `${store.endpoint}, region ${store.region}, ${store.style} style, ${credentialsOf(store)}`]),
    ...stores.map(([name, { stateBucket }]): Row => ['state bucket', name, stateBucket]),
    ...stores.map(([name, { realm }]): Row => ['realm', name, realm]),
    ...await Promise.all(Object.entries(keys).map(async ([name, key]): Promise<Row> => ['keys', name, await kindOf(key).describe(key)])),
    ...buckets.map(([pattern, policy]): Row => ['buckets', pattern, several ? `at ${policy.upstream}, ${policyOf(policy)}` : policyOf(policy)]),
    ...clients.map((client): Row => ['clients', client.accessKeyId, clientOf(client)]),
    ['processes', '', workers === 'auto' ? 'one per core' : String(workers)],
    ['log', '', `level ${log.level}`],
    ['audit', '', auditOf(audit)],
    ...changed(config).map((text): Row => ['not default', '', text])
  ]
  const width = Math.max(...rows.map(([section]) => section.length))
  const names = Math.max(...rows.map(([, name]) => name.length))
  return rows.map(([section, name, text], i) => {
    const again = rows[i - 1]?.[0] === section
    return `${(again ? '' : section).padEnd(width)}  ${name === '' ? '' : `${name.padEnd(names)}  `}${text}\n`
  }).join('')
}

function transportOf({ tls, host }: Config['listen']): string {
  if (tls !== null) return tls.clientCa === null ? 'TLS' : 'TLS with client certificates'
  return isLoopback(host) ? 'plain HTTP, this machine only' : 'plain HTTP'
}

function auditOf({ file, key, sinks }: Config['audit']): string {
  const places = [...file === null ? [] : [file], ...sinks.map(({ url, whenDown }) => `${url.split('?')[0] ?? ''} (${whenDown} when down)`)]
  return places.length === 0 ? 'none' : `${places.join(', ')}${key === null ? '' : `, chained under ${key}`}`
}

function credentialsOf({ credentials }: UpstreamConfig): string {
  return credentials === 'aws' ? 'credentials of the AWS chain' : `access key ${credentials.accessKeyId}`
}

function policyOf(policy: BucketPolicy): string {
  if (policy.encryption === 'off') return 'not encrypted'
  const { keys, etag, plaintext, s3ec, publicRead, announce, bucketKeys, aliases, requireSse } = policy
  const { key, allowedKeys } = keys.bucket
  return [
    `sealed with ${key}`,
    `etag ${etag}`,
    ...allowedKeys.length > 0 ? [`clients may name ${allowedKeys.join(', ')}`] : [],
    ...[...keys.prefixes].map(([prefix, pins]) => `${prefix} sealed with ${[pins.key, ...pins.allowedKeys].join(' or ')}`),
    ...plaintext === 'allow' ? ['serves objects that are not sealed'] : [],
    ...s3ec === null ? [] : [s3ecOf(s3ec)],
    ...publicRead === false ? [] : [publicOf(publicRead)],
    ...announce === 'none' ? [] : [`announces ${announce}`],
    ...bucketKeys ? [] : ['one key call per object'],
    ...aliases.length > 0 ? [`opens objects of ${aliases.join(', ')}`] : [],
    ...requireSse.length > 0 ? [`demands ${requireSse.join(' or ')}`] : []
  ].join(', ')
}

function s3ecOf({ read, keys, unauthenticatedRanges, write }: NonNullable<BucketPolicy['s3ec']>): string {
  const ranges = unauthenticatedRanges ? ', RANGES UNVERIFIED' : ''
  return `opens objects of the S3 Encryption Client (${read.join(', ')}) with ${keys.join(', ')}${ranges}${
    write === null ? '' : `, WRITES ${write} under ${keys[0] ?? ''}`
  }`
}

function publicOf(rule: BucketPolicy['publicRead']): string {
  if (rule === 'store') return 'public as the store decides'
  if (rule === 'marked') return 'public as the store decides, where the object was written so'
  return typeof rule === 'object' ? `public below ${rule.prefixes.join(', ')}` : 'public'
}

function clientOf({ buckets, readOnly, identities }: Config['clients'][number]): string {
  const own = Object.entries(identities).map(([name, { accessKeyId }]) => `; at ${name === ONLY ? 'the store' : name} as ${accessKeyId}`)
  return `${buckets.join(', ')}; ${readOnly ? 'reads' : 'reads and writes'}${own.join('')}`
}

/** Tuning options that differ from their defaults. */
function changed(config: Config): string[] {
  const sections = configSections({ file: '/', env: {} })
  const defaults = { limits: sections.limits.parse({}), keyCache: sections.keyCache.parse({}), auth: sections.auth.parse({}) }
  return Object.entries(defaults).flatMap(([section, options]) => {
    const own = config[section as keyof typeof defaults] as Readonly<Record<string, unknown>>
    return Object.entries(options).filter(([name, value]) => name in own && !isDeepStrictEqual(own[name], value))
      .map(([name, value]) => `${section}.${name} ${show(name, own[name])} (default ${show(name, value)})`)
  })
}

function show(option: string, value: unknown): string {
  if (typeof value !== 'number') return String(value)
  return option.endsWith('Seconds') ? showSeconds(value) : /bytes$|Rate$/i.test(option) ? showBytes(value) : String(value)
}
