// Where answers tell clients to find an object: at the gateway, by the address they came by.
import t from 'tap'
import { form } from './authentication-rows.ts'
import { headerSigned, Wire, type Answer } from '../support/wire.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

const store = await startTestStore({ buckets: ['sealed', 'plain-a'] })
const gateway = await startTestGateway(store, {
  sections: {
    listen: { host: '127.0.0.1', port: 0, domains: ['s3.test'] },
    buckets: { '*': { encryption: 'on', key: 'main' }, 'plain-*': { encryption: 'off' } }
  }
})
const wire = new Wire(gateway.endpoint)
t.teardown(async () => {
  wire.close()
  await gateway.close()
  await store.close()
})

void t.test('regression: of a form', async (t) => {
  const addresses: readonly (readonly [host: string, target: string, location: string])[] = [
    ['s3.test', '/sealed', 'http://s3.test/sealed/posted'],
    ['s3.test', '/sealed/', 'http://s3.test/sealed/posted'],
    ['sealed.s3.test', '/', 'http://sealed.s3.test/posted']
  ]
  for (const [host, target, location] of addresses) {
    const body = form(gateway, 'valid', [{ bucket: 'sealed' }])
    const headers = [['Host', host], ['Content-Type', 'multipart/form-data; boundary=b'], ['Content-Length', String(body.length)]] as const
    t.match(await wire.send({ method: 'POST', target, headers }, body), { status: 204, headers: { location } })
  }
})

void t.test('regression: of a multipart upload, also in a bucket that is not encrypted', async (t) => {
  const send = (method: string, target: string, body = ''): Promise<Answer> => wire.send(headerSigned(gateway, { method, target, headers: [] }, body), body)
  for (const bucket of ['sealed', 'plain-a']) {
    const id = /<UploadId>([^<]*)</.exec((await send('POST', `/${bucket}/k?uploads`)).body.toString())?.[1] ?? ''
    const { headers: { etag } } = await send('PUT', `/${bucket}/k?partNumber=1&uploadId=${id}`, 'part')
    const done = await send(
      'POST',
      `/${bucket}/k?uploadId=${id}`,
      `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(etag)}</ETag></Part></CompleteMultipartUpload>`
    )
    t.equal(done.status, 200)
    t.match(done.body.toString(), `<Location>${gateway.endpoint}/${bucket}/k</Location>`)
  }
})
