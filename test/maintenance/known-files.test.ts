import { createHash } from 'node:crypto'
import t from 'tap'
import { recognise } from '../../src/maintenance/known-files.ts'

const of = (hex: string) => recognise('k', Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const filler = (bytes: number) => '5c'.repeat(bytes)

await t.test('messages of GnuPG 2.2 by their first bytes', async (t) => {
  const messages = {
    'RSA, 2048 bits': `85010c 03 0fa60605bcf20a81 01 0800${filler(256)}d2ec01${filler(200)}`,
    'RSA, 2048 bits, one bit less': `85010c 03 0fa60605bcf20a81 01 07fc${filler(256)}d2ec01${filler(200)}`,
    'RSA, 4096 bits: its end is not seen': `85020c 03 18e031f4394d3114 01 0fff${filler(498)}`,
    'curve 25519': `845e 03 379cf90189c4c7a8 12 0107${filler(82)}d2ec01${filler(200)}`,
    'a hidden recipient': `845e 03 0000000000000000 12 0107${filler(82)}d2ec01${filler(200)}`,
    'two recipients': `85010c 03 0fa60605bcf20a81 01 07fc${filler(256)}845e 03 379cf90189c4c7a8 12 0107${filler(82)}d2ec01${filler(10)}`,
    'a passphrase': `8c0d 04 09 03 02 ac3f5f672b357bca ff d2ec01${filler(200)}`,
    'a passphrase without salt': `8c04 04 09 00 02 d2ec01${filler(200)}`,
    'a passphrase, the older packet': `8c0d 04 02 03 02 1379e7e846c27e88 ff c9ec${filler(200)}`,
    'a recipient and a passphrase': `845e 03 379cf90189c4c7a8 12 0107${filler(82)}8c2e 04 09 03 02${filler(42)}d2ec01${filler(20)}`,
    'RFC 9580: X25519, version 6': `c15e 06 15 04${filler(20)} 19${filler(70)}d2ec02${filler(200)}`
  }
  for (const [label, hex] of Object.entries(messages)) t.match(of(hex), { state: 'encrypted-by-tool', detail: 'OpenPGP' }, label)
})

await t.test('what only begins like one is plaintext', async (t) => {
  const others = {
    'nothing behind the session key': `8c0d 04 09 03 02 ac3f5f672b357bca ff 00ec01${filler(200)}`,
    'encrypted data of a version that does not exist': `8c0d 04 09 03 02 ac3f5f672b357bca ff d2ec07${filler(200)}`,
    'an algorithm that does not encrypt': `845e 03 379cf90189c4c7a8 16 0107${filler(82)}d2ec01${filler(200)}`,
    'a number of another length': `85020c 03 18e031f4394d3114 01 0eff${filler(498)}`,
    'a signature': `8901 04 00 01${filler(200)}`,
    'three bytes': '8c0d04',
    'nothing': ''
  }
  for (const [label, hex] of Object.entries(others)) t.equal(of(hex), null, label)
})

await t.test('random bytes are plaintext: what is taken for encrypted stays as it is', async (t) => {
  // The same in every run.
  let taken = 0
  for (let i = 0; i < 200_000; i += 1) {
    const head = createHash('sha512').update(String(i)).digest()
    // One in sixteen begins as the messages above do.
    if (i % 16 === 0) head[0] = [0x84, 0x85, 0x8c, 0xc1, 0xc3][i / 16 % 5]!
    if (recognise('k', head) !== null) taken += 1
  }
  t.equal(taken, 0)
})
