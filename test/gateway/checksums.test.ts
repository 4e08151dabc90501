// Every checksum algorithm of AWS in every place that can carry one: verified, kept, given back; and what the list of algorithms
// does not know, refused by one rule.
import t from 'tap'
import {
  CopyObjectCommand,
  GetObjectAttributesCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type ChecksumAlgorithm as Name,
  type CompletedPart
} from '@aws-sdk/client-s3'
import { checksumAlgorithms, compositeChecksum, createChecksum, type ChecksumAlgorithm } from '../../src/http/checksums.ts'
import { form } from './authentication-rows.ts'
import { upload } from '../support/uploads.ts'
import { headerSigned, Wire } from '../support/wire.ts'
import { rawRequest, type RawResponse } from '../support/raw-client.ts'
import { Bucket, bytes, complete, create, MiB, put, read, rig } from '../support/multipart-rig.ts'
import { codeOf } from '../support/error-code.ts'

const algorithms = Object.keys(checksumAlgorithms) as ChecksumAlgorithm[]
/** One is held in memory while it is sealed, one is streamed. */
const sizes = [100, 70_000] as const
const framings = ['signed chunks and trailer', 'unsigned chunks and trailer'] as const

function digest(algorithm: ChecksumAlgorithm, data: Buffer): Buffer {
  const checksum = createChecksum(algorithm)
  checksum.update(data)
  return checksum.digest()
}

await t.test('of whole objects: in a header, a trailer, a form; shown by HEAD, GET, attributes and copies', async (t) => {
  const { s3, gateway, store } = await rig(t, { defaultChecksum: false })
  const wire = new Wire(gateway.endpoint)
  t.teardown(() => wire.close())
  await s3.send(new PutObjectCommand({ Bucket, Key: 'bare', Body: bytes(sizes[0]) }))
  for (const algorithm of algorithms) {
    const member = `Checksum${algorithm.toUpperCase()}`
    const field = `x-amz-checksum-${algorithm}`
    const shown = async (Key: string, data: Buffer): Promise<void> => {
      const value = digest(algorithm, data).toString('base64')
      const ask = (method: 'GET' | 'HEAD') =>
        wire.send(headerSigned(gateway, { method, target: `/${Bucket}/${Key}`, headers: [['x-amz-checksum-mode', 'ENABLED']] }))
      const answer = await ask('GET')
      for (const { headers } of [await ask('HEAD'), answer]) t.match(headers, { [field]: value, 'x-amz-checksum-type': 'FULL_OBJECT' }, Key)
      const attributes = { method: 'GET', target: `/${Bucket}/${Key}?attributes`, headers: [['x-amz-object-attributes', 'Checksum']] } as const
      const document = (await wire.send(headerSigned(gateway, attributes))).body.toString()
      t.match(document, `<${member}>${value}</${member}>`, `${Key}: attributes`)
      t.match(document, '<ChecksumType>FULL_OBJECT</ChecksumType>', `${Key}: attributes`)
      t.ok(data.equals(answer.body), `${Key}: bytes`)
    }
    for (const [i, size] of sizes.entries()) {
      const data = bytes(size, algorithm.length)
      const value = digest(algorithm, data).toString('base64')
      const wrong = digest(algorithm, bytes(size, 99)).toString('base64')
      const Key = `${algorithm}-${size}`
      const framing = framings[i] ?? framings[0]
      const write = (key: string, how: 'header' | 'trailer', checksum: string): Promise<RawResponse> => {
        const { head, body } = how === 'header'
          ? upload(gateway, `/${Bucket}/${key}`, 'hash', data, { headers: [[field, checksum]] })
          : upload(gateway, `/${Bucket}/${key}`, framing, data, { trailer: `${field}:${checksum}` })
        return rawRequest(gateway.endpoint, Buffer.concat([head, body]))
      }
      for (const how of ['header', 'trailer'] as const) {
        t.match(await write(`${Key}-${how}`, how, value), { status: 200, headers: { [field]: value } }, `${Key}: ${how}`)
        t.match(await write('wrong', how, wrong), { status: 400, body: /<Code>BadDigest</ }, `${Key}: ${how}, wrong`)
        await shown(`${Key}-${how}`, data)
      }
    }
    const [from] = sizes
    await s3.send(new CopyObjectCommand({ Bucket, Key: `${algorithm}-copy`, CopySource: `${Bucket}/${algorithm}-${from}-header` }))
    await shown(`${algorithm}-copy`, bytes(from, algorithm.length))
    await s3.send(
      new CopyObjectCommand({ Bucket, Key: `${algorithm}-asked`, CopySource: `${Bucket}/bare`, ChecksumAlgorithm: algorithm.toUpperCase() as Name })
    )
    await shown(`${algorithm}-asked`, bytes(from))
    const text = `posted with ${algorithm}`
    for (const [key, value, status] of [['posted', text, 204], ['wrong', 'another', 400]] as const) {
      const body = form(gateway, 'valid', [{ bucket: Bucket }], { key: `${algorithm}-${key}`, text }, {
        [field]: digest(algorithm, Buffer.from(value)).toString('base64')
      })
      const headers = [['Host', new URL(gateway.endpoint).host], ['Content-Type', 'multipart/form-data; boundary=b'], [
        'Content-Length',
        String(body.length)
      ]] as const
      t.equal((await wire.send({ method: 'POST', target: `/${Bucket}`, headers }, body)).status, status, `${algorithm}: a form, ${key}`)
    }
    await shown(`${algorithm}-posted`, Buffer.from(text))
    const document = '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>'
    for (const [value, status] of [[document, 200], ['another', 400]] as const) {
      const headers = [[field, digest(algorithm, Buffer.from(value)).toString('base64')], ['x-amz-sdk-checksum-algorithm', algorithm.toUpperCase()]] as const
      t.equal(
        (await wire.send(headerSigned(gateway, { method: 'PUT', target: `/${Bucket}/${algorithm}-posted?tagging`, headers }, document), document)).status,
        status,
        `${algorithm}: a document`
      )
    }
  }
  t.same(store.keys(Bucket).filter((key) => key.endsWith('wrong')), [], 'nothing that failed its checksum is there')
  t.comment(`${algorithms.length} algorithms`)
})

await t.test('of parts: composite, listed, and completed by what was verified when the parts came', async (t) => {
  const { s3 } = await rig(t)
  for (const algorithm of algorithms.filter((name) => checksumAlgorithms[name].composite)) {
    // Large parts go to the store and small ones wait: two algorithms with both are enough.
    const parts = algorithm === 'sha512' || algorithm === 'xxhash128' ? [bytes(5 * MiB), bytes(11, 3)] : [bytes(11, 3)]
    const Key = algorithm
    const member = `Checksum${algorithm.toUpperCase()}`
    const id = await create(s3, Key, { ChecksumAlgorithm: algorithm.toUpperCase() as Name })
    const values = parts.map((part) => digest(algorithm, part))
    const listed: CompletedPart[] = []
    for (const [i, Body] of parts.entries()) {
      const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId: id, PartNumber: i + 1, Body, [member]: values[i]!.toString('base64') }))
      // What a page sees of the answer where CORS exposes the ETag alone.
      listed.push({ PartNumber: i + 1, ETag })
    }
    const list = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId: id }))
    t.match(list, {
      ChecksumAlgorithm: algorithm.toUpperCase(),
      ChecksumType: 'COMPOSITE',
      Parts: values.map((value) => ({ [member]: value.toString('base64') }))
    }, Key)
    t.equal(await codeOf(complete(s3, Key, id, [{ ...listed[0], [member]: digest(algorithm, bytes(7)).toString('base64') }])), 'InvalidPart', `${Key}: another`)
    const expected = { [member]: `${compositeChecksum(algorithm, values).toString('base64')}-${parts.length}`, ChecksumType: 'COMPOSITE' }
    t.match(await complete(s3, Key, id, listed), expected, Key)
    t.match(await complete(s3, Key, id, listed), expected, `${Key}: again`)
    const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ['Checksum', 'ObjectParts'] }))
    t.match(attributes, { Checksum: expected, ObjectParts: { Parts: values.map((value) => ({ [member]: value.toString('base64') })) } }, `${Key}: attributes`)
    t.ok(Buffer.concat(parts).equals(await read(s3, Key)), `${Key}: bytes`)
    if (!checksumAlgorithms[algorithm].fullObject) {
      t.equal(
        await codeOf(create(s3, Key, { ChecksumAlgorithm: algorithm.toUpperCase() as Name, ChecksumType: 'FULL_OBJECT' })),
        'InvalidRequest',
        `${Key}: FULL_OBJECT`
      )
    }
  }
})

await t.test('an algorithm that is not computed here is refused in every place that names it, and nothing is stored', async (t) => {
  const { s3, gateway, store } = await rig(t)
  const wire = new Wire(gateway.endpoint)
  t.teardown(() => wire.close())
  const Key = 'known'
  const id = await create(s3, Key)
  const { ETag } = await put(s3, Key, id, 1, bytes(10))
  const before = store.keys(Bucket)
  const list = (more: string): string =>
    `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${ETag ?? ''}</ETag>${more}</Part></CompleteMultipartUpload>`
  const named = ['x-amz-checksum-algorithm', 'BLAKE3'] as const
  const given = ['x-amz-checksum-blake3', 'AAAA'] as const
  const requests = [
    ['PUT', '/unknown', [given], 'data'],
    ['PUT', `/${Key}?partNumber=1&uploadId=${id}`, [given], 'data'],
    ['PUT', '/unknown?tagging', [given], '<Tagging/>'],
    ['POST', '/unknown?uploads', [named], ''],
    ['PUT', '/unknown', [['x-amz-copy-source', `${Bucket}/${Key}`], named], ''],
    ['POST', `/${Key}?uploadId=${id}`, [given], list('')],
    ['POST', `/${Key}?uploadId=${id}`, [], list('<ChecksumBLAKE3>AAAA</ChecksumBLAKE3>')]
  ] as const
  await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))
  for (const [method, path, headers, body] of requests) {
    const answer = await wire.send(headerSigned(gateway, { method, target: `/${Bucket}${path}`, headers }, body), body)
    t.match({ status: answer.status, code: answer.code, body: answer.body.toString() }, {
      status: 400,
      code: 'InvalidRequest',
      body: /Checksum algorithm provided is unsupported/
    }, `${method} ${path}`)
  }
  const sent = upload(gateway, `/${Bucket}/unknown`, 'unsigned chunks and trailer', bytes(10), { trailer: 'x-amz-checksum-blake3:AAAA' })
  t.equal((await rawRequest(gateway.endpoint, Buffer.concat([sent.head, sent.body]))).status, 400, 'a trailer')
  const body = form(gateway, 'valid', [{ bucket: Bucket }], { key: 'unknown', text: 'x' }, { 'x-amz-checksum-blake3': 'AAAA' })
  const headers = [['Host', new URL(gateway.endpoint).host], ['Content-Type', 'multipart/form-data; boundary=b'], [
    'Content-Length',
    String(body.length)
  ]] as const
  t.match(await wire.send({ method: 'POST', target: `/${Bucket}`, headers }, body), { status: 400, code: 'InvalidRequest' }, 'a form')
  t.same(store.keys(Bucket).filter((key) => !before.includes(key) && key !== Key), [])
})
