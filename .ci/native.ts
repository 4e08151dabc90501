// What `npm run build-native` does: compiles the native core (src/native/core.c) for each Linux for which there is a compiler, into src/native, where `npm pack`
// takes it from. Nothing else needs a compiler: without a binary the same work is done in TypeScript. `--to DIR`: into another folder. `--sanitize`: for this
// machine only, with the sanitizers for addresses and undefined behaviour, which test/campaigns/native.ts runs.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'

const root = join(import.meta.dirname, '..')
const source = join(root, 'src', 'native', 'core.c')
const { to, sanitize } = parseArgs({ options: { to: { type: 'string', default: dirname(source) }, sanitize: { type: 'boolean', default: false } } }).values

/** Compilers by platform, as Debian calls them; on its own machine `gcc` will do. */
const compilers: Readonly<Record<string, string>> = { 'linux-x64': 'x86_64-linux-gnu-gcc', 'linux-arm64': 'aarch64-linux-gnu-gcc' }
const here = `${process.platform}-${process.arch}`

const strict = ['-std=c11', '-Wall', '-Wextra', '-Wconversion', '-Werror', '-fPIC', '-shared', '-fvisibility=hidden']
// No path, no date and no build id: two builds of one source by one compiler are the same bytes. Functions that are missing fail the loading, not a request.
const released = ['-O2', '-fstack-protector-strong', '-D_FORTIFY_SOURCE=2', '-s', '-Wl,--build-id=none,-z,now,-z,relro,-z,noexecstack']
const sanitized = ['-O1', '-g', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']

/** The headers of Node-API that came with Node: beside its binary, or in the package that brings it. */
function headers(): string {
  const places = [
    join(dirname(process.execPath), '..', 'include', 'node'),
    ...globSync('node_modules/node/node_modules/*/include/node', { cwd: root }).map((path) => join(root, path))
  ]
  const found = places.find((place) => existsSync(join(place, 'node_api.h')))
  if (found === undefined) throw new Error('the headers of Node-API were not found beside Node')
  return found
}

function compilerFor(platform: string): string | undefined {
  const names = [compilers[platform] ?? 'gcc', ...platform === here ? ['gcc'] : []]
  return names.find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0)
}

mkdirSync(to, { recursive: true })
// package.ts looks for it in a binary, so that none of another source is packed.
const digest = createHash('sha256').update(readFileSync(source)).digest('hex')
for (const platform of sanitize ? [here] : Object.keys(compilers)) {
  const compiler = compilerFor(platform)
  if (compiler === undefined) {
    process.stderr.write(`${platform}: no native core, because there is no ${compilers[platform] ?? 'gcc'}; TypeScript will do its work there\n`)
    continue
  }
  const out = join(to, `${platform}.node`)
  execFileSync(compiler, [...strict, ...sanitize ? sanitized : released, `-DSOURCE="${digest}"`, `-I${headers()}`, source, '-o', out], { stdio: 'inherit' })
  process.stderr.write(`${platform}: ${out}\n`)
}
