// Requests that the gateway adds to the client's own in clients' buckets: none that is not in the table, and none
// that a client with the rights S3 itself demands does not get by without.
import t from 'tap'
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketEncryptionCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { extraRequests, extraRequestsMarkdown } from '../../docs/generate/extra-requests.ts'
import { parseTarget } from '../../src/http/target.ts'
import { operationNames, type OperationName } from '../../src/s3/operations.ts'
import { route } from '../../src/s3/route.ts'
import { readFileSync } from 'node:fs'
import { byTurns } from '../support/by-turns.ts'
import type { RecordedRequest } from '../support/recorder.ts'
import { Bucket, bytes, complete, create, MiB, put, read, rig, stateBucket } from '../support/multipart-rig.ts'
import { begin, complete as completeForClients, startRig } from '../support/client-write-rig.ts'
import { codeOf } from '../support/error-code.ts'

/** What a store is asked, by the same rules as a client's request. */
function operationOf({ method, path, query, headers }: RecordedRequest): OperationName {
  const pairs = query.parameters.map(({ name, value }) => value === null ? name : `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
  return route({ method, target: parseTarget(`${path}${pairs.length === 0 ? '' : `?${pairs.join('&')}`}`), headers, host: 'store' }, []).name
}

const buckets = [Bucket, 'other', 'plain-a', 'hidden']
const sections = {
  buckets: { '*': { encryption: 'on', key: 'main' }, 'hidden': { encryption: 'on', key: 'main', etag: 'opaque' }, 'plain-*': { encryption: 'off' } }
}

await t.test('docs/EXTRA-REQUESTS.md is what the table says', async (t) => {
  t.ok(
    readFileSync(new URL('../../docs/EXTRA-REQUESTS.md', import.meta.url), 'utf8') === extraRequestsMarkdown(),
    'print it anew: node -e "import(\'./docs/generate/extra-requests.ts\').then((m) => fs.writeFileSync(\'docs/EXTRA-REQUESTS.md\', m.extraRequestsMarkdown()))"'
  )
  t.ok(extraRequests.every(({ operations, request }) => [...operations, request].every((name) => operationNames.includes(name))))
})

await t.test('every operation sends what the table says, and nothing else', async (t) => {
  const { s3, store } = await rig(t, { sections, buckets, defaultChecksum: false })
  const seen = new Set<string>()
  /** Runs one client operation, and holds what it sent against the table. */
  const during = async <T>(name: OperationName, work: () => Promise<T>, { requests } = store): Promise<T> => {
    const from = requests.length
    const answer = await work()
    const extra = requests.slice(from).filter(({ bucket }) => !bucket.startsWith(stateBucket)).map(operationOf)
    const own = extra.indexOf(name)
    if (own >= 0) extra.splice(own, 1)
    const allowed = extraRequests.filter(({ operations }) => operations.includes(name))
    for (const request of extra) {
      seen.add(`${name} ${request}`)
      if (!allowed.some((row) => row.request === request)) t.fail(`${name} sends ${request}`)
    }
    return answer
  }
  const large = bytes(5 * MiB)
  const CopySource = `${Bucket}/k`
  const { ETag } = await during('PutObject', () => s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: bytes(100_000) })))
  await during('PutObject', () => s3.send(new PutObjectCommand({ Bucket, Key: 'tagged', Body: 'x', Tagging: 'a=b' })))
  await during('PutObject', () => s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: bytes(100_000), IfMatch: ETag })))
  await during('GetObject', async () => (await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))).Body?.transformToByteArray())
  await during('GetObject', async () => (await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: 'bytes=-10' }))).Body?.transformToByteArray())
  await during('HeadObject', () => s3.send(new HeadObjectCommand({ Bucket, Key: 'k' })))
  await during('GetObjectAttributes', () => s3.send(new GetObjectAttributesCommand({ Bucket, Key: 'k', ObjectAttributes: ['ETag', 'Checksum'] })))
  await during('GetObjectAttributes', () => codeOf(s3.send(new GetObjectAttributesCommand({ Bucket, Key: 'absent', ObjectAttributes: ['ETag'] }))))
  for (const target of buckets) {
    for (const source of [CopySource, `${Bucket}/tagged`]) {
      await during('CopyObject', () => s3.send(new CopyObjectCommand({ Bucket: target, Key: 'copy', CopySource: source })))
    }
  }
  await during('CopyObject', () => s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: 'plain-a/copy' })))
  await s3.send(new PutObjectCommand({ Bucket: 'plain-a', Key: 'large', Body: bytes(1_100_000) }))
  const streamed = (IfNoneMatch: string) => () => s3.send(new CopyObjectCommand({ Bucket, Key: 'streamed', CopySource: 'plain-a/large', IfNoneMatch }))
  store.rules.add({ when: { key: 'streamed', query: { partNumber: true } }, fault: { type: 'error', status: 500, code: 'InternalError' } })
  await during('CopyObject', () => codeOf(streamed('*')))
  await during('CopyObject', streamed('*'))
  await during('CopyObject', () => codeOf(streamed('*')))
  // As radosgw 16: it takes the tags of a copy and has none.
  store.rules.add({ when: { method: 'GET', key: 'copy', query: { tagging: true } }, fault: { type: 'answer', status: 200, body: '' } })
  await during('CopyObject', () => s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/tagged` })))
  await during('ListObjectsV2', () => s3.send(new ListObjectsV2Command({ Bucket })))
  await during('ListObjectVersions', () => s3.send(new ListObjectVersionsCommand({ Bucket: 'hidden' })))
  const id = await during('CreateMultipartUpload', () => create(s3, 'm'))
  const listed = [await during('UploadPart', () => put(s3, 'm', id, 1, large))]
  const { CopyPartResult } = await during(
    'UploadPartCopy',
    () => s3.send(new UploadPartCopyCommand({ Bucket, Key: 'm', UploadId: id, PartNumber: 2, CopySource }))
  )
  listed.push({ PartNumber: 2, ETag: CopyPartResult?.ETag })
  await during('ListParts', () => s3.send(new ListPartsCommand({ Bucket, Key: 'm', UploadId: id })))
  await during('CompleteMultipartUpload', () => complete(s3, 'm', id, listed))
  await during('CompleteMultipartUpload', () => complete(s3, 'm', id, listed))
  await during('GetObject', async () => (await s3.send(new GetObjectCommand({ Bucket, Key: 'm', Range: 'bytes=7-9' }))).Body?.transformToByteArray())
  const equal = await rig(t, { sections, buckets, upstream: { equalParts: true } })
  const next = await create(equal.s3, 'm')
  const last = await during('UploadPart', () => put(equal.s3, 'm', next, 2, large), equal.store)
  const parts = [await during('UploadPart', () => put(equal.s3, 'm', next, 1, large), equal.store), last]
  await during('CompleteMultipartUpload', () => complete(equal.s3, 'm', next, parts), equal.store)
  const clients = await startRig(t, { version: 'v3', key: 'aes' })
  const forClients = await begin(clients.s3, 'm', [bytes(1000)])
  await during('CompleteMultipartUpload', () => completeForClients(clients.s3, forClients), clients.store)
  await during('CompleteMultipartUpload', () => completeForClients(clients.s3, forClients), clients.store)
  const Rules = [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }]
  await during('PutBucketEncryption', () => s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: { Rules } })))
  await during('GetBucketEncryption', () => s3.send(new GetBucketEncryptionCommand({ Bucket })))
  await during('DeleteObject', () => s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', IfMatch: ETag })))
  await during('DeleteObjects', () => s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'tagged' }] } })))
  t.comment(`${seen.size} pairs of operation and extra request: ${[...seen].sort().join(', ')}`)
  t.ok(seen.size >= 31, 'the scenario does not pass the extra requests by')
  const sources = store.requests.flatMap(({ headers }) => headers.get('x-amz-copy-source') ?? [])
  t.ok(sources.length > 0)
  t.same(sources.filter((source) => source.startsWith('/')), [], 'policies compare the copy source as AWS documents it')
})

await t.test('with the rights that S3 itself demands: GetObject and PutObject', async (t) => {
  const { s3, store } = await rig(t, { sections, buckets })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'bare', Body: bytes(1000) }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'tagged', Body: bytes(1000, 1), Tagging: 'a=b' }))
  const allowed: ReadonlySet<OperationName> = new Set([
    'GetObject',
    'HeadObject',
    'PutObject',
    'CopyObject',
    'CreateMultipartUpload',
    'UploadPart',
    'CompleteMultipartUpload',
    // Asked with the gateway's own credentials where the client's may not.
    'GetBucketVersioning'
  ])
  const denied = new Set<string>()
  store.rules.add({
    when: {
      test: (request) => {
        if (request.bucket.startsWith(stateBucket)) return false
        const name = operationOf({ ...request, path: `/${request.bucket}${request.key === '' ? '' : `/${request.key}`}` } as RecordedRequest)
        if (!allowed.has(name)) denied.add(name)
        return !allowed.has(name)
      }
    },
    times: Infinity,
    fault: { type: 'error', status: 403, code: 'AccessDenied' }
  })
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'renamed', CopySource: `${Bucket}/bare` }))
  t.ok(bytes(1000).equals(await read(s3, 'renamed')), 'a rename of an object without tags')
  t.equal(
    await codeOf(s3.send(new CopyObjectCommand({ Bucket, Key: 'untagged', CopySource: `${Bucket}/tagged` }))),
    'AccessDenied',
    'tags that cannot be read are not lost'
  )
  const replaced = { Bucket, Key: 'replaced', CopySource: `${Bucket}/tagged`, TaggingDirective: 'REPLACE' as const }
  await s3.send(new CopyObjectCommand(replaced))
  for (const sizes of [[10], [5 * MiB, 10], ...byTurns(false) ? [[5 * MiB, 5 * MiB]] : []]) {
    const Key = `parts-${sizes.join('-')}`
    const id = await create(s3, Key)
    const listed = []
    for (const [i, size] of sizes.entries()) listed.push(await put(s3, Key, id, i + 1, bytes(size, i)))
    await complete(s3, Key, id, listed)
    t.ok(Buffer.concat(sizes.map((size, i) => bytes(size, i))).equals(await read(s3, Key)), Key)
  }
  const id = await create(s3, 'twice')
  await put(s3, 'twice', id, 1, bytes(5 * MiB, 1))
  t.equal(
    await codeOf(complete(s3, 'twice', id, [await put(s3, 'twice', id, 1, bytes(5 * MiB, 2))])),
    'AccessDenied',
    'which of two tries the store has kept only its list tells'
  )
  store.rules.clear()
  t.same(store.keys(Bucket).filter((key) => key === 'untagged' || key === 'twice'), [])
  t.same((await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'replaced' }))).TagSet, [])
  t.same([...denied].sort(), ['GetObjectTagging', 'ListParts'])
})
