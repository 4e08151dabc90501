// Sealed metadata (docs/FORMAT.md): what describes an object reaches clients byte for byte, and the store not at all.
import t from 'tap'
import { headerSigned, policyForm, querySigned, timestampOf, Wire, type Answer } from '../../support/wire.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import type { Headers } from '../../support/signing.ts'

const store = await startTestStore({ buckets: ['bucket', 'clear', 'opaque'] })
const buckets = { '*': { metadata: 'sealed' }, 'clear': { metadata: 'clear' }, 'opaque': { etag: 'opaque' } }
const gateway = await startTestGateway(store, { sections: { buckets } })
const wire = new Wire(gateway.endpoint)
t.teardown(async () => {
  wire.close()
  await gateway.close()
  await store.close()
})
const send = (method: string, target: string, headers: Headers = [], body = ''): Promise<Answer> =>
  wire.send(headerSigned(gateway, { method, target, headers }, body), body)

const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1')
/** As clients send it, and as it comes back: values in every look that stores re-encode, and a pair of names that some make one of. */
const description: Readonly<Record<string, string>> = {
  'content-type': 'text/x-planted; charset="utf-8"',
  'content-encoding': 'planted-coding',
  'content-language': 'planted-language',
  'content-disposition': utf8('attachment; filename="planted größe.txt"'),
  'cache-control': 'planted-cache',
  'expires': 'planted expiry',
  'x-amz-meta-planted-name': 'planted value',
  'x-amz-meta-planted_name': 'planted  other value',
  'x-amz-meta-word': '=?UTF-8?B?cGxhbnRlZA==?=',
  'x-amz-meta-utf8': utf8('planted €'),
  'x-amz-meta-empty': ''
}
const described: Headers = Object.entries(description)
const shown = ({ headers }: Answer) => Object.fromEntries(Object.entries(headers).filter(([name]) => name in description || name.startsWith('x-amz-meta-')))
const ofStore = { 'content-type': 'application/octet-stream' }

async function uploaded(key: string, headers: Headers): Promise<void> {
  const created = await send('POST', `/bucket/${key}?uploads`, headers)
  const id = encodeURIComponent(/<UploadId>([^<]+)/.exec(created.body.toString())?.[1] ?? '')
  const part = await send('PUT', `/bucket/${key}?partNumber=1&uploadId=${id}`, [], 'body')
  const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(part.headers['etag'])}</ETag></Part></CompleteMultipartUpload>`
  t.equal((await send('POST', `/bucket/${key}?uploadId=${id}`, [], list)).status, 200)
}

/** Fields of a form are text, and their bytes are UTF-8. */
async function posted(key: string): Promise<void> {
  const fields = Object.fromEntries(described.map(([name, value]) => [name, Buffer.from(value, 'latin1').toString('utf8')]))
  const body = policyForm({
    id: gateway.accessKeyId,
    secret: gateway.secretAccessKey,
    time: timestampOf(new Date()),
    expires: new Date(Date.now() + 60_000),
    conditions: [{ bucket: 'bucket' }],
    fields,
    file: { key, text: 'body' },
    signed: (signature) => signature
  })
  const headers: Headers = [['Host', new URL(gateway.endpoint).host], ['Content-Type', 'multipart/form-data; boundary=b'], [
    'Content-Length',
    String(Buffer.byteLength(body))
  ]]
  t.equal((await wire.send({ method: 'POST', target: '/bucket', headers }, body)).status, 204)
}

async function presigned(key: string): Promise<void> {
  const parameters = described.filter(([name]) => name.startsWith('x-amz-')).map(([name, value]) =>
    `${name}=${encodeURIComponent(Buffer.from(value, 'latin1').toString('utf8'))}`
  )
  const headers = described.filter(([name]) => !name.startsWith('x-amz-'))
  t.equal((await wire.send(querySigned(gateway, { method: 'PUT', target: `/bucket/${key}?${parameters.join('&')}`, headers }, 'body'), 'body')).status, 200)
}

const ways: Readonly<Record<string, (key: string) => Promise<unknown>>> = {
  'PutObject': (key) => send('PUT', `/bucket/${key}`, described, 'body'),
  'a large PutObject': (key) => send('PUT', `/bucket/${key}`, described, 'body'.repeat(50_000)),
  'a presigned PutObject': presigned,
  'PostObject': posted,
  'a multipart upload': (key) => uploaded(key, described),
  'CopyObject, COPY': async (key) => {
    await send('PUT', '/opaque/source', described, 'body')
    await send('PUT', `/bucket/${key}`, [['x-amz-copy-source', '/opaque/source']])
  },
  'CopyObject, REPLACE': async (key) => {
    await send('PUT', '/bucket/other', [['x-amz-meta-old', 'planted before']], 'body')
    await send('PUT', `/bucket/${key}`, [['x-amz-copy-source', '/bucket/other'], ['x-amz-metadata-directive', 'REPLACE'], ...described])
  },
  'CopyObject of a multipart object': async (key) => {
    await uploaded('parts', described)
    await send('PUT', `/bucket/${key}`, [['x-amz-copy-source', '/bucket/parts']])
  }
}

for (const [way, write] of Object.entries(ways)) {
  await t.test(`${way}: the description comes back byte for byte, and the store never gets it`, async (t) => {
    const key = `key-${Object.keys(ways).indexOf(way)}`
    const from = store.requests.length
    await write(key)
    const sent = store.requests.slice(from)
    t.ok(sent.length > 0)
    const told = sent.map(({ method, path, headers }) => `${method} ${path} ${headers.entries.map((entry) => entry.join(': ')).join(' | ')}`)
    t.same(told.filter((text) => /planted|gr(?:\xc3|%C3)|cGxhbnRlZA|x-amz-meta-(?!sealgate)/i.test(text)), [])
    t.same(store.object('bucket', key).version.headers, ofStore)
    t.same(Object.keys(store.object('bucket', key).metadata).toSorted(), ['sealgate', 'sealgate-key'])
    for (const [method, headers] of [['GET', []], ['HEAD', []], ['GET', [['Range', 'bytes=1-2']]], ['GET', [['Range', 'bytes=-1']]]] as const) {
      t.same(shown(await send(method, `/bucket/${key}`, headers)), description, `${method} ${String(headers)}`)
    }
    t.equal((await send('GET', `/bucket/${key}`)).body.toString().slice(0, 4), 'body')
  })
}

await t.test('without a description it is what S3 shows without one', async (t) => {
  await send('PUT', '/bucket/bare', [], 'body')
  const default_ = await send(
    'PUT',
    '/bucket/default',
    [['Content-Type', 'binary/octet-stream'], ['Content-Encoding', 'aws-chunked'], ['Expires', ' ']],
    'body'
  )
  t.equal(default_.status, 200)
  await send('PUT', '/bucket/copied', [['x-amz-copy-source', '/bucket/bare']])
  for (const key of ['bare', 'default', 'copied']) t.same(shown(await send('HEAD', `/bucket/${key}`)), { 'content-type': 'binary/octet-stream' })
  const size = (key: string) => store.object('bucket', key).metadata['sealgate']?.length
  t.equal(size('bare'), size('default'))
  await send('PUT', '/bucket/typed', [['Content-Type', 'application/json; charset=utf-8'], ['x-amz-meta-a', '1']], 'body')
  t.equal(size('typed'), size('bare'), 'nor does the length of the envelope tell of a content type')
})

await t.test('conditions, overrides, attributes and anonymous reads work as with metadata in plaintext', async (t) => {
  const { headers: { etag } } = await send('PUT', '/bucket/conditional', described, 'body')
  t.equal((await send('GET', '/bucket/conditional', [['If-None-Match', String(etag)]])).status, 304)
  t.equal((await send('GET', '/bucket/conditional', [['If-Match', '"x"']])).status, 412)
  t.match(await send('GET', '/bucket/conditional?response-content-type=text%2Fplain&response-cache-control=no-store&response-content-disposition=inline'), {
    status: 200,
    headers: {
      ...description,
      'content-type': 'text/plain',
      'cache-control': 'no-store',
      'content-disposition': 'inline'
    }
  })
  const attributes = await send('GET', '/bucket/conditional?attributes', [['x-amz-object-attributes', 'ETag,ObjectSize,StorageClass']])
  t.match(attributes.body.toString(), '<ObjectSize>4</ObjectSize>')
})

await t.test('an object itself shows whether its metadata is sealed: one bucket may have both, and copies follow their bucket\'s policy', async (t) => {
  const plainEnough = described.filter(([name, value]) => name !== 'x-amz-meta-planted_name' && !/=\?|[\x80-\xff]/.test(value) && value !== '')
  const expected = Object.fromEntries(plainEnough)
  await send('PUT', '/clear/object', plainEnough, 'body')
  t.equal(store.object('clear', 'object').metadata['planted-name'], 'planted value')
  t.equal((await send('PUT', '/bucket/from-clear', [['x-amz-copy-source', '/clear/object']])).status, 200)
  t.same(Object.keys(store.object('bucket', 'from-clear').metadata).toSorted(), ['sealgate', 'sealgate-key'])
  t.equal((await send('PUT', '/clear/from-sealed', [['x-amz-copy-source', '/bucket/from-clear']])).status, 200)
  t.equal(store.object('clear', 'from-sealed').metadata['planted-name'], 'planted value')
  for (const target of ['/clear/object', '/bucket/from-clear', '/clear/from-sealed']) t.same(shown(await send('GET', target)), expected, target)
  const second = await startTestGateway(store, {
    keyring: gateway.keyring,
    sections: { buckets: { '*': { metadata: 'clear' }, 'clear': { metadata: 'sealed' } } }
  })
  const other = new Wire(second.endpoint)
  for (const target of ['/clear/object', '/bucket/from-clear', '/bucket/key-0']) {
    const got = await other.send(headerSigned(second, { method: 'GET', target, headers: [] }))
    t.same(shown(got), target === '/bucket/key-0' ? description : expected, `${target}, where the option is the other one`)
  }
  other.close()
  await second.close()
})

await t.test('what a hostile store says of the description is not heard, and nothing of another object is believed', async (t) => {
  await send('PUT', '/bucket/a', described, 'a')
  await send('PUT', '/bucket/b', [['Content-Type', 'text/html'], ['x-amz-meta-role', 'admin']], 'b')
  const lies = {
    'Content-Type': 'text/html',
    'Content-Encoding': 'gzip',
    'Content-Language': 'xx',
    'Content-Disposition': 'inline',
    'Cache-Control': 'public',
    'Expires': 'never',
    'x-amz-meta-planted-name': 'a lie',
    'x-amz-meta-role': 'admin',
    'x-amz-missing-meta': '3'
  }
  const rule = store.rules.add({ when: { key: 'a' }, times: Infinity, fault: { type: 'headers', set: lies } })
  for (const method of ['GET', 'HEAD']) {
    const answer = await send(method, '/bucket/a')
    t.same(shown(answer), description)
    t.notOk('x-amz-missing-meta' in answer.headers)
  }
  t.equal((await send('PUT', '/bucket/copy-of-a', [['x-amz-copy-source', '/bucket/a']])).status, 200)
  rule.remove()
  t.same(shown(await send('GET', '/bucket/copy-of-a')), description, 'nor does a copy make a lie its own')
  await send('PUT', '/bucket/a', [['x-amz-meta-role', 'guest']], 'a')
  const [older, newer] = store.object('bucket', 'a').history.slice(-2)
  t.not(older?.metadata['sealgate'], newer?.metadata['sealgate'])
  for (const what of ['body', 'metadata', 'both'] as const) {
    for (const fault of [{ type: 'substitute', key: 'b', what }, { type: 'older', what }] as const) {
      const hostile = store.rules.add({ when: { key: 'a' }, times: Infinity, fault })
      const { status, headers } = await send('GET', '/bucket/a')
      // Everything of an older version is an older version: no gateway can tell.
      t.match({ status, headers }, fault.type === 'older' && what === 'both' ? { status: 200, headers: description } : { status: 500 }, `${fault.type} ${what}`)
      hostile.remove()
    }
  }
  const mixed = { ...store.object('bucket', 'a').metadata, sealgate: store.object('bucket', 'copy-of-a').metadata['sealgate'] ?? '' }
  await store.object('bucket', 'a').set({ metadata: mixed })
  t.equal((await send('HEAD', '/bucket/a')).status, 500, 'the description of a copy with the same body')
})

await t.test('MetadataTooLarge says how much would have fitted, and that fits', async (t) => {
  const put = async (headers: Headers) => send('PUT', '/bucket/large', headers, 'body')
  const numbers = ({ body }: Answer) => [/<Size>(\d+)/, /<MaxSizeAllowed>(\d+)/].map((pattern) => Number(pattern.exec(body.toString())?.[1]))
  for (const entries of [1, 2, 7, 30]) {
    for (const more of [[], [['content-disposition', 'x'.repeat(100)]]] as Headers[]) {
      const many = (length: number): Headers => [
        ...more,
        ...Array.from({ length: entries - 1 }, (_, i) => [`x-amz-meta-n${i}`, '0123456789'] as const),
        ['x-amz-meta-long', 'v'.repeat(length)]
      ]
      const answer = await put(many(2000))
      t.match(answer, { status: 400, code: 'MetadataTooLarge' })
      const [size = 0, most = 0] = numbers(answer)
      t.equal(size, many(2000).filter(([name]) => name.startsWith('x-amz-meta-')).reduce((sum, [name, value]) => sum + name.length - 11 + value.length, 0))
      const fits = 2000 - (size - most)
      t.equal((await put(many(fits))).status, 200, `${most} bytes in ${entries} entries`)
      t.equal((await put(many(fits + 64))).status, 400)
      const stored = Object.entries(store.object('bucket', 'large').metadata).reduce((sum, [name, value]) => sum + 11 + name.length + value.length, 0)
      t.ok(stored <= 2048, `${stored} bytes, as MinIO counts`)
    }
  }
  t.match(await put([[`x-amz-meta-${'n'.repeat(256)}`, '1']]), { status: 400, code: 'MetadataTooLarge' })
  t.equal((await put([[`x-amz-meta-${'n'.repeat(255)}`, '1']])).status, 200)
  const large = await startTestGateway(store, { keyring: gateway.keyring, upstream: { metadataBytes: 8192 } })
  const other = new Wire(large.endpoint)
  const rule = store.rules.add({ when: { method: 'PUT', key: 'large' }, times: Infinity, fault: { type: 'answer', status: 200, headers: [['ETag', '"x"']] } })
  const draft = (length: number) => headerSigned(large, { method: 'PUT', target: '/bucket/large', headers: [['x-amz-meta-a', 'v'.repeat(length)]] })
  t.equal((await other.send(draft(5600))).status, 200)
  t.equal((await other.send(draft(5900))).status, 400)
  rule.remove()
  other.close()
  await large.close()
})

await t.test('MinIO\'s listing with metadata shows the sealed metadata', async (t) => {
  for (const bucket of ['bucket', 'opaque']) {
    await send('PUT', `/${bucket}/listed`, described, 'body')
    const row = (key: string) =>
      `<Contents><Key>${key}</Key><ETag>"x"</ETag><Size>532</Size><UserMetadata><content-type>application/octet-stream</content-type>`
      + '<X-Amz-Meta-Sealgate>AQ</X-Amz-Meta-Sealgate></UserMetadata></Contents>'
    const body = `<ListBucketResult>${row('listed')}${row('gone')}</ListBucketResult>`
    const rule = store.rules.add({ when: { method: 'GET', key: '' }, times: Infinity, fault: { type: 'answer', status: 200, body } })
    const listing = (await send('GET', `/${bucket}?list-type=2&metadata=true`)).body.toString()
    rule.remove()
    const [first = '', second = ''] = listing.split('</Contents>')
    for (const [name, value] of described) {
      const element = name.startsWith('x-amz') ? name.replace(/(?<=^|-)[a-z]/g, (letter) => letter.toUpperCase()) : name
      const text = Buffer.from(value, 'latin1').toString('utf8').replaceAll('"', '&quot;')
      t.match(first, text === '' ? new RegExp(`<${element}(?:/|></${element})>`) : `<${element}>${text}</${element}>`, `${bucket} ${name}`)
    }
    t.notMatch(first, 'octet-stream')
    t.notMatch(listing, /sealgate/i)
    t.match(second, '<Key>gone</Key>')
  }
})
