// Every combination of which npm test takes some by turns (test/support/by-turns.ts), in the files that do so.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

const root = join(import.meta.dirname, '..', '..')
const files = globSync('test/**/*.test.ts', { cwd: root }).filter((file) => readFileSync(join(root, file), 'utf8').includes('support/by-turns.ts')).sort()
const child = spawn(process.execPath, ['test/run.ts', ...files], { cwd: root, stdio: 'inherit', env: { ...process.env, SEALGATE_TEST_FULL: '1' } })
const [code] = await once(child, 'exit') as [number | null]
process.exitCode = code ?? 1
