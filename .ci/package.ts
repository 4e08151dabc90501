// What `npm pack` and `npm publish` run first: makes the JavaScript of the package in `dist`, and the list of its exact dependencies. Node strips no
// types below node_modules. Types are replaced by blanks, and `.ts` at the end of a module's name by `.js`, so every statement of `dist` is in
// the line and the column where it is in `src`: a stack trace names the source, and no source map is needed (docs/decisions/0170). Native cores are copied
// as `npm run build-native` has made them (docs/decisions/0182-a-native-core.md).
// `--to DIR` makes both there. `--clean` removes the list again: beside package-lock.json it would count instead of it.
import { parse, type Node } from 'acorn'
import { createHash } from 'node:crypto'
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'

const root = join(import.meta.dirname, '..')
const { clean, to } = parseArgs({ options: { clean: { type: 'boolean' }, to: { type: 'string', default: root } } }).values
const list = join(to, 'npm-shrinkwrap.json')

if (clean === true) rmSync(list, { force: true })
else {
  compile(join(root, 'src'), join(to, 'dist'))
  writeFileSync(list, `${JSON.stringify(productionLock(readFileSync(join(root, 'package-lock.json'), 'utf8')), null, 2)}\n`)
}

function compile(from: string, target: string): void {
  rmSync(target, { recursive: true, force: true })
  for (const source of globSync('**/*.ts', { cwd: from, exclude: ['**/*.d.ts'] }).sort()) {
    const made = join(target, source.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(made), { recursive: true })
    writeFileSync(made, javascriptOf(readFileSync(join(from, source), 'utf8')))
  }
  copyNative(join(from, 'native'), join(target, 'native'))
}

/** The native cores that `npm run build-native` has made; without one the package does the same in JavaScript. */
function copyNative(from: string, target: string): void {
  const madeFrom = createHash('sha256').update(readFileSync(join(from, 'core.c'))).digest('hex')
  for (const name of globSync('*.node', { cwd: from }).sort()) {
    const binary = readFileSync(join(from, name))
    if (!binary.includes(`sealgate-native-core ${madeFrom}`)) throw new Error(`src/native/${name} was made from another core.c: npm run build-native`)
    writeFileSync(join(target, name), binary)
  }
}

function javascriptOf(typescript: string): string {
  const stripped = stripTypeScriptTypes(typescript, { mode: 'strip' })
  let renamed = stripped
  // Both endings have three characters: no position moves.
  for (const { end } of moduleNames(parse(stripped, { ecmaVersion: 'latest', sourceType: 'module', allowHashBang: true }))) {
    renamed = `${renamed.slice(0, end - '.ts\''.length)}.js${renamed.slice(end - 1)}`
  }
  return renamed
}

interface Literal extends Node {
  readonly value: string
}

/** The literals that name a module of ours: of imports and exports, and of `new URL('./…', import.meta.url)`. */
function moduleNames(node: Node): Literal[] {
  const { source, callee, arguments: parameters } = node as Node & { source?: Node; callee?: Node & { name?: string }; arguments?: Node[] }
  const named = source ?? (node.type === 'NewExpression' && callee?.name === 'URL' ? parameters?.[0] : undefined)
  const here = named !== undefined && isModuleName(named) ? [named] : []
  const children = Object.values(node).flat().filter((child): child is Node => typeof (child as Node | null)?.type === 'string')
  return [...here, ...children.flatMap(moduleNames)]
}

function isModuleName(node: Node): node is Literal {
  const { value } = node as Node & { value?: unknown }
  return node.type === 'Literal' && typeof value === 'string' && /^\.{1,2}\/.*\.ts$/.test(value)
}

interface Lock {
  readonly packages: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** The lock file without what only development needs: npm installs exactly these versions beside the package. */
function productionLock(text: string): object {
  const lock = JSON.parse(text) as Lock
  const { devDependencies, ...own } = lock.packages[''] ?? {}
  const kept = Object.entries(lock.packages).filter(([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true)
  return { ...lock, packages: { '': own, ...Object.fromEntries(kept) } }
}
