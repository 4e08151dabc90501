import t from 'tap'
import fc from 'fast-check'
import { listingField, readListing } from '../../src/s3/listing-rows.ts'
import { writeListing } from '../../src/s3/listing.ts'
import { renderXml } from '../../src/s3/xml.ts'
import type { XmlNode } from '../../src/s3/xml.ts'
import { errorCode } from '../support/error-code.ts'

const aws = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix>
<KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys>
<IsTruncated>false</IsTruncated>
<Contents><Key>a &amp; b</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>
<ETag>&quot;aa&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>532</Size>
<Owner><ID>x</ID><DisplayName/></Owner><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key> </Key><ETag>"bb-2"</ETag><Size>0</Size></Contents>
<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>`

const versions = `<ListVersionsResult><EncodingType>url</EncodingType>
<Version><Key>a%2Fb+c%2Bd%C3%A4</Key><VersionId>v1</VersionId><ETag>"e"</ETag><Size>1000</Size></Version>
<DeleteMarker><Key>gone</Key><VersionId>v2</VersionId><Size>7</Size></DeleteMarker>
<Version><Key>bad%zz</Key><VersionId>null</VersionId><ETag>"f"</ETag><Size>5</Size></Version></ListVersionsResult>`

await t.test('regression: elements that are named like methods are no rows', (t) => {
  t.strictSame(readListing(Buffer.from('<L><constructor/><toString/><hasOwnProperty/></L>')), [])
  t.end()
})

await t.test('rows as the store lists them', (t) => {
  const [first, second, ...rest] = readListing(Buffer.from(aws))
  t.strictSame(rest, [])
  t.strictSame(first, {
    kind: 'object',
    key: 'a & b',
    versionId: null,
    latest: false,
    uploadId: null,
    partNumber: null,
    etag: 'aa',
    size: 532,
    checksums: new Map(),
    lastModified: '2026-01-01T00:00:00.000Z',
    storageClass: 'STANDARD',
    described: false
  })
  t.match(second, { key: ' ', etag: 'bb-2', size: 0, storageClass: null })
  t.strictSame(readListing(Buffer.from(versions)).map(({ kind, key, versionId, etag, size }) => [kind, key, versionId, etag, size]), [[
    'version',
    'a/b c+dä',
    'v1',
    'e',
    1000
  ], ['version', 'bad%zz', 'null', 'f', 5]])
  const part = '<Part><PartNumber>3</PartNumber><ETag>"p"</ETag><Size>9</Size><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part>'
  const parts = `<ListPartsResult><Key>k%20</Key><EncodingType>url</EncodingType>${part}</ListPartsResult>`
  t.match(readListing(Buffer.from(parts)), [{ kind: 'part', key: 'k%20', partNumber: 3, etag: 'p', size: 9 }])
  t.strictSame(readListing(Buffer.from(parts))[0]?.checksums, new Map([['ChecksumCRC32', 'y/Q5Jg==']]))
  const uploads = '<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>'
  t.match(readListing(Buffer.from(uploads)), [{ kind: 'upload', key: 'k', uploadId: 'u', size: null, etag: null }])
  t.equal(listingField(Buffer.from(aws), 'IsTruncated'), 'false')
  t.equal(listingField(Buffer.from(aws), 'NextMarker'), null)
  for (const broken of ['', '<a', '<L><Contents><Key>a</Key><Size>x</Size></Contents></L>', '<L><Contents><Key>a</Key><Key>b</Key></Contents></L>']) {
    t.equal(errorCode(() => readListing(Buffer.from(broken))), 'SealgateBadUpstream', broken)
  }
  t.end()
})

await t.test('only what is edited changes', (t) => {
  t.equal(writeListing(Buffer.from(aws), () => ({})).toString(), aws)
  t.equal(writeListing(Buffer.from(versions), () => ({})).toString(), versions)
  const edited = writeListing(Buffer.from(aws), (row, index) => ({ size: index + 41, etag: `${row.etag ?? ''}-0` })).toString()
  t.equal(
    edited,
    aws.replace('<Size>532', '<Size>41').replace('<Size>0', '<Size>42').replace('&quot;aa&quot;', '&quot;aa-0&quot;').replace('"bb-2"', '&quot;bb-2-0&quot;')
  )
  const bare = writeListing(Buffer.from(aws), () => ({ checksums: [['ChecksumAlgorithm', 'SHA256']] })).toString()
  t.equal(
    bare,
    aws.replace(/<Checksum.*Type>/, '').replace('STANDARD</StorageClass>', 'STANDARD</StorageClass><ChecksumAlgorithm>SHA256</ChecksumAlgorithm>')
      .replace('<Size>0</Size>', '<Size>0</Size><ChecksumAlgorithm>SHA256</ChecksumAlgorithm>')
  )
  const fewer = writeListing(Buffer.from(aws), (row) => ({ remove: row.key === ' ' })).toString()
  t.equal(fewer, aws.replace(/<Contents><Key> .*<\/Contents>/, '').replace('<KeyCount>3', '<KeyCount>2'))
  const sized = writeListing(Buffer.from(versions), () => ({ size: 1, etag: 'x' })).toString()
  t.match(sized, '<DeleteMarker><Key>gone</Key><VersionId>v2</VersionId><Size>7</Size></DeleteMarker>')
  t.end()
})

await t.test('the gateway\'s entries leave extended listings, the client\'s stay', (t) => {
  const entries = (names: string[]): string => names.map((name) => `<${name}>v</${name}>`).join('')
  const minio = (names: string[]): string =>
    `<ListBucketResult><Contents><Key>k</Key><UserMetadata>${entries(names)}</UserMetadata></Contents></ListBucketResult>`
  const kept = ['content-type', 'X-Amz-Meta-Color', 'X-Amz-Meta-Seal']
  const all = [...kept, 'X-Amz-Meta-Sealgate', 'x-amz-meta-sealgate-key', 'X-AMZ-META-SEALGATE-CONTEXT']
  t.equal(writeListing(Buffer.from(minio(all)), () => ({})).toString(), minio(kept))
  const item = '<Items><Key>X-Amz-Meta-Sealgate</Key><Value>v</Value></Items>'
  const items = `<L><Contents><Key>k</Key><UserMetadata>${item}</UserMetadata></Contents></L>`
  t.notMatch(writeListing(Buffer.from(items), () => ({})).toString(), /sealgate/i)
  t.end()
})

await t.test('any key comes through any listing, encoded or not', (t) => {
  const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter((k) => !k.includes('\0') && k.isWellFormed())
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.nat()), { maxLength: 6 }), fc.constantFrom('plain', 'percent', 'plus'), (rows, style) => {
      const encode = (k: string): string => style === 'plain' ? k : encodeURIComponent(k).replaceAll('%20', style === 'plus' ? '+' : '%20')
      const xml = renderXml(['ListBucketResult', [
        ...style === 'plain' ? [] : [['EncodingType', 'url'] as const],
        ...rows.map(([k, size]): XmlNode => ['Contents', [['Key', encode(k)], ['Size', String(size)]]])
      ]])
      const read = readListing(xml).map((row) => [row.key, row.size])
      if (JSON.stringify(read) !== JSON.stringify(rows)) throw new Error(JSON.stringify(read))
      const again = readListing(writeListing(xml, (row) => ({ size: (row.size ?? 0) + 1 }))).map((row) => [row.key, row.size])
      if (JSON.stringify(again) !== JSON.stringify(rows.map(([k, size]) => [k, size + 1]))) throw new Error(JSON.stringify(again))
    }),
    { numRuns: 300 }
  )
  t.end()
})
