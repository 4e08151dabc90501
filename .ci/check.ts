// What `npm run check` does: types and style of every file, from one program (docs/decisions/0002-lint-bans.md). Prints what is wrong;
// exit code 1 if anything is.
import { spawnSync } from 'node:child_process'
import process from 'node:process'

const places = ['src', 'test', 'bench', 'docs/generate', '.ci']
const { status, error } = spawnSync('node_modules/.bin/oxlint', ['--config', '.ci/oxlint.json', '--type-aware', '--type-check', '--report-unused-disable-directives', ...places], { stdio: 'inherit' })
if (error !== undefined) process.stderr.write(`oxlint cannot be run: ${error.message}\n`)
process.exitCode = status ?? 1
