import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import { ConfigError, parseConfig, readConfigText } from '../../src/config/load.ts'
import { policyFor, upstreamOf, upstreamsWith } from '../../src/config/config.ts'
import { PatternIndex } from '../../src/config/patterns.ts'
import { configWarnings } from '../../src/config/warnings.ts'
import { configSections } from '../../src/config/schema.ts'
import type { Config } from '../../src/config/config.ts'

const example = new URL('../../config/sealgate.example.yaml', import.meta.url)
const directory = mkdtempSync(join(tmpdir(), 'sealgate-config-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})
const env = {
  STORE_ACCESS_KEY_ID: 'AKSTORE',
  STORE_SESSION_TOKEN: 'session-canary',
  BACKUP_SECRET: 'backup-canary',
  EMPTY: '',
  KMS_ACCESS_KEY_ID: 'AKKMS',
  KMS_SESSION_TOKEN: 'kms-session-canary',
  VAULT_ROLE_ID: 'role'
}
const file = join(directory, 'sealgate.yaml')
cpSync(example, file)
mkdirSync(join(directory, 'secrets'))
writeFileSync(join(directory, 'secrets/store-secret'), 'store-canary\n')
writeFileSync(join(directory, 'secrets/kms-secret'), 'kms-canary\n')
writeFileSync(join(directory, 'secrets/hsm-pin'), 'pin-canary\n')
writeFileSync(join(directory, 'secrets/old-app-key'), `${Buffer.from('canary-'.repeat(5).slice(0, 32)).toString('base64')}\n`)
writeFileSync(join(directory, 'secrets/old-pair.pem'), 'pem-canary')
writeFileSync(join(directory, 'secrets/backup-at-store'), 'identity-canary')

const minimal = {
  upstream: { endpoint: 'http://127.0.0.1:9100', accessKeyId: 'a', secretAccessKey: 'b' },
  clients: [{ accessKeyId: 'c', secretAccessKey: 'd' }],
  keys: { main: { type: 'local', keyring: './keyring.json' } }
}
const read = (tree: unknown): Config => parseConfig(JSON.stringify(tree), { file, env })
function faults(tree: unknown): Record<string, string> {
  try {
    read(tree)
  } catch (error) {
    if (error instanceof ConfigError) return Object.fromEntries(error.faults.map(({ path, message }) => [path, message]))
  }
  return {}
}

await t.test('the example is valid and names every option', (t) => {
  const config = parseConfig(readConfigText(file), { file, env })
  t.match(config.upstreams['default'], { credentials: { accessKeyId: 'AKSTORE', secretAccessKey: 'store-canary', sessionToken: 'session-canary' } })
  t.equal(config.keys['main']?.type === 'local' && config.keys['main'].keyring, join(directory, 'keyring.json'))
  const tree = parse(readFileSync(example, 'utf8')) as Record<string, unknown>
  let options = 0
  const walk = (schema: z.core.JSONSchema.BaseSchema, value: unknown, path: string): void => {
    const maps = [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])] as z.core.JSONSchema.BaseSchema[]
    const properties = Object.assign({}, ...maps.map((each) => each.properties ?? {})) as Record<string, z.core.JSONSchema.BaseSchema>
    // A secret given as a text is an option without parts.
    if (typeof value !== 'object' || value === null || /^env,file(,sealed)?$/.test(Object.keys(properties).sort().join())) return
    for (const [name, inner] of Object.entries(properties)) {
      options += 1
      const written = readFileSync(example, 'utf8').includes(`# ${name}: `)
      const alternative = ['credentials', 'upstreams', 'serial'].includes(name) || path.endsWith('.auth')
      t.ok(Object.hasOwn(value, name) || (alternative && written), `${path}.${name}`)
      walk(inner, (value as Record<string, unknown>)[name], `${path}.${name}`)
    }
  }
  for (const [name, section] of Object.entries(configSections({ file, env }))) {
    // In place of `upstream`: see below.
    if (name === 'upstreams') continue
    const schema = z.toJSONSchema(section, { io: 'input', unrepresentable: 'any' })
    t.ok(Object.hasOwn(tree, name), name)
    const value = tree[name]
    if (name === 'clients') walk(schema.items as z.core.JSONSchema.BaseSchema, (value as unknown[])[0], name)
    else if (name === 'buckets') walk(schema.additionalProperties as z.core.JSONSchema.BaseSchema, (value as Record<string, unknown>)['*'], name)
    else if (name === 'keys') {
      const kinds = schema.additionalProperties as z.core.JSONSchema.BaseSchema
      for (const [i, key] of ['main', 'cloud', 'transit', 'hsm', 'google', 'azure', 'appliance', 'old-app', 'old-pair'].entries()) {
        walk(((kinds.oneOf ?? kinds.anyOf) as z.core.JSONSchema.BaseSchema[])[i]!, (value as Record<string, unknown>)[key], `keys.${key}`)
      }
    } else walk(schema, value, name)
  }
  t.ok(options > 60, `${options} options looked for`)
  t.end()
})

await t.test('the example of several stores is valid, and every fault of several stores is told', (t) => {
  const text = readFileSync(example, 'utf8')
  const several = text.replace(/^upstream:[^]*?(?=^# upstreams:)/m, '').replace(/^# (upstreams:| {2}(?:near|far):)/gm, '$1')
    .replace(/^    upstream: {19}[^]*?(?=    # upstreams:)/m, '').replace('    # upstreams:', '    upstreams:').replace(
      /^    upstream: default .*$/m,
      '    upstream: far'
    )
  const config = parseConfig(several, { file, env })
  t.match(config.upstreams, {
    near: { name: 'near', section: 'upstreams.near', realm: 'default', credentials: 'aws', stateBucket: 'sealgate-state' },
    far: { name: 'far', endpoint: 'https://s3.example.net', credentials: { accessKeyId: 'FAR', secretAccessKey: 'store-canary' } }
  })
  t.strictSame(config.clients[0]?.identities['far']?.accessKeyId, 'ID')
  t.notMatch(inspect(config, { depth: 10 }), /canary|SECRET'|Y2FuYXJ5/)
  t.equal(upstreamOf(config, 'any').name, 'far')
  const near = { endpoint: 'http://near', credentials: 'aws', realm: 'near' }
  const far = { endpoint: 'http://far', credentials: 'aws', realm: 'far', default: true }
  const { upstream, ...rest } = minimal
  const wrong = (upstreams: unknown, more: object = {}) => faults({ ...rest, upstreams, ...more })
  t.strictSame(wrong({ near, far }), {})
  t.equal(upstreamOf(read({ ...rest, upstreams: { near, far } }), 'any').name, 'far', 'where buckets go that name no store')
  t.equal(upstreamOf(read({ ...rest, upstreams: { far: { ...far, default: false } } }), 'any').name, 'far', 'a single one needs no default')
  t.equal(read({ ...rest, upstreams: { far: { endpoint: 'http://far', credentials: 'aws' } } }).upstreams['far']?.realm, 'default')
  t.match(wrong({ near, far }, { upstream }), { upstreams: /either upstream or upstreams/ })
  t.match(wrong({}), { upstreams: /1 to 16/ })
  t.match(wrong(Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`s${i}`, { ...near, realm: `r${i}`, endpoint: `http://h${i}` }]))), {
    upstreams: /1 to 16/
  })
  t.match(wrong({ near, far: { ...far, realm: undefined } }), { 'upstreams.far.realm': /must be given/ })
  t.match(wrong({ near: { ...near, default: true }, far }), { 'upstreams.far.default': /upstreams\.near/ })
  t.match(wrong({ near, far: { ...far, default: false } }), { 'buckets.*.upstream': /must be given/ })
  t.strictSame(wrong({ near, far: { ...far, default: false } }, { buckets: { '*': { upstream: 'near' } } }), {})
  const atNear = (stateBucket: string, endpoint = 'http://near') => wrong({ near, far: { ...far, endpoint, stateBucket } })
  for (const endpoint of ['http://near', 'http://NEAR', 'http://near/', 'http://near:80']) {
    t.match(atNear('sealgate-state', endpoint), { 'upstreams.far.stateBucket': /upstreams\.near/ }, endpoint)
  }
  for (const endpoint of ['https://near', 'http://near:81', 'http://nearer']) t.strictSame(atNear('sealgate-state', endpoint), {}, endpoint)
  const local = { near: { ...near, endpoint: 'http://127.0.0.1:81' }, far: { ...far, endpoint: 'http://localhost:81' } }
  t.match(wrong(local), { 'upstreams.far.stateBucket': /upstreams\.near/ })
  for (const other of ['sealgate-state-versioned', 'sealgate-state-check-12345678-versioned']) {
    t.match(atNear(other), { 'upstreams.far.stateBucket': /upstreams\.near/ }, other)
    t.match(wrong({ near: { ...near, stateBucket: other }, far: { ...far, endpoint: 'http://near' } }), { 'upstreams.far.stateBucket': /upstreams\.near/ })
  }
  const long = (end: string): string => `${'s'.repeat(60)}${end}`
  const cut = { near: { ...near, stateBucket: long('1') }, far: { ...far, endpoint: 'http://near', stateBucket: long('2') } }
  t.match(wrong(cut), { 'upstreams.far.stateBucket': /in common/ }, 'names of buckets for probes are cut')
  for (const other of ['other', 'sealgate-state-other', 'sealgate']) t.strictSame(atNear(other), {}, other)
  t.match(wrong({ near, far: { ...far, credentials: undefined } }), { 'upstreams.far.credentials': /give either/ })
  t.match(wrong({ near, far: { ...far, endpoint: 'http://localhost:9000' } }), { 'upstreams.far.endpoint': /this gateway itself/ })
  t.match(wrong({ near, far }, { buckets: { '*': { upstream: 'nowhere' } } }), { 'buckets.*.upstream': 'upstreams has no nowhere' })
  const client = { accessKeyId: 'c', secretAccessKey: 'd' }
  t.match(wrong({ near, far }, { clients: [{ ...client, upstream: client }] }), { 'clients.0.upstream': /give upstreams/ })
  t.match(wrong({ near, far }, { clients: [{ ...client, upstreams: { nowhere: client } }] }), { 'clients.0.upstreams.nowhere': 'upstreams has no nowhere' })
  t.match(configWarnings(read({ ...rest, upstreams: { near, far: { ...far, realm: 'near' } } })), [
    { path: 'upstreams.near', message: /no bucket is there/ },
    { path: 'upstreams.far.realm', message: /upstreams\.near/ }
  ])
  t.end()
})

await t.test('the example is refused with any option misspelt', (t) => {
  const lines = readFileSync(example, 'utf8').split('\n')
  let refused = 0
  for (const [i, line] of lines.entries()) {
    const option = /^( +(?:- )?)([a-zA-Z0-9]+):/.exec(line)
    if (option === null || ['main', 'cloud', 'transit', 'hsm', 'google', 'azure', 'appliance'].includes(option[2] ?? '')) continue
    const text = lines.with(i, line.replace(`${option[2] ?? ''}:`, `${option[2] ?? ''}Zz:`)).join('\n')
    t.throws(() => parseConfig(text, { file, env }), ConfigError, `${line.trim()} (line ${i + 1})`)
    refused += 1
  }
  t.comment(`${refused} misspelt options refused`)
  t.end()
})

await t.test('defaults, and the least there must be', (t) => {
  const config = read(minimal)
  t.match(config.listen, { host: '127.0.0.1', port: 9000, tls: null, regions: [] })
  t.match(config.buckets, [['*', { encryption: 'on', keys: { bucket: { key: 'main' } }, etag: 'md5', plaintext: 'refuse' }]])
  t.equal(config.admin, null)
  t.same(read({ ...minimal, admin: {} }).admin, { host: '127.0.0.1', port: 9001, page: false }, 'no page unless it is wanted')
  t.throws(
    () => {
      ;(config.listen as { port: number }).port = 1
    },
    TypeError,
    'frozen'
  )
  t.throws(
    () => {
      ;(config.clients as unknown[]).push(1)
    },
    TypeError,
    'frozen all the way down'
  )
  t.match(faults({}), { upstream: 'must be given', clients: 'must be given', keys: 'must be given' })
  t.match(faults(null), { '': 'is empty: it must be a map of sections' })
  t.match(read({ ...minimal, limits: null, log: { level: null } }), { log: { level: 'info' } }, 'an option without a value is left out')
  t.end()
})

await t.test('every fault at once, each by its path', (t) => {
  t.strictSame(
    Object.keys(faults({
      listen: { host: '0.0.0.0', port: 70000, extra: 1, trustedProxies: ['10.0.0.0/33', 'x'], domains: ['UPPER'] },
      upstream: { endpoint: 'ftp://x', credentials: 'aws', accessKeyId: 'a', secretAccessKey: { env: 'EMPTY' }, stateBucket: 'A' },
      clients: [{ accessKeyId: 'same', secretAccessKey: '${NOT_SET}' }, { accessKeyId: 'same', secretAccessKey: { file: './none' }, buckets: ['a*b'] }],
      keys: { main: { type: 'local', keyring: 'k' }, kms: { type: 'aws-kms', arn: 'arn:aws:s3:::b' }, odd: { type: 'x' } },
      buckets: { '*': { key: 'none', etag: 'sha' }, 'b': { allowedKeys: ['gone'] }, 'a*b': {} },
      limits: { minRate: 0 },
      log: { level: 'loud' },
      workers: 0,
      surprise: {}
    })).sort(),
    [
      'buckets.*.etag',
      'buckets.*.key',
      'buckets.a*b',
      'buckets.a*b.key',
      'buckets.b.allowedKeys',
      'buckets.b.key',
      'clients.0.secretAccessKey',
      'clients.1.accessKeyId',
      'clients.1.buckets.0',
      'clients.1.secretAccessKey',
      'keys.kms.arn',
      'keys.odd.type',
      'limits.minRate',
      'listen.domains.0',
      'listen.extra',
      'listen.host',
      'listen.port',
      'listen.trustedProxies.0',
      'listen.trustedProxies.1',
      'log.level',
      'surprise',
      'upstream.credentials',
      'upstream.endpoint',
      'upstream.secretAccessKey',
      'upstream.stateBucket',
      'workers'
    ]
  )
  const [host, other] = [{ host: '10.0.0.1', port: -1 }, { ...minimal.keys, other: { type: 'x' } }]
  t.strictSame(
    Object.keys(faults({ ...minimal, listen: host, keys: other })),
    ['listen.port', 'keys.other.type', 'listen.host', 'buckets.*.key'],
    'no fault hides another of its section'
  )
  const twins = ['${BACKUP_SECRET}', { env: 'BACKUP_SECRET' }].map((accessKeyId) => ({ accessKeyId, secretAccessKey: 'x' }))
  t.strictSame(Object.keys(faults({ ...minimal, clients: twins })), ['clients.1.accessKeyId'], 'wherever the names come from')
  const store = (credentials: object) => faults({ ...minimal, upstream: { endpoint: 'http://h', ...credentials } })
  for (const wrong of [{}, { accessKeyId: 'a' }, { secretAccessKey: 'b' }, { credentials: 'aws', accessKeyId: 'a' }]) {
    t.match(store(wrong), { 'upstream.credentials': /give either/ }, Object.keys(wrong).join())
  }
  t.strictSame(store({ credentials: 'aws' }), {})
  t.throws(() => parseConfig('listen: {port: 1}\nlisten: {port: 2}\n', { file, env }), /line 2: not valid YAML: duplicate key/)
  t.throws(() => parseConfig('listen: [', { file, env }), ConfigError)
  t.throws(() => readConfigText(join(directory, 'nowhere.yaml')), /cannot be read: no such file or directory \(ENOENT\)/)
  t.end()
})

await t.test('values of the environment', (t) => {
  const client = (secretAccessKey: unknown) => read({ ...minimal, clients: [{ accessKeyId: 'x', secretAccessKey }] }).clients[0]?.secretAccessKey
  t.equal(client('a${BACKUP_SECRET}z'), 'abackup-canaryz')
  t.equal(client('$${BACKUP_SECRET}'), '${BACKUP_SECRET}')
  t.equal(client('$x{}$'), '$x{}$')
  t.equal(client({ file: './secrets/store-secret' }), 'store-canary', 'the line end of a file is no part of the secret')
  t.end()
})

await t.test('secrets show in no dump and in no error', (t) => {
  const config = parseConfig(readConfigText(file), { file, env })
  for (const printed of [inspect(config, { depth: 10 }), JSON.stringify(config)]) {
    t.notMatch(printed, /canary/)
    t.match(printed, /\*{6}/)
  }
  const broken = readFileSync(example, 'utf8').replace('accessKeyId: backup\n', 'accessKeyId: backup\n    secretAccessKeyy: leak-canary\n')
  try {
    parseConfig(broken.replace('port: 9000', 'port: port-canary'), { file, env })
    t.fail('must be refused')
  } catch (error) {
    t.match((error as Error).message, /secretAccessKeyy: no such option/)
    t.notMatch(inspect(error), /canary/)
  }
  t.end()
})

await t.test('a plain listener beyond loopback only when asked for', (t) => {
  const listen = (options: object) => faults({ ...minimal, listen: options })
  for (const host of ['0.0.0.0', '::', '192.168.1.2', 'example.org', '127.0.0.1.example.org', '128.0.0.1']) {
    t.match(listen({ host }), { 'listen.host': /allowPlainBeyondLoopback/ }, host)
    t.strictSame(listen({ host, allowPlainBeyondLoopback: true }), {}, `${host}, asked for`)
    t.strictSame(listen({ host, tls: { cert: 'c', key: 'k' } }), {}, `${host} with TLS`)
  }
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) t.strictSame(listen({ host }), {}, host)
  t.end()
})

await t.test('an exact name beats the longest prefix, which beats "*"', (t) => {
  const bucket = (etag: string, key = 'main') => ({ etag, key, aliases: [] })
  const config = read({
    ...minimal,
    buckets: {
      'logs-*': bucket('opaque'),
      'logs-eu-*': { ...bucket('md5'), publicRead: true },
      'logs-eu-1': { encryption: 'off' },
      '*': { announce: 'aws:kms' }
    }
  })
  t.match(policyFor(config, 'logs-eu-1'), { encryption: 'off' })
  t.match(policyFor(config, 'logs-eu-12'), { publicRead: true })
  t.match(policyFor(config, 'logs-us'), { etag: 'opaque', publicRead: false })
  t.match(policyFor(config, 'logs'), { announce: 'aws:kms' })
  t.equal(policyFor(config, 'logs-us'), policyFor(config, 'logs-x'), 'the same object each time')
  const narrow = read({ ...minimal, buckets: { 'a-*': {} } })
  t.throws(() => policyFor(narrow, 'b'), { code: 'AccessDenied' })
  t.end()
})

await t.test('a key must be named when there are several', (t) => {
  const keys = { one: { type: 'local', keyring: 'a' }, two: { type: 'local', keyring: 'b' } }
  t.match(faults({ ...minimal, keys }), { 'buckets.*.key': /must be given/ })
  t.strictSame(faults({ ...minimal, keys, buckets: { '*': { key: 'two' }, 'plain': { encryption: 'off' } } }), {})
  t.end()
})

await t.test('the stores where buckets of some patterns may be are those of the names that match', (t) => {
  const words = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 2 })
  const pattern = fc.tuple(words, fc.boolean()).map(([word, open]) => open || word === '' ? `${word}*` : word)
  const policies = fc.uniqueArray(fc.tuple(pattern, fc.constantFrom('near', 'far', 'third')), { selector: ([name]) => name, maxLength: 6 })
  // One letter more, and one more letter, than patterns have: every policy that covers any name covers one of these.
  const names = ['a', 'b', 'c'].flatMap((a) => [a, ...['a', 'b', 'c'].flatMap((b) => [a + b, ...['a', 'b', 'c'].map((c) => a + b + c)])])
  fc.assert(fc.property(policies, fc.array(pattern, { maxLength: 3 }), (buckets, patterns) => {
    const config = { buckets: buckets.map(([name, upstream]) => [name, { upstream }]) } as unknown as Config
    const of = (name: string): string[] => {
      try {
        return [policyFor(config, name).upstream]
      } catch {
        return []
      }
    }
    const expected = new Set(names.filter((name) => new PatternIndex(patterns.map((pattern) => [pattern, ''])).overlaps(name)).flatMap(of))
    t.strictSame([...upstreamsWith(config, patterns)].toSorted(), [...expected].toSorted())
  }))
  t.end()
})
