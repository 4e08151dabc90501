// The package as npm gets it (.ci/package.ts): made here, laid where Node strips no types, and started. test/e2e/package.sh packs and installs it.
import { tokenizer } from 'acorn'
import { execFile } from 'node:child_process'
import { globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly version: string
  readonly engines: { readonly node: string }
  readonly bin: Readonly<Record<string, string>>
  readonly files: readonly string[]
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly allowScripts: Readonly<Record<string, boolean>>
  readonly scripts: Readonly<Record<string, string>>
}

/** Below a folder `node_modules`, with the dependencies of this checkout above it. */
const home = join(t.testdir({ node_modules: { sealgate: {} } }), 'node_modules')
const installed = join(home, 'sealgate')
for (const name of Object.keys(manifest.dependencies)) {
  const place = join(home, name)
  mkdirSync(join(place, '..'), { recursive: true })
  symlinkSync(join(root, 'node_modules', name), place)
}
symlinkSync(join(root, 'package.json'), join(installed, 'package.json'))
await run(process.execPath, ['--disable-warning=ExperimentalWarning', '.ci/package.ts', '--to', installed], { cwd: root })

const sources = globSync('**/*.ts', { cwd: join(root, 'src'), exclude: ['**/*.d.ts'] }).sort()

await t.test('every token of the JavaScript stands where it stands in the source', (t) => {
  t.ok(sources.length > 300)
  const moved: string[] = []
  for (const name of sources) {
    const made = readFileSync(join(installed, 'dist', name.replace(/\.ts$/, '.js')), 'utf8')
    const source = readFileSync(join(root, 'src', name), 'utf8')
    if (made.split('\n').length !== source.split('\n').length) moved.push(`${name}: lines`)
    for (const { start, end } of tokenizer(made, { ecmaVersion: 'latest', sourceType: 'module', allowHashBang: true })) {
      const token = made.slice(start, end)
      const same = token === source.slice(start, end) || (/^'\.{1,2}\/.*\.js'$/.test(token) && token.replace(/\.js'$/, '.ts\'') === source.slice(start, end))
      // A blank with a separator in it, where a type stood between two statements.
      if (!same && token !== ';') moved.push(`${name}:${start}: ${token}`)
    }
  }
  t.same(moved, [])
  t.end()
})

await t.test('every module of it loads', async (t) => {
  const modules = sources.map((name) => `./${name.replace(/\.ts$/, '.js')}`).filter((name) => !['./main.js', './start.js'].includes(name))
  const program = join(installed, 'dist', 'load-all.js')
  // The process of a PKCS#11 module waits for messages: nothing else may keep this one alive.
  writeFileSync(program, `for (const name of ${JSON.stringify(modules)}) await import(name)\nprocess.stdout.write('loaded')\nprocess.exit()\n`)
  t.equal((await run(process.execPath, [program])).stdout, 'loaded')
})

await t.test('the command is in it, and starts', async (t) => {
  t.same(manifest.bin, { sealgate: 'dist/start.js' })
  t.match(readFileSync(join(installed, 'dist', 'start.js'), 'utf8'), /^#!\/usr\/bin\/env node\n/)
  const { stdout, stderr } = await run(process.execPath, [join(installed, 'dist', 'start.js'), '--version'])
  t.match(stdout, new RegExp(`^sealgate ${manifest.version}\\n(native core|JavaScript core \\(native: .+\\))\\n$`))
  t.equal(stderr, '')
})

await t.test('the flags that Node takes only at start are there, in the same process', async (t) => {
  const program = join(installed, 'dist', 'main.js')
  const whole = readFileSync(program)
  writeFileSync(program, 'process.stdout.write(JSON.stringify({ pid: process.pid, flags: process.execArgv, args: process.argv.slice(2) }))')
  const child = run(process.execPath, ['--no-warnings', join(installed, 'dist', 'start.js'), 'serve', '--config', 'a b'])
  const { stdout, stderr } = await child
  writeFileSync(program, whole)
  t.equal(stderr, '')
  const { pid, flags, args } = JSON.parse(stdout) as { readonly pid: number; readonly flags: readonly string[]; readonly args: readonly string[] }
  t.equal(pid, child.child.pid)
  t.same([...flags].sort(), ['--disable-proto=throw', '--disable-sigusr1', '--max-semi-space-size=8', '--no-warnings'])
  t.same(args, ['serve', '--config', 'a b'])
})

await t.test('an older Node gets one line', async (t) => {
  const old = join(installed, 'dist', 'as-older.mjs')
  for (const [version, refused] of [['22.22.0', true], ['24.10.9', true], ['24.11.0', false], ['25.0.0', false], ['9.0.0', true]] as const) {
    writeFileSync(old, `Object.defineProperty(process.versions, 'node', { value: '${version}' })\nprocess.argv[1] = 'x'\nawait import('./start.js')\n`)
    // With its flags: the process does not start again, which would bring back its real version.
    const flags = ['--max-semi-space-size=8', '--disable-sigusr1', '--disable-proto=throw']
    const { code, stdout, stderr } = await run(process.execPath, [...flags, old, '--version']).then(
      (done) => ({ ...done, code: 0 }),
      (error: unknown) =>
        error as {
          readonly code: number
          readonly stdout: string
          readonly stderr: string
        }
    )
    t.equal(code, refused ? 2 : 0, version)
    t.equal(stderr, refused ? `sealgate needs Node ${manifest.engines.node.replace('>=', '')} or newer; this is Node ${version}\n` : '')
    t.equal(stdout.split('\n', 1)[0], refused ? '' : `sealgate ${manifest.version}`)
  }
})

await t.test('regression: no dependency is compiled by npm ci, which fails without a compiler where npm knows no allowScripts', (t) => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean; readonly optional?: boolean }>>
  }
  const scripted = Object.entries(lock.packages).filter(([, { hasInstallScript, optional }]) => hasInstallScript === true && optional !== true).map(([path]) =>
    path
  )
  t.same(scripted.map((path) => path.replace('node_modules/', '')), Object.keys(manifest.allowScripts), 'of these the script copies a binary')
  t.ok(manifest.scripts['build-pkcs11']?.includes(` pkcs11js@${manifest.peerDependencies['pkcs11js'] ?? ''} `), 'one version of pkcs11js')
  t.end()
})

await t.test('its dependencies are those of the lock file, without those of development', (t) => {
  interface Lock {
    readonly packages: Readonly<Record<string, { readonly version?: string; readonly dev?: boolean; readonly devDependencies?: object }>>
  }
  const read = (path: string): Lock => JSON.parse(readFileSync(path, 'utf8')) as Lock
  const kept = read(join(installed, 'npm-shrinkwrap.json')).packages
  const whole = read(join(root, 'package-lock.json')).packages
  t.equal(kept['']?.devDependencies, undefined)
  for (const name of Object.keys(manifest.dependencies)) t.ok(kept[`node_modules/${name}`]?.version, name)
  for (const name of Object.keys(manifest.devDependencies)) t.notOk(kept[`node_modules/${name}`], name)
  t.same(Object.entries(kept).filter(([path, entry]) => path !== '' && entry.version !== whole[path]?.version), [])
  t.ok(manifest.files.includes('npm-shrinkwrap.json'), 'npm packs it only by name')
  t.ok(createRequire(join(installed, 'dist', 'start.js')).resolve('undici'))
  t.end()
})
