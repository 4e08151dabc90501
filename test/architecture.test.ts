// Reads the import lines of src and test: an arrow between rooms that is not on the list is an error, and so are a package outside of its
// own door and a test file that is not where its source file is.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize, relative } from 'node:path'
import t from 'tap'
import { architectureMarkdown, doors, rooms } from '../docs/generate/architecture.ts'

const root = join(import.meta.dirname, '..', 'src')

interface Import {
  readonly file: string
  readonly room: string
  /** Path below src for files of ours; the name of the package or `node:` module otherwise. */
  readonly target: string
  readonly ours: boolean
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))

const testRoot = import.meta.dirname
const testFiles = readdirSync(testRoot, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))

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
    .filter(({ ours, room, target }) => ours && roomOf(target) !== room && !(rooms[room]?.imports ?? []).includes(roomOf(target)))
    .map(({ file, target }) => `${file} -> ${target}`)
  t.same(forbidden, [])
  t.same([...new Set(files.map(roomOf))].filter((room) => rooms[room] === undefined), [], 'every room is on the list')
  t.comment(`${imports.filter(({ ours }) => ours).length} imports among ${files.length} files, 0 forbidden`)
})

await t.test('the list itself leads nowhere in a circle', async (t) => {
  t.equal(findCycle(new Map(Object.entries(rooms).map(([name, { imports: allowed }]) => [name, allowed]))), null)
})

await t.test('a room imports only what stands below it, and docs/ARCHITECTURE.md is printed from the table', async (t) => {
  const order = Object.keys(rooms)
  for (const [name, { imports: allowed }] of Object.entries(rooms)) {
    for (const below of allowed) t.ok(order.indexOf(below) > order.indexOf(name), `${name} -> ${below}`)
  }
  t.ok(
    readFileSync(join(root, '..', 'docs', 'ARCHITECTURE.md'), 'utf8') === architectureMarkdown(),
    'print it anew: node -e "import(\'./docs/generate/architecture.ts\')'
      + '.then((m) => fs.writeFileSync(\'docs/ARCHITECTURE.md\', m.architectureMarkdown()))"'
  )
})

await t.test('the file to read first in each room begins with what the room is for', async (t) => {
  for (const [name, { main }] of Object.entries(rooms)) {
    if (name.endsWith('.ts')) continue
    t.match(readFileSync(join(root, name, main ?? ''), 'utf8'), /^(\/\/ .{20,}\n){2,4}(?!\/\/)/, `${name}/${main ?? ''}`)
  }
})

await t.test('every package is imported only by its own room', async (t) => {
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
    [...new Set(imports.filter(({ ours, room }) => !ours && rooms.includes(room)).map(({ target }) => target))].filter((name) => name.startsWith('node:'))
      .sort()
  t.same(builtIn(['envelope']).filter((name) => !['node:crypto', 'node:stream', 'node:util'].includes(name)), [])
  t.same(builtIn(['sigv4', 'plan']).filter((name) => !['node:crypto', 'node:util'].includes(name)), [])
})

await t.test('no barrels, no rooms for odds and ends', async (t) => {
  t.same(files.filter((file) => /^(index|utils?|helpers?|common|misc|shared)\.ts$/.test(basename(file))), [])
  t.same(files.filter((file) => /(^|\/)(utils?|helpers?|common|misc|shared)\//.test(file)), [])
})

await t.test('a production process loads the embedded store only where it is used', async (t) => {
  const outside = imports.filter(({ target, room, ours }) => ours && roomOf(target) === 'embedded-store' && room !== 'embedded-store')
  t.same([...new Set(outside.map(({ file }) => file))], ['cli/demo.ts'])
  const demo = imports.filter(({ target, ours }) => ours && target === 'cli/demo.ts').map(({ file }) => file)
  t.same(demo, ['cli/serve.ts'])
  t.match(readFileSync(join(root, 'cli/serve.ts'), 'utf8'), /await import\('\.\/demo\.ts'\)/)
  t.notMatch(readFileSync(join(root, 'cli/serve.ts'), 'utf8'), /^import (?!type).*'\.\/demo\.ts'/m)
})

/** What may wait for several things at once though none of them ends the others, and why. */
const sideBySide: Readonly<Record<string, string>> = {
  'cli/check-config.ts': 'reads keyrings',
  'cli/commands.ts': 'imports',
  'cli/config-files.ts': 'reports the faults of all files',
  'cli/deployment-warnings.ts': 'looks at files',
  'cli/online-audit.ts': 'independent checks, each with a row of its own',
  'cli/online.ts': 'reports every key and the store, whatever the others do',
  'cli/worker.ts': 'asks worker processes',
  'gateway/gateway.ts': 'closes keys; one health check does not wait for another',
  'gateway/scans.ts': 'reads from every store, whatever the others do',
  'gateway/stores.ts': 'checks and closes every store, whatever the others do',
  'keys/providers/aws-kms.ts': 'closes connections',
  'keys/providers/vault-client.ts': 'closes connections',
  'keys/registry.ts': 'reports every key',
  'keys/self-test.ts': 'reports every key',
  'observe/audit-trail.ts': 'closes sinks, whatever the others do',
  'observe/health.ts': 'reports every check',
  'upstream/pools.ts': 'closes connections',
  'upstream/upstream.ts': 'closes connections'
}

await t.test('what is done side by side stops at the first failure: Promise.all does not', async (t) => {
  const found = files.filter((file) => roomOf(file) !== 'concurrency' && /\bPromise\.(all|allSettled|any)\b/.test(readFileSync(join(root, file), 'utf8')))
  t.same(found.toSorted(), Object.keys(sideBySide), 'requests to the store go through concurrency/parallel.ts; anything else is on the list with its reason')
})

await t.test('no file of src is above 300 lines', async (t) => {
  t.same(files.filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 301), [])
})

// Folders of test that have no counterpart in src: suites through the whole gateway, against documents, against two stores, of the helpers themselves.
const suites = ['gateway', 'docs', 'differential', 'support']
// The vectors and their writer are data of several folders.
const shared = ['support', 'vectors']
const overAllOfSrc = ['architecture.test.ts', 'check.test.ts', 'fan-outs.test.ts', 'package.test.ts', 'regular-expressions.test.ts']

await t.test('test mirrors src: a test file begins with the path of the file of src that it is about', async (t) => {
  const homeless = testFiles.filter((file) => file.endsWith('.test.ts') && !suites.includes(roomOf(file)) && !overAllOfSrc.includes(file))
    .filter((file) => !files.some((source) => /^[-.]/.test(tail(file, source.replace(/\.ts$/, '')) ?? '')))
  t.same(homeless, [])
})

await t.test('a helper that several folders of test import is in test/support or test/vectors', async (t) => {
  const strays = testFiles.flatMap((file) => {
    const text = readFileSync(join(testRoot, file), 'utf8')
    const targets = [...text.matchAll(/^(?:import|export)\b[^'"]*?\bfrom '(\.[^']+)'/gm)].map(([, path]) => normalize(join(dirname(file), path ?? '')))
    return targets.filter((target) => !target.startsWith('..') && roomOf(target) !== roomOf(file) && !shared.includes(roomOf(target))).map((target) =>
      `${file} -> ${target}`
    )
  })
  t.same(strays.filter((stray) => !/^(campaigns|e2e)\//.test(stray)), [])
})

/** What a process begins with. */
const entries = ['main.ts', 'start.ts', 'keys/providers/pkcs11-process.ts']

await t.test('only entry points and the command line see the process', async (t) => {
  const seeing = files.filter((file) => /\bprocess\.(env|argv|exit|on|stdin|stdout)\b/.test(readFileSync(join(root, file), 'utf8')))
  t.same(seeing.filter((file) => !entries.includes(file) && roomOf(file) !== 'cli'), [])
})

/** What follows `start` in `text`; null when it does not begin with it. */
function tail(text: string, start: string): string | null {
  return text.startsWith(start) ? text.slice(start.length) : null
}

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
