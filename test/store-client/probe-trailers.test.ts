import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { probeTrailers } from '../../src/store-client/probe-trailers.ts'
import { Capabilities } from '../../src/store-client/capabilities.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { rawStore, upstreamTo } from '../support/raw-store.ts'
import { createUpstream, type StoreUpstream } from '../../src/upstream/upstream.ts'
import type { Rule } from '../support/rules.ts'

const never = new AbortController().signal

async function startStore(): Promise<{ store: TestStore; upstream: StoreUpstream }> {
  const store = await startTestStore({ buckets: ['state'] })
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const credentials = { accessKeyId, secretAccessKey, sessionToken: null }
  const upstream = createUpstream({ endpoint, region, credentials, style: 'path', connections: 4, ca: null, sse: null }, {
    minRate: 0,
    minRateWindowSeconds: 10,
    upstreamFirstByteSeconds: 10
  })
  return { store, upstream }
}

/** The embedded store, with faults; what the probe says of it, and what it leaves there. */
async function probed(faults: readonly Rule[]): Promise<{ said: string; left: readonly [number, number] }> {
  const { store, upstream } = await startStore()
  for (const fault of faults) store.rules.add(fault)
  const said = await probeTrailers(upstream, 'state', 'crc32', never).then(
    () => 'good',
    (error: unknown) => error instanceof S3Error ? `${error.code} ${error.message}` : String(error)
  )
  const left = [store.keys('state').length, store.uploads('state')] as const
  await upstream.close()
  await store.close()
  return { said, left }
}

await t.test('a store that takes them', async (t) => {
  t.same(await probed([]), { said: 'good', left: [0, 0] })
})

await t.test('stores that do not, at each step of the probe; nothing is left there', async (t) => {
  const cases: readonly (readonly [Rule, RegExp])[] = [
    [{ when: { method: 'PUT' }, fault: { type: 'error', status: 501, code: 'NotImplemented' } }, /^ServiceUnavailable .*PutObject: 501 NotImplemented/],
    [{ when: { method: 'PUT' }, fault: { type: 'error', status: 403, code: 'SignatureDoesNotMatch' } }, /PutObject: .*signature/],
    [{ when: { method: 'GET' }, fault: { type: 'flip', offset: 0 } }, /PutObject: other bytes come back/],
    [{ when: { method: 'GET', without: ['uploadId'] }, nth: 2, fault: { type: 'flip', offset: 69_999 } }, /UploadPart: other bytes come back/],
    [
      { when: { method: 'GET', query: { uploadId: true } }, fault: { type: 'rows', element: 'ChecksumCRC32', change: 'drop' } },
      /CompleteMultipartUpload: 400 InvalidRequest/
    ],
    [{ when: { method: 'POST', query: { uploads: true } }, fault: { type: 'error', status: 400, code: 'InvalidRequest' } }, /CreateMultipartUpload: 400/]
  ]
  for (const [rule, expected] of cases) {
    const { said, left } = await probed([rule])
    t.match(said, expected)
    t.same(left, [0, 0], said)
  }
})

await t.test('an ill store is not an unfit one', async (t) => {
  t.match((await probed([{ fault: { type: 'error', status: 503, code: 'SlowDown' } }])).said, /^ServiceUnavailable .*did not answer/)
  t.match((await probed([{ times: Infinity, fault: { type: 'reset', at: 'before' } }])).said, /^ServiceUnavailable (?!.*upstream.checksum)/)
})

await t.test('a store that is too slow for one run: nothing is left there, and the next run continues', async (t) => {
  const { store, upstream } = await startStore()
  t.teardown(async () => {
    await upstream.close()
    await store.close()
  })
  const probes = new Capabilities(upstream, { stateBucket: 'state', region: 'us-east-1', checksum: 'crc32' })
  const left = (): readonly number[] => [store.keys('state').length, store.uploads('state')]
  for (const when of [{ method: 'GET', query: { uploadId: true } }, { method: 'POST', key: /complete$/, query: { uploadId: true } }] as const) {
    const patience = new AbortController()
    store.rules.add({
      when,
      fault: {
        type: 'late',
        until: async () => {
          patience.abort(new Error('too slow'))
        }
      }
    })
    await t.rejects(probes.run(patience.signal), { message: 'too slow' })
    t.same(left(), [0, 0])
    t.equal(probes.known, false)
  }
  t.equal(await probes.run(never), true)
  t.match(probes.ofStateBucket, { put: true, complete: true })
  t.equal(await probes.run(never), false)
  t.same(left(), [0, 0])
  t.equal(store.requests.filter(({ headers }) => headers.has('x-amz-trailer')).length, 4, 'checksums were tried twice, an object and a part each')
})

await t.test('a store that keeps the frames', async (t) => {
  let kept: Buffer = Buffer.alloc(0)
  const store = await rawStore(t, {
    onRequest: (socket, { head, body }) => {
      if (head.startsWith('PUT')) kept = body
      const sent = head.startsWith('GET') ? kept : Buffer.alloc(0)
      socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: ${sent.length}\r\n\r\n`), sent]))
    }
  })
  await t.rejects(probeTrailers(upstreamTo(t, store.endpoint), 'state', 'crc32', never), { code: 'ServiceUnavailable', message: /other bytes come back/ })
  t.ok(kept.length > 70_000)
})
