import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { parseProxyHeader } from '../../src/listener/proxy-protocol.ts'
import type { ListenerOptions } from '../../src/listener/listener.ts'
import { roomyLimits, startListener, text, WireClient } from '../support/listener.ts'

const pem = (name: string) => readFileSync(join(import.meta.dirname, '../support/tls', name))
const material = { cert: pem('localhost-cert.pem'), key: pem('localhost-key.pem'), clientCa: null }
const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const addresses4 = Buffer.from('01020304050607080001ffff', 'hex')
const addresses6 = Buffer.concat([Buffer.from('20010db8000000000000000000000007', 'hex'), Buffer.alloc(16), Buffer.from('00010002', 'hex')])
const tlvs = Buffer.from('0300040102030405000161', 'hex')

function v2(command: number, family: number, rest: Buffer, length = rest.length): Buffer {
  return Buffer.concat([signature, Buffer.from([command, family, length >> 8, length & 255]), rest])
}

const good: readonly (readonly [name: string, header: Buffer, source: string | null])[] = [
  ['1, TCP4', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 65535\r\n'), '1.2.3.4'],
  ['1, TCP6', Buffer.from('PROXY TCP6 2001:db8::7 ::1 0 443\r\n'), '2001:db8::7'],
  ['1, the longest', Buffer.from(`PROXY UNKNOWN ${'f'.repeat(91)}\r\n`), null],
  ['1, UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), null],
  ['2, TCP4', v2(0x21, 0x11, addresses4), '1.2.3.4'],
  ['2, TCP4 with TLVs', v2(0x21, 0x11, Buffer.concat([addresses4, tlvs])), '1.2.3.4'],
  ['2, TCP4 with 4 KiB', v2(0x21, 0x11, Buffer.concat([addresses4, Buffer.alloc(4084, 0xee)])), '1.2.3.4'],
  ['2, TCP6', v2(0x21, 0x21, addresses6), '2001:db8:0:0:0:0:0:7'],
  ['2, LOCAL', v2(0x20, 0x00, Buffer.alloc(0)), null],
  ['2, LOCAL with what is to be ignored', v2(0x20, 0x99, tlvs), null],
  ['2, UNSPEC', v2(0x21, 0x00, Buffer.alloc(0)), null],
  ['2, a local socket', v2(0x21, 0x31, Buffer.alloc(216, 'x')), null]
]

const bad: readonly (readonly [name: string, header: Buffer])[] = [
  ['a request', Buffer.from('GET / HTTP/1.1\r\n')],
  ['TLS', Buffer.from('160301020001000a', 'hex')],
  ['lower case', Buffer.from('proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n')],
  ['LF alone', Buffer.from(`PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n${' '.repeat(100)}`)],
  ['two blanks', Buffer.from('PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n')],
  ['a port too many', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n')],
  ['a port too few', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n')],
  ['a port too large', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n')],
  ['a port with a zero before it', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 02\r\n')],
  ['an address of the other family', Buffer.from('PROXY TCP4 ::1 ::1 1 2\r\n')],
  ['an address with a zero before it', Buffer.from('PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n')],
  ['an address with a zone', Buffer.from('PROXY TCP6 fe80::1%lo ::1 1 2\r\n')],
  ['UDP', Buffer.from('PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n')],
  ['one byte too long', Buffer.from(`PROXY UNKNOWN ${'f'.repeat(92)}\r\n`)],
  ['no end', Buffer.from('PROXY TCP4 '.padEnd(107, '1'))],
  ['a NUL', Buffer.from('PROXY UNKNOWN \0\r\n')],
  ['2, another version', v2(0x31, 0x11, addresses4)],
  ['2, another command', v2(0x22, 0x11, addresses4)],
  ['2, a datagram', v2(0x21, 0x12, addresses4)],
  ['2, too few bytes', v2(0x21, 0x11, addresses4.subarray(0, 11))],
  ['2, too few bytes for IPv6', v2(0x21, 0x21, addresses6.subarray(0, 35))],
  ['2, too many bytes', v2(0x21, 0x11, addresses4, 4097)],
  ['2, 65,535 bytes', v2(0x21, 0x11, addresses4, 65_535)]
]

await t.test('every good header, whole and cut everywhere; every bad one', (t) => {
  for (const [name, header, source] of good) {
    t.same(parseProxyHeader(header), { length: header.length, source }, name)
    t.same(parseProxyHeader(Buffer.concat([header, Buffer.from('GET /')])), { length: header.length, source }, `${name}, with a request behind it`)
    const early = Array.from({ length: header.length }, (_, cut) => cut).filter((cut) => parseProxyHeader(header.subarray(0, cut)) !== 'incomplete')
    t.same(early, [], `${name}, cut`)
  }
  for (const [name, header] of bad) t.equal(parseProxyHeader(header), 'malformed', name)
  t.end()
})

await t.test('every value of every byte of a header, and of every two of what decides in version 2', (t) => {
  let tried = 0
  const check = (header: Buffer, wanted: (parsed: ReturnType<typeof parseProxyHeader>) => boolean) => {
    tried += 1
    const parsed = parseProxyHeader(header)
    if (!wanted(parsed)) t.fail(`${header.toString('hex')}: ${JSON.stringify(parsed)}`)
  }
  for (const [, header] of good) {
    if (header.length > 300) continue
    for (let at = 0; at < header.length; at += 1) {
      for (let value = 0; value < 256; value += 1) {
        const changed = Buffer.from(header)
        changed[at] = value
        check(
          changed,
          (parsed) => typeof parsed === 'string' || (parsed.length <= changed.length && (parsed.source === null || /^[0-9a-fA-F.:]{2,39}$/.test(parsed.source)))
        )
      }
    }
  }
  // Command and family, and both bytes of the length: the outcome by the text of the protocol.
  const rest = Buffer.alloc(300)
  const least: Record<number, number> = { 0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216 }
  for (let a = 0; a < 256; a += 1) {
    for (let b = 0; b < 256; b += 1) {
      check(v2(a, b, rest), (parsed) => (a === 0x20 || (a === 0x21 && least[b] !== undefined)) === (typeof parsed === 'object'))
      const length = a * 256 + b
      const header = v2(0x21, 0x11, rest, length)
      const wanted = length < 12 || length > 4096 ? 'malformed' : length > 300 ? 'incomplete' : 'object'
      check(header, (parsed) => (typeof parsed === 'string' ? parsed : typeof parsed) === wanted)
    }
  }
  t.comment(`${tried} headers`)
  t.ok(tried > 250_000)
  t.end()
})

const request = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'
const open = async (t: Test, change: Partial<ListenerOptions> = {}) => {
  const limits: string[] = []
  const records: string[] = []
  const started = await startListener(async (request) => text(request.remoteAddress), {
    trustedProxies: ['127.0.0.1'],
    clientAddress: 'proxy-protocol',
    limits: roomyLimits,
    limited: (limit) => limits.push(limit),
    observe: ({ sourceAddress }) => records.push(sourceAddress),
    ...change
  })
  t.teardown(() => started.listener.stop(0))
  return { ...started, limits, records }
}

await t.test('HTTP: every good header, at once and byte by byte; a second one is no request', async (t) => {
  const { port, records, limits } = await open(t)
  for (const [name, header, source] of good) {
    const wire = await WireClient.open(port)
    wire.write(Buffer.concat([header, Buffer.from(request)]))
    const wanted = source ?? '127.0.0.1'
    t.equal((await wire.answer())?.body.toString(), wanted, name)
    wire.write(request)
    t.equal((await wire.answer())?.body.toString(), wanted, `${name}, the next request`)
    wire.write(`${header.toString('latin1')}${request}`)
    t.equal((await wire.answer())?.status, 400, `${name}, a header in the middle`)
    await wire.closed()
    t.equal(records.at(-1), wanted, 'the access log has it')
  }
  const slow = await WireClient.open(port)
  slow.socket.setNoDelay(true)
  for (const byte of Buffer.concat([good[5]![1], Buffer.from(request)])) {
    slow.socket.write(Buffer.from([byte]))
    await new Promise(setImmediate)
  }
  t.equal((await slow.answer())?.body.toString(), '1.2.3.4', 'byte by byte')
  slow.socket.destroy()
  t.same(limits, [])
})

await t.test('a bad, cut, late or missing header: closed without an answer, and counted', async (t) => {
  const { port, limits, listener } = await open(t, { limits: { ...roomyLimits, headersMs: 50 } })
  for (const [name, header] of bad) {
    const wire = await WireClient.open(port)
    wire.write(header)
    t.equal(await wire.answer(), null, name)
  }
  t.equal(limits.length, bad.length)
  const late = await WireClient.open(port)
  late.write(good[4]![1].subarray(0, 20))
  t.equal(await late.answer(), null, 'late')
  const cut = connect({ port, host: '127.0.0.1' })
  cut.end('PROXY ')
  cut.resume()
  await once(cut, 'close')
  t.same(limits, Array.from({ length: bad.length + 2 }, () => 'PROXY headers'))
  const probe = connect({ port, host: '127.0.0.1' })
  probe.end()
  probe.resume()
  await once(probe, 'close')
  t.equal(limits.length, bad.length + 2, 'a probe that leaves is no fault')
  t.equal(listener.counts().connections, 0, 'nothing is left open')
})

await t.test('from any other address the header is bytes of a request, and refused as such', async (t) => {
  const { port } = await open(t, { trustedProxies: ['10.0.0.0/8'] })
  for (const [name, header] of good) {
    const wire = await WireClient.open(port)
    wire.write(Buffer.concat([header, Buffer.from(request)]))
    t.equal((await wire.answer())?.status, 400, name)
  }
  const wire = await WireClient.open(port)
  wire.write(request)
  t.equal((await wire.answer())?.body.toString(), '127.0.0.1')
})

await t.test('TLS: the header stands before the handshake', async (t) => {
  const { port, limits } = await open(t, { tls: material })
  for (const [name, header, source] of good) {
    for (const together of [true, false]) {
      const plain = connect(port, '127.0.0.1')
      await once(plain, 'connect')
      if (together) plain.cork()
      plain.write(header)
      const socket = connectTls({ socket: plain, ca: material.cert, servername: 'localhost' })
      if (together) {
        process.nextTick(() => {
          plain.uncork()
        })
      }
      await once(socket, 'secureConnect')
      const wire = new WireClient(socket)
      wire.write(request)
      t.equal((await wire.answer())?.body.toString(), source ?? '127.0.0.1', `${name}${together ? ', with the hello' : ''}`)
      socket.destroy()
    }
  }
  const wire = await WireClient.open(port)
  wire.write(bad[1]![1])
  t.equal(await wire.answer(), null, 'a handshake without a header')
  t.same(limits, ['PROXY headers'])
})
