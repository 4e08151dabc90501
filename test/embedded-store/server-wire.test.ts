import { createHash } from 'node:crypto'
import t from 'tap'
import { createChecksum } from '../../src/http/checksums.ts'
import { startTestStore } from '../support/hostile.ts'
import { RawConnection, rawRequest } from '../support/raw-client.ts'
import { credentials, pattern, region } from './rig.ts'
import { sign, signedChunks, signedRequest } from './signed-request.ts'

const body = pattern(20_000)
const crc32 = (() => {
  const state = createChecksum('crc32')
  state.update(body)
  return state.digest().toString('base64')
})()

await t.test('the wire', async (t) => {
  const store = await startTestStore({ ...credentials, region, buckets: ['wire'] })
  const { endpoint } = store
  t.teardown(() => store.close())
  const stored = (key: string): Promise<Buffer> => store.object('wire', key).body()
  const code = (answer: { readonly status: number; readonly body: Buffer }): string =>
    `${answer.status} ${/<Code>(.*?)<\/Code>/.exec(answer.body.toString())?.[1] ?? ''}`.trim()

  await t.test('signed chunks, with and without trailer', async (t) => {
    const chunks = [body.subarray(0, 8192), body.subarray(8192, 16384), body.subarray(16384)]
    const contentSha256 = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
    const request = (key: string, length: number, more: Record<string, string> = {}, hash = contentSha256) =>
      sign(endpoint, {
        method: 'PUT',
        path: `/wire/${key}`,
        contentSha256: hash,
        headers: { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': String(body.length), 'content-length': String(length), ...more }
      })
    const framed = signedChunks(request('chunked', 0), chunks).length
    const signer = request('chunked', framed)
    const good = signedChunks(signer, chunks)
    t.equal((await rawRequest(endpoint, Buffer.concat([Buffer.from(signer.head), good]))).status, 200)
    t.ok(body.equals(await stored('chunked')))

    let refused = 0
    for (let offset = 0; offset < good.length; offset += 97) {
      const again = request('tampered', framed)
      const bad = signedChunks(again, chunks)
      bad[offset]! ^= 4
      const answer = await rawRequest(endpoint, Buffer.concat([Buffer.from(again.head), bad]))
      if (answer.status === 200) t.fail(`a changed byte at ${offset} was accepted`)
      refused += 1
    }
    t.comment(`${refused} tampered chunked bodies, 0 accepted`)
    t.notOk(store.object('wire', 'tampered').exists)

    const withTrailer = `${contentSha256}-TRAILER`
    const trailer = ['x-amz-checksum-crc32', crc32] as const
    const length = signedChunks(signer, chunks, trailer).length
    const trailed = request('trailed', length, { 'x-amz-trailer': trailer[0] }, withTrailer)
    t.equal((await rawRequest(endpoint, Buffer.concat([Buffer.from(trailed.head), signedChunks(trailed, chunks, trailer)]))).status, 200)
    t.ok(body.equals(await stored('trailed')))
    const lying = request('lying', length, { 'x-amz-trailer': trailer[0] }, withTrailer)
    t.equal(code(await rawRequest(endpoint, Buffer.concat([Buffer.from(lying.head), signedChunks(lying, chunks, [trailer[0], 'AAAAAA=='])]))), '400 BadDigest')
    t.notOk(store.object('wire', 'lying').exists)
  })

  await t.test('unsigned chunks, in every spelling seen of them, cut anywhere', async (t) => {
    const request = (framing: string, more: Record<string, string> = {}) =>
      signedRequest(endpoint, {
        method: 'PUT',
        path: '/wire/unsigned',
        contentSha256: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        body: framing,
        headers: { 'x-amz-decoded-content-length': '11', ...more }
      })
    const state = createChecksum('crc32')
    state.update(Buffer.from('hello world'))
    const value = state.digest().toString('base64')
    const trailer = { 'x-amz-trailer': 'x-amz-checksum-crc32' }
    const good: readonly (readonly [string, Record<string, string>])[] = [
      [`b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:${value}\r\n\r\n`, trailer],
      [`5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:${value}\n\r\n\r\n`, trailer],
      [`0B\r\nhello world\r\n0\r\nX-Amz-Checksum-Crc32: ${value}\r\n`, trailer],
      ['b\r\nhello world\r\n0\r\n\r\n', {}],
      ['b\r\nhello world\r\n0\r\n', {}]
    ]
    for (const [framing, headers] of good) {
      t.equal((await request(framing, headers)).status, 200, JSON.stringify(framing))
      t.equal((await stored('unsigned')).toString(), 'hello world')
    }
    const bad: readonly (readonly [string, Record<string, string>, string])[] = [
      ['b\r\nhello world\r\n0\r\n\r\n', trailer, '400 MalformedTrailerError'],
      [`b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:${value}\r\n\r\n`, {}, '400 MalformedTrailerError'],
      ['b\r\nhello world\r\n0\r\nx-amz-checksum-sha1:AAAA\r\n\r\n', trailer, '400 MalformedTrailerError'],
      ['b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n', trailer, '400 InvalidRequest'],
      ['b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n', trailer, '400 BadDigest'],
      ['a\r\nhello worl\r\n0\r\n\r\n', {}, '400 IncompleteBody'],
      ['c\r\nhello world!\r\n0\r\n\r\n', {}, '400 IncompleteBody'],
      ['b\r\nhello world\r\n', {}, '400 IncompleteBody'],
      ['b\r\nhello worldx\r\n0\r\n\r\n', {}, '400 IncompleteBody'],
      ['zz\r\nhello world\r\n0\r\n\r\n', {}, '400 IncompleteBody'],
      [`b;chunk-signature=${'0'.repeat(64)}\r\nhello world\r\n0\r\n\r\n`, {}, '400 IncompleteBody'],
      ['b\r\nhello world\r\n0\r\n\r\nmore\r\n', {}, '400 IncompleteBody']
    ]
    for (const [framing, headers, expected] of bad) t.equal(code(await request(framing, headers)), expected, JSON.stringify(framing))
    const [text, headers] = good[1]!
    for (let cut = 1; cut < text.length; cut += 1) {
      const { head } = sign(endpoint, {
        method: 'PUT',
        path: `/wire/cut-${cut}`,
        contentSha256: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        unsized: true,
        headers: { 'x-amz-decoded-content-length': '11', ...headers, 'transfer-encoding': 'chunked' }
      })
      const http = (piece: string) => `${piece.length.toString(16)}\r\n${piece}\r\n`
      const connection = await RawConnection.open(endpoint)
      await connection.send(head + http(text.slice(0, cut)))
      await connection.send(`${http(text.slice(cut))}0\r\n\r\n`)
      const { status } = await connection.response()
      connection.close()
      if (status !== 200 || (await stored(`cut-${cut}`)).toString() !== 'hello world') t.fail(`cut at ${cut}: ${status}`)
    }
    t.equal(
      code(await signedRequest(endpoint, { method: 'PUT', path: '/wire/x', contentSha256: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', body: good[3]![0] })),
      '411 MissingContentLength'
    )
  })

  await t.test('signatures', async (t) => {
    const put = { method: 'PUT', path: '/wire/signed', body: 'x' } as const
    t.equal((await signedRequest(endpoint, put)).status, 200)
    const { head } = sign(endpoint, put)
    const send = async (text: string) => code(await rawRequest(endpoint, `${text}x`))
    t.equal(await send(head.replace(/Signature=(.)/, (_, c: string) => `Signature=${c === '0' ? '1' : '0'}`)), '403 SignatureDoesNotMatch')
    t.equal(await send(head.replace('/wire/signed', '/wire/other')), '403 SignatureDoesNotMatch')
    t.equal(await send(head.replace('PUT ', 'POST ')), '403 SignatureDoesNotMatch')
    t.equal(await send(head.replace(credentials.accessKeyId, 'AKIDNOBODY')), '403 InvalidAccessKeyId')
    t.equal(await send(head.replace('\r\n\r\n', '\r\nx-amz-meta-a: 1\r\n\r\n')), '403 AccessDenied', 'an unsigned x-amz header')
    t.equal(await send(head.replace(/authorization: .*\r\n/, '')), '403 AccessDenied')
    t.equal(await send(head.replace('AWS4-HMAC-SHA256 Cred', 'AWS Cred')), '400 InvalidRequest')
    t.equal(code(await rawRequest(endpoint, `${head}y`)), '400 XAmzContentSHA256Mismatch')
    t.equal(code(await signedRequest(endpoint, { ...put, date: new Date(Date.now() - 16 * 60_000) })), '403 RequestTimeTooSkewed')
    t.equal(code(await signedRequest(endpoint, { ...put, contentSha256: 'nonsense' })), '400 InvalidArgument')
    t.equal((await stored('signed')).toString(), 'x')
    t.equal(code(await rawRequest(endpoint, 'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n')), '400 InvalidURI')
    t.equal(code(await rawRequest(endpoint, 'GET ftp://x/wire HTTP/1.1\r\nHost: x\r\n\r\n')), '400 InvalidURI')
    t.equal(code(await rawRequest(endpoint, 'GET http://x/wire HTTP/1.1\r\nHost: x\r\n\r\n')), '403 AccessDenied')
  })

  await t.test('Expect: 100-continue', async (t) => {
    const { head } = sign(endpoint, { method: 'PUT', path: '/wire/expected', body: 'hello', headers: { expect: '100-continue' } })
    const connection = await RawConnection.open(endpoint)
    await connection.send(head)
    t.equal((await connection.response()).status, 100)
    await connection.send('hello')
    t.equal((await connection.response()).status, 200)
    const next = sign(endpoint, { method: 'GET', path: '/wire/expected' })
    await connection.send(next.head)
    t.equal((await connection.response()).body.toString(), 'hello', 'the connection goes on')

    for (
      const [name, text] of Object.entries({
        'a wrong signature': head.replace('/wire/expected', '/wire/forged'),
        'no such bucket': sign(endpoint, { method: 'PUT', path: '/absent/expected', body: 'hello', headers: { expect: '100-continue' } }).head,
        'a condition that fails':
          sign(endpoint, { method: 'PUT', path: '/wire/expected', body: 'hello', headers: { 'expect': '100-continue', 'if-none-match': '*' } }).head
      })
    ) {
      const refused = await RawConnection.open(endpoint)
      await refused.send(text)
      const answer = await refused.response()
      t.ok(answer.status >= 400, `${name}: ${answer.status} and no 100`)
      t.equal(answer.headers['connection'], 'close')
      t.equal((await refused.rest()).end, 'fin')
    }
    const odd = sign(endpoint, { method: 'PUT', path: '/wire/odd', body: 'hello', headers: { expect: 'wonders' } })
    t.equal((await rawRequest(endpoint, `${odd.head}hello`)).status, 200, 'other expectations are ignored')
    connection.close()
  })

  await t.test('a client that goes away leaves nothing', async (t) => {
    for (const way of ['close', 'reset', 'finish'] as const) {
      for (const sent of [0, 1, body.length - 1]) {
        const { head } = sign(endpoint, { method: 'PUT', path: '/wire/aborted', body })
        const connection = await RawConnection.open(endpoint)
        await connection.send(Buffer.concat([Buffer.from(head), body.subarray(0, sent)]))
        connection[way]()
        await connection.rest().catch(() => undefined)
        connection.close()
      }
    }
    t.equal((await signedRequest(endpoint, { method: 'GET', path: '/wire' })).status, 200)
    t.notOk(store.object('wire', 'aborted').exists)
  })

  await t.test('lengths and keep-alive', async (t) => {
    const unsized = { method: 'PUT', path: '/wire/length', unsized: true } as const
    t.equal(code(await signedRequest(endpoint, unsized)), '411 MissingContentLength')
    const chunked = sign(endpoint, { ...unsized, headers: { 'transfer-encoding': 'chunked' }, contentSha256: 'UNSIGNED-PAYLOAD' })
    t.equal(code(await rawRequest(endpoint, `${chunked.head}1\r\nx\r\n0\r\n\r\n`)), '411 MissingContentLength')
    t.equal(
      code(
        await signedRequest(endpoint, {
          method: 'PUT',
          path: '/wire/length',
          headers: { 'content-length': String(5 * 1024 ** 3 + 1) },
          contentSha256: 'UNSIGNED-PAYLOAD'
        })
      ),
      '400 EntityTooLarge'
    )

    const connection = await RawConnection.open(endpoint)
    for (let i = 0; i < 3; i += 1) {
      const bad = sign(endpoint, { method: 'PUT', path: '/wire/digest', body, headers: { 'content-md5': createHash('md5').digest('base64') } })
      await connection.send(Buffer.concat([Buffer.from(bad.head), body]))
      t.equal(code(await connection.response()), '400 BadDigest')
      const missing = sign(endpoint, { method: 'HEAD', path: '/wire/digest' })
      await connection.send(missing.head)
      const answer = await connection.response({ bodyless: true })
      t.equal(answer.status, 404)
      t.match(answer.headers['x-amz-request-id'], /^[0-9A-F]{16}$/)
    }
    connection.close()
    const error = await signedRequest(endpoint, { method: 'GET', path: '/wire/absent%01' })
    t.match(error.body.toString(), `<RequestId>${error.headers['x-amz-request-id'] ?? ''}</RequestId>`)
    t.match(error.body.toString(), '<Key>absent&#x1;</Key>')
  })
})
