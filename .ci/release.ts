// What `npm run release` does: compiles the native core for each platform that has a compiler here, packs twice and compares the bytes, and writes into
// `release` the package, the Helm chart, the parts of the package as CycloneDX, an in-toto statement (SLSA provenance 1.0) of how both were made, and
// SHA256SUMS. The statement is not signed: who publishes signs it, or SHA256SUMS, with a key of theirs.
// Two runs at one commit with the same compilers make the same bytes, but for the version of npm in them.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

const root = join(import.meta.dirname, '..')
const out = join(root, 'release')

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, stdio: ['ignore', 'pipe', 'inherit'] }).trim()
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** @returns the name of the package and its digest. */
function pack(): { readonly file: string; readonly digest: string } {
  const file = run('npm', 'pack', '--silent').split('\n').at(-1) ?? ''
  renameSync(join(root, file), join(out, file))
  return { file, digest: sha256(join(out, file)) }
}

function write(name: string, content: object): string {
  writeFileSync(join(out, name), `${JSON.stringify(content, null, 2)}\n`)
  return name
}

rmSync(out, { recursive: true, force: true })
mkdirSync(out)
if (run('git', 'status', '--porcelain') !== '') {
  throw new Error('there are changes that are not committed: the package would name a commit that it is not made from')
}
const commit = run('git', 'rev-parse', 'HEAD')
const committed = new Date(run('git', 'show', '--no-patch', '--format=%cI', 'HEAD')).toISOString()
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly version: string }

run(process.execPath, '.ci/native.ts')
const first = pack()
const { file, digest } = pack()
if (digest !== first.digest) throw new Error(`two packages of one commit differ: ${first.digest} and ${digest}`)

// Another name than that of the package: both would be sealgate-VERSION.tgz.
const chart = `sealgate-chart-${version}.tgz`
run(process.execPath, '.ci/pack-chart.ts', join(out, chart))

const sbom = JSON.parse(run('npm', 'sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev', '--package-lock-only')) as {
  readonly metadata: { readonly component: object }
  readonly components: object[]
}
// npm makes up a number and a time: both come from the content here.
const id = createHash('sha256').update(JSON.stringify(sbom.components)).digest('hex')
const serialNumber = `urn:uuid:${id.slice(0, 8)}-${id.slice(8, 12)}-8${id.slice(13, 16)}-8${id.slice(17, 20)}-${id.slice(20, 32)}`
const component = { ...sbom.metadata.component, type: 'application', name: 'sealgate', hashes: [{ alg: 'SHA-256', content: digest }] }
const sbomFile = write(`sealgate-${version}.cdx.json`, { ...sbom, serialNumber, metadata: { ...sbom.metadata, timestamp: committed, component } })

const statementFile = write(`sealgate-${version}.intoto.json`, {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: file, digest: { sha256: digest } }, { name: chart, digest: { sha256: sha256(join(out, chart)) } }],
  predicateType: 'https://slsa.dev/provenance/v1',
  predicate: {
    buildDefinition: {
      buildType: 'npm run release',
      externalParameters: {},
      internalParameters: { node: process.versions.node, npm: run('npm', '--version') },
      resolvedDependencies: [{ name: 'sealgate', digest: { gitCommit: commit } }, {
        name: 'package-lock.json',
        digest: { sha256: sha256(join(root, 'package-lock.json')) }
      }]
    },
    runDetails: { builder: { id: 'npm run release' }, metadata: { invocationId: commit } }
  }
})
writeFileSync(join(out, 'SHA256SUMS'), [file, chart, sbomFile, statementFile].map((name) => `${sha256(join(out, name))}  ${name}\n`).join(''))
process.stdout.write(`${readFileSync(join(out, 'SHA256SUMS'), 'utf8')}${sbom.components.length} parts, commit ${commit}\n`)
