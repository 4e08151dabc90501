import fc from 'fast-check'
import t from 'tap'
import type { ClientLimits } from '../../src/http/message.ts'
import { Admission, type Guest, type Limit, type Places } from '../../src/listener/admission.ts'

const unlimited: ClientLimits = { requests: null, requestsPerSecond: null, bytesPerSecond: null }
const sizes = { requestsInFlight: 4, unauthenticatedRequests: 3, anonymousRequests: 2, formFieldsMs: 60_000 }

class Visitor implements Guest {
  places: Places | null = null
  bytes = 0
  ended: string | null = null
  transferred(): number {
    return this.bytes
  }
  fail({ code }: { code: string }): void {
    this.ended = code
  }
}

function rig(limits = sizes) {
  const told: Limit[] = []
  let now = 0
  const admission = new Admission(limits, (limit) => {
    told.push(limit)
  }, () => now)
  const client = (id: string, own = unlimited) => {
    const guest = new Visitor()
    admission.admit(guest, { kind: 'client', id, limits: own })
    return guest
  }
  const stranger = (kind: 'form' | 'preflight' | 'anonymous') => {
    const guest = new Visitor()
    admission.admit(guest, { kind })
    return guest
  }
  return {
    admission,
    told,
    client,
    stranger,
    pass: (seconds: number) => {
      now += seconds * 1000
    }
  }
}

await t.test('unsigned requests use no place of the clients, and each kind has its own limit', async (t) => {
  const { client, stranger, told } = rig()
  for (let i = 0; i < 3; i += 1) stranger('preflight')
  t.throws(() => {
    stranger('preflight')
  }, { code: 'SlowDown', headers: [['Retry-After', '1']] })
  for (let i = 0; i < 2; i += 1) stranger('anonymous')
  t.throws(() => {
    stranger('anonymous')
  }, { code: 'SlowDown' })
  for (let i = 0; i < 9; i += 1) stranger('form')
  for (let i = 0; i < 4; i += 1) client('a')
  t.throws(() => {
    client('b')
  }, { code: 'SlowDown' })
  t.same(told, ['preflights', 'anonymous requests', ...Array<Limit>(6).fill('forms'), 'requests in flight'])
})

await t.test('the oldest form is ended, and an authenticated one counts for its client', async (t) => {
  const { admission, client, stranger } = rig()
  const [first, second, third] = [stranger('form'), stranger('form'), stranger('form')]
  admission.admit(first, { kind: 'client', id: 'a', limits: unlimited })
  t.equal(admission.unauthenticated, 2)
  stranger('form')
  stranger('form')
  t.same([first, second, third].map(({ ended }) => ended), [null, 'SlowDown', null])
  client('a')
  admission.leave(first)
  admission.leave(first)
  for (let i = 0; i < 3; i += 1) client('a')
  t.throws(
    () => {
      client('a')
    },
    { code: 'SlowDown' },
    'a place is given back once'
  )
})

await t.test('fields have a short time', async (t) => {
  const { admission, stranger, told } = rig({ ...sizes, formFieldsMs: 20 })
  const [slow, signed] = [stranger('form'), stranger('form')]
  admission.admit(signed, { kind: 'client', id: 'a', limits: unlimited })
  while (slow.ended === null) await new Promise((resolve) => setTimeout(resolve, 5))
  t.same([slow.ended, signed.ended, told, admission.unauthenticated], ['RequestTimeout', null, ['form time'], 0])
})

await t.test('requests of one client at once', async (t) => {
  const { admission, client, told } = rig({ ...sizes, requestsInFlight: 100 })
  const limits = { ...unlimited, requests: 2 }
  const first = client('a', limits)
  client('a', limits)
  t.throws(() => {
    client('a', limits)
  }, { code: 'SlowDown' })
  client('b', limits)
  admission.leave(first)
  client('a', limits)
  t.same(told, ['client requests'])
})

await t.test('requests of one client per second', async (t) => {
  const { client, pass, told } = rig({ ...sizes, requestsInFlight: 100 })
  const limits = { ...unlimited, requestsPerSecond: 0.5 }
  client('a', limits)
  t.throws(() => {
    client('a', limits)
  }, { code: 'SlowDown', headers: [['Retry-After', '2']] })
  client('b', limits)
  pass(1.9)
  t.throws(() => {
    client('a', limits)
  }, { code: 'SlowDown' })
  pass(0.1)
  client('a', limits)
  t.same(told, Array<Limit>(2).fill('client requests per second'))
})

await t.test('bytes of one client per second: counted as they pass, also in requests in progress', async (t) => {
  const { admission, client, pass } = rig({ ...sizes, requestsInFlight: 100 })
  const limits = { ...unlimited, bytesPerSecond: 100 }
  const long = client('a', limits)
  long.bytes = 100
  client('a', limits)
  long.bytes = 350
  t.throws(() => {
    client('a', limits)
  }, { code: 'SlowDown', headers: [['Retry-After', '3']] })
  client('b', limits)
  long.bytes = 100_000
  admission.leave(long)
  t.throws(() => {
    client('a', limits)
  }, { code: 'SlowDown', headers: [['Retry-After', '20']] })
  pass(1000)
  client('a', limits)
})

await t.test('limits that a reload has changed hold at once', async (t) => {
  const { client } = rig({ ...sizes, requestsInFlight: 100 })
  client('a', { ...unlimited, requests: 1 })
  t.throws(() => {
    client('a', { ...unlimited, requests: 1 })
  }, { code: 'SlowDown' })
  client('a', { ...unlimited, requests: 2 })
})

await t.test('no order of requests loses a place or gives one twice', async () => {
  const kinds = ['form', 'preflight', 'anonymous', 'client'] as const
  const step = fc.record({ who: fc.nat(7), does: fc.constantFrom(...kinds, 'leave' as const) })
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const { admission } = rig()
    const guests = Array.from({ length: 8 }, () => new Visitor())
    const held = new Map<Visitor, string>()
    for (const { who, does } of steps) {
      const guest = guests[who]
      if (guest === undefined) return false
      held.delete(guest)
      if (does === 'leave') {
        admission.leave(guest)
        continue
      }
      guest.ended = null
      try {
        admission.admit(guest, does === 'client' ? { kind: does, id: 'a', limits: unlimited } : { kind: does })
        held.set(guest, does)
      } catch {
        const full = [...held.values()].filter((kind) => kind === does).length
        if (full !== { preflight: 3, anonymous: 2, client: 4, form: -1 }[does]) return false
      }
      for (const other of guests) if (other.ended !== null) held.delete(other)
      if (admission.unauthenticated !== [...held.values()].filter((kind) => kind !== 'client').length) return false
    }
    for (const guest of guests) admission.leave(guest)
    return admission.unauthenticated === 0
  }))
})

await t.test('one place at a store is held in addition, and given back with the request', async (t) => {
  const { admission, client, told } = rig({ ...sizes, requestsInFlight: 10 })
  const enter = (id: string, guest = client('a')) => {
    admission.admit(guest, { kind: 'store', id, most: 2 })
    return guest
  }
  const first = enter('near')
  enter('near')
  const refused = client('a')
  t.throws(() => enter('near', refused), { code: 'SlowDown', headers: [['Retry-After', '1']] })
  t.ok(admission.holds(refused), 'it keeps its place among all until it is over')
  t.same(told, ['store requests'])
  enter('several', first)
  enter('near')
  t.throws(() => enter('near'), { code: 'SlowDown' }, 'it was exchanged')
  const second = enter('several')
  t.throws(() => enter('several'), { code: 'SlowDown' })
  admission.leave(first)
  admission.leave(first)
  enter('several')
  t.throws(() => enter('several'), { code: 'SlowDown' })
  t.throws(() => enter('near', second), { code: 'SlowDown' })
  enter('several')
  admission.admit(refused, { kind: 'anonymous' })
  t.ok(admission.holds(refused))
})
