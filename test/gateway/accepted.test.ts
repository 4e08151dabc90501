// What AWS, MinIO and Ceph take, although few clients send it. Through the whole gateway, as bytes on the wire.
import t from 'tap'
import { PutBucketVersioningCommand } from '@aws-sdk/client-s3'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { headerSigned, querySigned, Wire, type Answer } from '../support/wire.ts'

const store = await startTestStore({ buckets: ['sealed', 'plain-a', 'opaque-a'], keepBodies: false })
const gateway = await startTestGateway(store, {
  sections: {
    buckets: { '*': { encryption: 'on', key: 'main' }, 'plain-*': { encryption: 'off' }, 'opaque-*': { encryption: 'on', key: 'main', etag: 'opaque' } }
  }
})
const wire = new Wire(gateway.endpoint)
const { host } = new URL(gateway.endpoint)
t.teardown(async () => {
  wire.close()
  await gateway.close()
  await store.close()
})

type Headers = readonly (readonly [name: string, value: string])[]

function send(
  method: string,
  target: string,
  { headers = [], body = '', region }: { headers?: Headers; body?: string | Buffer; region?: string } = {}
): Promise<Answer> {
  return wire.send(headerSigned(gateway, { method, target, headers }, body, region === undefined ? {} : { region }), body)
}

void t.test('targets in absolute form, signed as in origin form', async (t) => {
  t.equal((await send('PUT', '/sealed/a%20b', { body: 'absolute' })).status, 200)
  for (
    const [signed, sent] of [
      ['/sealed/a%20b', `http://${host}/sealed/a%20b`],
      ['/sealed/a%20b?x=1', `HTTP://${host}/sealed/a%20b?x=1`],
      ['/sealed/a%20b', `https://${host}/sealed/a%20b`]
    ] as const
  ) {
    const answer = await wire.send({ ...headerSigned(gateway, { method: 'GET', target: signed, headers: [] }), target: sent })
    t.match([answer.status, answer.body.toString()], [200, 'absolute'], sent)
  }
  const presigned = querySigned(gateway, { method: 'GET', target: '/sealed/a%20b', headers: [] })
  t.equal((await wire.send({ ...presigned, target: `http://${host}${presigned.target}` })).status, 200)
  const root = headerSigned(gateway, { method: 'GET', target: '/', headers: [] })
  t.match((await wire.send({ ...root, target: `http://${host}` })).body.toString(), '<ListAllMyBucketsResult', 'no path is the root')
  t.equal((await wire.send({ ...root, target: `http://${host}/sealed` })).code, 'SignatureDoesNotMatch')
  t.equal((await wire.send({ ...root, target: 'http://elsewhere.test/' })).status, 400)
})

void t.test('regions with other characters than letters, also with signed chunks', async (t) => {
  for (const region of ['*', '127.0.0.1', 'localhost:9000', '[::1]:9000', 's3.example.org']) {
    t.equal((await send('PUT', '/sealed/region', { body: region, region })).status, 200, region)
    t.equal((await send('GET', '/sealed/region', { region })).body.toString(), region)
  }
})

void t.test('a copy source encoded as a whole', async (t) => {
  await gateway.client().send(new PutBucketVersioningCommand({ Bucket: 'sealed', VersioningConfiguration: { Status: 'Enabled' } }))
  for (const key of ['plain', 'dir/leaf', 'a?versionId=1', 'a%2Fb', 'a+b', 'ä/€']) {
    const path = `/sealed/${encodeURIComponent(key)}`
    const old = (await send('PUT', path, { body: `old ${key}` })).headers['x-amz-version-id']
    await send('PUT', path, { body: `new ${key}` })
    for (const target of ['/sealed/copy', '/plain-a/copy']) {
      for (
        const [source, expected] of [
          [encodeURIComponent(`sealed/${key}`), `new ${key}`],
          [encodeURIComponent(`/sealed/${key}`), `new ${key}`],
          [`${encodeURIComponent(`sealed/${key}`)}?versionId=${String(old)}`, `old ${key}`]
        ] as const
      ) {
        t.equal((await send('PUT', target, { headers: [['x-amz-copy-source', source]] })).status, 200, source)
        t.equal((await send('GET', target)).body.toString(), expected, source)
      }
    }
  }
})

void t.test('bare words of pages against caches, signed and presigned', async (t) => {
  for (const bucket of ['sealed', 'plain-a']) {
    await send('PUT', `/${bucket}/page`, { body: 'page' })
    for (const word of ['1467293847', 'v2', 'v=', '%20']) {
      t.equal((await send('GET', `/${bucket}/page?${word}`)).body.toString(), 'page', word)
      t.equal((await send('HEAD', `/${bucket}/page?${word}`)).status, 200)
      t.equal((await wire.send(querySigned(gateway, { method: 'GET', target: `/${bucket}/page?${word}`, headers: [] }))).status, 200)
      t.equal(
        (await wire.send({ ...headerSigned(gateway, { method: 'GET', target: `/${bucket}/page`, headers: [] }), target: `/${bucket}/page?${word}` })).code,
        'SignatureDoesNotMatch',
        'it is signed all the same'
      )
    }
    t.equal((await send('PUT', `/${bucket}/page?v2`, { body: 'x' })).status, 501)
    t.equal((await send('DELETE', `/${bucket}/page?v2`)).status, 501)
    t.match((await send('GET', `/${bucket}?list-type=1`)).body.toString(), /<Marker/, 'version 1 by its name')
  }
})

void t.test('the last bytes of an empty object', async (t) => {
  for (const bucket of ['sealed', 'opaque-a']) {
    await send('PUT', `/${bucket}/empty`)
    for (const method of ['GET', 'HEAD']) {
      for (const range of ['bytes=-1', 'bytes=-100000']) {
        const { status, headers } = await send(method, `/${bucket}/empty`, { headers: [['range', range]] })
        t.match([status, headers['content-length'], headers['content-range']], [200, '0', undefined], `${method} ${range}`)
      }
      for (const range of ['bytes=-0', 'bytes=0-', 'bytes=0-0']) {
        t.equal((await send(method, `/${bucket}/empty`, { headers: [['range', range]] })).status, 416, `${method} ${range}`)
      }
    }
  }
})

void t.test('Content-Encoding keeps what the client wrote', async (t) => {
  for (const bucket of ['sealed', 'plain-a']) {
    await send('PUT', `/${bucket}/coded`, { body: 'x', headers: [['content-encoding', 'deflate, aws-chunked, gzip']] })
    t.equal((await send('HEAD', `/${bucket}/coded`)).headers['content-encoding'], 'deflate, gzip')
  }
})

void t.test('the longest list of parts is read: 10,000 with SHA-256, indented, with &quot;', async (t) => {
  const part = (number: number): string =>
    `    <Part>\r\n        <ETag>&quot;${'d'.repeat(32)}&quot;</ETag>\r\n` +
    `        <ChecksumSHA256>${'A'.repeat(43)}=</ChecksumSHA256>\r\n        <PartNumber>${number}</PartNumber>\r\n    </Part>\r\n`
  const list = Array.from({ length: 10_000 }, (_, i) => part(i + 1)).join('')
  const body = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n${list}</CompleteMultipartUpload>`
  t.ok(body.length > 2_129_015)
  t.equal((await send('POST', '/sealed/long?uploadId=none', { body })).code, 'NoSuchUpload', 'judged by what it says')
})
