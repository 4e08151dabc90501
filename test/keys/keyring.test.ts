import { createSecretKey, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { takeKey } from '../../src/keys/key-material.ts'
import { Keyring, KeyringError, keyStates, type KeyState } from '../../src/keys/keyring.ts'

const at = new Date('2026-07-22T10:11:12.000Z')

await t.test('a created keyring has one enabled key of 32 bytes', async (t) => {
  const keyring = Keyring.create('main', at)
  const [version] = keyring.live
  t.equal(keyring.versions.length, 1)
  t.equal(version?.state, 'enabled')
  t.equal(version?.key.symmetricKeySize, 32)
  t.match(keyring.keyId(version!), /^local:main:20260722-[0-9a-f]{8}$/)
  t.equal(keyring.current(), version)
})

await t.test('rotation adds a new current version and retires the others', async (t) => {
  const first = Keyring.create('main', at)
  const second = first.rotate(at)
  t.same(second.versions.map((version) => version.state), ['decrypt-only', 'enabled'])
  t.equal(second.current(), second.versions[1])
  t.notOk(second.live[0]!.key.equals(second.live[1]!.key))
  t.same(first.versions.map((version) => version.state), ['enabled'], 'the old value is untouched')
})

await t.test('state machine: the newest enabled version wraps, after any history', async (t) => {
  type Step = { kind: 'rotate' } | { kind: 'state'; index: number; state: KeyState }
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.constant({ kind: 'rotate' as const }),
    fc.record({ kind: fc.constant('state' as const), index: fc.nat(), state: fc.constantFrom(...keyStates) })
  )
  let runs = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let keyring = Keyring.create('main', at)
      let model: KeyState[] = ['enabled']
      for (const each of steps) {
        if (each.kind === 'rotate') {
          keyring = keyring.rotate(at)
          model = [...model.map((state) => state === 'enabled' ? 'decrypt-only' as const : state), 'enabled']
        } else {
          const index = each.index % model.length
          keyring = keyring.withState(keyring.versions[index]!.id, each.state)
          model[index] = each.state
        }
        const reread = Keyring.parse(keyring.serialize())
        if (JSON.stringify(reread.versions.map((version) => version.state)) !== JSON.stringify(model)) return false
        if (!reread.live.every((version, i) => version.key.equals(keyring.live[i]!.key))) return false
        const expected = model.lastIndexOf('enabled')
        if (reread.current() !== (expected === -1 ? null : reread.versions[expected])) return false
        runs += 1
      }
      return true
    }),
    { numRuns: 200 }
  )
  t.ok(runs > 200)
  t.comment(`${runs} keyring states checked against the model`)
})

const good = (): Record<string, unknown> => ({
  name: 'main',
  keys: [{ id: 'v1', state: 'enabled', key: randomBytes(32).toString('base64'), created: '2026-07-22T10:11:12Z' }]
})
const firstKey = (value: Record<string, unknown>): Record<string, unknown> => (value['keys'] as Record<string, unknown>[])[0]!

await t.test('malformed keyrings are refused, and no message quotes a key', async (t) => {
  t.equal(Keyring.parse(Buffer.from(JSON.stringify(good()))).versions.length, 1, 'the pattern of the rows below is good')
  const rows: [string, (value: Record<string, unknown>) => unknown][] = [
    ['array', () => []],
    ['null', () => null],
    ['no name', (value) => ({ keys: value['keys'] })],
    ['name with a colon', (value) => ({ ...value, name: 'a:b' })],
    ['empty name', (value) => ({ ...value, name: '' })],
    ['long name', (value) => ({ ...value, name: 'a'.repeat(33) })],
    ['no keys', (value) => ({ ...value, keys: [] })],
    ['keys not an array', (value) => ({ ...value, keys: {} })],
    ['realm not a text', (value) => ({ ...value, realm: 1 })],
    ['empty realm', (value) => ({ ...value, realm: '' })],
    ['realm with a colon', (value) => ({ ...value, realm: 'a:b' })],
    ['long realm', (value) => ({ ...value, realm: 'a'.repeat(64) })],
    ['unknown field', (value) => ({ ...value, more: 1 })],
    ['unknown field of a key', (value) => ({ ...value, keys: [{ ...firstKey(value), more: 1 }] })],
    ['unknown state', (value) => ({ ...value, keys: [{ ...firstKey(value), state: 'Enabled' }] })],
    ['id missing', (value) => ({ ...value, keys: [{ ...firstKey(value), id: undefined }] })],
    ['id with a colon', (value) => ({ ...value, keys: [{ ...firstKey(value), id: 'a:b' }] })],
    ['created missing', (value) => ({ ...value, keys: [{ ...firstKey(value), created: undefined }] })],
    ['created not a time', (value) => ({ ...value, keys: [{ ...firstKey(value), created: 'yesterday' }] })],
    ['zero key', (value) => ({ ...value, keys: [{ ...firstKey(value), key: Buffer.alloc(32).toString('base64') }] })],
    ['31 bytes', (value) => ({ ...value, keys: [{ ...firstKey(value), key: Buffer.alloc(31, 1).toString('base64') }] })],
    ['33 bytes', (value) => ({ ...value, keys: [{ ...firstKey(value), key: Buffer.alloc(33, 1).toString('base64') }] })],
    ['base64url', (value) => ({ ...value, keys: [{ ...firstKey(value), key: Buffer.alloc(32, 0xff).toString('base64url') }] })],
    ['key missing', (value) => ({ ...value, keys: [{ ...firstKey(value), key: undefined }] })],
    ['destroyed with a key', (value) => ({ ...value, keys: [{ ...firstKey(value), state: 'destroyed', destroyed: '2026-07-22T10:11:12Z' }] })],
    ['destroyed without a time', (value) => ({ ...value, keys: [{ ...firstKey(value), state: 'destroyed', key: undefined }] })],
    ['destroyed not a time', (value) => ({ ...value, keys: [{ ...firstKey(value), state: 'destroyed', key: undefined, destroyed: 'now' }] })],
    ['enabled with a time of destruction', (value) => ({ ...value, keys: [{ ...firstKey(value), destroyed: '2026-07-22T10:11:12Z' }] })],
    ['same id twice', (value) => ({ ...value, keys: [firstKey(value), firstKey(good())].map((key) => ({ ...key, id: 'v1' })) })],
    ['same key twice', (value) => ({ ...value, keys: [firstKey(value), { ...firstKey(value), id: 'v2' }] })]
  ]
  for (const [name, damage] of rows) {
    const value = good()
    const text = JSON.stringify(damage(value))
    try {
      Keyring.parse(Buffer.from(text))
      t.fail(name)
    } catch (error) {
      t.ok(error instanceof KeyringError && !error.message.includes(String(firstKey(value)['key'])), `${name}: ${String(error)}`)
    }
  }
  t.throws(() => Keyring.parse(Buffer.from('{"key": "c2VjcmV0"')), { message: 'The keyring is not JSON.' })
})

await t.test('bytes are zeroed once they are keys', async (t) => {
  const text = Buffer.from(JSON.stringify(good()))
  Keyring.parse(text)
  t.ok(text.every((byte) => byte === 0), 'the file')
  for (const [bytes, accepted] of [[randomBytes(32), true], [randomBytes(31), false], [Buffer.alloc(32), false]] as const) {
    t.equal(takeKey(bytes) !== null, accepted)
    t.ok(bytes.every((byte) => byte === 0), 'the key bytes')
  }
  const source = Buffer.alloc(32, 7)
  t.ok(takeKey(source)?.equals(createSecretKey(Buffer.alloc(32, 7))), 'the KeyObject keeps its own copy')
})

await t.test('a destroyed keyring keeps its ids and no key, through the file', async (t) => {
  const before = Keyring.create('main', at, 'eu-1').rotate(at)
  const after = Keyring.parse(before.destroyed(at).serialize())
  t.strictSame(after.versions.map(({ id }) => id), before.versions.map(({ id }) => id))
  t.strictSame([after.live, after.current(), after.realm], [[], null, 'eu-1'])
  for (const { key } of before.live) t.notMatch(after.serialize().toString(), key.export().toString('base64'))
  t.throws(() => after.withState(before.versions[0]!.id, 'enabled'), /was destroyed at/)
  t.equal(after.rotate(at).current()?.state, 'enabled', 'a new version seals again, and opens nothing older')
  t.strictSame(after.destroyed(new Date(0)).versions, after.versions, 'the time of the first destruction stays')
})

await t.test('of a changed file only what takes a key away holds without a reload', async (t) => {
  const running = Keyring.create('main', at).rotate(at).rotate(at)
  const [first, second, third] = running.versions.map(({ id }) => id) as [string, string, string]
  const states = (file: Keyring): unknown[] => running.restrictedBy(file).versions.map(({ state }) => state)
  t.strictSame(states(running.withState(first, 'disabled')), ['disabled', 'decrypt-only', 'enabled'])
  t.strictSame(states(running.withState(third, 'decrypt-only')), ['decrypt-only', 'decrypt-only', 'enabled'], 'else nothing would be left to seal with')
  t.strictSame(states(running.withState(second, 'enabled')), ['decrypt-only', 'decrypt-only', 'enabled'])
  t.strictSame(states(running.rotate(at)), ['decrypt-only', 'decrypt-only', 'enabled'])
  t.strictSame(states(running.destroyed(at)), ['destroyed', 'destroyed', 'destroyed'])
  t.strictSame(running.destroyed(at).restrictedBy(running).live, [], 'an older file brings nothing back')
})

await t.test('a state is changed only of a version that exists', async (t) => {
  t.throws(() => Keyring.create('main', at).withState('nope', 'disabled'), KeyringError)
})

await t.test('a keyring keeps its realm through every change, and serves no other', async (t) => {
  const first = Keyring.create('main', at, 'eu-1')
  const changes = [first, first.rotate(at), first.withState(first.versions[0]!.id, 'disabled'), Keyring.parse(first.serialize())]
  for (const keyring of changes) {
    t.equal(keyring.realm, 'eu-1')
    t.doesNotThrow(() => {
      keyring.requireRealms(['eu-1', 'eu-1'])
    })
    t.throws(() => {
      keyring.requireRealms(['eu-2'])
    }, { name: 'KeyringError', message: /Keyring main is of realm eu-1, and upstream\.realm is eu-2\./ })
    t.throws(() => {
      keyring.requireRealms(['eu-1', 'eu-2'])
    }, { message: /stores of its buckets are of the realms eu-1, eu-2\..*set-realm/ })
  }
  const none = first.withRealm(null)
  t.equal(none.realm, null)
  t.notOk(none.serialize().includes('realm'))
  t.doesNotThrow(() => {
    none.requireRealms(['anything', 'else'])
  })
})
