import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { describeStores } from '../../src/cli/start-up.ts'
import { parseConfig } from '../../src/config/load.ts'
import type { Log } from '../../src/observe/log.ts'
import { startTestStore } from '../support/hostile.ts'
import { startNarrowStore, type Limits } from '../support/narrow-store.ts'

await t.test('one line of the log says what the store is, what is missing, and which settings do not fit', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'sealgate-start-'))
  const store = await startTestStore({ buckets: ['sealgate-state'] })
  t.teardown(async () => {
    await store.close()
    await rm(directory, { recursive: true })
  })
  const lineOf = async (limits: Limits, signal: AbortSignal): Promise<readonly unknown[]> => {
    const front = await startNarrowStore(store, limits)
    const { endpoint, region, accessKeyId, secretAccessKey } = front
    const config = parseConfig(
      JSON.stringify({
        upstream: { endpoint, region, accessKeyId, secretAccessKey },
        clients: [{ accessKeyId: 'A', secretAccessKey: 'a-secret-of-some-length' }],
        keys: { main: { type: 'local', keyring: './keyring.json' } }
      }),
      { file: join(directory, 'sealgate.yaml'), env: {} }
    )
    const lines: unknown[] = []
    const log: Pick<Log, 'event'> = {
      event: (...line) => {
        lines.push(line)
      }
    }
    await describeStores(config, log, signal)
    await front.close()
    return lines
  }
  const never = new AbortController().signal
  t.match(await lineOf({}, never), [['info', 'store', { store: 'upstream', missing: '', settings: '' }]])
  const narrow = await lineOf({ metadataBytes: 1024, maxParts: 1000, lacks: ['multiDelete'] }, never)
  t.match(narrow, [['warn', 'store', {
    missing: /bytes of user metadata: 1024; highest part number: 1000 .*; DeleteObjects: 501 NotImplemented/,
    settings: 'upstream.metadataBytes: 1024; upstream.maxParts: 1000; upstream.lacks: [multiDelete]'
  }]])
  t.same(await lineOf({}, AbortSignal.abort(new Error('stops'))), [], 'a stop leaves it out')
  t.same([store.keys('sealgate-state'), store.uploads('sealgate-state')], [[], 0], 'nothing is left')
})
