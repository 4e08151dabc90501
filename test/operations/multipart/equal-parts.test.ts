// Stores that demand parts of one size, and a last one that is not larger: the narrow store refuses what R2 refuses.
import { createHash } from 'node:crypto'
import t from 'tap'
import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCopyCommand,
  type CompletedPart,
  type S3Client
} from '@aws-sdk/client-s3'
import fc from 'fast-check'
import { MAX_PART_PLAINTEXT, MAX_PARTS, MIN_PART_SIZE, storedPartSize, storedSize, tailSize } from '../../../src/envelope/sizes.ts'
import { S3Error } from '../../../src/errors.ts'
import type { OperationContext } from '../../../src/operations/context.ts'
import { checkTailFits, roomBehind } from '../../../src/operations/multipart/equal-parts.ts'
import type { Attempt } from '../../../src/operations/multipart/part-records.ts'
import type { Upload } from '../../../src/operations/multipart/upload.ts'
import { byTurns } from '../../support/by-turns.ts'
import { codeOf } from '../../support/error-code.ts'
import { Bucket, bytes, complete, create, etagOf, MiB, put, read, rig, stateBucket, type Rig } from '../../support/multipart-rig.ts'
import type { TestStore } from '../../support/hostile.ts'
import type { Match } from '../../support/rules.ts'

const equal = { limits: { equalParts: true }, upstream: { equalParts: true } }
const S = 5 * MiB

function errorOf(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    return error instanceof S3Error ? error.code : error
  }
}

await t.test('pieces obey the rule of the store, whatever the parts are', (t) => {
  const upload = { id: 'id' } as Upload
  const ctx = (maxParts: number, equalParts = true) =>
    ({
      operation: { bucket: Bucket },
      services: { stores: new Map([['default', { settings: { equalParts, maxParts } }]]), policyFor: () => ({ upstream: 'default' }) }
    }) as unknown as OperationContext
  const partOf = (plaintextSize: number, number: number, inline: boolean) => ({ plaintextSize, number, inline, etag: '' }) as Attempt
  let cut = 0
  fc.assert(
    fc.property(
      fc.integer({ min: MIN_PART_SIZE, max: 64 * MiB }),
      fc.oneof({ arbitrary: fc.integer({ min: 1, max: 20 }), weight: 20 }, { arbitrary: fc.constantFrom(100, MAX_PARTS - 1), weight: 1 }),
      // Most of what is close to the size of the others is where the tail decides.
      fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 0, max: 64 * MiB })),
      (size, count, less) => {
        const last = Math.max(0, size - less)
        const parts = Array.from({ length: count }, (_, i) => partOf(i === count - 1 ? last : size, i + 1, i === count - 1 && last !== size))
        const sizes = parts.map(({ plaintextSize }) => plaintextSize)
        const room = roomBehind(ctx(MAX_PARTS), upload, parts)
        const tail = tailSize(sizes)
        const stored = sizes.map((one) => storedPartSize(one))
        const behind = parts.at(-1)?.inline === true ? Math.min(room, tail) : 0
        const pieces = [...stored.slice(0, -1), (stored.at(-1) ?? 0) + behind, ...tail > behind ? [tail - behind] : []]
        cut += Number(behind > 0 && behind < tail)
        const [first = 0] = pieces
        return pieces.reduce((sum, one) => sum + one, 0) === storedSize(sizes.reduce((sum, one) => sum + one, 0)) &&
          pieces.every((one, i) => i === pieces.length - 1 ? one <= first : one === first && one >= MIN_PART_SIZE)
      }
    ),
    { numRuns: byTurns(false) ? 300 : 100 }
  )
  t.ok(cut > 10, `${cut} tails in two pieces`)
  const code = (maxParts: number, ...parts: Attempt[]) => errorOf(() => roomBehind(ctx(maxParts), upload, parts))
  for (const other of [S - 1, S + 1]) {
    t.equal(code(9, partOf(S, 1, false), partOf(other, 2, true), partOf(S, 3, false)), 'InvalidPart', 'in the middle')
    t.equal(code(9, partOf(S, 1, false), partOf(other, 2, false)), 'InvalidPart', 'upstream, and of another size')
  }
  t.equal(code(9, partOf(S, 1, false), partOf(S + 1, 2, true)), 'InvalidPart', 'a larger last one')
  t.type(code(3, partOf(S, 1, false), partOf(S - 9000, 3, true)), 'number')
  t.equal(code(3, partOf(S, 1, false), partOf(S - 200, 3, true)), 'InvalidPart', 'the rest of the tail would be part 4')
  // A part may wait from the time before the option was removed.
  const behind = (...parts: Attempt[]) => roomBehind(ctx(MAX_PARTS, false), upload, parts)
  t.ok(behind(partOf(S, 1, false), partOf(2 * S, MAX_PARTS, true)) >= tailSize([S, 2 * S]), 'no number is above the highest')
  t.equal(behind(partOf(MAX_PART_PLAINTEXT, 1, true)), 0, 'no part is larger than 5 GiB')
  t.equal(behind(partOf(S, 1, false), partOf(S, 2, false)), 0, 'upstream already')
  const least = storedPartSize(S)
  for (
    const [number, stored, settled, refused] of [[3, least, null, true], [3, 100, null, false], [MAX_PARTS, 2 * S, 3 * S, false], [3, S, S, true]] as const
  ) {
    t.equal(
      errorOf(() => {
        checkTailFits(number, stored, settled)
      }),
      refused ? 'InvalidArgument' : undefined
    )
  }
  t.end()
})

interface Shape {
  readonly name: string
  readonly sizes: readonly number[]
  readonly numbers?: readonly number[]
  /** The order in which the parts are sent, by their places; default: one after the other. `at once`: all of them. */
  readonly order?: readonly number[] | 'at once'
  /** Parts that are sent to the store as they come. */
  readonly direct: number
}

/** Every way to cut a tail, with one of both ways of ETags; the other shapes by turns. */
const shapes: readonly (Shape & { readonly etags: string })[] = [
  { name: 'a last part and tail in two pieces', sizes: [S, S - 200], direct: 1, etags: 'md5' },
  { name: 'one small part', sizes: [10], direct: 0, etags: 'md5' },
  { name: 'at once', sizes: [S, S, 5], order: 'at once', direct: 2, etags: 'md5' },
  { name: 'no part 1', sizes: [S, 5], numbers: [2, 4], direct: 0, etags: 'opaque' },
  { name: 'a last part of the equal size', sizes: [S, S], direct: 2, etags: '' },
  { name: 'a smaller last part', sizes: [S, S, 70_000], direct: 2, etags: '' },
  { name: 'other sizes and gaps', sizes: [S + 70_000, S + 1], numbers: [1, 9], direct: 1, etags: '' },
  { name: 'part 1 last', sizes: [S, S, 0], order: [2, 1, 0], direct: 1, etags: '' }
]

/** Sends the parts through the instances by turns. @returns the list of a Complete. */
async function send(instances: readonly S3Client[], Key: string, id: string, { sizes, numbers, order }: Shape): Promise<CompletedPart[]> {
  const one = (i: number) => put(instances[i % instances.length]!, Key, id, numbers?.[i] ?? i + 1, bytes(sizes[i]!, i * 100))
  if (order === 'at once') return Promise.all(sizes.map((_, i) => one(i)))
  const listed: CompletedPart[] = []
  for (const i of order ?? sizes.keys()) listed[i] = await one(i)
  return listed
}

/** Parts that were sent to the store itself, and those that were copied there. */
function traffic({ store }: Rig, Key: string): { sent: number; copied: number } {
  const parts = store.requests.filter(({ method, bucket, key, query }) => method === 'PUT' && bucket === Bucket && key === Key && query.has('partNumber'))
  const copied = parts.filter(({ headers }) => headers.has('x-amz-copy-source')).length
  return { sent: parts.length - copied, copied }
}

for (const etag of ['md5', 'opaque'] as const) {
  await t.test(`uploads of every shape, through two instances in turn (${etag})`, async (t) => {
    const r = await rig(t, { ...equal, sections: { buckets: { '*': { encryption: 'on', key: 'main', etag } } } })
    const other = await r.another()
    for (const shape of shapes.filter(({ etags }) => byTurns(etags.includes(etag)))) {
      const { name, sizes, numbers, direct } = shape
      const id = await create(r.s3, name)
      const listed = await send([r.s3, other], name, id, shape)
      t.equal(traffic(r, name).sent, direct, `${name}: parts sent as they came`)
      t.match(await other.send(new ListPartsCommand({ Bucket, Key: name, UploadId: id })), {
        Parts: sizes.map((Size, i) => ({ PartNumber: numbers?.[i] ?? i + 1, Size, ETag: listed[i]?.ETag }))
      }, name)
      t.match(await other.send(new ListMultipartUploadsCommand({ Bucket })), { Uploads: [{ Key: name, UploadId: id }] })
      const data = sizes.map((size, i) => bytes(size, i * 100))
      const answer = await complete(other, name, id, listed)
      if (etag === 'md5') t.equal(answer.ETag, etagOf(data))
      else t.match(answer.ETag, new RegExp(`-${sizes.length}"$`), `${name}: the ETag counts the client's parts`)
      t.equal((await complete(r.s3, name, id, listed)).ETag, answer.ETag, 'and again')
      t.equal(traffic(r, name).copied, sizes.length - direct - Number(sizes.at(-1) !== sizes[0] || direct === 0), `${name}: copied at Complete`)
      const whole = Buffer.concat(data)
      // Where parts meet, and, of ten megabytes each, one of them whole.
      for (const i of data.keys()) {
        const end = Math.min(whole.length, data.slice(0, i + 1).reduce((sum, one) => sum + one.length, 0) + 100)
        const from = name === 'at once' && i === 2 ? 0 : Math.max(0, end - 5200)
        if (end > from) t.ok(whole.subarray(from, end).equals(await read(r.s3, name, { Range: `bytes=${from}-${end - 1}` })), `${name}: ${from}-${end}`)
      }
      t.equal(r.store.object(Bucket, name).version.size, storedSize(sizes.reduce((sum, size) => sum + size, 0)), 'the size law')
      t.same(r.store.keys(stateBucket), [], 'no state is left')
    }
    t.same(r.refused, [], 'the store had nothing to refuse')
  })
}

await t.test('parts that are sent again, left out, or of a size that the store refuses', async (t) => {
  const r = await rig(t, equal)
  const { s3, store } = r
  const other = await r.another()
  const Key = 'again'
  const id = await create(s3, Key)
  const [large, larger] = [bytes(S), bytes(S + 70_000)]
  const early = await put(s3, Key, id, 2, large)
  const first = await put(other, Key, id, 1, large)
  const third = await put(s3, Key, id, 3, large)
  t.equal(await codeOf(complete(s3, Key, id, [first, await put(s3, Key, id, 4, larger)])), 'InvalidPart', 'the last one is larger')
  const changed = await put(s3, Key, id, 1, larger)
  t.equal(await codeOf(complete(s3, Key, id, [changed, early, await put(s3, Key, id, 4, bytes(7))])), 'InvalidPart', 'a smaller one')
  const sizes = [changed, await put(other, Key, id, 2, larger)]
  t.equal(await codeOf(complete(s3, Key, id, [...sizes, third])), 'InvalidPart', 'a part of the old size is upstream already')
  const small = await put(s3, Key, id, 2, bytes(8))
  t.equal(await codeOf(complete(s3, Key, id, [changed, small, early])), 'InvalidPartOrder')
  t.equal(await codeOf(complete(s3, Key, id, [changed, small, await put(s3, Key, id, 4, bytes(9))])), 'EntityTooSmall')
  t.same(r.refused, [], 'the store was not asked')
  t.equal(traffic(r, Key).copied, 0, 'nor was a part copied')
  const second = await put(other, Key, id, 2, large)
  t.equal(second.ETag, early.ETag)
  await complete(other, Key, id, [first, second, third])
  t.equal(traffic(r, Key).copied, 0, 'of two attempts at the same bytes the one is taken that the store has')
  t.ok(Buffer.concat([large, large, large]).equals(await read(s3, Key)))
  t.same(store.keys(stateBucket), [])
})

await t.test('a part 1 of another size than before settles anew what the parts of a Complete are', async (t) => {
  const r = await rig(t, { ...equal, upstream: { equalParts: true, conditions: { put: false } } })
  const id = await create(r.s3, 'anew')
  await put(r.s3, 'anew', id, 1, bytes(S))
  const data = [bytes(S + 1, 3), bytes(S + 1, 5), bytes(4000)]
  const listed = []
  for (const [i, one] of data.entries()) listed.push(await put(r.s3, 'anew', id, i + 1, one))
  await complete(r.s3, 'anew', id, listed)
  t.same([traffic(r, 'anew'), r.refused], [{ sent: 2, copied: 2 }, []])
  t.ok(Buffer.concat(data).equals(await read(r.s3, 'anew')))
})

await t.test('parts that the client copies, under a customer\'s key, with checksums', async (t) => {
  const r = await rig(t, { ...equal, sections: { auth: { ssecOverHttp: true } } })
  const key = Buffer.alloc(32, 7)
  const customer = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(key).digest('base64') }
  const { s3 } = r
  const source = await create(s3, 'source')
  await complete(s3, 'source', source, [await put(s3, 'source', source, 1, bytes(S)), await put(s3, 'source', source, 2, bytes(500, S))])
  const id = await create(s3, 'target', { ...customer, ChecksumAlgorithm: 'CRC32' })
  const listed: CompletedPart[] = []
  for (const [i, range] of ['bytes=0-5242879', 'bytes=5242880-5243379'].entries()) {
    const part = { Bucket, Key: 'target', UploadId: id, PartNumber: i + 1, CopySource: `${Bucket}/source`, CopySourceRange: range }
    const { CopyPartResult: { ETag, ChecksumCRC32 } = {} } = await s3.send(new UploadPartCopyCommand({ ...part, ...customer }))
    listed.push({ PartNumber: i + 1, ETag, ChecksumCRC32 })
  }
  const answer = await complete(s3, 'target', id, listed, customer)
  t.match(answer, { ETag: /-2"$/, ChecksumCRC32: /-2$/ })
  t.ok(bytes(S + 500).equals(await read(s3, 'target', customer)))
  t.same([traffic(r, 'target').sent, r.refused], [2, []])
})

await t.test('the highest part number, aborts, and what is left of them', async (t) => {
  const r = await rig(t, { limits: { equalParts: true, maxParts: 3 }, upstream: { equalParts: true, maxParts: 3 } })
  const { s3, store } = r
  const id = await create(s3, 'few')
  const listed = [await put(s3, 'few', id, 2, bytes(S)), await put(s3, 'few', id, 1, bytes(S))].toReversed()
  for (const size of [S, S - 500]) t.equal(await codeOf(put(s3, 'few', id, 3, bytes(size))), 'InvalidArgument', 'the tail would not fit')
  await complete(s3, 'few', id, [...listed, await put(s3, 'few', id, 3, bytes(S - 9000))])
  for (const end of [S, 2 * S]) {
    t.ok(Buffer.concat([bytes(S).subarray(-50), bytes(50)]).equals(await read(s3, 'few', { Range: `bytes=${end - 50}-${end + 49}` })))
  }
  const aborted = await create(s3, 'aborted')
  for (const number of [2, 1]) await put(s3, 'aborted', aborted, number, bytes(S))
  t.equal(store.keys(stateBucket).filter((name) => name.includes('/small/') || name.endsWith('/equal')).length, 2)
  await (await r.another()).send(new AbortMultipartUploadCommand({ Bucket, Key: 'aborted', UploadId: aborted }))
  t.same(store.keys(stateBucket), [])
  t.equal(await codeOf(put(s3, 'aborted', aborted, 1, bytes(S))), 'NoSuchUpload')
  t.equal(await codeOf(put(s3, 'aborted', aborted, 2, bytes(10))), 'NoSuchUpload')
  t.same(store.keys(stateBucket), [])
})

await t.test('parts that the store does not copy pass through the gateway, and must open there', async (t) => {
  const r = await rig(t, { limits: { equalParts: true, lacks: ['partCopy'] }, upstream: { equalParts: true } })
  const { s3, store } = r
  const id = await create(s3, 'through')
  const listed = [await put(s3, 'through', id, 2, bytes(S, 9)), await put(s3, 'through', id, 1, bytes(S))].toReversed()
  listed.push(await put(s3, 'through', id, 3, bytes(100)))
  const [name, body] = await waitingPart(store)
  for (
    const [what, changed, code] of [
      ['a padding that is not zeros', Buffer.concat([body.subarray(0, -1), Buffer.from([1])]), 'SealgateIntegrityError'],
      ['one byte more', Buffer.concat([body, Buffer.alloc(1)]), 'ServiceUnavailable'],
      ['gone', null, 'ServiceUnavailable']
    ] as const
  ) {
    if (changed === null) await store.object(stateBucket, name).remove()
    else await store.object(stateBucket, name).set({ body: changed })
    t.equal(await codeOf(complete(s3, 'through', id, listed)), code, what)
    await store.object(stateBucket, name).set({ body })
  }
  await complete(s3, 'through', id, listed)
  t.same(traffic(r, 'through').copied, 0, 'the store has refused them')
  t.ok(bytes(S, 9).subarray(-100).equals((await read(s3, 'through', { Range: `bytes=${2 * S - 100}-${2 * S + 99}` })).subarray(0, 100)))
})

await t.test('a client with an identity of its own at the store has no rights on the state bucket', async (t) => {
  const access = { accessKeyId: 'TESTCLIENT', secretAccessKey: 'test-client-secret' }
  const upstream = { accessKeyId: 'AKIDTESTSTORE', secretAccessKey: 'test-store-secret' }
  const r = await rig(t, { upstream: { equalParts: true }, sections: { clients: [{ ...access, buckets: ['*'], upstream }] } })
  const id = await create(r.s3, 'own')
  const listed = [await put(r.s3, 'own', id, 2, bytes(S)), await put(r.s3, 'own', id, 3, bytes(1))]
  await complete(r.s3, 'own', id, listed)
  t.equal(traffic(r, 'own').copied, 0)
  t.ok(bytes(100).equals(await read(r.s3, 'own', { Range: 'bytes=0-99' })))
})

/** The part of 5 MiB or more that waits: its name and body. */
async function waitingPart(store: TestStore): Promise<readonly [name: string, body: Buffer]> {
  for (const name of store.keys(stateBucket)) {
    const body = name.includes('/small/') ? await store.object(stateBucket, name).body() : Buffer.alloc(0)
    if (body.length > S) return [name, body]
  }
  throw new Error('no part waits')
}

const copies: Match = { method: 'PUT', bucket: Bucket, test: ({ headers }) => headers.has('x-amz-copy-source') }
const lists: Match = { method: 'GET', bucket: Bucket, query: { uploadId: true } }
const toComplete: Match = { method: 'POST', bucket: Bucket, query: { uploadId: true } }

/** The first part is upstream, the second one waits; the code is that of the Complete. SlowDown: the store's own Complete was reached. */
const lies: readonly (readonly [what: string, tell: (store: TestStore, waiting: string, body: Buffer) => unknown, code: string])[] = [
  ['nothing', () => undefined, 'SlowDown'],
  ['cut', (store, name, body) => store.object(stateBucket, name).set({ body: body.subarray(0, -1) }), 'ServiceUnavailable'],
  ['gone', (store, name) => store.object(stateBucket, name).remove(), 'ServiceUnavailable'],
  ['a copy that is an error', (store) => answerTo(store, '<Error><Code>InternalError</Code></Error>'), 'SlowDown'],
  ['a connection that breaks once under a copy', (store) => store.rules.add({ when: copies, fault: { type: 'reset', at: 'before' } }), 'SlowDown'],
  ['a connection that breaks once after a copy', (store) => store.rules.add({ when: copies, fault: { type: 'reset', at: 'after-request' } }), 'SlowDown'],
  ['a copy without an ETag', (store) => answerTo(store, '<CopyPartResult></CopyPartResult>'), 'SealgateBadUpstream'],
  ['a copy that is too long', (store) => lengthen(store, 2, 1), 'SealgateBadUpstream'],
  ['a part that is too long', (store) => lengthen(store, 1, 0), 'InvalidPart']
]

function answerTo(store: TestStore, body: string): void {
  store.rules.add({ when: copies, fault: { type: 'answer', status: 200, body } })
}

/** @param nth the list that lies. @param index of the part in it */
function lengthen(store: TestStore, nth: number, index: number): void {
  const change = (row: string): string => row.replace(/<Size>\d+/, '<Size>5242881')
  store.rules.add({ when: lists, nth, times: 9, fault: { type: 'rows', element: 'Part', index, change } })
}

await t.test('what a hostile store does to parts that it copies', async (t) => {
  const r = await rig(t, { upstream: equal.upstream })
  const { s3, store } = r
  const other = await create(s3, 'other')
  await put(s3, 'other', other, 2, bytes(S, 99))
  const [foreignName, foreign] = await waitingPart(store)
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'other', UploadId: other }))
  const id = await create(s3, 'mine')
  const listed = [await put(s3, 'mine', id, 2, bytes(S, 9)), await put(s3, 'mine', id, 1, bytes(S))].toReversed()
  listed.push(await put(s3, 'mine', id, 3, bytes(50)))
  const [name, body] = await waitingPart(store)
  t.not(name, foreignName)
  for (const [what, tell, code] of lies) {
    await tell(store, name, body)
    store.rules.add({ when: toComplete, fault: { type: 'error', status: 503, code: 'SlowDown' } })
    t.equal(await codeOf(complete(s3, 'mine', id, listed)), code, what)
    store.rules.clear()
    await store.object(stateBucket, name).set({ body })
  }
  const { sent } = traffic(r, 'mine')
  await store.object(stateBucket, name.replace(/small.*/, 'equal')).set({ body: Buffer.alloc(8, 1) })
  listed[0] = await put(await r.another(), 'mine', id, 1, bytes(S))
  t.equal(traffic(r, 'mine').sent, sent, 'a settled size that is a lie makes parts wait, and no more')
  store.rules.add({ when: copies, fault: { type: 'answer', status: 200, body: `<CopyPartResult><ETag>"${'a'.repeat(32)}"</ETag></CopyPartResult>` } })
  await store.object(stateBucket, name).set({ body: foreign })
  await complete(s3, 'mine', id, listed)
  t.ok(bytes(10).equals(await read(s3, 'mine', { Range: 'bytes=0-9' })), 'what was not touched is read')
  for (const Range of [`bytes=${S}-${S + 9}`, undefined]) await t.rejects(read(s3, 'mine', { Range }), 'a part of another upload is not')
  t.comment(`${lies.length + 1} lies, no wrong object`)
})

await t.test('another instance completes the same list while a part is copied: both get the one answer', async (t) => {
  const r = await rig(t, { upstream: equal.upstream })
  const other = await r.another()
  const id = await create(r.s3, 'same')
  const listed = [await put(r.s3, 'same', id, 2, bytes(S)), await put(r.s3, 'same', id, 1, bytes(S, 1))].toReversed()
  let quick: string | undefined
  r.store.rules.add({
    when: { method: 'PUT', bucket: Bucket, query: { partNumber: '2' } },
    fault: {
      type: 'late',
      until: async () => {
        quick = (await complete(other, 'same', id, listed)).ETag
      }
    }
  })
  t.equal((await complete(r.s3, 'same', id, listed)).ETag, quick)
  t.ok(Buffer.concat([bytes(S, 1), bytes(S)]).equals(await read(r.s3, 'same')))
})
