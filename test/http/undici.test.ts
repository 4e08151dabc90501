import t from 'tap'
import * as index from 'undici'
import { buildConnector, Client, errors, Pool } from '../../src/http/undici.ts'

await t.test('what the door has is what the index of the package has', async (t) => {
  t.equal(Client, index.Client)
  t.equal(Pool, index.Pool)
  t.equal(buildConnector, index.buildConnector)
  t.equal(errors, index.errors)
})
