// src/config/load.ts: configurations of earlier releases still load, and mean what they meant. A release adds its example here, as it was, in a folder of
// its name under test/config/releases; an option that a later release removes gets an entry in `changed`, with the message that says what to write.
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { ConfigError, parseConfig } from '../../src/config/load.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealgate-releases-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})
mkdirSync(join(folder, 'secrets'))
for (const name of ['store-secret', 'backup-at-store']) writeFileSync(join(folder, 'secrets', name), `of ${name}\n`)
const env = { STORE_ACCESS_KEY_ID: 'AKSTORE', STORE_SESSION_TOKEN: 'token', STORE_SECRET: 'secret', BACKUP_SECRET: 'secret', DEMO_SECRET: 'secret' }
const file = join(folder, 'sealgate.yaml')

/** Options of earlier releases that are refused now: release, path, and the fault that an operator reads. */
const changed: readonly { readonly release: string; readonly path: string; readonly message: RegExp }[] = []

/** Where an option of the file is in the configuration: its path there, where the two differ. The longest beginning counts. */
const moved: Readonly<Record<string, string>> = {
  'listen.region': 'listen.regions.0',
  'upstream': 'upstreams.default',
  'upstream.accessKeyId': 'upstreams.default.credentials.accessKeyId',
  'upstream.secretAccessKey': 'upstreams.default.credentials.secretAccessKey',
  'upstream.sessionToken': 'upstreams.default.credentials.sessionToken',
  'clients.*.upstream': 'clients.*.identities.default',
  'buckets.*': 'buckets.0.1',
  'buckets.*.key': 'buckets.0.1.keys.bucket.key',
  'buckets.*.allowedKeys': 'buckets.0.1.keys.bucket.allowedKeys'
}

function place(path: string): string {
  const general = path.replace(/^clients\.\d+/, 'clients.*')
  const from = Object.keys(moved).filter((each) => general === each || general.startsWith(`${each}.`)).toSorted((a, b) => b.length - a.length)[0]
  return from === undefined ? path : `${moved[from] ?? ''}${general.slice(from.length)}`.replace('clients.*', path.split('.').slice(0, 2).join('.'))
}

interface Leaf {
  readonly path: string
  readonly value: unknown
}

/** Values of the file; a secret is one value. */
function leaves(tree: unknown, path = ''): Leaf[] {
  if (typeof tree !== 'object' || tree === null || 'env' in tree || 'file' in tree && path.endsWith('ecretAccessKey')) return [{ path, value: tree }]
  return Object.entries(tree).flatMap(([name, value]) => leaves(value, path === '' ? name : `${path}.${name}`))
}

function at(holder: unknown, path: string): unknown {
  return path.split('.').reduce((value: unknown, name) => (value as Record<string, unknown> | undefined)?.[name], holder)
}

/** What a value of the file becomes: secrets are read, environment variables put in, and names of files made absolute. */
function meaning(value: unknown): unknown {
  if (typeof value !== 'string') return value
  const text = value.replaceAll(/\$\{(\w+)\}/g, (_, name: keyof typeof env) => env[name])
  return text.startsWith('./') ? join(folder, text) : text
}

for (const source of globSync('releases/*/*.yaml', { cwd: import.meta.dirname }).toSorted()) {
  await t.test(`${source} loads, and every option in it holds`, (t) => {
    const release = basename(dirname(source))
    cpSync(join(import.meta.dirname, source), file)
    const text = readFileSync(file, 'utf8')
    const refused = changed.filter((each) => each.release === release)
    let config: unknown
    try {
      config = parseConfig(text, { file, env })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      t.strictSame(error.faults.map(({ path }) => path), refused.map(({ path }) => path), 'refused')
      for (const { path, message } of refused) t.match(error.faults.find((fault) => fault.path === path)?.message, message)
      t.end()
      return
    }
    t.strictSame(refused, [], 'nothing that must be refused is taken')
    let count = 0
    for (const { path, value } of leaves(parse(text))) {
      const now = at(config, place(path))
      count += 1
      if (typeof value === 'object') t.ok(now !== undefined, `${path} is there`)
      else t.equal(now, meaning(value), `${path} has the value it had`)
    }
    t.ok(count > 10)
    t.end()
  })
}
