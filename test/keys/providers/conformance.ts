// What every kind of key service must do, run against each: over a real one where there is one, over a simulated one otherwise.
import { inspect } from 'node:util'
import type { Test } from 'tap'
import type { ServiceOptions } from '../../../src/keys/service/connection.ts'
import type { KeySource, WrappedBucketKey } from '../../../src/keys/types.ts'
import { codeOf } from '../../support/error-code.ts'
import { keyContext, keyUse, otherContexts } from '../support.ts'

/** The faults of a service, and the code with which each reaches a client. */
const faultCodes = {
  'outage': 'ServiceUnavailable',
  /** It has forgotten its keys until somebody opens it. */
  'sealed': 'ServiceUnavailable',
  /** It sends the client to an address that is not configured. */
  'standby': 'ServiceUnavailable',
  'throttled': 'SlowDown',
  /** It takes the request and is silent. */
  'slow': 'ServiceUnavailable',
  /** It stops in the middle of its answer. */
  'half an answer': 'ServiceUnavailable',
  'refused credential': 'AccessDenied',
  'a key of 31 bytes': 'InternalError',
  'a key of zeros': 'InternalError',
  'garbage': /^(ServiceUnavailable|InternalError)$/,
  /** An answer of many mebibytes. */
  'huge answer': 'InternalError'
} as const
type Fault = keyof typeof faultCodes
/** Faults that are tried again until the time of the request is over, and those in which a call has no end. */
const repeated: ReadonlySet<Fault> = new Set(['outage', 'sealed', 'standby', 'throttled'])
const endless: ReadonlySet<Fault> = new Set(['slow', 'half an answer'])

/** A service with two keys, and the means to break it. null, or left out: the service has no such thing. */
export interface Bench {
  /** A provider of the first key. Opened again after a rotation or a change of state, as after a reload. */
  open(options: ServiceOptions): Promise<KeySource>
  /** A provider of the second key. */
  openOther(options: ServiceOptions): Promise<KeySource>
  /** Afterwards the first key wraps by another version, or another key, and still opens what it wrapped. */
  readonly rotate: (() => Promise<void>) | null
  /** Puts the key, or the version that `rotate` left, into a state in which it does not open; by the name of the state. */
  readonly states: Readonly<Record<string, { readonly enter: () => Promise<void>; readonly leave: () => Promise<void>; readonly code: string }>>
  /** Makes the service answer wrongly, from now on until `heal`. */
  readonly faults: Partial<Record<Fault, () => Promise<void>>>
  heal(): Promise<void>
  /** Calls that have reached the service; null: it is not called. */
  readonly calls: (() => number) | null
  /** Keys and credentials in the forms in which they could show in an error. */
  readonly secrets: () => readonly string[]
}

/** Short time limits, and no circuit breaker in the way of what is not about it. */
const limits = { callMs: 2000, requestMs: 5000, retryMs: 2, breakerFailures: 1000 }
const context = keyContext({ requestContext: { a: '1' } })

/** Counts of one run. */
class Counts {
  readonly #counts = new Map<string, number>()

  add(what: string, by = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + by)
  }

  toString(): string {
    return [...this.#counts].map(([what, count]) => `${count} ${what}`).join(', ')
  }
}

export async function conformance(t: Test, kind: string, start: (test: Test) => Promise<Bench>): Promise<void> {
  const counts = new Counts()
  await t.test(`${kind}: the right context opens, every other is refused`, (t) => binding(t, start, counts))
  await t.test(`${kind}: a wrap of another key, or one that was changed, is refused`, (t) => strangers(t, start, counts))
  await t.test(`${kind}: rewrap keeps the key and changes its context`, (t) => rewraps(t, start, counts))
  await t.test(`${kind}: rotation and states`, (t) => states(t, start, counts))
  await t.test(`${kind}: faults of the service`, (t) => faults(t, start, counts))
  await t.test(`${kind}: callers that leave, and a service that stays away`, (t) => absence(t, start, counts))
  t.comment(`${kind}: ${counts.toString()}`)
}

type Start = (test: Test) => Promise<Bench>

async function opened(t: Test, open: Promise<KeySource>): Promise<KeySource> {
  const provider = await open
  t.teardown(() => provider.close())
  return provider
}

async function binding(t: Test, start: Start, counts: Counts): Promise<void> {
  const provider = await opened(t, (await start(t)).open({ limits }))
  await provider.selfTest()
  for (const own of [context, ...otherContexts]) {
    const { key, wrapped } = await provider.generate(own, keyUse())
    t.equal(wrapped.keyId, provider.currentKeyId())
    t.ok(provider.owns(wrapped.keyId) && provider.rewraps(wrapped.keyId))
    t.ok(wrapped.blob.length > 0 && wrapped.blob.length <= 6144)
    t.ok((await provider.unwrap(wrapped, own, keyUse())).equals(key))
    counts.add('keys opened')
    for (const other of [context, ...otherContexts].filter((each) => each !== own)) {
      t.equal(await codeOf(provider.unwrap(wrapped, other, keyUse())), 'SealgateIntegrityError', JSON.stringify([own, other]))
      counts.add('wrong contexts refused')
    }
  }
  const [one, two] = [await provider.generate(context, keyUse()), await provider.generate(context, keyUse())]
  t.notOk(one.key.equals(two.key), 'a new key each time')
}

async function strangers(t: Test, start: Start, counts: Counts): Promise<void> {
  const bench = await start(t)
  const provider = await opened(t, bench.open({ limits }))
  const other = await opened(t, bench.openOther({ limits }))
  const { wrapped } = await provider.generate(context, keyUse())
  const foreign = await other.generate(context, keyUse())
  t.notOk(provider.owns(foreign.wrapped.keyId))
  const before = bench.calls?.()
  for (const keyId of [foreign.wrapped.keyId, '', `${wrapped.keyId}x`, `x${wrapped.keyId}`, 'ssec']) {
    t.equal(await codeOf(provider.unwrap({ ...wrapped, keyId }, context, keyUse())), 'SealgateKeyUnavailable', keyId)
    counts.add('foreign key ids refused')
  }
  for (const length of [0, 6145]) {
    t.equal(await codeOf(provider.unwrap({ ...wrapped, blob: Buffer.alloc(length) }, context, keyUse())), 'SealgateIntegrityError')
  }
  t.equal(bench.calls?.(), before, 'without a call of the service')
  t.equal(await codeOf(provider.unwrap({ ...wrapped, blob: foreign.wrapped.blob }, context, keyUse())), 'SealgateIntegrityError')
  for (let at = 0; at < wrapped.blob.length; at += 7) {
    const blob = Buffer.from(wrapped.blob)
    blob.writeUInt8(blob.readUInt8(at) ^ (1 << (at % 8)), at)
    t.equal(await codeOf(provider.unwrap({ ...wrapped, blob }, context, keyUse())), 'SealgateIntegrityError', `byte ${at}`)
    counts.add('changed wraps refused')
  }
}

async function rewraps(t: Test, start: Start, counts: Counts): Promise<void> {
  const bench = await start(t)
  const provider = await opened(t, bench.open({ limits }))
  const { key, wrapped } = await provider.generate(context, keyUse())
  for (const to of [context, ...otherContexts]) {
    const moved = await provider.rewrap(wrapped, context, to, keyUse())
    t.ok((await provider.unwrap(moved, to, keyUse())).equals(key))
    if (to !== context) t.equal(await codeOf(provider.unwrap(moved, context, keyUse())), 'SealgateIntegrityError')
    t.equal(await codeOf(provider.rewrap(moved, keyContext({ bucket: 'third' }), to, keyUse())), 'SealgateIntegrityError')
    counts.add('rewraps')
  }
  t.equal(await codeOf(provider.rewrap({ ...wrapped, keyId: 'ssec' }, context, context, keyUse())), 'SealgateKeyUnavailable')
}

async function states(t: Test, start: Start, counts: Counts): Promise<void> {
  const bench = await start(t)
  let provider = await opened(t, bench.open({ limits }))
  const old = await provider.generate(context, keyUse())
  if (bench.rotate !== null) {
    await bench.rotate()
    provider = await opened(t, bench.open({ limits }))
    const fresh = await provider.generate(context, keyUse())
    t.not(fresh.wrapped.keyId, old.wrapped.keyId)
    t.ok((await provider.unwrap(old.wrapped, context, keyUse())).equals(old.key), 'the version before opens what it wrapped')
    const moved = await provider.rewrap(old.wrapped, context, context, keyUse())
    t.equal(moved.keyId, fresh.wrapped.keyId)
    t.ok((await provider.unwrap(moved, context, keyUse())).equals(old.key))
    counts.add('rotations')
  }
  for (const [name, { enter, leave, code }] of Object.entries(bench.states)) {
    await enter()
    provider = await opened(t, bench.open({ limits }))
    t.equal(await codeOf(provider.unwrap(old.wrapped, context, keyUse())), code, name)
    t.equal(await codeOf(provider.rewrap(old.wrapped, context, context, keyUse())), code, `rewrap, ${name}`)
    await leave()
    provider = await opened(t, bench.open({ limits }))
    t.ok((await provider.unwrap(old.wrapped, context, keyUse())).equals(old.key), `and opens again after ${name}`)
    counts.add('states')
  }
}

async function faults(t: Test, start: Start, counts: Counts): Promise<void> {
  const bench = await start(t)
  const provider = await opened(t, bench.open({ limits: { ...limits, callMs: 60_000, requestMs: 60_000 } }))
  // Only for faults that end by time: a first call loads code, and takes longer than this on a busy machine.
  const persistent = await opened(t, bench.open({ limits: { ...limits, callMs: 60_000, requestMs: 600 } }))
  const impatient = await opened(t, bench.open({ limits: { ...limits, callMs: 250, requestMs: 600 } }))
  const { key, wrapped } = await provider.generate(context, keyUse())
  for (const [fault, code] of Object.entries(faultCodes) as [Fault, string | RegExp][]) {
    const begin = bench.faults[fault]
    if (begin === undefined) {
      t.comment(`not applicable: ${fault}`)
      continue
    }
    await begin()
    for (const work of uses(endless.has(fault) ? impatient : repeated.has(fault) ? persistent : provider, wrapped)) {
      const error = await work().then(() => null, (reason: unknown) => reason)
      t.match((error as { code?: string } | null)?.code, code, fault)
      const shown = inspect(error, { depth: 10, showHidden: true })
      for (const secret of bench.secrets()) t.notOk(shown.includes(secret), `${fault}: a secret in the error`)
      counts.add('faulty answers')
    }
    await bench.heal()
    t.ok((await provider.unwrap(wrapped, context, keyUse())).equals(key), `works again after ${fault}`)
  }
}

/** The uses whose answer is a key. */
function uses(provider: KeySource, wrapped: WrappedBucketKey): readonly (() => Promise<unknown>)[] {
  return [() => provider.generate(context, keyUse()), () => provider.unwrap(wrapped, context, keyUse())]
}

async function absence(t: Test, start: Start, counts: Counts): Promise<void> {
  const bench = await start(t)
  const leaving = await opened(t, bench.open({ limits: { ...limits, callMs: 60_000, requestMs: 60_000, breakerFailures: 1 } }))
  if (bench.faults.slow !== undefined) {
    await leaving.selfTest()
    await bench.faults.slow()
    const leave = new AbortController()
    const waiting = leaving.generate(context, keyUse({ signal: leave.signal }))
    leave.abort(new Error('the client went away'))
    await t.rejects(waiting, { message: 'the client went away' })
    await t.rejects(leaving.generate(context, keyUse({ signal: leave.signal })), { message: 'the client went away' })
    t.same(leaving.heldBack().map(([, held]) => held), [false], 'it does not count as a failure')
    counts.add('callers that left')
    await bench.heal()
  }
  if (bench.faults.outage === undefined) return
  const provider = await opened(t, bench.open({ limits: { ...limits, attempts: 1, breakerFailures: 3, breakerOpenMs: 60_000 } }))
  const { wrapped } = await provider.generate(context, keyUse())
  await bench.faults.outage()
  for (let i = 0; i < 50; i++) t.equal(await codeOf(provider.unwrap(wrapped, context, keyUse())), 'ServiceUnavailable')
  t.same(provider.heldBack().map(([, held]) => held), [true], 'the breaker is open')
  counts.add('refusals in an outage', 50)
  await bench.heal()
}
