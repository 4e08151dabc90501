// README and docs are compared with the code: links, options, error codes, metrics, limits, commands.
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { parse } from 'yaml'
import t from 'tap'
import { referenceMarkdown } from '../../docs/generate/reference.ts'
import { commands } from '../../src/cli/commands.ts'
import { parse as parseArguments } from '../../src/cli/command-line.ts'
import { configSections } from '../../src/config/schema.ts'
import { parseConfig } from '../../src/config/load.ts'
import { s3ErrorCodes, type S3ErrorCode } from '../../src/errors.ts'
import { states } from '../../src/maintenance/engine.ts'
import { faults } from '../../src/maintenance/faults.ts'
import { example } from '../vectors/example.ts'
import { createMetrics, measureProcess } from '../../src/observe/metrics.ts'

const root = join(import.meta.dirname, '..', '..')
const texts = new Map<string, string>()
function read(path: string): string {
  const text = texts.get(path) ?? readFileSync(join(root, path), 'utf8')
  texts.set(path, text)
  return text
}
const documents = [
  ...globSync('*.md', { cwd: root }),
  'test/README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md')).map((name) => join('docs', name))
]

const anchorsOfFiles = new Map<string, Set<string>>()
/** GitHub's way of making an anchor of a heading. */
function anchors(file: string): Set<string> {
  const headings = read(file).matchAll(/^#+ (.+)$/gm)
  const found = anchorsOfFiles.get(file)
    ?? new Set([...headings].map(([, heading = '']) => heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')))
  anchorsOfFiles.set(file, found)
  return found
}

await t.test('every link leads somewhere', async (t) => {
  let count = 0
  for (const document of documents) {
    const text = read(document)
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      count += 1
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? document : relative('.', join(dirname(document), path))
      if (!existsSync(join(root, file))) t.fail(`${document} -> ${target}`)
      else if (anchor !== undefined && !anchors(file).has(anchor)) t.fail(`${document} -> ${target}: no such heading`)
    }
    for (const [, path = ''] of text.matchAll(/`((?:src|test|docs|docker|config|bench)\/[A-Za-z0-9_./-]+\.[a-z]+)`/g)) {
      count += 1
      if (!existsSync(join(root, path))) t.fail(`${document} names ${path}`)
    }
  }
  t.ok(count > 50)
  t.comment(`${count} links and file names in ${documents.length} documents, 0 broken`)
})

await t.test('docs/BALANCERS.md shows the files that test/e2e/balancers.ts runs', (t) => {
  const text = read('docs/BALANCERS.md')
  const names = readdirSync(join(root, 'docker/balancers'))
  t.equal(names.length, 5)
  for (const name of names) t.ok(text.includes(`\n${read(join('docker/balancers', name))}\`\`\`\n`), name)
  t.end()
})

await t.test('docs/EXISTING-DATA.md has every state and every fault', (t) => {
  const text = read('docs/EXISTING-DATA.md')
  for (const state of Object.keys(states)) t.ok(text.includes(`\`${state}\``), state)
  for (const [fault, meaning] of Object.entries(faults)) t.ok(text.includes(`| \`${fault}\` | ${meaning} |`), fault)
  t.end()
})

await t.test('docs/REFERENCE.md is printed from the code', (t) => {
  t.ok(
    read('docs/REFERENCE.md') === referenceMarkdown(),
    'print it anew: node -e "import(\'./docs/generate/reference.ts\').then((m) => fs.writeFileSync(\'docs/REFERENCE.md\', m.referenceMarkdown()))"'
  )
  t.end()
})

await t.test('names of errors and alerts in the documents exist', async (t) => {
  const alerts = [...read('docker/prometheus-alerts.yaml').matchAll(/alert: (\w+)/g)].map(([, name = '']) => name)
  // The list of changes names what no longer is.
  for (const document of documents.filter((name) => name !== 'CHANGELOG.md')) {
    for (const [name] of read(document).matchAll(/\bSealgate[A-Z]\w+/g)) {
      t.ok(s3ErrorCodes.includes(name as S3ErrorCode) || alerts.includes(name), `${document}: ${name}`)
    }
  }
})

await t.test('metrics that the documents name exist', async (t) => {
  const metrics = createMetrics()
  t.teardown(measureProcess(metrics.registry))
  const names = metrics.snapshot().map(({ name }) => name)
  for (const document of documents.filter((name) => name !== 'CHANGELOG.md')) {
    for (const [, name = ''] of read(document).matchAll(/`((?:sealgate|process|nodejs)_[a-z0-9_]+)[`{]/g)) {
      t.ok(names.includes(name), `${document}: ${name}`)
    }
  }
})

await t.test('commands that the documents show exist, with their options', (t) => {
  let [lines, named] = [0, 0]
  const commandOf = (words: readonly string[]): (typeof commands)[number] | undefined =>
    commands.find(({ name }) => words.slice(0, 2).join(' ') === name) ?? commands.find(({ name }) => words[0] === name)
  // The list of changes and decisions also name what no longer is, or never was.
  for (const document of documents.filter((name) => name !== 'CHANGELOG.md' && !name.startsWith('docs/decisions'))) {
    const text = read(document)
    for (const [, line = ''] of text.matchAll(/^ *(?:\$ )?(?:npx )?sealgate ((?!.*…)[a-z].*)$/gm)) {
      const words = line.replace(/ (?:#|>|<|\||&&|\\$).*/, '').replaceAll(/["']/g, '').split(/ +/).filter((word) => word !== '')
      const found = commandOf(words)
      if (found === undefined) {
        t.fail(`${document}: sealgate ${line}`)
        continue
      }
      lines += 1
      // A line that goes on below has its options there.
      if (!line.endsWith('\\')) t.doesNotThrow(() => parseArguments(found, words.slice(found.name.split(' ').length)), `${document}: sealgate ${line}`)
    }
    for (const [, line = ''] of text.matchAll(/`sealgate ([a-z][^`]*)`/g)) {
      const words = line.split(/ +/)
      const found = commandOf(words)
      const group = commands.some(({ name }) => name.startsWith(`${line} `))
      t.ok(found !== undefined || group, `${document}: sealgate ${line}`)
      named += 1
      for (const option of words.filter((word) => /^--[a-z]/.test(word))) {
        t.ok(Object.hasOwn(found?.options ?? {}, option.slice(2)), `${document}: sealgate ${line}`)
      }
    }
  }
  t.ok(lines > 20 && named > 50)
  t.comment(`${lines} command lines parse, ${named} commands are named in text`)
  t.end()
})

await t.test('every option is in the example, and options that the documents name exist', async (t) => {
  const schema = configSections({ file: '/etc/sealgate/sealgate.yaml', env: {} })
  const example = parse(read('config/sealgate.example.yaml')) as Record<string, Record<string, unknown> | undefined>
  // A configuration has one of upstream and upstreams.
  t.match(read('config/sealgate.example.yaml'), /^# upstreams:/m)
  for (const name of Object.keys(schema)) t.ok(Object.hasOwn(example, name) || name === 'upstreams', name)
  const known = (path: string): boolean => {
    let at: unknown = example
    for (const part of path.split('.')) {
      const holder = (Array.isArray(at) ? at[0] : at) as Record<string, unknown> | undefined
      at = part === '*' || part === 'NAME' ? Object.values(holder ?? {})[0] : holder?.[part]
      if (at === undefined) return false
    }
    return true
  }
  let count = 0
  const absent = new Set(['upstream.credentials'])
  for (const document of documents.filter((name) => !name.endsWith('FORMAT.md'))) {
    for (const [, path = ''] of read(document).matchAll(/`((?:listen|admin|upstream|limits|auth|keyCache|audit|log|buckets)\.[A-Za-z.*]+)`/g)) {
      count += 1
      t.ok(known(path) || absent.has(path), `${document}: ${path}`)
    }
  }
  t.ok(count > 15)
})

await t.test('the configuration in README is a whole one', async (t) => {
  const yaml = /```yaml\n( +listen:[^]*?)```/.exec(read('README.md'))?.[1] ?? ''
  const text = yaml.replaceAll(/^ {3}/gm, '')
  const config = parseConfig(text, { file: '/etc/sealgate.yaml', env: { STORE_ACCESS_KEY_ID: 'a', STORE_SECRET_ACCESS_KEY: 'b', BACKUP_SECRET: 'c' } })
  t.match(config, { admin: { port: 9001 }, clients: [{ accessKeyId: 'backup', buckets: ['backup-*'] }] })
})

await t.test('test/README.md names every helper, and test/campaigns/main.ts every campaign', async (t) => {
  const text = read('test/README.md')
  const campaigns = read('test/campaigns/main.ts')
  for (const file of globSync('test/{support,campaigns,e2e}/*.{ts,sh}', { cwd: root })) {
    const name = basename(file)
    // Parts of a campaign or of a script, which are not started by themselves.
    const parts =
      'main gateway-process presign resolver at-once audit-load browser-page browser chromium helm-chart image-root page-faults page-rig page sdk stored'.split(
        ' '
      )
    const part = parts.includes(name.replace(/\.ts$/, ''))
    const listed = file.startsWith('test/campaigns') ? campaigns.includes(`'${name.replace(/\.ts$/, '')}'`) : text.includes(name)
    if (!part && !name.endsWith('.test.ts')) t.ok(listed, file)
  }
})

await t.test('every recipe that is run has a row in docs/RECIPES.md and is named in test/README.md', (t) => {
  const [rows, listed] = [read('docs/RECIPES.md'), read('test/README.md')]
  const recipes = globSync('test/e2e/recipes/*.sh', { cwd: root }).filter((file) => read(file).startsWith('#!'))
  t.ok(recipes.length > 0)
  for (const file of recipes) {
    t.ok(rows.includes(`](../${file}) |`), file)
    t.ok(listed.includes(`\`${basename(file, '.sh')}\``), file)
  }
  t.end()
})

await t.test('the worked example of FORMAT is what comes out', (t) => {
  const [, printed = ''] = read('docs/FORMAT.md').split(/<!-- printed by test\/vectors\/example\.ts -->\n\n|\n<!-- end -->/)
  t.equal(printed, example())
  t.end()
})

await t.test('every promise names its tests', async (t) => {
  const rows = read('docs/THREAT-MODEL.md').split('\n').filter((line) => /^\| P\d+ \|/.test(line))
  t.same(rows.map((row) => /^\| (P\d+)/.exec(row)?.[1]), rows.map((_, i) => `P${i + 1}`))
  for (const row of rows) t.match(row, /\.test\.ts\)/, row.slice(0, 40))
})
