import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { withAudit } from '../../src/keys/audited-provider.ts'
import { withBucketKeyCache } from '../../src/keys/configured-key.ts'
import type { AuditEvent, BucketKey, CachingKeyProvider, KeyContext, KeyProvider, KeyUse, WrappedBucketKey } from '../../src/keys/types.ts'
import { keyContext, keyUse, otherContexts } from './support.ts'
import { codeOf } from '../support/error-code.ts'

/** An in-memory provider that counts, can fail, and can be held until the test lets it go. */
class CountingProvider implements KeyProvider {
  calls: string[] = []
  signals: AbortSignal[] = []
  failure: Error | null = null
  hold: Promise<void> | null = null
  readonly #keys = new Map<string, { key: KeyObject; context: string }>()

  async generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    await this.#begin('generate', use)
    return this.#wrap(createSecretKey(randomBytes(32)), context)
  }

  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    await this.#begin('unwrap', use)
    const found = this.#keys.get(wrapped.blob.toString('hex'))
    if (found?.context !== JSON.stringify(context)) throw new S3Error('SealgateIntegrityError')
    return found.key
  }

  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    await this.#begin('rewrap', use)
    const found = this.#keys.get(wrapped.blob.toString('hex'))
    if (found?.context !== JSON.stringify(from)) throw new S3Error('SealgateIntegrityError')
    return this.#wrap(found.key, to).wrapped
  }

  async selfTest(): Promise<void> {
    this.calls.push('selfTest')
  }

  owns(keyId: string): boolean {
    return keyId === 'counting'
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId)
  }

  async #begin(name: string, use: KeyUse): Promise<void> {
    this.calls.push(name)
    this.signals.push(use.signal)
    if (this.hold !== null) await this.hold
    use.signal.throwIfAborted()
    if (this.failure !== null) throw this.failure
  }

  #wrap(key: KeyObject, context: KeyContext): BucketKey {
    const blob = randomBytes(16)
    this.#keys.set(blob.toString('hex'), { key, context: JSON.stringify(context) })
    return { key, wrapped: { keyId: 'counting', blob } }
  }
}

interface Bench {
  readonly provider: CountingProvider
  readonly cache: CachingKeyProvider
  /** The cache as the gateway uses it. */
  readonly keys: KeyProvider
  readonly clock: { ms: number }
  readonly audit: AuditEvent[]
}

function bench(change: { maxAgeSeconds?: number; maxEntries?: number; maxUses?: number } = {}): Bench {
  const provider = new CountingProvider()
  const clock = { ms: 1_000_000 }
  const audit: AuditEvent[] = []
  const cache = withBucketKeyCache(provider, { maxAgeSeconds: 300, maxEntries: 1000, maxUses: 1_000_000, ...change, now: () => clock.ms })
  const keys = withAudit(cache, { sink: (event) => audit.push(event), now: () => new Date(clock.ms), currentKeyId: () => 'counting' })
  return { provider, cache, keys, clock, audit }
}

const cachedOf = (audit: readonly AuditEvent[]): number => audit.filter(({ cached }) => cached).length

const context = keyContext({ requestContext: { a: '1' } })

await t.test('10,000 writes and reads of one bucket cost one call', async (t) => {
  const { provider, keys, audit } = bench()
  for (let i = 0; i < 10_000; i++) {
    const { key, wrapped } = await keys.generate(context, keyUse())
    if (await keys.unwrap(wrapped, context, keyUse()) !== key) throw new Error('another key')
  }
  t.same(provider.calls, ['generate'])
  t.equal(cachedOf(audit), 19_999)
  t.comment(`20,000 key uses, ${provider.calls.length} call of the key service`)
})

await t.test('the audit trail shows for each call whether the key service was called', async (t) => {
  const { keys, audit } = bench({ maxUses: 2 })
  const use = keyUse()
  const made = [await keys.generate(context, use), await keys.generate(context, use), await keys.generate(context, use)]
  await keys.unwrap(made[2]!.wrapped, context, use)
  for (let i = 0; i < 2; i += 1) await keys.rewrap(made[0]!.wrapped, context, keyContext({ bucket: 'copy' }), use)
  const gone = keyUse({ signal: AbortSignal.abort() })
  await codeOf(keys.unwrap(made[0]!.wrapped, context, gone))
  t.same(
    audit.map(({ action, cached, error }) => [action, cached, error]),
    [
      ['generate', false, null],
      ['wrap', true, null],
      ['generate', false, null],
      ['unwrap', true, null],
      ['rewrap', false, null],
      ['rewrap', true, null],
      ['unwrap', false, 'Aborted']
    ]
  )
})

await t.test('one wrap per object where the context names the object, or one use is allowed', async (t) => {
  const perObject = bench()
  for (let i = 0; i < 5; i++) await perObject.keys.generate(keyContext({ objectKey: 'k' }), keyUse())
  t.equal(perObject.provider.calls.length, 5)
  const single = bench({ maxUses: 1 })
  for (let i = 0; i < 5; i++) await single.keys.generate(context, keyUse())
  t.equal(single.provider.calls.length, 5)
})

await t.test('a bucket key serves exactly maxUses objects, however they crowd', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 9 }), fc.integer({ min: 1, max: 60 }), async (maxUses, objects) => {
      const { provider, keys } = bench({ maxUses })
      const made = await Promise.all(Array.from({ length: objects }, () => keys.generate(context, keyUse())))
      const uses = new Map<KeyObject, number>()
      for (const { key } of made) uses.set(key, (uses.get(key) ?? 0) + 1)
      return provider.calls.length === Math.ceil(objects / maxUses) && [...uses.values()].every((count) => count <= maxUses)
    }),
    { numRuns: 100 }
  )
  t.pass('100 combinations')
})

await t.test('age counts from the call and is not stretched by use', async (t) => {
  const { provider, keys, clock } = bench({ maxAgeSeconds: 300 })
  const first = await keys.generate(context, keyUse())
  clock.ms += 299_999
  t.equal((await keys.generate(context, keyUse())).key, first.key)
  await keys.unwrap(first.wrapped, context, keyUse())
  t.same(provider.calls, ['generate'])
  clock.ms += 1
  t.not((await keys.generate(context, keyUse())).key, first.key)
  await keys.unwrap(first.wrapped, context, keyUse())
  t.same(provider.calls, ['generate', 'generate', 'unwrap'])
})

await t.test('the age of a slow call counts from its start', async (t) => {
  const { provider, keys, clock } = bench({ maxAgeSeconds: 10 })
  let release = (): void => undefined
  provider.hold = new Promise((resolve) => {
    release = resolve
  })
  const slow = keys.generate(context, keyUse())
  clock.ms += 4000
  release()
  const { wrapped } = await slow
  provider.hold = null
  clock.ms += 6000
  await keys.unwrap(wrapped, context, keyUse())
  await keys.generate(context, keyUse())
  t.same(provider.calls, ['generate', 'unwrap', 'generate'])
})

await t.test('keys leave memory at their age, asked for or not', async (t) => {
  const { cache, keys, clock } = bench({ maxAgeSeconds: 300 })
  const { wrapped } = await keys.generate(context, keyUse())
  await keys.rewrap(wrapped, context, keyContext({ bucket: 'copy' }), keyUse())
  t.equal(cache.size, 3)
  clock.ms += 300_000
  cache.sweep()
  t.equal(cache.size, 0)
})

await t.test('every field of the context, the key id and the blob take part in the lookup', async (t) => {
  const { provider, keys } = bench()
  const { wrapped } = await keys.generate(context, keyUse())
  for (const other of otherContexts) {
    provider.calls = []
    t.equal(await codeOf(keys.unwrap(wrapped, other, keyUse())), 'SealgateIntegrityError', JSON.stringify(other))
    t.equal(await codeOf(keys.rewrap(wrapped, other, context, keyUse())), 'SealgateIntegrityError')
    t.not((await keys.generate(other, keyUse())).wrapped, wrapped)
    t.same(provider.calls, ['unwrap', 'rewrap', 'generate'])
  }
  provider.calls = []
  await keys.unwrap({ ...wrapped, keyId: 'other' }, context, keyUse())
  t.equal(await codeOf(keys.unwrap({ ...wrapped, blob: Buffer.alloc(16) }, context, keyUse())), 'SealgateIntegrityError')
  t.same(provider.calls, ['unwrap', 'unwrap'])
  provider.calls = []
  await keys.unwrap(wrapped, keyContext({ requestContext: { a: '1' } }), keyUse())
  t.same(provider.calls, [], 'an equal context is the same one')
})

await t.test('contexts of the same text in other fields are other contexts', async (t) => {
  const { provider, keys } = bench()
  let made = 0
  const pairsOfText = fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(pairsOfText, fc.string(), fc.string(), async (pairs, realm, bucket) => {
      const requestContext = Object.fromEntries(pairs)
      const left = keyContext({ realm, bucket, requestContext })
      const right = keyContext({ realm: `${realm}"`, bucket, requestContext })
      const [a, b] = [await keys.generate(left, keyUse()), await keys.generate(right, keyUse())]
      made += 1
      return a.key !== b.key
    }),
    { numRuns: 200 }
  )
  t.ok(made >= 200 && provider.calls.length > made)
})

await t.test('one call at a time per key for all callers', async (t) => {
  const { provider, cache, keys, audit } = bench()
  const { wrapped } = await keys.generate(context, keyUse())
  cache.clear()
  provider.calls = []
  audit.length = 0
  const opened = await Promise.all(Array.from({ length: 100 }, () => keys.unwrap(wrapped, context, keyUse())))
  t.same(provider.calls, ['unwrap'])
  t.equal(new Set(opened).size, 1)
  t.equal(cachedOf(audit), 99, 'all but the one that asked')
})

await t.test('a caller that leaves does not stop the others; the last one does', async (t) => {
  const { provider, cache, keys } = bench()
  const { wrapped } = await keys.generate(context, keyUse())
  cache.clear()
  let release = (): void => undefined
  provider.hold = new Promise((resolve) => {
    release = resolve
  })
  const leavers = Array.from({ length: 3 }, () => new AbortController())
  const waiting = leavers.map((leaver) => keys.unwrap(wrapped, context, keyUse({ signal: leaver.signal })))
  const stayer = keys.unwrap(wrapped, context, keyUse())
  for (const leaver of leavers) leaver.abort(new Error('gone'))
  for (const each of waiting) await t.rejects(each, { message: 'gone' })
  t.notOk(provider.signals.at(-1)?.aborted)
  release()
  t.ok(await stayer)

  cache.clear()
  provider.hold = new Promise((resolve) => {
    release = resolve
  })
  const last = new AbortController()
  const alone = keys.unwrap(wrapped, context, keyUse({ signal: last.signal }))
  last.abort(new Error('gone'))
  await t.rejects(alone, { message: 'gone' })
  t.ok(provider.signals.at(-1)?.aborted, 'nobody waits: the call is stopped')
  release()
  provider.hold = null
  t.ok(await keys.unwrap(wrapped, context, keyUse()), 'and its failure is not remembered')
})

await t.test('lasting refusals are repeated from memory for 5 s, passing ones for 1 s', async (t) => {
  for (
    const [failure, seconds] of [
      [new S3Error('KMS.DisabledException'), 5],
      [new S3Error('AccessDenied'), 5],
      [new S3Error('SealgateIntegrityError'), 5],
      [new S3Error('ServiceUnavailable'), 1],
      [new S3Error('SlowDown'), 1],
      [new TypeError('a fault of ours'), 1]
    ] as const
  ) {
    const { provider, cache, keys, clock, audit } = bench()
    const { wrapped } = await keys.generate(context, keyUse())
    cache.clear()
    provider.calls = []
    provider.failure = failure
    for (let i = 0; i < 10; i++) {
      t.equal(await keys.unwrap(wrapped, context, keyUse()).catch((error: unknown) => error), failure)
      t.equal(await keys.generate(context, keyUse()).catch((error: unknown) => error), failure)
    }
    t.same(provider.calls, ['unwrap', 'generate'], failure.message)
    t.equal(cachedOf(audit), 18, 'refusals from memory are told as such')
    clock.ms += seconds * 1000 - 1
    await codeOf(keys.unwrap(wrapped, context, keyUse()))
    t.equal(provider.calls.length, 2)
    clock.ms += 1
    provider.failure = null
    t.ok(await keys.unwrap(wrapped, context, keyUse()), 'works again')
  }
})

await t.test('an outage of 60 s costs one call a second per key, and cached keys go on', async (t) => {
  const { provider, keys, clock } = bench()
  const cached = await keys.generate(context, keyUse())
  provider.failure = new S3Error('ServiceUnavailable')
  const cold = { keyId: 'counting', blob: Buffer.alloc(16, 1) }
  provider.calls = []
  for (let ms = 0; ms < 60_000; ms += 10) {
    clock.ms += 10
    await codeOf(keys.unwrap(cold, context, keyUse()))
    if (await keys.unwrap(cached.wrapped, context, keyUse()) !== cached.key) throw new Error('the cached key is gone')
  }
  t.ok(provider.calls.length <= 60, `${provider.calls.length} calls`)
  t.comment(`6,000 reads in a 60 s outage, ${provider.calls.length} calls of the key service`)
})

await t.test('entries are bounded, the least used goes first, and junk does not push out keys', async (t) => {
  const { provider, cache, keys } = bench({ maxEntries: 3 })
  const made: WrappedBucketKey[] = []
  const contexts = ['a', 'b', 'c', 'd'].map((bucket) => keyContext({ bucket }))
  for (const each of contexts.slice(0, 3)) made.push((await keys.generate(each, keyUse())).wrapped)
  await keys.unwrap(made[0]!, contexts[0]!, keyUse())
  made.push((await keys.generate(contexts[3]!, keyUse())).wrapped)
  provider.calls = []
  for (const i of [0, 2, 3]) await keys.unwrap(made[i]!, contexts[i]!, keyUse())
  t.same(provider.calls, [])
  await keys.unwrap(made[1]!, contexts[1]!, keyUse())
  t.same(provider.calls, ['unwrap'], 'the one longest unused was dropped')

  for (let i = 0; i < 1000; i++) await codeOf(keys.unwrap({ keyId: 'counting', blob: randomBytes(16) }, context, keyUse()))
  t.ok(cache.size <= 3 * 2 * 3, `${cache.size} entries`)
  provider.calls = []
  await keys.unwrap(made[3]!, contexts[3]!, keyUse())
  t.same(provider.calls, [])
})

await t.test('clear forgets keys, failures, and what is on its way', async (t) => {
  const { provider, cache, keys } = bench()
  let release = (): void => undefined
  provider.hold = new Promise((resolve) => {
    release = resolve
  })
  const before = keys.generate(context, keyUse())
  cache.clear()
  release()
  const old = await before
  provider.hold = null
  const fresh = await keys.generate(context, keyUse())
  t.not(fresh.key, old.key, 'a key asked for before the clear is not used after it')
  provider.calls = []
  await keys.unwrap(old.wrapped, context, keyUse())
  t.same(provider.calls, ['unwrap'], 'nor does it open anything from memory')
  provider.failure = new S3Error('KMS.DisabledException')
  cache.clear()
  t.equal(await codeOf(keys.unwrap(fresh.wrapped, context, keyUse())), 'KMS.DisabledException')
  provider.failure = null
  cache.clear()
  t.ok(await keys.unwrap(fresh.wrapped, context, keyUse()))
  t.ok(keys.owns('counting'))
  await keys.selfTest()
})

await t.test('regression: a client with ever new contexts evicts only its own keys', async (t) => {
  const { provider, cache, keys } = bench({ maxEntries: 20, maxUses: 1000 })
  const use = (principal: string): KeyUse => ({ ...keyUse(), principal })
  const mine = await keys.generate(keyContext(), use('quiet'))
  for (let i = 0; i < 200; i += 1) await keys.generate({ ...keyContext(), requestContext: { n: String(i) } }, use('greedy'))
  provider.failure = new S3Error('ServiceUnavailable')
  for (let i = 0; i < 200; i += 1) await keys.generate({ ...keyContext(), requestContext: { failing: String(i) } }, use('greedy')).catch(() => undefined)
  provider.calls.length = 0
  t.equal(await keys.unwrap(mine.wrapped, keyContext(), use('quiet')), mine.key)
  t.equal((await keys.generate(keyContext(), use('quiet'))).key, mine.key)
  t.same(provider.calls, [], 'the key service is not asked again')
  cache.clear()
})
