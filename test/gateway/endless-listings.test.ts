import { Readable } from 'node:stream'
import t from 'tap'
import { HeadObjectCommand, ListPartsCommand } from '@aws-sdk/client-s3'
import type { Upstream } from '../../src/upstream/types.ts'
import { S3Error } from '../../src/errors.ts'
import { collectGarbage } from '../../src/maintenance/garbage.ts'
import { StateBucket } from '../../src/store-client/state-bucket.ts'
import { HeaderList } from '../../src/http/message.ts'
import { KeyCounts } from '../../src/maintenance/key-usage.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'
import { MOST_ROWS, PageTurns } from '../../src/s3/page-turns.ts'
import { renderXml, type XmlNode } from '../../src/s3/xml.ts'
import { Bucket, bytes, complete, create, MiB, put, rig, upload } from '../support/multipart-rig.ts'
import { codeOf } from '../support/error-code.ts'

const { signal } = new AbortController()
const bad = { code: 'SealgateBadUpstream' }

/** A store that answers every request with a page from the test. */
function endless(page: (n: number) => readonly XmlNode[]): Upstream & { pages: number } {
  return {
    pages: 0,
    async request() {
      this.pages += 1
      const body = renderXml(['ListBucketResult', page(this.pages)])
      return { status: 200, headers: new HeaderList([]), body: Readable.from([body], { objectMode: false }) }
    },
    close: async () => undefined
  }
}

const row = (key: string): XmlNode => ['Contents', [['Key', key], ['Size', '0'], ['ETag', 'e'], ['LastModified', '2020-01-01T00:00:00Z']]]
const more = (token: string): XmlNode[] => [['IsTruncated', 'true'], ['NextContinuationToken', token]]

async function drain(pages: AsyncIterable<unknown>): Promise<void> {
  const iterator = pages[Symbol.asyncIterator]()
  while ((await iterator.next()).done !== true) continue
}

await t.test('repeated tokens are found for every length of the cycle; new ones are followed', (t) => {
  const turnsUntilBad = (token: (n: number) => string | null): number => {
    const turns = new PageTurns(Number.POSITIVE_INFINITY)
    for (let n = 0; n < 20_000; n += 1) {
      try {
        turns.turn(token(n), 1000)
      } catch (error) {
        if (error instanceof S3Error && error.code === bad.code) return n
        throw error
      }
    }
    return -1
  }
  t.equal(turnsUntilBad((n) => String(n)), -1)
  t.equal(turnsUntilBad(() => null), 0)
  for (const before of [0, 1, 2, 5, 100, 1000]) {
    for (const cycle of [1, 2, 3, 7, 64, 999]) {
      const at = turnsUntilBad((n) => n < before ? `b${n}` : `c${(n - before) % cycle}`)
      t.ok(at > 0 && at <= 4 * (before + cycle), `${before} pages, then a cycle of ${cycle}: found at ${at}`)
    }
  }
  const bounded = new PageTurns(MOST_ROWS)
  for (let n = 1; n <= 1000; n += 1) bounded.turn(String(n), 5)
  t.throws(
    () => {
      bounded.turn('last', 5)
    },
    bad,
    'pages of few rows count as full ones'
  )
  t.end()
})

await t.test('listings of the state bucket and of buckets come to an end', async (t) => {
  const listings: readonly (readonly [what: string, page: (n: number) => readonly XmlNode[], most: number])[] = [
    ['one token', () => [row('k'), ...more('same')], 2],
    ['no token', () => [row('k'), ['IsTruncated', 'true']], 1],
    ['two tokens in turn', (n) => [row('k'), ...more(String(n % 2))], 4],
    ['ever new tokens and no rows', (n) => more(String(n)), 1001]
  ]
  for (const [what, page, most] of listings) {
    const store = endless(page)
    await t.rejects(drain(new StateBucket(store, 's', signal).list('uploads/')), bad, what)
    t.ok(store.pages <= most, `${what}: ${store.pages} pages`)
    if (most > 1000) continue
    for (const pages of [new BucketClient(store, 'b', signal).objects(''), new StateBucket(store, 's', signal).list('', { mostRows: Infinity })]) {
      await t.rejects(drain(pages), bad, what)
    }
  }
  const versions = endless(() => [['IsTruncated', 'true'], ['NextKeyMarker', 'k'], ['NextVersionIdMarker', 'v']])
  await t.rejects(drain(new BucketClient(versions, 'b', signal).history('')), bad)
  await t.rejects(
    drain(new BucketClient(endless(() => [['IsTruncated', 'true'], ['EncodingType', 'url'], ['NextKeyMarker', '%zz']]), 'b', signal).history('')),
    S3Error
  )
  await t.rejects(new StateBucket(endless(() => more('same')), 's', signal).removeAll('uploads/x/'), bad)
  const upstream = endless((n) => [...Array.from({ length: 30_000 }, (_, i) => row(`uploads/x/${n}-${i}`)), ...more(String(n))])
  const collection = { state: new StateBucket(upstream, 's', signal), stateBucket: 's', upstream, realm: 'r', olderThan: 0, dryRun: true, signal }
  await t.rejects(collectGarbage(collection), bad, 'an upload of more records than there can be')
  const counts = new KeyCounts()
  t.throws(
    () => {
      for (let i = 0; i < 20_000; i += 1) counts.add(`key ${i}`, 1)
    },
    bad,
    'key ids without end'
  )
  t.equal(counts.entries().length, 10_000)
})

await t.test('ListParts without end, or of part numbers that S3 does not have', async (t) => {
  const { store, s3 } = await rig(t)
  const id = await create(s3, 'k')
  const listed = [await put(s3, 'k', id, 1, bytes(5 * MiB))]
  const listings: readonly (readonly [what: string, change: (xml: string) => string])[] = [
    ['the same page', (xml) => xml.replace('<IsTruncated>false', '<IsTruncated>true')],
    ['no parts', (xml) => xml.replace('<IsTruncated>false', '<IsTruncated>true').replace(/<Part>.*<\/Part>/s, '')],
    ['part 10,001', (xml) => xml.replace('<PartNumber>1<', '<PartNumber>10001<')],
    ['part 0', (xml) => xml.replace('<PartNumber>1<', '<PartNumber>0<')]
  ]
  for (const [what, change] of listings) {
    const rule = store.rules.add({
      when: { method: 'GET', query: { uploadId: true, 'max-parts': '1000' } },
      times: 100,
      fault: {
        type: 'transform',
        change: (answer) => {
          const body = Buffer.from(change(answer.body.toString()))
          return { ...answer, body, headers: answer.headers.map(([name, value]) => [name, /^content-length$/i.test(name) ? String(body.length) : value]) }
        }
      }
    })
    // It stops at the last part that it has a record of.
    t.equal(await codeOf(s3.send(new ListPartsCommand({ Bucket, Key: 'k', UploadId: id }))), what === 'the same page' ? 'ok' : bad.code, what)
    t.equal(await codeOf(complete(s3, 'k', id, listed)), bad.code, what)
    t.ok(rule.fired <= 4, `${what}: ${rule.fired} requests`)
    store.rules.clear()
  }
  await complete(s3, 'k', id, listed)
})

await t.test('a footer that names a longer manifest at every reading is read twice', async (t) => {
  const { store, another } = await rig(t)
  await upload(await another(), 'long', [bytes(5 * MiB), bytes(10)])
  const reader = await another()
  let size = 66_000
  const suffixes = store.rules.add({
    when: { method: 'GET', key: 'long' },
    times: 1000,
    fault: {
      type: 'transform',
      change: (answer) => {
        const body = Buffer.from(answer.body)
        body.writeUInt32BE(size += 1000, body.length - 4)
        return { ...answer, body }
      }
    }
  })
  t.not(await codeOf(reader.send(new HeadObjectCommand({ Bucket, Key: 'long' }))), 'ok')
  t.ok(suffixes.fired <= 4 && suffixes.fired > 1, `${suffixes.fired} readings`)
})
