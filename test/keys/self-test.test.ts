import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createKeyring, editKeyring } from '../../src/keys/keyring-file.ts'
import { openKeyRegistry } from '../../src/keys/registry.ts'
import { KeySelfTest } from '../../src/keys/self-test.ts'
import type { AuditEvent } from '../../src/keys/types.ts'

const folder = await mkdtemp(join(tmpdir(), 'sealgate-self-test-'))
t.teardown(() => rm(folder, { recursive: true }))
const [good, off] = [join(folder, 'good.json'), join(folder, 'off.json')]
await createKeyring(good, 'good', new Date())
const { versions: [version] } = await createKeyring(off, 'off', new Date())
await editKeyring(off, (keyring) => keyring.withState(version?.id ?? '', 'disabled'))

const registry = await openKeyRegistry({
  keys: { good: { type: 'local', keyring: good }, off: { type: 'local', keyring: off } },
  cache: { maxAgeSeconds: 60, maxEntries: 10, maxUses: 10 },
  usedAt: () => [],
  audit: () => undefined
})
t.teardown(() => registry.close())

function event(change: Partial<AuditEvent>): AuditEvent {
  return {
    time: '2026-01-02T03:04:05.000Z',
    requestId: 'r',
    principal: 'p',
    sourceAddress: '',
    operation: 'PutObject',
    bucket: 'b',
    key: 'k',
    versionId: null,
    masterKeyId: registry.named('good')?.currentKeyId() ?? null,
    context: {},
    action: 'wrap',
    cached: true,
    outcome: 'ok',
    error: null,
    ...change
  }
}

await t.test('since when a key works, and since when it does not', async (t) => {
  const test = new KeySelfTest(registry)
  t.match(test.states, [{ key: 'good', ok: null, since: null }, { key: 'off', ok: null, since: null }])
  await test.run()
  const [first, second] = test.states
  t.match([first, second], [{ ok: true, since: /^\d{4}-.*Z$/ }, { ok: false, code: 'KMS.DisabledException', since: /^\d{4}-.*Z$/ }])
  await test.run()
  t.equal(test.states[1]?.since, second?.since, 'it still fails since then')
  test.used(event({ cached: false, outcome: 'failed', error: 'ServiceUnavailable' }))
  t.match(test.states[0], { ok: false, since: /Z$/ })
})

await t.test('uses by requests, and the last error', async (t) => {
  const test = new KeySelfTest(registry)
  t.same(test.usesOf('good'), { uses: 0, lastError: null })
  test.used(event({}))
  test.used(event({ cached: false, action: 'unwrap', outcome: 'failed', error: 'SealgateIntegrityError' }))
  test.used(event({ outcome: 'failed', error: 'Aborted' }))
  t.same(test.usesOf('good'), { uses: 3, lastError: { code: 'SealgateIntegrityError', at: '2026-01-02T03:04:05.000Z' } }, 'a client that leaves is no error')
  for (const other of [event({ action: 'refused' }), event({ operation: 'self-test' }), event({ masterKeyId: null }), event({ masterKeyId: 'ssec' })]) {
    test.used(other)
  }
  t.equal(test.usesOf('good').uses, 3, 'what is no use of it')
  t.same(test.usesOf('off'), { uses: 0, lastError: null })
})
