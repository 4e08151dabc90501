// A store that has a part whole and carries it out after its time, when the client has long sent it again.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ListPartsCommand, UploadPartCommand, UploadPartCopyCommand, type CompletedPart } from '@aws-sdk/client-s3'
import { DetachedPartWrites, type PartAttempt } from '../../../src/operations/multipart/detached-writes.ts'
import type { Match } from '../../support/rules.ts'
import { Bucket, bytes, complete, create, MiB, put, read, rig, stateBucket, type Rig } from '../../support/multipart-rig.ts'
import { codeOf } from '../../support/error-code.ts'

const part = bytes(5 * MiB)
/** What the gateway waits for the store before it tells the client so; the next try must get through in it, on a busy machine as well. */
const limits = { upstreamFirstByteSeconds: 2 }
const opaque = { '*': { encryption: 'on', key: 'main', etag: 'opaque' } }

const toPart: Match = { method: 'PUT', bucket: Bucket, query: { partNumber: true } }
const toRecord: Match = { method: 'PUT', bucket: stateBucket, key: /\/parts\// }

interface Gate {
  /** Resolves when the store has the whole request. */
  readonly taken: Promise<undefined>
  /** Lets the store carry it out. */
  readonly open: () => void
  /** Lets the store end it without an answer. */
  readonly breakOff: () => void
}

/** The next request of one kind is carried out when its gate opens. */
function hold({ store }: Rig, when: Match): Gate {
  const taken = Promise.withResolvers<undefined>()
  const gate = Promise.withResolvers<undefined>()
  store.rules.add({
    when,
    fault: {
      type: 'late',
      until: () => {
        taken.resolve(undefined)
        return gate.promise
      }
    }
  })
  return {
    taken: taken.promise,
    open: () => {
      gate.resolve(undefined)
    },
    breakOff: () => {
      gate.reject(new Error('broken off'))
    }
  }
}

/** How many parts the gateway has waited for without their clients. */
function late({ gateway }: Rig, outcome: 'recorded' | 'failed'): number {
  return gateway.metric(`sealgate_detached_part_writes_total{outcome="${outcome}",upstream="default"}`)
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}

function records({ store }: Rig): number {
  return store.keys(stateBucket).filter((key) => key.includes('/parts/')).length
}

/** How a client sends a part and gets no answer. */
type GiveUp = (r: Rig, Key: string, UploadId: string, gate: Gate) => Promise<string>

const waitInVain: GiveUp = ({ s3 }, key, id) => codeOf(put(s3, key, id, 1, part))

const goAway: GiveUp = ({ s3 }, Key, UploadId, gate) =>
  codeOf(s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: part }), { abortSignal: onceTaken(gate) }))

/** The client goes when the store has the whole request. */
function onceTaken(gate: Gate): AbortSignal {
  const client = new AbortController()
  void gate.taken.then(() => {
    client.abort()
  })
  return client.signal
}

/** One try that is still on its way when its client gives up, and another one that is acknowledged. */
async function twice(r: Rig, key: string, giveUp = goAway): Promise<{ id: string; listed: CompletedPart[]; failure: string; gate: Gate }> {
  const id = await create(r.s3, key)
  const gate = hold(r, toPart)
  const failure = await giveUp(r, key, id, gate)
  return { id, failure, listed: [await put(r.s3, key, id, 1, part)], gate }
}

async function completes(r: Rig, key: string, id: string, listed: CompletedPart[], t: Test): Promise<void> {
  await complete(r.s3, key, id, listed)
  t.ok(part.equals(await read(r.s3, key)))
}

for (const [what, giveUp, expected] of [['gets an error', waitInVain, 'SealgateUpstreamTimeout'], ['goes away', goAway, 'AbortError']] as const) {
  void t.test(`a client ${what}, and the store carries its part out after the next try`, async (t) => {
    const r = await rig(t, { sections: giveUp === waitInVain ? { limits } : {} })
    const { id, listed, failure, gate } = await twice(r, 'late', giveUp)
    t.equal(failure, expected)
    t.equal(records(r), 1)
    gate.open()
    await until(() => late(r, 'recorded') === 1)
    t.equal(records(r), 2, 'each try has its record')
    await completes(r, 'late', id, listed, t)
  })
}

void t.test('a part that the gateway copies is waited for as well', async (t) => {
  const r = await rig(t)
  const source = await create(r.s3, 'source')
  await complete(r.s3, 'source', source, [await put(r.s3, 'source', source, 1, part)])
  const id = await create(r.s3, 'copy')
  const gate = hold(r, toPart)
  const copy = async (options = {}): Promise<CompletedPart> => {
    const input = { Bucket, Key: 'copy', UploadId: id, PartNumber: 1, CopySource: `${Bucket}/source` }
    const { CopyPartResult } = await r.s3.send(new UploadPartCopyCommand(input), options)
    return { PartNumber: 1, ETag: CopyPartResult?.ETag }
  }
  t.equal(await codeOf(copy({ abortSignal: onceTaken(gate) })), 'AbortError')
  const listed = [await copy()]
  gate.open()
  await until(() => late(r, 'recorded') === 1)
  await completes(r, 'copy', id, listed, t)
})

void t.test('a Complete that comes before the record of what the store holds waits for it, through another instance as well', async (t) => {
  const r = await rig(t)
  const { id, listed, gate } = await twice(r, 'early')
  const record = hold(r, toRecord)
  gate.open()
  await record.taken
  const looks = (): number => r.store.requests.filter(({ method, bucket, query }) => method === 'GET' && bucket === Bucket && query.has('uploadId')).length
  const before = looks()
  const completed = complete(await r.another(), 'early', id, listed)
  await until(() => looks() > before)
  record.open()
  await completed
  t.ok(part.equals(await read(r.s3, 'early')))
})

void t.test('a try that ends without an answer of the store leaves no record', async (t) => {
  const r = await rig(t)
  const { id, listed, gate } = await twice(r, 'broken')
  gate.breakOff()
  await until(() => late(r, 'failed') === 1)
  t.equal(records(r), 1)
  await completes(r, 'broken', id, listed, t)
})

void t.test('a try whose client goes away in the middle of the body ends with it', async (t) => {
  const r = await rig(t)
  const UploadId = await create(r.s3, 'half')
  r.store.rules.add({ when: toPart, fault: { type: 'mid-upload', bytes: 100_000, then: 'stall' } })
  const client = new AbortController()
  // More than the buffers of all sockets on the way hold.
  const sent = codeOf(r.s3.send(new UploadPartCommand({ Bucket, Key: 'half', UploadId, PartNumber: 1, Body: bytes(16 * MiB) }), { abortSignal: client.signal }))
  await until(() => r.store.requests.some(({ fault, bodyLength }) => fault === 'mid-upload' && bodyLength >= 100_000))
  client.abort()
  t.equal(await sent, 'AbortError')
  await until(() => r.gateway.metric('sealgate_upstream_connections{pool="data",upstream="default"}') === 0)
  t.equal(late(r, 'recorded') + late(r, 'failed'), 0)
})

void t.test('with opaque ETags a late part is listed, and not confused with the part that the client knows', async (t) => {
  const r = await rig(t, { sections: { buckets: opaque } })
  const { id, listed, gate } = await twice(r, 'opaque')
  gate.open()
  await until(() => late(r, 'recorded') === 1)
  t.equal(await codeOf(complete(r.s3, 'opaque', id, listed)), 'InvalidPart')
  const { Parts = [] } = await r.s3.send(new ListPartsCommand({ Bucket, Key: 'opaque', UploadId: id }))
  await completes(r, 'opaque', id, Parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag })), t)
})

void t.test('a gateway that stops waits for late answers', async (t) => {
  const r = await rig(t)
  const { id, listed, gate } = await twice(r, 'stop')
  await r.gateway.gateway.settle!(1)
  t.equal(late(r, 'recorded'), 0, 'no longer than it may')
  const settled = r.gateway.gateway.settle!(60_000)
  gate.open()
  await settled
  t.equal(late(r, 'recorded'), 1)
  await completes(r, 'stop', id, listed, t)
})

/** A try that has handed over its body, and whose client has gone; it ends with its signal alone. */
async function abandoned(parts: DetachedPartWrites): Promise<AbortSignal> {
  const client = new AbortController()
  const started = Promise.withResolvers<PartAttempt>()
  const followed = parts.run(client.signal, (one) => {
    started.resolve(one)
    return new Promise((_, reject) => {
      one.signal.addEventListener('abort', () => {
        reject(new Error('given up'))
      })
    })
  })
  const { signal, bodySent } = await started.promise
  bodySent()
  client.abort(new Error('gone'))
  await followed.catch(() => undefined)
  return signal
}

void t.test('only so many are waited for: the oldest are given up', async (t) => {
  const outcomes: string[] = []
  const parts = new DetachedPartWrites({
    limit: 2,
    patienceSeconds: 60,
    over: (outcome) => {
      outcomes.push(outcome)
    }
  })
  const signals: AbortSignal[] = []
  for (let i = 0; i < 4; i += 1) signals.push(await abandoned(parts))
  t.same(signals.map(({ aborted }) => aborted), [true, true, false, false])
  await parts.close()
  t.same(signals.map(({ aborted }) => aborted), [true, true, true, true])
  t.same(outcomes, ['failed', 'failed', 'failed', 'failed'])
  t.ok((await abandoned(parts)).aborted, 'and none once they are closed')
})
