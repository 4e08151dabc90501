import { ListObjectsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import fc from 'fast-check'
import t from 'tap'
import { listPage } from '../../src/embedded-store/page.ts'
import { compareUtf8, SortedMap } from '../../src/embedded-store/sorted.ts'
import { startTestStore } from '../support/hostile.ts'
import { headerSigned, Wire } from '../support/wire.ts'
import type { Headers } from '../support/signing.ts'
import { failure } from './rig.ts'

const key = fc.string({ unit: fc.constantFrom('a', 'b', '/', '-', 'é', '\ud7ff', '\ue000', '\uffff', '\u{10000}'), minLength: 1, maxLength: 6 })

await t.test('keys sort by their UTF-8 bytes', async (t) => {
  fc.assert(fc.property(key, key, (a, b) => Math.sign(compareUtf8(a, b)) === Buffer.compare(Buffer.from(a), Buffer.from(b))), { numRuns: 5000 })
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), key)), key, (steps, probe) => {
      const map = new SortedMap<string>()
      const model = new Set<string>()
      for (const [add, k] of steps) {
        if (add) map.set(k, k)
        else map.delete(k)
        if (add) model.add(k)
        else model.delete(k)
      }
      const sorted = [...model].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      const bytes = Buffer.from(probe)
      return JSON.stringify([...map.values()]) === JSON.stringify(sorted) &&
        map.atOrAfter(probe) === sorted.find((k) => Buffer.compare(Buffer.from(k), bytes) >= 0) &&
        map.after(probe) === sorted.find((k) => Buffer.compare(Buffer.from(k), bytes) > 0) &&
        map.afterPrefix(probe) === sorted.find((k) => Buffer.compare(Buffer.from(k), bytes) > 0 && !k.startsWith(probe))
    }),
    { numRuns: 1000 }
  )
  t.pass('5,000 pairs and 1,000 maps agree with Buffer.compare')
})

await t.test('pages of any size, put together, are the listing as its definition says', async (t) => {
  let pages = 0
  fc.assert(
    fc.property(
      fc.uniqueArray(key, { maxLength: 30 }),
      fc.constantFrom('', 'a', 'a/', 'é'),
      fc.constantFrom('', '/', 'a', '-b'),
      fc.integer({ min: 1, max: 5 }),
      (keys, prefix, delimiter, limit) => {
        const expected: string[] = []
        for (const k of keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
          if (!k.startsWith(prefix)) continue
          const at = delimiter === '' ? -1 : k.indexOf(delimiter, prefix.length)
          const shown = at < 0 ? `key ${k}` : `prefix ${k.slice(0, at + delimiter.length)}`
          if (expected.at(-1) !== shown) expected.push(shown)
        }
        const source = new SortedMap(keys.map((k) => [k, k]))
        const found: string[] = []
        for (let after = '', more = true; more; pages += 1) {
          const page = listPage(source, { prefix, delimiter, after, resume: false, limit }, (k) => [k])
          if (page.rows.length + page.commonPrefixes.length > limit) return false
          found.push(...page.rows.map((k) => `key ${k}`), ...page.commonPrefixes.map((p) => `prefix ${p}`))
          more = page.last !== null
          if (page.last !== null) after = 'row' in page.last ? page.last.row : page.last.prefix
        }
        return JSON.stringify(found.sort()) === JSON.stringify(expected.sort())
      }
    ),
    { numRuns: 2000 }
  )
  t.comment(`${pages} pages of 2,000 listings`)
  t.ok(pages > 2000)
})

await t.test('over HTTP', async (t) => {
  const store = await startTestStore({ buckets: ['list'] })
  const client = new S3Client({ endpoint: store.endpoint, region: store.region, credentials: store, forcePathStyle: true, maxAttempts: 1 })
  t.teardown(async () => {
    client.destroy()
    await store.close()
  })
  const Bucket = 'list'
  for (const name of ['a', 'b/1', 'b/2', 'c d', 'e+f', 'z']) await store.object(Bucket, name).set({ body: Buffer.from(name) })

  const v2 = await client.send(new ListObjectsV2Command({ Bucket, Delimiter: '/', MaxKeys: 2, StartAfter: 'Z' }))
  t.match(v2, {
    KeyCount: 2,
    MaxKeys: 2,
    IsTruncated: true,
    StartAfter: 'Z',
    Contents: [{ Key: 'a', Size: 1, StorageClass: 'STANDARD' }],
    CommonPrefixes: [{ Prefix: 'b/' }]
  })
  const next = await client.send(
    new ListObjectsV2Command({ Bucket, Delimiter: '/', ContinuationToken: v2.NextContinuationToken, EncodingType: 'url', FetchOwner: true })
  )
  t.same(next.Contents?.map(({ Key }) => Key), ['c%20d', 'e%2Bf', 'z'])
  t.ok(next.Contents?.[0]?.Owner?.ID)
  t.match(await client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 0 })), { KeyCount: 0, IsTruncated: false })
  const v1 = await client.send(new ListObjectsCommand({ Bucket, Delimiter: '/', MaxKeys: 2 }))
  t.match(v1, { IsTruncated: true, NextMarker: 'b/', Marker: '' })
  const v1rest = await client.send(new ListObjectsCommand({ Bucket, Delimiter: '/', Marker: 'b/' }))
  t.same([v1rest.CommonPrefixes, v1rest.Contents?.map(({ Key }) => Key)], [undefined, ['c d', 'e+f', 'z']])
  t.equal((await client.send(new ListObjectsCommand({ Bucket, MaxKeys: 2 }))).NextMarker, undefined, 'only with a delimiter')
  t.equal(await failure(client.send(new ListObjectsV2Command({ Bucket, MaxKeys: -1 }))), '400 InvalidArgument')
  t.equal(await failure(client.send(new ListObjectsV2Command({ Bucket, ContinuationToken: '??' }))), '400 InvalidArgument')
  t.equal(await failure(client.send(new ListObjectsV2Command({ Bucket: 'absent' }))), '404 NoSuchBucket')
})

await t.test('listings take the parameters of MinIO and Ceph that mc sends', async (t) => {
  const store = await startTestStore({ buckets: ['bucket'] })
  const wire = new Wire(store.endpoint)
  t.teardown(async () => {
    wire.close()
    await store.close()
  })
  const ask = (method: string, target: string, headers: Headers = [], body = '') => wire.send(headerSigned(store, { method, target, headers }, body), body)
  await ask('PUT', '/bucket/k', [['content-type', 'text/x'], ['x-amz-meta-my-colour', 'gr\u00c3\u00bcn'], ['x-amz-meta-1x', 'no element has this name'], [
    'x-amz-tagging',
    'a=b'
  ]], 'x')
  for (const query of ['allow-unordered=true&metadata=true', 'list-type=2&metadata=true', 'metadata=true&versions=']) {
    const { status, body } = await ask('GET', `/bucket?${query}`)
    t.equal(status, 200, query)
    t.match(body.toString(), '<UserMetadata><content-type>text/x</content-type><X-Amz-Meta-My-Colour>grün</X-Amz-Meta-My-Colour><X-Amz-Meta-1x>', query)
    t.notMatch(body.toString().replace(/.*<UserMetadata>/s, ''), /tagging/i)
  }
  t.notMatch((await ask('GET', '/bucket?list-type=2')).body.toString(), 'UserMetadata')
  t.equal((await ask('GET', '/bucket?unheard-of=true')).code, 'NotImplemented')
})
