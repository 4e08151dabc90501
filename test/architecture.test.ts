// Reads the import lines of src: an arrow between rooms that is not on the list is an error, and so is a package that comes
// in by another door than its own.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize, relative } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..', 'src')

/** Which rooms and single files a room may import, besides itself. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  // What is known of the cause of a failure: words for the log.
  'diagnosis.ts': [],
  'errors.ts': ['diagnosis.ts'],
  'version.ts': [],
  // Containers that hold what every request touches.
  'collections': [],
  'http': ['errors.ts'],
  // Knows nothing of ours: it could be a package of its own.
  'envelope': [],
  // Pure: no I/O, nothing but words.
  'sigv4': ['errors.ts', 'http'],
  'auth': ['errors.ts', 'http', 'sigv4'],
  's3': ['errors.ts', 'http'],
  'config.ts': ['auth'],
  'config-policy.ts': ['config.ts', 'errors.ts'],
  // What the system says of a failed call.
  'system-words.ts': [],
  'config-units.ts': [],
  'config-schema.ts': ['config-units.ts', 'system-words.ts'],
  'config-tree.ts': ['config-schema.ts'],
  'config-warnings.ts': ['config-tree.ts', 'config.ts'],
  'config-words.ts': ['config-tree.ts'],
  'config-load.ts': ['config-schema.ts', 'config-tree.ts', 'config-words.ts', 'config.ts', 'system-words.ts'],
  'plan': ['config.ts', 'errors.ts', 'http', 's3'],
  'keys': ['collections', 'config.ts', 'diagnosis.ts', 'envelope', 'errors.ts', 'system-words.ts'],
  'upstream': ['collections', 'config.ts', 'diagnosis.ts', 'errors.ts', 'http'],
  'observe': ['diagnosis.ts', 'errors.ts', 'keys'],
  'execute': ['auth', 'collections', 'config.ts', 'diagnosis.ts', 'envelope', 'errors.ts', 'http', 'keys', 'plan', 's3', 'upstream'],
  'proxy.ts': ['auth', 'config.ts', 'errors.ts', 'execute', 'http', 'plan', 's3'],
  // The front knows how to say an error in XML, and nothing else of S3.
  'listener': ['collections', 'diagnosis.ts', 'errors.ts', 'http', 'observe', 's3', 'system-words.ts'],
  'gateway-types.ts': ['config.ts', 'gateway-status.ts', 'http', 'observe'],
  'gateway-auth.ts': ['auth', 'config.ts', 'http', 's3'],
  'gateway-status.ts': ['config.ts', 'diagnosis.ts', 'keys', 'observe', 'upstream', 'version.ts'],
  'gateway-health.ts': ['diagnosis.ts', 'errors.ts', 'gateway-types.ts', 'observe', 'upstream'],
  'gateway-observer.ts': ['config.ts', 'diagnosis.ts', 'envelope', 'errors.ts', 'gateway-status.ts', 'gateway-types.ts', 'keys', 'observe', 's3', 'upstream', 'version.ts'],
  'gateway.ts': ['auth', 'config-policy.ts', 'config-warnings.ts', 'config.ts', 'diagnosis.ts', 'execute', 'gateway-auth.ts', 'gateway-health.ts', 'gateway-observer.ts', 'gateway-status.ts', 'gateway-types.ts', 'http', 'keys', 'observe', 'proxy.ts', 's3', 'upstream'],
  // The embedded store is the other side: it shares words with the gateway, never a decision.
  'store': ['diagnosis.ts', 'errors.ts', 'http', 'sigv4'],
  // The engines of commands that work on the store itself, not on the requests of clients.
  'rewrap': ['config.ts', 'envelope', 'errors.ts', 'execute', 'http', 'keys', 's3', 'upstream'],
  'cli': ['config-load.ts', 'config-policy.ts', 'config-schema.ts', 'config-tree.ts', 'config-units.ts', 'config-warnings.ts', 'config.ts', 'diagnosis.ts', 'envelope', 'errors.ts', 'execute', 'gateway-status.ts', 'gateway-types.ts', 'gateway.ts', 'http', 'keys', 'listener', 'observe', 'rewrap', 'store', 'system-words.ts', 'upstream', 'version.ts'],
  'main.ts': ['cli']
}

const doors: Readonly<Record<string, readonly string[]>> = {
  'fastify': ['listener'],
  'pino': ['listener', 'observe'],
  'pino-pretty': ['listener'],
  'undici': ['upstream'],
  '@aws-sdk/signature-v4': ['upstream'],
  '@aws-sdk/credential-provider-node': ['upstream'],
  '@aws-sdk/client-kms': ['keys'],
  '@node-rs/crc32': ['http'],
  'hash-wasm': ['http'],
  'hash-wasm/dist/xxhash128.umd.min.js': ['http'],
  'hash-wasm/dist/xxhash3.umd.min.js': ['http'],
  'hash-wasm/dist/xxhash64.umd.min.js': ['http'],
  'yaml': ['config-tree.ts'],
  'zod': ['config-load.ts', 'config-schema.ts', 'config-units.ts', 'config-words.ts']
}

interface Import {
  readonly file: string
  readonly room: string
  /** Path below src for files of ours; the name of the package or `node:` module otherwise. */
  readonly target: string
  readonly ours: boolean
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))

function roomOf(file: string): string {
  return file.split('/', 1)[0] ?? ''
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  const found = text.matchAll(/^(?:import|export)\b[^'"]*?\bfrom '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm)
  return [...found].map((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? ''
    const ours = specifier.startsWith('.')
    const target = ours ? relative('.', normalize(join(dirname(file), specifier))) : specifier
    return { file, room: roomOf(file), target, ours }
  })
}

const imports = files.flatMap(importsOf)

await t.test('only arrows between rooms that are on the list', async (t) => {
  t.ok(imports.length > 500, 'the import lines have been found')
  const forbidden = imports
    .filter(({ ours, room, target }) => ours && roomOf(target) !== room && !(arrows[room] ?? []).includes(roomOf(target)))
    .map(({ file, target }) => `${file} -> ${target}`)
  t.same(forbidden, [])
  t.same([...new Set(files.map(roomOf))].filter((room) => arrows[room] === undefined), [], 'every room is on the list')
  t.comment(`${imports.filter(({ ours }) => ours).length} imports among ${files.length} files, 0 forbidden`)
})

await t.test('the list itself leads nowhere in a circle', async (t) => {
  t.equal(findCycle(new Map(Object.entries(arrows))), null)
})

await t.test('every package comes in by its own door', async (t) => {
  const strangers = imports
    .filter(({ ours, room, target }) => !ours && !target.startsWith('node:') && !(doors[target] ?? []).includes(room))
    .map(({ file, target }) => `${file} -> ${target}`)
  t.same(strangers, [])
})

await t.test('no file imports itself by a detour', async (t) => {
  const graph = new Map(files.map((file) => [file, imports.filter((i) => i.ours && i.file === file).map(({ target }) => target)]))
  t.equal(findCycle(graph), null)
  for (const { target, file } of imports.filter(({ ours }) => ours)) if (!files.includes(target)) t.fail(`${file} imports ${target}, which is not there`)
})

await t.test('pure rooms do no input or output, and the envelope needs little of Node', async (t) => {
  const builtIn = (rooms: readonly string[]): string[] =>
    [...new Set(imports.filter(({ ours, room }) => !ours && rooms.includes(room)).map(({ target }) => target))].filter((name) => name.startsWith('node:')).sort()
  t.same(builtIn(['envelope']).filter((name) => !['node:crypto', 'node:stream', 'node:util'].includes(name)), [])
  t.same(builtIn(['sigv4', 'plan']).filter((name) => !['node:crypto', 'node:util'].includes(name)), [])
})

await t.test('no barrels, no rooms for odds and ends', async (t) => {
  t.same(files.filter((file) => /^(index|utils?|helpers?|common|misc|shared)\.ts$/.test(basename(file))), [])
  t.same(files.filter((file) => /(^|\/)(utils?|helpers?|common|misc|shared)\//.test(file)), [])
})

await t.test('only main.ts and the command line see the process', async (t) => {
  const seeing = files.filter((file) => /\bprocess\.(env|argv|exit|on|stdin|stdout)\b/.test(readFileSync(join(root, file), 'utf8')))
  t.same(seeing.filter((file) => file !== 'main.ts' && roomOf(file) !== 'cli'), [])
})

/** The names on a circle, joined; null when there is none. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string | null {
  const done = new Set<string>()
  const path: string[] = []
  const visit = (node: string): string | null => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node].join(' -> ')
    if (done.has(node)) return null
    path.push(node)
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next)
      if (cycle !== null) return cycle
    }
    path.pop()
    done.add(node)
    return null
  }
  for (const node of graph.keys()) {
    const cycle = visit(node)
    if (cycle !== null) return cycle
  }
  return null
}
