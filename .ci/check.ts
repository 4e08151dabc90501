// What `npm run check` does: types and style of every file (docs/decisions/0002-lint-bans.md), its format, and that every export, file and
// dependency is used. Prints what is wrong; exit code 1 if anything is.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import process from 'node:process'

const places = ['src', 'test', 'bench', 'docs/generate', '.ci']
const steps: readonly (readonly [program: string, ...rest: string[]])[] = [
  ['node_modules/.bin/oxlint', '--config', '.ci/oxlint.json', '--type-aware', '--type-check', '--report-unused-disable-directives', ...places],
  ['node_modules/.bin/knip', '--config', '.ci/knip.json', '--no-progress'],
  [process.execPath, '.ci/format.ts', '--check']
]

// The linter's type checker is a Go program that lives for seconds: collecting its garbage is a fifth of its work, and keeping it takes about 1 GiB.
const env = { ...process.env, GOGC: 'off', GOMEMLIMIT: '3GiB' }

const codes = await Promise.all(steps.map(async ([program, ...rest]) => {
  const child = spawn(program, rest, { stdio: 'inherit', env })
  child.on('error', (error) => process.stderr.write(`${program} cannot be run: ${error.message}\n`))
  const [code] = await once(child, 'close') as [number | null]
  return code
}))
if (codes.some((code) => code !== 0)) process.exitCode = 1
