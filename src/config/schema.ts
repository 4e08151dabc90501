// The configuration file: every option, its type, bounds and default, here; load.ts reads and checks a file, config.ts has what the rest of the
// program gets, with the policy of a bucket, warnings.ts what is valid and may not be meant.
// A new option also needs its line in config/sealgate.example.yaml; a test compares the two.
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { bytes, bytesPerSecond, seconds, wholeNumber } from './units.ts'
import { profileNames, storeFeatures } from './store-profiles.ts'
import { systemWords } from '../diagnosis.ts'
import { readable } from '../s3ec/description.ts'
import { writable } from '../s3ec/seal.ts'
import { auditSection } from './audit-schema.ts'
import { isOrigin, keySchema, name } from './key-schema.ts'

/** The sources of values that are not in the file itself. */
export interface Sources {
  /** Path of the configuration file: relative paths in it start from its directory. */
  readonly file: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** What is in the sealed secrets of the file; a set: they are left as they are, and noted there. Absent: none can be opened. */
  readonly unsealed?: Readonly<Record<string, string>> | Set<string>
}

// Schemas are used a few times: compiling them to code would cost more than it saves.
z.config({ jitless: true })

const bucketPattern = z.string().regex(/^([A-Za-z0-9][A-Za-z0-9._-]*\*?|\*)$/, 'must be a bucket name, a prefix followed by "*", or "*"')
const port = wholeNumber({ min: 0, max: 65_535 })
const count = wholeNumber({ min: 1 })
const host = z.string().min(1)

// Parts that depend on no source are built once: a schema costs more to build than to use.
const corsPattern = z.string().regex(/^[\x21-\x2b\x2d-\x7e]+$/, 'must be a text without blanks and commas').refine(hasOneStar, 'may have one "*"')
/** As a CORSRule of S3. */
const corsRule = z.strictObject({
  origins: z.array(corsPattern).min(1),
  methods: z.array(z.enum(['GET', 'HEAD', 'PUT', 'POST', 'DELETE'])).min(1),
  headers: z.array(corsPattern).default(['*']),
  expose: z.array(corsPattern).default(['ETag']),
  maxAge: seconds({ min: 0 }).nullable().default(null).transform((seconds) => seconds === null ? null : String(Math.ceil(seconds)))
})
const storeKms = z.strictObject({
  kms: z.string().regex(/^[\x21-\x7e]{1,2048}$/, 'must be the ARN, id or alias of a key, in ASCII'),
  context: z.record(z.string().min(1), z.string()).default({}),
  bucketKey: z.boolean().default(true)
})
/** The store's own encryption, in addition to sealing: policies of buckets and organisations demand these headers. */
const storeEncryption = z.union([z.literal('AES256'), storeKms], { error: 'must be AES256 or { kms: ARN }' }).nullable().default(null)
const rate = z.number().positive().nullable().default(null)
const clientLimits = z.strictObject({
  requests: count.nullable().default(null),
  requestsPerSecond: rate,
  bytesPerSecond: bytesPerSecond({ above: 0 }).nullable().default(null)
}).prefault({})
const adminSection = z.strictObject({ host: host.default('127.0.0.1'), port: port.default(9001), page: z.boolean().default(false) }).nullable().default(null)
const s3ec = z.strictObject({
  read: z.array(z.enum(readable)).min(1),
  keys: z.array(name).min(1).max(16),
  commitment: z.enum(['require', 'allow']).default('require'),
  instructionSuffixes: z.array(z.string().regex(/^[\x21-\x7e]{1,64}$/, 'must be 1 to 64 characters of ASCII without blanks')).max(4).default(['.instruction']),
  unauthenticatedRanges: z.boolean().default(false),
  write: z.enum(writable).nullable().default(null)
}).nullable().default(null)
/** Bytes of an object name (S3 User Guide, Naming Amazon S3 objects). */
const LONGEST_NAME = 1024
const bucketsSection = z.record(
  bucketPattern,
  z.strictObject({
    upstream: name.optional(),
    encryption: z.enum(['on', 'off']).default('on'),
    key: name.optional(),
    etag: z.enum(['md5', 'md5-small', 'opaque']).default('md5'),
    metadata: z.enum(['sealed', 'clear']).default('sealed'),
    plaintext: z.enum(['refuse', 'allow']).default('refuse'),
    s3ec,
    announce: z.enum(['none', 'aws:kms']).default('none'),
    publicRead: z.union([z.boolean(), z.enum(['store', 'marked']), z.strictObject({ prefixes: z.array(z.string().min(1)).min(1) })], {
      error: 'must be true, false, store, marked or { prefixes: [NAME, …] }'
    }).default(false),
    bucketKeys: z.boolean().default(true),
    aliases: z.array(z.string().min(1)).default([]),
    requireSse: z.array(z.enum(['AES256', 'aws:kms', 'SSE-C'])).default([]),
    allowedKeys: z.array(name).default([]),
    openKeys: z.array(name).default([]),
    prefixes: z.record(
      z.string().min(1).refine((prefix) => Buffer.byteLength(prefix) <= LONGEST_NAME, `must have at most ${LONGEST_NAME} bytes`),
      z.strictObject({ key: name, allowedKeys: z.array(name).default([]), openKeys: z.array(name).default([]) })
    ).default({})
  })
).prefault({ '*': {} })
const tuningSections = {
  auth: z.strictObject({
    v2Query: z.boolean().default(true),
    v2Header: z.boolean().default(false),
    ssecOverHttp: z.boolean().default(false)
  }).prefault({}),
  keyCache: z.strictObject({
    maxAgeSeconds: seconds({ min: 0 }).default(300),
    maxEntries: count.default(10_000),
    maxUses: wholeNumber({ min: 1, max: 2 ** 32 }).default(1_000_000)
  }).prefault({}),
  limits: z.strictObject({
    connections: count.default(4096),
    requestsInFlight: count.default(1024),
    unauthenticatedRequests: count.default(256),
    perClient: clientLimits,
    headerBytes: bytes({ min: 4096, max: 65_536 }).default(16_384),
    xmlBytes: bytes({ min: 65_536, max: 16 * 1024 * 1024 }).default(4 * 1024 * 1024),
    minRate: bytesPerSecond({ above: 0 }).default(1024),
    minRateWindowSeconds: seconds({ above: 0 }).default(60),
    upstreamFirstByteSeconds: seconds({ above: 0 }).default(60),
    drainSeconds: seconds({ min: 0 }).default(0),
    graceSeconds: seconds({ min: 0 }).default(25)
  }).prefault({}),
  log: z.strictObject({
    level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
    format: z.enum(['auto', 'json', 'pretty']).default('auto')
  }).prefault({})
}

/**
 * The sections of the configuration file and their options: the one list of names, bounds and defaults. `config/sealgate.example.yaml` explains each;
 * a test keeps the two equal.
 */
export function configSections(sources: Sources) {
  const path = z.string().min(1).transform((value) => resolve(dirname(sources.file), value))
  const places = [z.string().min(1), z.strictObject({ file: path }), z.strictObject({ env: z.string().min(1) })] as const
  const read = (value: string | SecretPlace, context: z.RefinementCtx): string =>
    readSecret(value, sources, (message) => {
      context.addIssue({ code: 'custom', message })
    })
  /** Of a key: what opens sealed secrets cannot be sealed itself. */
  const keySecret = z.union(places, { error: 'must be a text, { file: PATH } or { env: NAME }' }).transform(read)
  const sealed = z.strictObject({ sealed: z.string().regex(/^sealgate-secret-1:[A-Za-z0-9_-]+$/, 'must be what "sealgate keys encrypt" prints') })
  const secret = z.union([...places, sealed], { error: 'must be a text, { file: PATH }, { env: NAME } or { sealed: TEXT }' }).transform(read)
  return {
    listen: listenSection(path),
    admin: adminSection,
    upstream: z.strictObject(upstreamOptions(path, secret)).optional(),
    upstreams: upstreamsSection(path, secret),
    clients: clientsSection(secret),
    keys: z.record(name, keySchema({ path, secret: keySecret })),
    buckets: bucketsSection,
    ...tuningSections,
    audit: auditSection(path, name),
    workers: z.union([z.literal('auto'), count], { error: 'must be a number of processes, at least 1, or auto' }).default(1)
  }
}

type Text = z.ZodType<string>

function listenSection(path: Text) {
  return z.strictObject({
    host: host.default('127.0.0.1'),
    port: port.default(9000),
    tls: z.strictObject({ cert: path, key: path, clientCa: path.nullable().default(null) }).nullable().default(null),
    region: z.union([z.string().min(1), z.array(z.string().min(1))], { error: 'must be a region or a list of regions' }).default([]),
    domains: z.array(z.string().regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'must be a domain name in lower case')).default([]),
    trustedProxies: z.array(z.string().refine(isAddressOrRange, 'must be an IP address or a CIDR range')).default([]),
    clientAddress: z.enum(['peer', 'x-forwarded-for', 'forwarded', 'proxy-protocol']).default('peer'),
    allowPlainBeyondLoopback: z.boolean().default(false),
    cors: z.array(corsRule).max(100).default([])
  }).prefault({})
}

function hasOneStar(text: string): boolean {
  return text.split('*').length <= 2
}

/** Each store makes series of metrics and pools of connections of its own. */
const MOST_UPSTREAMS = 16

function upstreamsSection(path: Text, secret: Text) {
  return z.record(name, z.strictObject({ ...upstreamOptions(path, secret), default: z.boolean().default(false) })).refine(
    (upstreams) => Object.keys(upstreams).length >= 1 && Object.keys(upstreams).length <= MOST_UPSTREAMS,
    `must name 1 to ${MOST_UPSTREAMS} stores`
  ).optional()
}

function upstreamOptions(path: Text, secret: Text) {
  return {
    endpoint: z.string().refine(isOrigin, 'must be http://HOST[:PORT] or https://HOST[:PORT], without path, query or credentials'),
    region: z.string().min(1).default('us-east-1'),
    accessKeyId: secret.optional(),
    secretAccessKey: secret.optional(),
    sessionToken: secret.nullable().default(null),
    credentials: z.literal('aws').optional(),
    stateBucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be a bucket name: 3 to 63 lower-case letters, digits, "." or "-"').default(
      'sealgate-state'
    ),
    realm: name.default('default'),
    style: z.enum(['path', 'virtual-host']).default('path'),
    ca: path.nullable().default(null),
    connections: count.default(256),
    conditions: z.strictObject({
      put: z.boolean().optional(),
      complete: z.boolean().optional(),
      copy: z.boolean().optional(),
      delete: z.boolean().optional()
    }).prefault({}),
    sse: storeEncryption,
    checksum: z.enum(['none', 'crc32']).default('none').transform((value) => value === 'none' ? null : value),
    metadataBytes: bytes({ min: 1024, max: 8192 }).default(2048),
    maxParts: wholeNumber({ min: 2, max: 10_000 }).default(10_000),
    equalParts: z.boolean().default(false),
    profile: z.enum(profileNames).default('none'),
    lacks: z.array(z.enum(storeFeatures)).default([])
  }
}

function clientsSection(secret: Text) {
  const identity = { accessKeyId: secret, secretAccessKey: secret }
  return z.array(z.strictObject({
    ...identity,
    buckets: z.array(bucketPattern).min(1).default(['*']),
    readOnly: z.boolean().default(false),
    limits: clientLimits,
    upstream: z.strictObject(identity).optional(),
    upstreams: z.record(name, z.strictObject(identity)).default({})
  })).min(1, 'must name at least one client')
}

type SecretPlace = { readonly file: string } | { readonly env: string } | { readonly sealed: string }

function readSecret(
  value: string | SecretPlace,
  sources: Sources,
  fault: (message: string) => void
): string {
  if (typeof value === 'string') return value
  let text = ''
  if ('sealed' in value) {
    const { unsealed } = sources
    text = unsealed instanceof Set ? value.sealed : (unsealed?.[value.sealed] ?? '').replace(/\r?\n$/, '')
    if (unsealed instanceof Set) unsealed.add(value.sealed)
  } else if ('env' in value) {
    text = sources.env[value.env] ?? ''
  } else {
    try {
      text = readFileSync(value.file, 'utf8').replace(/\r?\n$/, '')
    } catch (error) {
      fault(`cannot read ${value.file}: ${systemWords(error)}`)
      return ''
    }
  }
  if (text === '' && 'sealed' in value) fault('cannot be opened here')
  else if (text === '') fault('env' in value ? `the environment variable ${value.env} is not set` : `${'file' in value ? value.file : ''} is empty`)
  return text
}

function isAddressOrRange(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128))
}
