import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type S3Client
} from '@aws-sdk/client-s3'
import { combineCrc, compositeChecksum, createChecksum, type ChecksumAlgorithm } from '../../../src/http/checksums.ts'
import { Bucket, bytes, complete, create, MiB, put, read, rig, stateBucket, upload } from '../../support/multipart-rig.ts'
import { byTurns } from '../../support/by-turns.ts'
import { codeOf } from '../../support/error-code.ts'

void t.test('what S3 refuses of parts and lists is refused with S3\'s codes', async (t) => {
  const { s3, store } = await rig(t)
  const Key = 'rules'
  const id = await create(s3, Key)
  const one = await put(s3, Key, id, 1, bytes(5 * MiB))
  const small = await put(s3, Key, id, 2, bytes(100))
  const three = await put(s3, Key, id, 3, bytes(50, 1))
  const listed = (...parts: CompletedPart[]) => codeOf(complete(s3, Key, id, parts))
  t.equal(await listed(three, one), 'InvalidPartOrder')
  t.equal(await listed(one, small, three), 'EntityTooSmall')
  t.equal(await listed(one, { PartNumber: 4, ETag: three.ETag }), 'InvalidPart', 'no such part')
  t.equal(await listed({ PartNumber: 1, ETag: small.ETag }), 'InvalidPart', 'the ETag of another part')
  t.equal(await codeOf(complete(s3, Key, id, [one], { MpuObjectSize: 5 * MiB + 1 })), 'InvalidRequest')
  t.equal(await codeOf(complete(s3, Key, 'no-such-upload', [one])), 'NoSuchUpload')
  t.equal(await codeOf(put(s3, Key, 'no-such-upload', 1, bytes(10))), 'NoSuchUpload')
  t.equal(await codeOf(put(s3, Key, 'no-such-upload', 1, bytes(5 * MiB))), 'NoSuchUpload')
  t.equal(await codeOf(put(s3, 'another key', id, 1, bytes(5 * MiB))), 'NoSuchUpload', 'the upload of another key')
  t.equal(await codeOf(s3.send(new ListPartsCommand({ Bucket, Key, UploadId: 'no-such-upload' }))), 'NoSuchUpload')
  t.equal(await codeOf(s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: 'no-such-upload' }))), 'NoSuchUpload')
  for (const number of [0, 10_001]) t.equal(await codeOf(put(s3, Key, id, number, bytes(10))), 'InvalidArgument', `part ${number}`)
  const before = store.requests.length
  t.equal(await codeOf(put(s3, Key, id, 10_000, bytes(5 * MiB))), 'InvalidArgument', 'it would leave no number for the tail')
  t.equal(store.requests.length, before, 'refused before the store hears of it')
  const replaced = await put(s3, Key, id, 1, bytes(5 * MiB, 9))
  t.equal(await listed(one, three), 'InvalidPart', 'an attempt the store has no longer')
  await complete(s3, Key, id, [replaced, three], { MpuObjectSize: 5 * MiB + 50 })
  t.ok(Buffer.concat([bytes(5 * MiB, 9), bytes(50, 1)]).equals(await read(s3, Key)), 'parts that are not listed are left out')
  t.equal(await listed(replaced, small), 'NoSuchUpload', 'completed, but not from this list')
})

void t.test('an upload that was aborted elsewhere takes no part, large or small', async (t) => {
  const { s3, another, store } = await rig(t)
  const other = await another()
  const id = await create(s3, 'aborted')
  const one = await put(s3, 'aborted', id, 1, bytes(5 * MiB))
  await other.send(new AbortMultipartUploadCommand({ Bucket, Key: 'aborted', UploadId: id }))
  t.equal(await codeOf(put(s3, 'aborted', id, 2, bytes(5 * MiB))), 'NoSuchUpload')
  t.equal(await codeOf(put(s3, 'aborted', id, 2, bytes(5))), 'NoSuchUpload')
  t.equal(await codeOf(complete(s3, 'aborted', id, [one])), 'NoSuchUpload')
  t.same(store.keys(stateBucket), [])
})

void t.test('parts that do not verify leave nothing', async (t) => {
  const { s3, store } = await rig(t)
  const id = await create(s3, 'bad digest')
  const wrong = createHash('md5').update('other').digest('base64')
  t.equal(await codeOf(put(s3, 'bad digest', id, 1, bytes(100), { ContentMD5: wrong })), 'BadDigest')
  t.equal(await codeOf(put(s3, 'bad digest', id, 1, bytes(5 * MiB), { ContentMD5: wrong })), 'BadDigest')
  t.equal((await s3.send(new ListPartsCommand({ Bucket, Key: 'bad digest', UploadId: id }))).Parts, undefined)
  t.equal(store.keys(stateBucket).length, 1, 'the upload record alone')
})

void t.test('checksums of parts and objects: composite, full, and none', async (t) => {
  const { s3 } = await rig(t)
  const parts = [bytes(5 * MiB), bytes(11)]
  const digest = (algorithm: ChecksumAlgorithm, data: Buffer): Buffer => {
    const checksum = createChecksum(algorithm)
    checksum.update(data)
    return checksum.digest()
  }
  const kinds = [['crc32', 'COMPOSITE'], ['sha256', 'COMPOSITE'], ['crc32', 'FULL_OBJECT'], ['crc64nvme', 'FULL_OBJECT']] as const
  for (const [i, [algorithm, type]] of kinds.entries()) {
    // The other rows have its algorithm and its type.
    if (!byTurns(i > 0)) continue
    const Key = `${algorithm} ${type}`
    const member = `Checksum${algorithm.toUpperCase()}`
    const id = await create(s3, Key, { ChecksumAlgorithm: algorithm.toUpperCase() as 'CRC32', ChecksumType: type })
    const listed: CompletedPart[] = []
    const values = parts.map((part) => digest(algorithm, part))
    for (const [at, part] of parts.entries()) {
      const value = values[at]!.toString('base64')
      const input = { Bucket, Key, UploadId: id, PartNumber: at + 1, Body: part, [member]: value }
      const { ETag, ...answer } = await s3.send(new UploadPartCommand(input))
      t.equal((answer as Record<string, unknown>)[member], value, `${Key}: echoed`)
      listed.push({ PartNumber: at + 1, ETag, [member]: value })
    }
    const expected = type === 'COMPOSITE'
      ? `${compositeChecksum(algorithm, values).toString('base64')}-2`
      : values.reduce((crc, value, i) => combineCrc(algorithm as 'crc32', crc, value, parts[i]!.length)).toString('base64')
    if (type === 'FULL_OBJECT') t.equal(expected, digest(algorithm, Buffer.concat(parts)).toString('base64'))
    const another = type === 'COMPOSITE' ? 'FULL_OBJECT' : 'COMPOSITE'
    t.equal(await codeOf(complete(s3, Key, id, listed, { ChecksumType: another })), 'InvalidRequest', 'another type')
    t.equal(await codeOf(complete(s3, Key, id, listed, { [member]: values[0]!.toString('base64') })), 'BadDigest', 'another checksum')
    t.equal(await codeOf(complete(s3, Key, id, [{ ...listed[0], [member]: values[1]!.toString('base64') }])), 'InvalidPart')
    const bare = listed.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }))
    const answer = await complete(s3, Key, id, i % 2 === 0 ? listed : bare, { ChecksumType: type, [member]: expected })
    t.match(answer, { [member]: expected, ChecksumType: type })
    t.match(await complete(s3, Key, id, listed), { [member]: expected, ChecksumType: type }, 'and again')
    t.match(await s3.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' })), { [member]: expected, ChecksumType: type })
  }
  const id = await create(s3, 'mismatch', { ChecksumAlgorithm: 'SHA1' })
  t.equal(await codeOf(put(s3, 'mismatch', id, 1, bytes(5), { ChecksumAlgorithm: 'CRC32' })), 'InvalidRequest', 'another algorithm')
  const contradictions = [
    { ChecksumType: 'FULL_OBJECT' },
    { ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' },
    { ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'COMPOSITE' }
  ] as const
  for (const input of contradictions) {
    t.equal(await codeOf(create(s3, 'settings', input)), 'InvalidRequest', JSON.stringify(input))
  }
})

void t.test('conditions on Complete', async (t) => {
  const { s3, store } = await rig(t)
  const prepared = async () => {
    const id = await create(s3, 'conditional')
    return { id, listed: [await put(s3, 'conditional', id, 1, bytes(10))] }
  }
  await s3.send(new PutObjectCommand({ Bucket, Key: 'conditional', Body: 'before' }))
  const { id, listed } = await prepared()
  t.equal(await codeOf(complete(s3, 'conditional', id, listed, { IfNoneMatch: '*' })), 'PreconditionFailed')
  t.equal(await codeOf(complete(s3, 'conditional', id, listed, { IfMatch: '"other"' })), 'PreconditionFailed')
  const { ETag } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'conditional' }))
  await complete(s3, 'conditional', id, listed, { IfMatch: ETag })
  t.ok(bytes(10).equals(await read(s3, 'conditional')))
  t.same(store.keys(stateBucket), [])
})

void t.test('a store with fewer parts: a part that could never be completed is refused before it is sent', async (t) => {
  const { s3, store } = await rig(t, { upstream: { maxParts: 3 } })
  const large = bytes(5 * MiB)
  const id = await create(s3, 'few')
  t.equal(await codeOf(put(s3, 'few', id, 4, bytes(10))), 'InvalidArgument')
  t.equal(await codeOf(put(s3, 'few', id, 3, large)), 'InvalidArgument', 'the tail behind it would be part 4')
  const second = await put(s3, 'few', id, 2, large)
  const last = await put(s3, 'few', id, 3, bytes(10))
  await complete(s3, 'few', id, [second, last])
  t.ok(Buffer.concat([large, bytes(10)]).equals(await read(s3, 'few')))
  const again = await create(s3, 'few')
  await complete(s3, 'few', again, [await put(s3, 'few', again, 2, large)])
  t.ok(large.equals(await read(s3, 'few')), 'the tail is part 3')
  const numbers = store.requests.map(({ query }) => Number(query.get('partNumber') ?? 0))
  t.equal(Math.max(...numbers), 3)
})

void t.test('a store that ignores conditions is not asked', async (t) => {
  const { s3, store } = await rig(t, { upstream: { conditions: { complete: false } } })
  const id = await create(s3, 'conditional')
  const listed = [await put(s3, 'conditional', id, 1, bytes(10))]
  t.equal(await codeOf(complete(s3, 'conditional', id, listed, { IfNoneMatch: '*' })), 'NotImplemented')
  t.equal(store.uploads(Bucket), 1, 'the upload lives on')
  await complete(s3, 'conditional', id, listed)
})

void t.test('customer keys come with every request of an upload', async (t) => {
  const { s3 } = await rig(t, { sections: { auth: { ssecOverHttp: true } } })
  const keyOf = (key: Buffer) => ({
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: key.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(key).digest('base64')
  })
  const mine = keyOf(randomBytes(32))
  const other = keyOf(randomBytes(32))
  const Key = 'customer'
  const id = await create(s3, Key, mine)
  for (const [wrong, size] of [[{}, 10], [other, 5 * MiB]] as const) {
    t.equal(await codeOf(put(s3, Key, id, 1, bytes(size), wrong)), 'InvalidRequest')
    t.equal(await codeOf(complete(s3, Key, id, [{ PartNumber: 1, ETag: 'x' }], wrong)), 'InvalidRequest')
  }
  const parts = [bytes(5 * MiB), bytes(99)]
  const listed = [await put(s3, Key, id, 1, parts[0]!, mine), await put(s3, Key, id, 2, parts[1]!, mine)]
  const answer = await complete(s3, Key, id, listed, mine)
  t.match(answer.ETag, /^"[0-9a-f]{32}-2"$/)
  t.equal((await complete(s3, Key, id, listed, mine)).ETag, answer.ETag)
  t.ok(Buffer.concat(parts).equals(await read(s3, Key, mine)))
  t.equal(await codeOf(read(s3, Key)), 'InvalidRequest')
  const plain = await create(s3, 'plain')
  t.equal(await codeOf(put(s3, 'plain', plain, 1, bytes(5), mine)), 'InvalidRequest', 'a key that was not asked for')
})

void t.test('without its state bucket the gateway makes no upload', async (t) => {
  const { s3, store } = await rig(t)
  const missing = { type: 'error', status: 404, code: 'NoSuchBucket' } as const
  const head = store.rules.add({ when: { method: 'HEAD', bucket: stateBucket }, fault: missing })
  t.equal(await codeOf(create(s3, 'stateless')), 'ServiceUnavailable')
  t.equal(store.uploads(Bucket), 0)
  head.remove()
  const broken = { type: 'error', status: 500, code: 'InternalError' } as const
  store.rules.add({ when: { method: 'PUT', bucket: stateBucket, key: /^uploads\// }, fault: broken })
  t.equal(await codeOf(create(s3, 'stateless')), 'ServiceUnavailable')
  t.equal(store.uploads(Bucket), 0, 'an upload whose record could not be written is taken back')
  await upload(s3, 'stateless', [bytes(5)])
})

void t.test('a part is not answered for before its record is written', async (t) => {
  const { s3, store } = await rig(t)
  const id = await create(s3, 'unrecorded')
  for (const size of [5 * MiB, 5]) {
    const busy = { type: 'error', status: 503, code: 'SlowDown' } as const
    store.rules.add({ when: { method: 'PUT', bucket: stateBucket, key: /\/parts\// }, fault: busy })
    t.equal(await codeOf(put(s3, 'unrecorded', id, 1, bytes(size))), 'ServiceUnavailable')
  }
  await complete(s3, 'unrecorded', id, [await put(s3, 'unrecorded', id, 1, bytes(10))])
  t.ok(bytes(10).equals(await read(s3, 'unrecorded')))
  t.same(store.keys(stateBucket), [])
})

void t.test('uploads of a Complete whose answer was lost, at any point', async (t) => {
  const { s3, store } = await rig(t)
  const points = [
    { method: 'PUT', query: { partNumber: true }, bucket: Bucket },
    { method: 'POST', query: { uploadId: true }, bucket: Bucket },
    { method: 'POST', query: { delete: true }, bucket: stateBucket }
  ] as const
  for (const type of ['before', 'after-request'] as const) {
    for (const when of points) {
      const Key = `lost ${type} ${when.method} ${when.bucket}`
      const parts = type === 'before' && byTurns(when === points[0]) ? [bytes(5 * MiB), bytes(1000, 1)] : [bytes(1000, 1)]
      const id = await create(s3, Key)
      const listed: CompletedPart[] = []
      for (const [i, part] of parts.entries()) listed.push(await put(s3, Key, id, i + 1, part))
      const rule = store.rules.add({ when, times: 2, fault: { type: 'reset', at: type } })
      await complete(s3, Key, id, listed).catch(() => undefined)
      t.ok(rule.fired > 0, Key)
      rule.remove()
      const again = await complete(s3, Key, id, listed)
      t.ok(again.ETag?.endsWith(`-${parts.length}"`))
      t.ok(Buffer.concat(parts).equals(await read(s3, Key)), Key)
    }
  }
  t.equal(store.uploads(Bucket), 0)
})

void t.test('settings of an upload: storage class, tags, and encryption asked for', async (t) => {
  const { s3 } = await rig(t)
  const input = { Bucket, Key: 'asked', ServerSideEncryption: 'AES256', ContentLanguage: 'fr' } as const
  const answer = await s3.send(new CreateMultipartUploadCommand(input))
  t.equal(answer.ServerSideEncryption, 'AES256')
  const part = await s3.send(new UploadPartCommand({ Bucket, Key: 'asked', UploadId: answer.UploadId, PartNumber: 1, Body: bytes(5) }))
  t.equal(part.ServerSideEncryption, 'AES256')
  const done = await complete(s3, 'asked', answer.UploadId!, [{ PartNumber: 1, ETag: part.ETag }])
  t.equal(done.ServerSideEncryption, 'AES256')
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'asked' }))
  t.match(head, { ServerSideEncryption: 'AES256', ContentLanguage: 'fr', ContentLength: 5 })
})

void t.test('Completes of one list at the same time, through one instance and several: all get the one answer', async (t) => {
  const { s3, another } = await rig(t)
  const others = [s3, await another(), await another()]
  const cases: readonly (readonly [sizes: number[], clients: S3Client[]])[] = [
    [[100], [s3, s3, s3, s3]],
    [[100], [...others, ...others]],
    [[5 * MiB, 100], others],
    [[5 * MiB], others]
  ]
  for (const [i, [sizes, clients]] of cases.entries()) {
    if (!byTurns(i < 3)) continue
    const Key = `at once ${i}`
    const id = await create(s3, Key, { ChecksumAlgorithm: 'CRC32' })
    const listed: CompletedPart[] = []
    for (const [n, size] of sizes.entries()) {
      const { ETag, ChecksumCRC32 } = await s3.send(
        new UploadPartCommand({ Bucket, Key, UploadId: id, PartNumber: n + 1, Body: bytes(size, n), ChecksumAlgorithm: 'CRC32' })
      )
      listed.push({ PartNumber: n + 1, ETag, ChecksumCRC32 })
    }
    const answers = await Promise.all(clients.map(async (client) => {
      const { ETag, ChecksumCRC32, ChecksumType } = await complete(client, Key, id, listed)
      return JSON.stringify({ ETag, ChecksumCRC32, ChecksumType })
    }))
    t.equal(new Set(answers).size, 1, Key)
    t.ok(Buffer.concat(sizes.map((size, n) => bytes(size, n))).equals(await read(s3, Key)))
  }
})

void t.test('a store that keeps refusing the list, or fails itself: the client gets the error after a few attempts', async (t) => {
  const { s3, store } = await rig(t)
  for (
    const [code, status, told, tries] of [['InvalidPart', 400, 'ServiceUnavailable', 4], ['InternalError', 500, 'InternalError', 4], [
      'SlowDown',
      503,
      'SlowDown',
      1
    ]] as const
  ) {
    const id = await create(s3, code)
    const one = await put(s3, code, id, 1, bytes(10))
    const rule = store.rules.add({
      when: { method: 'POST', bucket: Bucket, key: code, query: { uploadId: true } },
      times: 100,
      fault: { type: 'error', status, code }
    })
    t.equal(await codeOf(complete(s3, code, id, [one])), told)
    t.equal(rule.fired % tries, 0, `${rule.fired} requests`)
    rule.remove()
    await complete(s3, code, id, [one])
  }
})

void t.test('a store that refuses the list once, as while another Complete runs: the list is sent again', async (t) => {
  const { s3, store } = await rig(t)
  for (const [code, status] of [['InvalidPart', 400], ['InvalidPartOrder', 400], ['EntityTooSmall', 400], ['NoSuchKey', 404]] as const) {
    const id = await create(s3, code)
    const one = await put(s3, code, id, 1, bytes(10))
    store.rules.add({ when: { method: 'POST', bucket: Bucket, key: code, query: { uploadId: true } }, fault: { type: 'error', status, code } })
    t.match((await complete(s3, code, id, [one])).ETag, /-1"$/, code)
  }
})

void t.test('a part of another length than its record says is refused without a second look', async (t) => {
  const { s3, store } = await rig(t)
  const id = await create(s3, 'longer')
  const one = await put(s3, 'longer', id, 1, bytes(5 * MiB))
  const rule = store.rules.add({
    when: { method: 'GET', bucket: Bucket, key: 'longer', query: { uploadId: true } },
    times: Infinity,
    fault: { type: 'rows', element: 'Part', change: (row) => row.replace(/<Size>(\d+)</, (_, size) => `<Size>${Number(size) + 1}<`) }
  })
  t.equal(await codeOf(complete(s3, 'longer', id, [one])), 'InvalidPart')
  t.equal(rule.fired, 1)
})
