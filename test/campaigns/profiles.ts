// Twelve providers × five clients, in front of one store or of several: aws, rclone, mc, s3cmd and restic through the gateway, whose store has the
// limits of each provider in turn (test/e2e/narrow.sh, test/support/narrow-profiles.ts).
//   npm run campaign profiles                           in front of the embedded store
//   npm run campaign profiles -- minio radosgw          in front of the stores that test/e2e/stores/NAME.sh start
//   npm run campaign profiles -- minio --only r2,b2     some providers
// Prints a table for each store. Ends with 1 when a step failed or a client is not installed: a cell that was not tried is not green.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: 'string' } } })
const e2e = join(import.meta.dirname, '../e2e')
const narrow = join(e2e, 'narrow.sh')
const env = { ...process.env, ...values.only === undefined ? {} : { PROVIDERS: values.only.replaceAll(',', ' ') } }
let red = 0
for (const store of positionals.length === 0 ? ['embedded'] : positionals) {
  process.stdout.write(`in front of ${store}\n`)
  const child = spawn(store === 'embedded' ? narrow : join(e2e, 'stores', `${store}.sh`), store === 'embedded' ? [] : [narrow], {
    env,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit') as Promise<[number | null]>
  let missing = 0
  for await (const line of createInterface(child.stdout)) {
    process.stdout.write(`${line}\n`)
    missing += line.split('not installed').length - 1
  }
  const [code] = await ended
  if (code !== 0 || missing > 0) red += 1
  if (missing > 0) process.stdout.write(`${missing} cells were not tried\n`)
}
process.exitCode = red === 0 ? 0 : 1
