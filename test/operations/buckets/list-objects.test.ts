// Listings of sealed buckets: what is asked of the store for them, and that a store's way of writing XML changes nothing of what clients see.
import t from 'tap'
import { createHash } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { readListing } from '../../../src/s3/listing-rows.ts'
import { read as readAnswer } from '../../support/reading.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import { withBody } from '../../support/faults.ts'

const Bucket = 'bucket'
const buckets = { [Bucket]: { etag: 'md5' }, opaque: { etag: 'opaque' } }
const store = await startTestStore({ buckets: [Bucket, 'opaque'], keepBodies: false })
const gateway = await startTestGateway(store, { sections: { buckets } })
const s3 = gateway.client()
t.teardown(async () => {
  await gateway.close()
  await store.close()
})
const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex')
const rowsOf = async (client = s3) => ((await client.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map(({ Key, Size, ETag }) => [Key, Size, ETag])
/** Requests for objects that the store got meanwhile. */
const askedBy = async (work: () => Promise<unknown>): Promise<number> => {
  const before = store.requests.length
  await work()
  return store.requests.slice(before).filter(({ key, bucket }) => key !== '' && bucket === Bucket).length
}

const small = Buffer.from('small')
const large = Buffer.alloc(200_000, 'large')
const part = Buffer.alloc(5 << 20, 'part')
await s3.send(new PutObjectCommand({ Bucket, Key: 'empty', Body: '' }))
await s3.send(new PutObjectCommand({ Bucket, Key: 'large & <streamed>', Body: large }))
const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: 1, Body: part }))
await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }))
await s3.send(new PutObjectCommand({ Bucket, Key: 'small', Body: small }))
await s3.send(new CopyObjectCommand({ Bucket, Key: 'small copy', CopySource: `${Bucket}/small` }))
await s3.send(new PutObjectCommand({ Bucket: 'opaque', Key: 'a', Body: small }))
await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'pending', ChecksumAlgorithm: 'CRC32' }))
const wanted = [
  ['empty', 0, `"${md5(Buffer.alloc(0))}"`],
  ['large & <streamed>', 200_000, `"${md5(large)}"`],
  ['parts', part.length, `"${md5(Buffer.from(md5(part), 'hex'))}-1"`],
  ['small', 5, `"${md5(small)}"`],
  ['small copy', 5, `"${md5(small)}"`]
]

await t.test('what this process has written is listed without a request for an object, but for empty ones', async (t) => {
  t.equal(await askedBy(async () => t.same(await rowsOf(), wanted)), 1)
  t.equal(await askedBy(async () => t.same(await rowsOf(), wanted)), 0)
})

await t.test('what another process has written is looked up once', async (t) => {
  const other = await startTestGateway(store, { sections: { buckets }, keyring: gateway.keyring })
  t.teardown(() => other.close())
  const asked = await askedBy(async () => t.same(await rowsOf(other.client()), wanted))
  t.ok(asked >= wanted.length && asked <= 2 * wanted.length, `${asked} requests`)
  t.equal(await askedBy(async () => t.same(await rowsOf(other.client()), wanted)), 0)
})

/** Ways to write the same document that no store has. */
const strange: Readonly<Record<string, (xml: string) => string>> = {
  'comments': (xml) => xml.replaceAll('<Size>', '<!-- <Size>1</Size> --><Size>'),
  'CDATA': (xml) => xml.replace(/<Size>(\d+)</g, '<Size><![CDATA[$1]]><'),
  'references': (xml) => xml.replace(/<Size>(\d)/g, (_, digit: string) => `<Size>&#${digit.charCodeAt(0)};`),
  'prefixes': (xml) => xml.replace(/<(\/?)([A-Z])/g, '<$1s3:$2').replace('xmlns=', 'xmlns:s3='),
  'attributes': (xml) => xml.replaceAll('<Contents>', '<Contents Size="1">').replaceAll('<Version>', '<Version a="&lt;Size>">'),
  'white space': (xml) => xml.replace(/<Size>(\d+)</g, '<Size>\n $1\t<').replaceAll('</Size>', '</Size >'),
  'other elements': (xml) => xml.replaceAll('<Size>', '<Deep><Size><Size>1</Size></Size></Deep><Size>'),
  'an instruction': (xml) => xml.replaceAll('<Size>', '<?Size 1?><Size>'),
  'a mark of byte order': (xml) => `\ufeff${xml}`
}

const queries = ['', '?list-type=2', '?versions=', '?uploads=']
/** As a client with a whole XML parser reads the answer. */
const read = async (bucket: string, query: string) => {
  const { status, body } = await readAnswer(gateway, `/${bucket}`, { method: 'GET', headers: [], query })
  return {
    status,
    rows: status === 200 ? readListing(body).map(({ key, size, etag, uploadId, checksums }) => [key, size, etag, uploadId, checksums.size]) : []
  }
}

const bytesOf = (text: string | Buffer): Buffer => typeof text === 'string' ? Buffer.from(text) : text
const bend = (change: (xml: string) => string | Buffer) =>
  store.rules.add({
    when: { method: 'GET', key: '' },
    times: Infinity,
    fault: { type: 'transform', change: (answer) => withBody(answer, bytesOf(change(answer.body.toString()))) }
  })

await t.test('however a store writes its XML, clients see the same rows', async (t) => {
  for (const bucket of [Bucket, 'opaque']) {
    for (const query of queries) {
      const usual = await read(bucket, query)
      t.ok(usual.rows.length > 0 || (bucket === 'opaque' && query === '?uploads='))
      for (const [way, change] of Object.entries(strange)) {
        const rule = bend(change)
        t.same(await read(bucket, query), usual, `${query} with ${way}`)
        rule.remove()
      }
    }
  }
})

/** Of each of these two readers might see different things. */
const broken: Readonly<Record<string, (xml: string) => string | Buffer>> = {
  'a document type': (xml) => xml.replace(/(?<=\?>)/, '<!DOCTYPE ListBucketResult [<!ENTITY a "b">]>'),
  'a field that comes twice': (xml) => xml.replaceAll('<Key>', '<Key>other</Key><Key>'),
  'an unknown reference': (xml) => xml.replaceAll('<Key>', '<Key>&other;'),
  'no end': (xml) => xml.slice(0, -10),
  'two roots': (xml) => `${xml}<ListBucketResult/>`,
  'tags that cross': (xml) => xml.replace('</Key>', '</Size>'),
  'other bytes than UTF-8': (xml) => Buffer.from(xml.replaceAll('<Key>', '<Key>\u00ff'), 'latin1'),
  'another document': () => 'no XML'
}

await t.test('what is not one listing is an error', async (t) => {
  for (const [way, change] of Object.entries(broken)) {
    const rule = bend(change)
    for (const query of queries) t.same(await read(Bucket, query), { status: 502, rows: [] }, `${query} with ${way}`)
    rule.remove()
  }
  t.same(await rowsOf(), wanted)
})
