// A store that changes, mixes, cuts and forges: a client never gets a complete wrong answer, nor a wrong byte.
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { ListObjectsV2Command, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { byTurns } from '../support/by-turns.ts'
import { streamSize } from '../../src/envelope/sizes.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { askings, integrityFailures, judge, putMultipart, read, snapshot, type Asking, type Snapshot } from '../support/reading.ts'
import type { Fault } from '../support/faults.ts'
import type { ObjectChange } from '../support/stored-object.ts'

const Bucket = 'vault'

interface Rig {
  readonly store: TestStore
  readonly gateway: TestGateway
  readonly s3: S3Client
  /** Plaintext by key. */
  readonly truth: Map<string, Buffer>
  readonly originals: Map<string, Snapshot>
}

interface RigOptions {
  readonly multipart?: boolean
  readonly etag?: 'md5' | 'opaque'
  readonly metadata?: 'sealed' | 'clear'
}

async function rig(t: Test, { multipart = false, etag = 'md5', metadata = 'sealed' }: RigOptions = {}): Promise<Rig> {
  const store = await startTestStore({ buckets: [Bucket, 'elsewhere'], keepBodies: false })
  const gateway = await startTestGateway(store, {
    sections: { buckets: { '*': { encryption: 'on', key: 'main', etag, metadata } }, keyCache: { maxUses: 2 } }
  })
  const s3 = gateway.client()
  t.teardown(async () => {
    s3.destroy()
    await gateway.close()
    await store.close()
  })
  const truth = new Map<string, Buffer>()
  const originals = new Map<string, Snapshot>()
  const remember = async (bucket: string, key: string, body: Buffer): Promise<void> => {
    truth.set(key, body)
    originals.set(key, await snapshot(store.object(bucket, key)))
  }
  // Of the first two a whole read is streamed, of the others it is opened before the answer begins.
  for (const [key, size] of [['a', 300_000], ['b', 300_000], ['middle', 150_000], ['small', 100], ['empty', 0]] as const) {
    const Body = randomBytes(size)
    await s3.send(new PutObjectCommand({ Bucket, Key: key, Body, ContentType: 'text/x-a', Metadata: { colour: 'blue' } }))
    await remember(Bucket, key, Body)
  }
  const far = randomBytes(300_000)
  await s3.send(new PutObjectCommand({ Bucket: 'elsewhere', Key: 'a', Body: far }))
  originals.set('far', await snapshot(store.object('elsewhere', 'a')))
  if (multipart) await remember(Bucket, 'parts', await putMultipart(s3, Bucket, 'parts', [5 * 1024 * 1024, 70_000]))
  return { store, gateway, s3, truth, originals }
}

/** What is refused by rule and not by verification: no envelope at all, or a key the configuration does not name. */
const refusals = new Set(['SealgatePlaintextRefused', 'SealgateKeyUnavailable'])

let turn = 0

/** The first way and one of the others, by turns: every change is read in two ways. */
function twoOf(ways: readonly Asking[]): Asking[] {
  turn += 1
  return ways.filter((_, i) => byTurns(i === 0 || i === 1 + turn % (ways.length - 1)))
}

/** Puts an object into another state, reads it in some ways, and puts it back. @returns how it was answered */
async function tampered(
  t: Test,
  r: Rig,
  key: string,
  name: string,
  change: ObjectChange,
  ways: readonly Asking[] = twoOf(askings),
  everyByte: readonly string[] = []
): Promise<Map<string, number>> {
  const original = r.originals.get(key)!
  const object = r.store.object(Bucket, key)
  await object.set(change)
  const verdicts = new Map<string, number>()
  let before = integrityFailures(r.gateway)
  for (const ask of ways) {
    const answer = await read(r.gateway, `/${Bucket}/${key}`, ask)
    const verdict = judge(answer, ask, [r.truth.get(key)!])
    verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1)
    if (verdict === 'right' && everyByte.includes(ask.name)) t.fail(`${name}: ${ask.name} of ${key} looks at every byte`)
    if (verdict === 'wrong') t.fail(`${name}: ${ask.name} of ${key} was accepted: ${answer.status} ${answer.body.length} bytes`)
    if (verdict === 'error' && (answer.status < 500 || answer.code === 'InternalError') && !refusals.has(answer.code) && ask.method === 'GET') {
      t.fail(`${name}: ${ask.name} of ${key} answers ${answer.status} ${answer.code}`)
    }
    const after = integrityFailures(r.gateway)
    const counted = after > before
    before = after
    if (verdict !== 'right' && !counted && answer.status !== 403) {
      t.fail(`${name}: ${ask.name} of ${key} is not counted as an integrity failure: ${answer.status} ${answer.code}`)
    }
  }
  await object.set({ ...original })
  return verdicts
}

function add(sum: Map<string, number>, more: ReadonlyMap<string, number>): void {
  for (const [verdict, count] of more) sum.set(verdict, (sum.get(verdict) ?? 0) + count)
}

function told(sum: ReadonlyMap<string, number>): string {
  return [...sum].map(([verdict, count]) => `${count.toLocaleString('en')} ${verdict}`).join(', ')
}

/** A HEAD opens only the envelope, so it does not detect changes of the body. */
const bodyAskings = askings.filter(({ method }) => method === 'GET')

void t.test('changed bytes of a stored body', async (t) => {
  const r = await rig(t)
  const sum = new Map<string, number>()
  for (const key of ['a', 'middle', 'small', 'empty']) {
    const { body } = r.originals.get(key)!
    const at = new Set([0, 1, 39, 40, body.length - 1, body.length - 17, body.length >> 1, 65535, 65536, 65555, 65556].filter((i) => i >= 0 && i < body.length))
    for (const offset of at) {
      const flipped = Buffer.from(body)
      flipped[offset]! ^= 1 << (offset % 8)
      add(
        sum,
        await tampered(
          t,
          r,
          key,
          `bit at ${offset}`,
          { body: flipped },
          key === 'a' || key === 'middle' ? twoOf(bodyAskings) : [bodyAskings[0]!]
        )
      )
    }
    const lengths = [0, 1, 20, 39, 40, 511, 512, 531, 65536, 65556, 131072, body.length - 1, body.length - 20, body.length - 512].filter((n) =>
      n >= 0 && n < body.length
    )
    for (const length of new Set(lengths)) add(sum, await tampered(t, r, key, `cut to ${length}`, { body: body.subarray(0, length) }))
    for (const more of [1, 16, 20, 512, 65556]) add(sum, await tampered(t, r, key, `longer by ${more}`, { body: Buffer.concat([body, Buffer.alloc(more)]) }))
  }
  t.ok((sum.get('error') ?? 0) > 60)
  t.notOk(sum.has('wrong'))
  t.comment(`changed, cut and extended bodies: ${told(sum)}`)
})

void t.test('zeros behind a long stream', async (t) => {
  const r = await rig(t)
  const size = 1_000_000
  // More of them than the gateway keeps together with the manifest: these are looked at as they pass.
  const Body = randomBytes(size)
  const s3 = r.gateway.client()
  await s3.send(new PutObjectCommand({ Bucket, Key: 'long', Body }))
  s3.destroy()
  r.truth.set('long', Body)
  r.originals.set('long', await snapshot(r.store.object(Bucket, 'long')))
  const { body } = r.originals.get('long')!
  const flipped = Buffer.from(body)
  flipped[streamSize(size)]! ^= 1
  const sum = await tampered(t, r, 'long', 'the first zero', { body: flipped }, [bodyAskings[0]!], ['whole'])
  t.notOk(sum.has('right'))
})

void t.test('a truncated body keeps no etag of the whole', async (t) => {
  const r = await rig(t)
  const { body } = r.originals.get('a')!
  const sum = await tampered(t, r, 'a', 'cut, ETag kept', { body: body.subarray(0, 65536), etag: 'keep' }, askings)
  t.notOk(sum.has('wrong'))
  t.notOk(sum.has('right'), 'not even a HEAD states a length that was not authenticated')
})

void t.test('bodies and envelopes of other objects', async (t) => {
  const r = await rig(t)
  const sum = new Map<string, number>()
  const of = (key: string): Snapshot => r.originals.get(key)!
  for (const key of ['a', 'small', 'empty']) {
    for (const other of ['a', 'b', 'far', 'small', 'empty'].filter((name) => name !== key)) {
      const { body, metadata, headers } = of(other)
      add(sum, await tampered(t, r, key, `body of ${other}`, { body }))
      add(sum, await tampered(t, r, key, `envelope of ${other}`, { metadata, headers }))
      add(sum, await tampered(t, r, key, `all of ${other}`, { body, metadata, headers }))
    }
    const own = of(key).metadata
    add(sum, await tampered(t, r, key, 'another key id', { metadata: { ...own, 'sealgate-key': `${own['sealgate-key'] ?? ''}x` } }))
  }
  t.notOk(sum.has('wrong'))
  t.comment(`mixed objects: ${told(sum)}`)
})

void t.test('older bodies under newer metadata, and the reverse', async (t) => {
  const r = await rig(t)
  const old = r.originals.get('a')!
  const Body = randomBytes(300_000)
  await r.s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body, ContentType: 'text/x-a', Metadata: { colour: 'blue' } }))
  r.truth.set('a', Body)
  r.originals.set('a', await snapshot(r.store.object(Bucket, 'a')))
  const sum = new Map<string, number>()
  add(sum, await tampered(t, r, 'a', 'older body', { body: old.body }, bodyAskings))
  add(sum, await tampered(t, r, 'a', 'older metadata', { metadata: old.metadata }, bodyAskings))
  t.notOk(sum.has('wrong'))
  t.notOk(sum.has('right'))
})

void t.test('metadata in plaintext', async (t) => {
  const r = await rig(t, { metadata: 'clear' })
  const { metadata, headers } = r.originals.get('a')!
  const { sealgate = '', 'sealgate-key': keyId = '', ...own } = metadata
  const without: Record<string, string> = { ...metadata }
  delete without['colour']
  const changes: Record<string, ObjectChange> = {
    'content type': { headers: { ...headers, 'content-type': 'text/html' } },
    'content encoding': { headers: { ...headers, 'content-encoding': 'gzip' } },
    'value': { metadata: { ...metadata, colour: 'red' } },
    'added': { metadata: { ...metadata, more: 'x' } },
    'removed': { metadata: without },
    'renamed': { metadata: { ...without, color: 'blue' } },
    'no envelope': { metadata: { ...own, 'sealgate-key': keyId } },
    'no key id': { metadata: { ...own, sealgate } },
    'key id unknown': { metadata: { ...metadata, 'sealgate-key': 'local:nobody:1' } },
    'a context': { metadata: { ...metadata, 'sealgate-context': 'e30' } },
    'envelope twice': { metadata: { ...metadata, sealgate: `${sealgate},${sealgate}` } },
    'envelope padded': { metadata: { ...metadata, sealgate: `${sealgate}==` } },
    'envelope empty': { metadata: { ...metadata, sealgate: '' } },
    'envelope long': { metadata: { ...metadata, sealgate: sealgate + 'A'.repeat(1000) } },
    'envelope short': { metadata: { ...metadata, sealgate: sealgate.slice(0, -4) } },
    'not base64url': { metadata: { ...metadata, sealgate: `${sealgate.slice(0, -1)}!` } }
  }
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  for (let at = 0; at < sealgate.length; at += byTurns(false) ? 7 : 19) {
    const other = alphabet[(alphabet.indexOf(sealgate[at]!) + 1 + at % 62) % 64]!
    changes[`envelope at ${at}`] = { metadata: { ...metadata, sealgate: sealgate.slice(0, at) + other + sealgate.slice(at + 1) } }
  }
  const sum = new Map<string, number>()
  for (const [i, [name, change]] of Object.entries(changes).entries()) {
    add(sum, await tampered(t, r, 'a', name, change, [askings[0]!, askings[6]!].filter((_, k) => byTurns(k === 0 || i % 2 === 0))))
  }
  const plain = await tampered(t, r, 'a', 'plaintext in its place', { body: Buffer.from('evil'), metadata: {} }, askings)
  add(sum, plain)
  t.notOk(sum.has('wrong'))
  t.notOk(sum.has('right'), 'none of these opens')
  t.comment(`${Object.keys(changes).length} changes of metadata: ${told(sum)}`)
})

void t.test('moved to another name, bucket or realm', async (t) => {
  const r = await rig(t)
  const stranger = await startTestGateway(r.store, {
    keyring: r.gateway.keyring,
    sections: {
      upstream: {
        endpoint: r.store.endpoint,
        region: r.store.region,
        accessKeyId: r.store.accessKeyId,
        secretAccessKey: r.store.secretAccessKey,
        stateBucket: 'sealgate-state',
        realm: 'another'
      }
    }
  })
  t.teardown(() => stranger.close())
  const all = r.originals.get('a')!
  await r.store.object(Bucket, 'a2').set(all)
  await r.store.object('elsewhere', 'moved').set(all)
  const places: readonly [TestGateway, string][] = [[r.gateway, `/${Bucket}/a2`], [r.gateway, '/elsewhere/moved'], [stranger, `/${Bucket}/a`]]
  for (const [gateway, path] of places) {
    for (const ask of askings) {
      const before = integrityFailures(gateway)
      const answer = await read(gateway, path, ask)
      if (answer.status !== 500) t.fail(`${path} ${ask.name}: ${answer.status} ${answer.code}`)
      if (integrityFailures(gateway) === before) t.fail(`${path} ${ask.name} is not counted`)
    }
  }
  t.equal(judge(await read(r.gateway, `/${Bucket}/a`, askings[0]!), askings[0]!, [r.truth.get('a')!]), 'right', 'where it belongs it opens')
})

/** Lies of the answer, not of what is stored. Integrity failures may be counted for some, never for `network`. */
const lies: Readonly<Record<string, { readonly fault: Fault; readonly network?: true }>> = {
  'ETag missing': { fault: { type: 'headers', set: { ETag: null } } },
  'ETag twice': { fault: { type: 'headers', add: [['ETag', '"00000000000000000000000000000000"']] }, network: true },
  'ETag weak': { fault: { type: 'headers', set: { ETag: 'W/"00000000000000000000000000000000"' } } },
  'ETag of another': { fault: { type: 'headers', set: { ETag: '"00000000000000000000000000000000"' } } },
  'envelope twice': { fault: { type: 'headers', add: [['x-amz-meta-sealgate', 'x']] }, network: true },
  'Content-Length one less': {
    fault: {
      type: 'transform',
      change: (a) => ({ ...a, headers: a.headers.map(([n, v]) => n.toLowerCase() === 'content-length' ? [n, String(Math.max(0, Number(v) - 1))] : [n, v]) })
    }
  },
  'Content-Length one segment less': {
    fault: {
      type: 'transform',
      change: (a) => ({
        ...a,
        body: a.body.subarray(65556),
        headers: a.headers.map(([n, v]) => n.toLowerCase() === 'content-length' ? [n, String(Math.max(0, Number(v) - 65556))] : [n, v])
      })
    }
  },
  'Content-Range missing': { fault: { type: 'headers', set: { 'Content-Range': null } } },
  'Content-Range of other bytes': {
    fault: {
      type: 'transform',
      change: (a) => ({
        ...a,
        headers: a.headers.map(([n, v]) =>
          n.toLowerCase() === 'content-range'
            ? [n, v.replace(/bytes (\d+)/, (_, first: string) => `bytes ${Number(first) + 1}`)]
            : [n, v]
        )
      })
    }
  },
  'Content-Range of another size': {
    fault: {
      type: 'transform',
      change: (a) => ({
        ...a,
        headers: a.headers.map(([n, v]) =>
          n.toLowerCase() === 'content-range'
            ? [n, v.replace(/\d+$/, (size) => String(Number(size) + 1))]
            : [n, v]
        )
      })
    }
  },
  'Content-Range nonsense': {
    fault: { type: 'transform', change: (a) => ({ ...a, headers: a.headers.map(([n, v]) => n.toLowerCase() === 'content-range' ? [n, 'bytes */*'] : [n, v]) }) }
  },
  '200 for a range': {
    fault: {
      type: 'transform',
      change: (a) => ({
        ...a,
        status: a.status === 206 ? 200 : a.status,
        headers: a.headers.filter(([n]) => n.toLowerCase() !== 'content-range')
      })
    }
  },
  '206 for the whole': {
    fault: {
      type: 'transform',
      change: (a) => a.status !== 200 ? a : { ...a, status: 206, headers: [...a.headers, ['Content-Range', `bytes 0-${a.body.length - 1}/${a.body.length}`]] }
    }
  },
  '206 of other bytes': { fault: { type: 'shift', by: 16 } },
  '206 of bytes before': { fault: { type: 'shift', by: -16 } },
  '201': { fault: { type: 'transform', change: (a) => ({ ...a, status: 201 }) } },
  '204': { fault: { type: 'answer', status: 204 } },
  '304': { fault: { type: 'answer', status: 304 } },
  'truncated': { fault: { type: 'truncate', bytes: 70_000 }, network: true },
  'close-delimited': { fault: { type: 'close-delimited' }, network: true },
  'close-delimited and cut': { fault: { type: 'close-delimited', bytes: 66_000 }, network: true },
  'body longer': { fault: { type: 'extra', bytes: Buffer.from('more'), where: 'in-body' } },
  'bytes behind the answer': {
    fault: { type: 'extra', bytes: Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'), where: 'after-response' },
    network: true
  },
  'compressed': { fault: { type: 'headers', set: { 'Content-Encoding': 'gzip' } } },
  'chunked': { fault: { type: 'headers', set: { 'Content-Length': null, 'Transfer-Encoding': 'chunked' } }, network: true },
  'redirect': { fault: { type: 'redirect', status: 307, location: 'http://127.0.0.1:1/' }, network: true },
  'garbage': { fault: { type: 'garbage' }, network: true },
  'reset': { fault: { type: 'reset', at: 'mid-body', bytes: 66_000 }, network: true },
  'bit in flight': { fault: { type: 'flip', offset: 70_000, bit: 3 } },
  'envelope of another': { fault: { type: 'substitute', key: 'b', what: 'metadata' } },
  'body of another': { fault: { type: 'substitute', key: 'b', what: 'body' } },
  'all of another': { fault: { type: 'substitute', key: 'b', what: 'both' } }
}

void t.test('forged answers to each of the gateway\'s requests', async (t) => {
  const r = await rig(t)
  const sum = new Map<string, number>()
  for (const [index, [name, { fault, network }]] of Object.entries(lies).entries()) {
    for (const [i, ask] of askings.entries()) {
      for (const nth of [1, 2]) {
        // A read of the whole always; the others by turns.
        if (!byTurns(i === 0 || (index + i + 3 * nth) % 6 === 0)) continue
        // A HEAD has no body to cut; its Content-Length alone would be the lie.
        const when = { bucket: Bucket, key: 'a', ...network === true ? { method: 'GET' } : {} }
        const rule = r.store.rules.add({ when, nth, times: 1, fault })
        const before = integrityFailures(r.gateway)
        const answer = await read(r.gateway, `/${Bucket}/a`, ask)
        rule.remove()
        if (rule.fired === 0) continue
        const verdict = judge(answer, ask, [r.truth.get('a')!])
        sum.set(verdict, (sum.get(verdict) ?? 0) + 1)
        if (verdict === 'wrong') t.fail(`${name} at ${nth}: ${ask.name}: ${answer.status}, ${answer.body.length} bytes`)
        if (verdict === 'error' && answer.status < 500) t.fail(`${name} at ${nth}: ${ask.name}: ${answer.status} ${answer.code}`)
        if (answer.code === 'InternalError') t.fail(`${name} at ${nth}: ${ask.name}: InternalError`)
        if (network === true && integrityFailures(r.gateway) !== before) t.fail(`${name} at ${nth}: ${ask.name}: called an integrity failure`)
      }
    }
  }
  t.ok((sum.get('error') ?? 0) + (sum.get('broken') ?? 0) > 40)
  t.equal(judge(await read(r.gateway, `/${Bucket}/a`, askings[0]!), askings[0]!, [r.truth.get('a')!]), 'right', 'the next read is in step')
  t.comment(`${Object.keys(lies).length} lies: ${told(sum)}`)
})

void t.test('overwritten between any two requests of a read: one version or the other', async (t) => {
  for (const etag of ['md5', 'opaque'] as const) {
    const r = await rig(t, { etag })
    const first = r.originals.get('a')!
    const Body = randomBytes(300_000)
    // A read of the first or the last byte must tell the two versions apart.
    const before = r.truth.get('a')!
    Body[0] = before[0]! ^ 1
    Body[Body.length - 1] = before.at(-1)! ^ 1
    await r.s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body, ContentType: 'text/x-other' }))
    const second = await snapshot(r.store.object(Bucket, 'a'))
    const sum = new Map<string, number>()
    for (
      const ask of [
        ...askings,
        ...askings.filter((_, i) => byTurns(i % 2 === Number(etag === 'md5'))).map((one) => ({
          ...one,
          name: `${one.name}, if-none-match`,
          headers: [...one.headers, ['If-None-Match', '"x"'] as const]
        }))
      ]
    ) {
      for (const nth of [1, 2, 3]) {
        await r.store.object(Bucket, 'a').set(first)
        const rule = r.store.rules.add({
          when: { bucket: Bucket, key: 'a' },
          nth,
          // Before the answer has left the store, the object is another.
          fault: {
            type: 'transform',
            change: (answer) => {
              void r.store.object(Bucket, 'a').set(second)
              return answer
            }
          }
        })
        const answer = await read(r.gateway, `/${Bucket}/a`, ask)
        rule.remove()
        // The read makes no more requests.
        if (rule.fired === 0) break
        const verdict = judge(answer, ask, [r.truth.get('a')!, Body])
        sum.set(verdict, (sum.get(verdict) ?? 0) + 1)
        if (verdict !== 'right') t.fail(`${ask.name} at ${nth}: ${verdict} ${answer.status} ${answer.code}`)
        const type = answer.headers['content-type']
        const isFirst = judge(answer, ask, [r.truth.get('a')!]) === 'right'
        if (type !== (isFirst ? 'text/x-a' : 'text/x-other')) t.fail(`${ask.name} at ${nth}: head and body of two versions`)
      }
    }
    t.equal(integrityFailures(r.gateway), 0, 'an overwrite is no tampering')
    t.comment(`races (${etag}): ${told(sum)}, each wholly one version`)
  }
})

void t.test('multipart objects: parts, manifest and padding', async (t) => {
  const r = await rig(t, { multipart: true })
  const { body, metadata } = r.originals.get('parts')!
  const ways: readonly Asking[] = [
    askings[0]!,
    { ...askings[2]!, name: 'first part' },
    { ...askings[4]!, name: 'suffix' },
    { name: 'across parts', method: 'GET', query: '', headers: [['Range', 'bytes=5242870-5242890']], expected: (truth) => truth.subarray(5242870, 5242891) },
    { name: 'part 2', method: 'GET', query: '?partNumber=2', headers: [], expected: (truth) => truth.subarray(5242880) },
    askings[6]!
  ]
  const sum = new Map<string, number>()
  const tailStart = body.length - 2000
  for (
    const at of [
      0,
      39,
      40,
      70_000,
      5242880,
      body.length - 70_000,
      tailStart,
      body.length - 500,
      body.length - 300,
      body.length - 100,
      body.length - 30,
      body.length - 10,
      body.length - 1
    ]
  ) {
    const flipped = Buffer.from(body)
    flipped[at]! ^= 1
    add(sum, await tampered(t, r, 'parts', `bit at ${at}`, { body: flipped }, twoOf(ways), ['whole']))
  }
  const half = 5_000_000
  const changes: Record<string, ObjectChange> = {
    'cut': { body: body.subarray(0, -1) },
    'cut by a segment': { body: body.subarray(0, -65556) },
    'longer': { body: Buffer.concat([body, Buffer.alloc(20)]) },
    'manifest moved': { body: Buffer.concat([body.subarray(20), body.subarray(0, 20)]) },
    'parts exchanged': {
      body: Buffer.concat([body.subarray(half, half + 200_000), body.subarray(200_000, half), body.subarray(0, 200_000), body.subarray(half + 200_000)])
    },
    'envelope of a single': { metadata: r.originals.get('a')!.metadata },
    'body of a single': { body: r.originals.get('a')!.body },
    'nothing left': { body: Buffer.alloc(0) },
    'no envelope': { metadata: Object.fromEntries(Object.entries(metadata).filter(([name]) => name === 'sealgate-key')) }
  }
  for (const [name, change] of Object.entries(changes)) add(sum, await tampered(t, r, 'parts', name, change, twoOf(ways)))
  t.notOk(sum.has('wrong'))
  t.comment(`multipart: ${told(sum)}`)
})

void t.test('listings: rows that lie about size and ETag are put right or shown as stored, never fail', async (t) => {
  const r = await rig(t)
  const rowsOf = async () => (await r.s3.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []
  const right = (await rowsOf()).map(({ Key, Size, ETag }) => ({ Key, Size, ETag }))
  t.equal(right.length, 5)
  r.store.rules.add({
    when: { bucket: Bucket, query: { 'list-type': '2' } },
    fault: { type: 'rows', element: 'Contents', change: (row) => row.replace(/<Size>\d+/, '<Size>7') }
  })
  t.same((await rowsOf()).map(({ Key, ETag }) => ({ Key, ETag })), right.map(({ Key, ETag }) => ({ Key, ETag })))
  r.store.rules.add({
    when: { bucket: Bucket, query: { 'list-type': '2' } },
    fault: { type: 'rows', element: 'Contents', change: (row) => row.replace(/<ETag>[^<]*/, '<ETag>"00000000000000000000000000000000"') }
  })
  t.same((await rowsOf()).map(({ Key, Size, ETag }) => ({ Key, Size, ETag })), right, 'looked up where the ETag is not known')
  await r.store.object(Bucket, 'a').set({ body: Buffer.alloc(7) })
  t.equal((await rowsOf()).find(({ Key }) => Key === 'a')?.Size, 7, 'a size outside the law is shown as stored')
})

void t.test('regression: a success of another kind than was asked for is not passed on as an error with that status', async (t) => {
  const r = await rig(t)
  for (const status of [201, 204, 206, 304]) {
    for (const ask of askings) {
      r.store.rules.add({ when: { bucket: Bucket, key: 'a' }, fault: { type: 'answer', status } })
      const answer = await read(r.gateway, `/${Bucket}/a`, ask)
      r.store.rules.clear()
      if (answer.status !== 502) t.fail(`${status} for ${ask.name}: ${answer.status}`)
    }
  }
})

void t.test('regression: a wrapped bucket key that does not open is counted as an integrity failure', async (t) => {
  const r = await rig(t)
  const { metadata } = r.originals.get('a')!
  const envelope = Buffer.from(metadata['sealgate'] ?? '', 'base64url')
  // Inside the provider's blob: behind version, suite, kind and bucket name.
  envelope[40]! ^= 1
  await r.store.object(Bucket, 'a').set({ metadata: { ...metadata, sealgate: envelope.toString('base64url') } })
  t.match(await read(r.gateway, `/${Bucket}/a`, askings[0]!), { status: 500, code: 'SealgateIntegrityError' })
  t.equal(integrityFailures(r.gateway, 'box'), 1)
})
