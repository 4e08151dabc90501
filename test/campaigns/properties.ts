// Every property with many times the random cases that npm test tries: what fails once in hundreds of runs there is found here.
// node test/campaigns/properties.ts [times, 10] [test file…]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

const root = join(import.meta.dirname, '..', '..')
const [times = '10', ...named] = process.argv.slice(2)
const holdsProperties = (file: string): boolean => readFileSync(join(root, file), 'utf8').includes(`from 'fast-check'`)
const files = named.length > 0 ? named : globSync('test/**/*.test.ts', { cwd: root }).filter(holdsProperties).sort()
const child = spawn(process.execPath, ['--import', import.meta.resolve('../support/more-cases.ts'), 'test/run.ts', ...files], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, SEALGATE_TEST_CASES: times }
})
const [code] = await once(child, 'exit') as [number | null]
process.exitCode = code ?? 1
