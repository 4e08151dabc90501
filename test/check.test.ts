// Types, style, format and unused code, counted with the tests.
import { execFile } from 'node:child_process'
import process from 'node:process'
import { promisify } from 'node:util'
import t from 'tap'

void t.test('the check finds nothing', async (t) => {
  await t.resolves(promisify(execFile)(process.execPath, ['.ci/check.ts']))
})
