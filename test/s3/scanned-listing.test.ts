import t from 'tap'
import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { S3Error } from '../../src/errors.ts'
import { ListingScan } from '../../src/s3/listing-scan.ts'
import type { ListingRow } from '../../src/s3/listing-rows.ts'
import type { RowEdit } from '../../src/s3/listing.ts'
import { openListing, parsedListing, ScannedListing, type Listing } from '../../src/s3/scanned-listing.ts'
import { listingOf, samples, tokens } from '../support/listings.ts'

/** Everything that a handler reads of a row. */
function read({ kind, key, versionId, latest, uploadId, partNumber, etag, size, checksums, lastModified, storageClass, described }: ListingRow): unknown {
  return { kind, key, versionId, latest, uploadId, partNumber, etag, size, checksums: [...checksums], lastModified, storageClass, described }
}

const isHidden = (key: string): boolean => key.endsWith('.instruction')

/** Of every kind, by the place of the row. */
function editOf({ etag, size }: ListingRow, i: number): RowEdit {
  switch (i % 5) {
    case 0:
      return { etag: `${etag ?? ''}-0`, checksums: [], size: (size ?? 0) + 20 }
    case 1:
      return { ...etag === null ? {} : { etag }, ...size === null ? {} : { size }, checksums: [] }
    case 2:
      return { etag: null, checksums: [] }
    case 3:
      return { etag: 'a"&<é\u0001', size: 0 }
    default:
      return {}
  }
}

const writings: readonly { readonly edits: (rows: readonly ListingRow[]) => readonly RowEdit[]; readonly hidden: typeof isHidden | null }[] = [
  { edits: (rows) => rows.map(editOf), hidden: null },
  { edits: (rows) => rows.map(editOf), hidden: isHidden },
  { edits: (rows) => rows.map((row, i) => ({ ...editOf(row, i + 1), remove: i % 2 === 1 })), hidden: null },
  { edits: () => [], hidden: null }
]

const fields = [
  'IsTruncated',
  'NextMarker',
  'NextContinuationToken',
  'NextKeyMarker',
  'NextVersionIdMarker',
  'NextUploadIdMarker',
  'ChecksumAlgorithm'
] as const

function wordOf(goesOn: () => boolean): string {
  try {
    return String(goesOn())
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    return error.code
  }
}

/** All that a listing says, and documents in base64; or the error. */
async function outcomeOf(open: () => Promise<Listing> | Listing): Promise<unknown> {
  try {
    const listing = await open()
    const written: string[] = []
    for (const { edits, hidden } of writings) written.push((await listing.write(edits(listing.rows), hidden)).toString('base64'))
    return {
      rows: listing.rows.map(read),
      isEncoded: listing.isEncoded,
      history: listing.history().map((row) => [row.key, row.versionId, row.isLatest, row.deleteMarker, row.size, row.etag, row.lastModified, row.storageClass]),
      fields: fields.map((name) => listing.field(name)),
      goesOn: wordOf(() => listing.goesOn()),
      hasKey: ['', 'a', 'folder/', ...listing.rows.slice(0, 3).map(({ key }) => key)].map((key) => listing.hasKey(key)),
      listsOnly: ['', 'p', 'folder/', 'a'].map((prefix) => listing.listsOnly(prefix)),
      written
    }
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    return error.code
  }
}

/** @returns whether it was scanned. @throws when scanner and parser give anything different */
async function hold(xml: Buffer): Promise<boolean> {
  // What is not scanned is parsed.
  if (new ListingScan(xml).step(xml.length + 1) !== true) return false
  const found = await outcomeOf(() => openListing(xml))
  const wanted = await outcomeOf(() => parsedListing(xml))
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`Of ${JSON.stringify(xml.toString())} the scanner gives ${JSON.stringify(found)}, the parser ${JSON.stringify(wanted)}`)
  }
  return true
}

await t.test('what real stores write is scanned, and gives what the parser gives', async (t) => {
  const parsed: string[] = []
  for (const [file, xml] of samples) if (!await hold(xml)) parsed.push(file)
  // With metadata a row has more levels.
  t.same(parsed, ['minio-v2-metadata.xml'])
  t.ok(samples.size >= 47)
})

await t.test('what only versions have is not looked at elsewhere', async (t) => {
  const odd = '<CommonPrefixes><IsLatest>true</IsLatest><IsLatest>true</IsLatest></CommonPrefixes>'
  t.ok(await hold(Buffer.from(`<ListBucketResult>${odd}</ListBucketResult>`)))
})

await t.test('generated listings, from what stores write to what none does', async (t) => {
  for (const [odd, least] of [[0, 0.2], [2, 0.15], [10, 0.05], [60, 0.01]] as const) {
    let count = 0
    let scanned = 0
    await fc.assert(
      fc.asyncProperty(listingOf(odd), async (xml) => {
        count += 1
        if (await hold(Buffer.from(xml))) scanned += 1
      }),
      { numRuns: 800 }
    )
    t.ok(scanned >= least * count, `${scanned} of ${count}`)
    t.comment(`${scanned} of ${count} generated listings with ${odd} odd values of 100 were scanned`)
  }
})

const small = Buffer.from(
  '<?xml version="1.0"?><ListBucketResult xmlns="u"><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>' +
    '<Contents><Key>a%20&amp;</Key><ETag>&#34;aa-2&#34;</ETag><ChecksumType>x</ChecksumType><Size>532</Size><Owner><ID>i</ID></Owner></Contents>' +
    '<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes><Contents><Key>b.instruction</Key><Size>0</Size><ETag>"b"</ETag></Contents></ListBucketResult>\n'
)
const others = [
  '<ListVersionsResult><Version><Key>a</Key><VersionId>v</VersionId><IsLatest>true</IsLatest><ETag>b</ETag><Size>1</Size></Version><DeleteMarker><Key>c.instruction</Key><Size/></DeleteMarker></ListVersionsResult>',
  '<ListPartsResult><EncodingType>url</EncodingType><Key>k%20+</Key><Part><PartNumber>1</PartNumber><ETag>"e"</ETag><Size>5</Size><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part></ListPartsResult>',
  '<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>u</UploadId><ChecksumAlgorithm>CRC32</ChecksumAlgorithm></Upload></ListMultipartUploadsResult>',
  '<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a&lt;</Key><ETag>"b"</ETag><Size>1</Size></Contents></ListBucketResult>'
].map((xml) => Buffer.from(xml))

await t.test('documents that one change away are from what stores write', async (t) => {
  let count = 0
  let scanned = 0
  const changed = async (...pieces: readonly Buffer[]): Promise<void> => {
    count += 1
    if (await hold(Buffer.concat(pieces))) scanned += 1
  }
  const inserted = tokens.map((token) => Buffer.from(token, 'latin1'))
  for (const xml of [small, ...others]) {
    for (let i = 0; i <= xml.length; i += 1) {
      await changed(xml.subarray(0, i))
      await changed(xml.subarray(0, i), xml.subarray(i + 1))
      // All of them at every place of the first, and each at every third of the others.
      for (const token of inserted.filter((_, n) => xml === small || (n + i) % 3 === 0)) {
        await changed(xml.subarray(0, i), token, xml.subarray(i))
        if (token.length === 1) await changed(xml.subarray(0, i), token, xml.subarray(i + 1))
      }
    }
  }
  t.ok(scanned > count / 30)
  t.ok(scanned < count)
  t.comment(`${count.toLocaleString('en')} documents with one change, ${scanned.toLocaleString('en')} of them scanned`)
})

await t.test('real listings with several changes, and what the fuzzer found', async (t) => {
  const found = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'corpus', 'listing.json'), 'utf8')) as readonly string[]
  for (const text of found) await hold(Buffer.from(text, 'base64'))
  const all = [...samples.values()].filter(({ length }) => length < 5000)
  const place = fc.double({ min: 0, max: 1, noNaN: true })
  const change = fc.record({
    at: place,
    drop: fc.constantFrom(0, 0, 0, 1, 40),
    from: place,
    copy: fc.constantFrom(0, 0, 0, 8, 60),
    token: fc.oneof(fc.constantFrom('a', '0', ' ', '&amp;', '"'), fc.constantFrom('', ...tokens))
  })
  let scanned = 0
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...all), fc.array(change, { minLength: 1, maxLength: 2 }), async (sample, changes) => {
      let xml = sample
      for (const { at, drop, from, copy, token } of changes) {
        const i = Math.floor(at * xml.length)
        const copied = Math.floor(from * xml.length)
        xml = Buffer.concat([xml.subarray(0, i), Buffer.from(token, 'latin1'), xml.subarray(copied, copied + copy), xml.subarray(i + drop)])
      }
      if (await hold(xml)) scanned += 1
    }),
    { numRuns: 2000 }
  )
  t.ok(scanned > 30)
  t.comment(`${scanned} of 2,000 changed listings were scanned`)
})

function listing(rows: number): Buffer {
  const row = (i: number): string => `<Contents><Key>folder/object-${i}</Key><ETag>"0123456789abcdef0123456789abcdef"</ETag><Size>${532 + i}</Size></Contents>`
  return Buffer.from(`<ListBucketResult>${Array.from({ length: rows }, (_, i) => row(i)).join('')}</ListBucketResult>`)
}

await t.test('a long listing is read and written while others have their turns', async (t) => {
  const xml = listing(29_000)
  let turns = 0
  const others = { over: false }
  const other = (async () => {
    for (; !others.over; turns += 1) await setImmediate()
  })()
  const long = await openListing(xml)
  t.type(long, ScannedListing)
  const opened = turns
  t.ok(opened >= Math.floor(xml.length / (512 * 1024)), `${opened} turns`)
  const edits = long.rows.map(() => ({ etag: 'e', size: 1 }))
  const written = await long.write(edits, null)
  others.over = true
  await other
  t.ok(turns - opened >= 29, `${turns - opened} turns`)
  t.ok(written.equals(await parsedListing(xml).write(edits, null)))
})

await t.test('what the parser refuses for its length is refused', async (t) => {
  for (
    const [xml, scanned] of [[listing(29_999), true], [listing(30_001), false], [Buffer.concat([listing(1), Buffer.alloc(16 << 20, ' ')]), false]] as const
  ) {
    const listing = await openListing(xml).catch((error: unknown) => error)
    t.equal(listing instanceof ScannedListing, scanned)
    if (!scanned) t.match(listing, { code: 'SealgateBadUpstream' })
  }
})
