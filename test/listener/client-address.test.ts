import t from 'tap'
import fc from 'fast-check'
import { TrustedProxies, type ClientAddressSource } from '../../src/listener/client-address.ts'
import { roomyLimits, startListener, text, WireClient } from '../support/listener.ts'

const peer = '10.0.0.1'
const trusted = (from: ClientAddressSource) => new TrustedProxies(['10.0.0.0/8', '2001:db8:ffff::/48'], from)
const client = (from: ClientAddressSource, lines: readonly string[], name: string = from, of = peer) =>
  trusted(from).client(lines.flatMap((line) => ['Host', 'h', name.toUpperCase(), line]), of)

await t.test('X-Forwarded-For: the last address that is no trusted front end; anything malformed up to there gives the peer', (t) => {
  for (
    const [lines, wanted] of [
      [['1.2.3.4'], '1.2.3.4'],
      [['6.6.6.6, 1.2.3.4'], '1.2.3.4'],
      [['6.6.6.6, 1.2.3.4, 10.9.9.9'], '1.2.3.4'],
      [['6.6.6.6', '1.2.3.4', ' 10.9.9.9 ,10.2.2.2'], '1.2.3.4'],
      [['6.6.6.6, 1.2.3.4,, ,10.9.9.9,'], '1.2.3.4'],
      [['10.7.7.7, 10.8.8.8'], '10.7.7.7'],
      [['1.2.3.4:5678'], '1.2.3.4'],
      [['[2001:DB8::7]:443, [2001:db8:ffff::1]'], '2001:db8::7'],
      [['2001:db8::7'], '2001:db8::7'],
      [['::ffff:1.2.3.4'], '1.2.3.4'],
      [['::FFFF:10.1.1.1, 10.2.2.2'], '10.1.1.1'],
      [['evil"\u0000<script>, 1.2.3.4'], '1.2.3.4'],
      [['1.2.3.4, unknown'], peer],
      [['1.2.3.4, 1.2.3'], peer],
      [['1.2.3.4, 1.2.3.4.5'], peer],
      [['1.2.3.4, 01.2.3.4'], peer],
      [['1.2.3.4, [1.2.3.4]'], peer],
      [['1.2.3.4, fe80::1%eth0'], peer],
      [['1.2.3.4 5.6.7.8'], peer],
      [['1.2.3.4:'], peer],
      [['"1.2.3.4"'], peer],
      [['for=1.2.3.4'], peer],
      [[''], peer],
      [[], peer]
    ] as const
  ) t.equal(client('x-forwarded-for', lines), wanted, lines.join(' | '))
  t.end()
})

await t.test('Forwarded: the same by its parameter "for"', (t) => {
  for (
    const [lines, wanted] of [
      [['for=1.2.3.4'], '1.2.3.4'],
      [['For="1.2.3.4:80";proto=https;by=10.1.1.1, for=10.1.1.1'], '1.2.3.4'],
      [['for="[2001:db8::7]:4711";host="h"'], '2001:db8::7'],
      [['for=6.6.6.6', 'proto=http; for=1.2.3.4'], '1.2.3.4'],
      // Quotes that a client has opened swallow nothing that the front end has appended.
      [['for="6.6.6.6, for=1.2.3.4'], '1.2.3.4'],
      [['x="a\\", for=1.2.3.4'], '1.2.3.4'],
      [['for=1.2.3.4, for=_hidden'], peer],
      [['for=1.2.3.4, for=unknown'], peer],
      [['for=1.2.3.4, proto=https'], peer],
      [['for=1.2.3.4;for=5.6.7.8'], peer],
      [['for=1.2.3.4, for="'], peer],
      [['for=1.2.3.4, for="1.2.3.4'], peer],
      [['for=1.2.3.4, ;'], peer],
      [['for=1.2.3.4, =1.2.3.4'], peer],
      [['for=1.2.3.4;x="a;b"'], peer],
      [['for=[2001:db8::7]'], peer],
      [['1.2.3.4'], peer]
    ] as const
  ) t.equal(client('forwarded', lines), wanted, lines.join(' | '))
  t.end()
})

await t.test('only the header that is configured, and only from a trusted front end', (t) => {
  for (const from of ['peer', 'proxy-protocol', 'forwarded'] as const) t.equal(client(from, ['1.2.3.4'], 'x-forwarded-for'), peer, from)
  t.equal(client('x-forwarded-for', ['for=1.2.3.4'], 'forwarded'), peer)
  t.equal(client('x-forwarded-for', ['1.2.3.4'], 'x-forwarded-for', '9.9.9.9'), '9.9.9.9')
  t.equal(client('x-forwarded-for', ['1.2.3.4'], 'x-forwarded-for', ''), '', 'of a connection that has gone')
  t.end()
})

await t.test('whatever stands in front of it, what the front end appends decides', (t) => {
  for (const [from, appended] of [['x-forwarded-for', '1.2.3.4'], ['forwarded', 'for=1.2.3.4;proto=https']] as const) {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.boolean(), (junk, own) => client(from, own ? [junk, appended] : [`${junk}, ${appended}`]) === '1.2.3.4')
    )
  }
  t.end()
})

await t.test('through a listener', async (t) => {
  const started = await startListener(async (request) => text(request.remoteAddress), {
    trustedProxies: ['127.0.0.1'],
    clientAddress: 'x-forwarded-for',
    limits: roomyLimits
  })
  const wire = await WireClient.open(started.port)
  for (const [header, wanted] of [['1.2.3.4, 127.0.0.1', '1.2.3.4'], ['nonsense', '127.0.0.1'], ['5.6.7.8', '5.6.7.8']] as const) {
    wire.write(`GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: ${header}\r\n\r\n`)
    t.equal((await wire.answer())?.body.toString(), wanted, header)
  }
  await started.listener.stop(0)
})
