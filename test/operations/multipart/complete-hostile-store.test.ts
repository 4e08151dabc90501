import t from 'tap'
import { HeadObjectCommand, type CompletedPart, type S3Client } from '@aws-sdk/client-s3'
import { paddedPartSize, streamSize } from '../../../src/envelope/sizes.ts'
import { byTurns } from '../../support/by-turns.ts'
import type { Fault } from '../../support/faults.ts'
import type { Match } from '../../support/rules.ts'
import type { TestStore } from '../../support/hostile.ts'
import { Bucket, bytes, complete, create, MiB, put, read, rig, stateBucket, upload } from '../../support/multipart-rig.ts'
import { codeOf } from '../../support/error-code.ts'

const large = 5 * MiB
const stored = paddedPartSize(large)
const small = 1000
const content = [bytes(large), bytes(large, 7), bytes(small, 9)]
const whole = Buffer.concat(content)

/** What a hostile store makes of the bytes of an upload, given those of another of the same shape. */
const bodies: readonly (readonly [what: string, change: (mine: Buffer, other: Buffer) => Buffer])[] = [
  ['parts swapped', (mine) => Buffer.concat([part(mine, 1), part(mine, 0), mine.subarray(2 * stored)])],
  ['first part repeated', (mine) => Buffer.concat([part(mine, 0), part(mine, 0), mine.subarray(2 * stored)])],
  ['first part dropped', (mine) => mine.subarray(stored)],
  ['second part dropped', (mine) => Buffer.concat([part(mine, 0), mine.subarray(2 * stored)])],
  ['first part of another upload', (mine, other) => Buffer.concat([part(other, 0), mine.subarray(stored)])],
  ['second part of another upload', (mine, other) => Buffer.concat([part(mine, 0), part(other, 1), mine.subarray(2 * stored)])],
  ['small part of another upload', (mine, other) => {
    const end = 2 * stored + streamSize(small)
    return Buffer.concat([mine.subarray(0, 2 * stored), other.subarray(2 * stored, end), mine.subarray(end)])
  }],
  ['tail of another upload', (mine, other) => {
    const end = 2 * stored + streamSize(small)
    return Buffer.concat([mine.subarray(0, end), other.subarray(end)])
  }],
  ['body of another upload', (_, other) => other],
  ['tail cut off', (mine) => mine.subarray(0, 2 * stored + streamSize(small))],
  ['last byte cut off', (mine) => mine.subarray(0, -1)],
  ['a byte more', (mine) => Buffer.concat([mine, Buffer.from([0])])],
  ['first segment of the parts swapped', (mine) => {
    const changed = Buffer.from(mine)
    mine.copy(changed, 0, stored, stored + 65536)
    mine.copy(changed, stored, 0, 65536)
    return changed
  }],
  ['zeros between the parts changed', (mine) => flipped(mine, stored - 1)],
  ['header of a part changed', (mine) => flipped(mine, stored + 5)],
  ['a segment changed', (mine) => flipped(mine, stored + 100_000)],
  ['the small part changed', (mine) => flipped(mine, 2 * stored + 60)],
  ['the manifest changed', (mine) => flipped(mine, mine.length - 60)],
  ['the footer changed', (mine) => flipped(mine, mine.length - 1)],
  ['empty', () => Buffer.alloc(0)]
]

function part(body: Buffer, index: number): Buffer {
  return body.subarray(index * stored, (index + 1) * stored)
}

function flipped(body: Buffer, at: number): Buffer {
  const changed = Buffer.from(body)
  changed[at] = changed[at]! ^ 1
  return changed
}

/** Wrong bytes in an answer that looked complete; 0 when the read failed or was right. */
async function wrong(s3: S3Client, Key: string, expected: Buffer, input: Record<string, unknown> = {}): Promise<0 | 1> {
  const got = await read(s3, Key, input).catch(() => null)
  return got === null || got.equals(expected) ? 0 : 1
}

void t.test('what a hostile store makes of a finished object', async (t) => {
  const { store, s3, another } = await rig(t)
  await upload(s3, 'mine', content)
  await upload(s3, 'other', [bytes(large, 100), bytes(large, 200), bytes(small, 300)])
  const mine = await store.object(Bucket, 'mine').body()
  const other = await store.object(Bucket, 'other').body()
  const reader = await another()
  let accepted = 0
  let tried = 0
  for (const [i, [what, change]] of bodies.entries()) {
    const body = change(mine, other)
    await store.object(Bucket, 'mine').set({ body, etag: 'keep' })
    // A part of five megabytes whose bytes are what they were cannot be read wrong.
    const changed = [1, 2, 3].filter((number) => !part(body, number - 1).equals(part(mine, number - 1))).filter((_, nth) => byTurns(nth === 0))
    // Under the ETag it had, what was seen of it before is still remembered; under a new one everything is looked at anew.
    for (const etag of ['keep', `${String(i).padStart(32, '0')}-3`].filter((_, turn) => byTurns(turn === i % 2))) {
      await store.object(Bucket, 'mine').set({ etag })
      tried += 1
      // Ten megabytes each: some of the remembered ones are read whole, and part by part.
      const remembered = etag === 'keep' && !byTurns(i % 6 === 0)
      const got = remembered ? null : await read(s3, 'mine').catch(() => null)
      if (got !== null && !(etag === 'keep' && got.equals(whole))) {
        accepted += 1
        t.fail(`${what} (${etag}): read to its end`)
      }
      for (const first of etag === 'keep' ? [large - 1] : [0, large - 1, large, 2 * large, 2 * large + small - 1]) {
        tried += 1
        accepted += await wrong(reader, 'mine', whole.subarray(first, first + 10), { Range: `bytes=${first}-${first + 9}` })
      }
      for (const number of remembered ? [] : changed) {
        tried += 1
        accepted += await wrong(reader, 'mine', content[number - 1]!, { PartNumber: number })
      }
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'mine' })).catch(() => null)
      tried += 1
      if (head !== null && head.ContentLength !== whole.length) {
        accepted += 1
        t.fail(`${what} (${etag}): a length nobody wrote`)
      }
    }
  }
  await store.object(Bucket, 'mine').set({ body: mine })
  for (const what of ['body', 'metadata', 'both'] as const) {
    for (let i = 0; i < 2; i += 1) {
      const rule = store.rules.add({ when: { key: 'mine' }, nth: i, times: 3, fault: { type: 'substitute', key: 'other', what } })
      // Both answers of the other: the whole object. A range across two parts needs the same requests.
      if (byTurns(what === 'both')) accepted += await wrong(s3, 'mine', whole)
      else accepted += await wrong(s3, 'mine', whole.subarray(large - 5, large + 5), { Range: `bytes=${large - 5}-${large + 4}` })
      rule.remove()
      tried += 1
    }
  }
  t.ok(whole.equals(await read(s3, 'mine')), 'and when it is put right again, it is read')
  t.equal(accepted, 0)
  t.comment(`${tried} reads of dropped, swapped, repeated, foreign and cut parts, 0 accepted`)
})

interface Scene {
  readonly store: TestStore
  readonly s3: S3Client
  readonly key: string
  /** State objects of this upload and of another one of the same shape. */
  readonly mine: readonly string[]
  readonly other: readonly string[]
}

/** What a hostile store does between the last part and Complete, or during it. */
const lies: readonly (readonly [what: string, tell: (scene: Scene) => unknown])[] = [
  ['list of parts without its row', (scene) => rows(scene, parts, 'Part', 'drop')],
  ['list of parts repeated', (scene) => rows(scene, parts, 'Part', 'repeat')],
  ['list of parts with other ETags', (scene) => rows(scene, parts, 'Part', (row) => row.replace(/[0-9a-f]{32}/, 'f'.repeat(32)))],
  ['list of parts with other sizes', (scene) => rows(scene, parts, 'Part', (row) => row.replace(/<Size>\d+/, '<Size>1'))],
  [
    'list of parts with other numbers',
    (scene) => rows(scene, parts, 'Part', (row) => row.replace(/<PartNumber>(\d)/, (_, n) => `<PartNumber>${3 - Number(n)}`))
  ],
  ['records without the first', (scene) => rows(scene, records, 'Contents', 'drop', 0)],
  ['records without the second', (scene) => rows(scene, records, 'Contents', 'drop', 1)],
  ['records without the third', (scene) => rows(scene, records, 'Contents', 'drop', 2)],
  ['records repeated', (scene) => rows(scene, records, 'Contents', 'repeat')],
  ['records reversed', (scene) => rows(scene, records, 'Contents', 'reverse')],
  ['records under other numbers', (scene) => rows(scene, records, 'Contents', (row) => row.replace(/parts\/0000(\d)/, (_, n) => `parts/0000${3 - Number(n)}`))],
  [
    'records changed by one character',
    (scene) => rows(scene, records, 'Contents', (row) => row.replace(/(.)<\/Key>/, (_, c: string) => `${c === 'A' ? 'B' : 'A'}</Key>`))
  ],
  ['records of another upload', async ({ store, mine, other }) => {
    for (const key of other) await store.object(stateBucket, asOf(mine, key)).set({ body: await store.object(stateBucket, key).body() })
  }],
  ['records of another upload alone', async ({ store, mine, other }) => {
    const isRecord = (name: string): boolean => name.includes('/parts/')
    for (const key of mine.filter(isRecord)) await store.object(stateBucket, key).remove()
    for (const key of other.filter(isRecord)) await store.object(stateBucket, asOf(mine, key)).set({ body: Buffer.alloc(0) })
  }],
  ['upload record of another upload', async ({ store, mine, other }) => {
    await store.object(stateBucket, recordOf(mine)).set({ body: await store.object(stateBucket, recordOf(other)).body() })
  }],
  ['upload record changed', async ({ store, mine }) => {
    const body = await store.object(stateBucket, recordOf(mine)).body()
    await store.object(stateBucket, recordOf(mine)).set({ body: flipped(body, body.length - 1) })
  }],
  ['upload record gone', ({ store, mine }) => store.object(stateBucket, recordOf(mine)).remove()],
  ['small part of an earlier attempt', async ({ store, mine }) => {
    const [first, second] = mine.filter((name) => name.includes('/small/'))
    const [one, two] = [await store.object(stateBucket, first!).body(), await store.object(stateBucket, second!).body()]
    await store.object(stateBucket, first!).set({ body: two })
    await store.object(stateBucket, second!).set({ body: one })
  }],
  ['small part changed', (scene) => changeSmall(scene, (body) => flipped(body, body.length - 1))],
  ['small part cut', (scene) => changeSmall(scene, (body) => body.subarray(0, -1))],
  ['small part empty', (scene) => changeSmall(scene, () => Buffer.alloc(0))],
  ['small parts gone', async ({ store, mine }) => {
    for (const key of mine.filter((name) => name.includes('/small/'))) await store.object(stateBucket, key).remove()
  }],
  ['the tail taken for a part', ({ store, key }) => answerOf(store, { method: 'PUT', bucket: Bucket, key, query: { partNumber: true } })],
  ['a Complete that does nothing', ({ store, key }) =>
    store.rules.add({
      when: { method: 'POST', bucket: Bucket, key, query: { uploadId: true } },
      fault: { type: 'answer', status: 200, body: '<CompleteMultipartUploadResult><ETag>"x-3"</ETag></CompleteMultipartUploadResult>' }
    })]
]

const parts: Match = { method: 'GET', bucket: Bucket, query: { uploadId: true } }
const records: Match = { method: 'GET', bucket: stateBucket, query: { prefix: true } }

function rows({ store }: Scene, when: Match, element: string, change: Extract<Fault, { type: 'rows' }>['change'], index?: number): void {
  store.rules.add({ when, times: 9, fault: { type: 'rows', element, change, ...index === undefined ? {} : { index } } })
}

/** A state object of another upload, under the name it would have as one of this upload. */
function asOf(mine: readonly string[], key: string): string {
  const [first = ''] = mine
  const directory = 'uploads/'.length
  return first.slice(0, first.indexOf('/', directory)) + key.slice(key.indexOf('/', directory))
}

function recordOf(keys: readonly string[]): string {
  return keys.find((name) => name.endsWith('/upload'))!
}

async function changeSmall({ store, mine }: Scene, change: (body: Buffer) => Buffer): Promise<void> {
  for (const key of mine.filter((name) => name.includes('/small/'))) {
    await store.object(stateBucket, key).set({ body: change(await store.object(stateBucket, key).body()) })
  }
}

/** The store says that it took the part, with an ETag of its own, and keeps nothing. */
function answerOf(store: TestStore, when: Match): void {
  store.rules.add({ when, fault: { type: 'answer', status: 200, headers: [['ETag', `"${'a'.repeat(32)}"`]] } })
}

/** A large part and a small one, the latter sent before with other content. */
const short = [content[0]!, content[2]!]

async function prepare(s3: S3Client, Key: string): Promise<{ id: string; listed: CompletedPart[] }> {
  const id = await create(s3, Key)
  const first = await put(s3, Key, id, 1, short[0]!)
  await put(s3, Key, id, 2, bytes(small, 1000))
  return { id, listed: [first, await put(s3, Key, id, 2, short[1]!)] }
}

/** An upload with all that the state bucket holds of it. */
async function scene(s3: S3Client, store: TestStore, key: string) {
  const before = new Set(store.keys(stateBucket))
  const prepared = await prepare(s3, key)
  const state = new Map<string, Buffer>()
  for (const name of store.keys(stateBucket)) if (!before.has(name)) state.set(name, await store.object(stateBucket, name).body())
  return { key, state, ...prepared }
}

void t.test('what a hostile store does to an upload', async (t) => {
  const { store, s3 } = await rig(t, { sections: { buckets: { '*': { encryption: 'on', key: 'main', etag: 'opaque' } } } })
  let completed = 0
  let accepted = 0
  const known = new Set(store.keys(stateBucket))
  await prepare(s3, 'other')
  const other = store.keys(stateBucket).filter((name) => !known.has(name))
  let upload = await scene(s3, store, 'object 0')
  for (const [i, [what, tell]] of lies.entries()) {
    const { key, id, listed, state } = upload
    await tell({ store, s3, key, mine: [...state.keys()], other })
    const answer = await complete(s3, key, id, listed).catch(() => null)
    store.rules.clear()
    if (answer === null) {
      // The large part is where it was: the next lie is told of the same upload.
      for (const name of store.keys(stateBucket)) {
        if (!known.has(name) && !other.includes(name) && !state.has(name)) await store.object(stateBucket, name).remove()
      }
      for (const [name, body] of state) await store.object(stateBucket, name).set({ body })
      continue
    }
    completed += 1
    const bad = await wrong(s3, key, Buffer.concat(short))
    if (bad > 0) t.fail(`${what}: a wrong object was read`)
    accepted += bad
    upload = await scene(s3, store, `object ${i + 1}`)
  }
  const { key, id, listed } = upload
  await complete(s3, key, id, listed)
  t.ok(Buffer.concat(short).equals(await read(s3, key)), 'and without a lie it completes')
  t.equal(accepted, 0)
  t.ok(completed < lies.length)
  t.comment(`${lies.length} lies about parts and records, ${completed} completed all the same, 0 wrong objects`)
})

void t.test('the same content twice has one MD5 and two records: the one the store holds is taken', async (t) => {
  const { store, s3 } = await rig(t)
  const id = await create(s3, 'same')
  await put(s3, 'same', id, 1, content[0]!)
  const listed = [await put(s3, 'same', id, 1, content[0]!)]
  for (const change of ['reverse', 'repeat'] as const) {
    store.rules.add({ when: records, fault: { type: 'rows', element: 'Contents', change } })
    const head = store.rules.add({ when: { method: 'POST', bucket: Bucket }, fault: { type: 'error', status: 503, code: 'SlowDown' } })
    await t.rejects(complete(s3, 'same', id, listed))
    t.equal(head.fired, 1, 'everything was right up to the store\'s own Complete')
    store.rules.clear()
  }
  await complete(s3, 'same', id, listed)
  t.ok(content[0]!.equals(await read(s3, 'same')))
})

void t.test('a record that was damaged once is read again', async (t) => {
  const { store, s3, another } = await rig(t)
  const id = await create(s3, 'damaged')
  const reader = await another()
  store.rules.add({ when: { method: 'GET', bucket: stateBucket, key: /upload$/ }, fault: { type: 'flip', offset: -1 } })
  t.equal(await codeOf(put(reader, 'damaged', id, 1, bytes(large))), 'SealgateIntegrityError')
  const part = await put(reader, 'damaged', id, 1, bytes(large))
  await complete(reader, 'damaged', id, [part])
})
