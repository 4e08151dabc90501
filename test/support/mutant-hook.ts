// Loads one file of src with one change, which the variable MUTANT of the environment names; loaded with --import by the processes of
// test/campaigns/mutation.ts, and by the processes and workers that they start. CPU_LOG names a file that every process adds its CPU time to.
import { appendFileSync, readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

/** Where in which file which text stands in place of what was there. */
export interface Change {
  readonly url: string
  readonly start: number
  readonly end: number
  readonly text: string
}

if (process.env['MUTANT'] !== undefined) {
  const { url, start, end, text } = JSON.parse(process.env['MUTANT']) as Change
  registerHooks({
    load(loaded, context, nextLoad) {
      const result = nextLoad(loaded, context)
      if (loaded !== url) return result
      const source = readFileSync(fileURLToPath(url), 'utf8')
      return { ...result, source: source.slice(0, start) + text + source.slice(end) }
    }
  })
}

const log = process.env['CPU_LOG']
if (log !== undefined) {
  process.once('exit', () => {
    const { user, system } = process.cpuUsage()
    appendFileSync(log, `${user + system}\n`)
  })
}
