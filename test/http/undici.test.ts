import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import * as index from 'undici'
import { buildConnector, Client, errors, Pool } from '../../src/http/undici.ts'

await t.test('what the door has is what the index of the package has', async (t) => {
  t.equal(Client, index.Client)
  t.equal(Pool, index.Pool)
  t.equal(buildConnector, index.buildConnector)
  t.equal(errors, index.errors)
})

await t.test('regression: requests of the key services work where nothing has loaded the index', async (t) => {
  const door = new URL('../../src/http/undici.ts', import.meta.url).href
  const program = `const { Client, Pool } = await import('${door}'); console.log(typeof Client.prototype.request, typeof Pool.prototype.request)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', '--input-type=module', '--eval', program])
  t.equal(stdout, 'function function\n')
})
