import { createHash, createHmac, createSecretKey } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { ChecksumTrailer, SignedChunks, signedChunksLength } from '../../src/upstream/aws-chunked-encoder.ts'
import { emptySha256 } from '../../src/http/checksums.ts'

const date = '20130524T000000Z'
const scope = '20130524/us-east-1/s3/aws4_request'
const seed = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9'
const key = ['20130524', 'us-east-1', 's3', 'aws4_request'].reduce<Buffer>(
  (k, text) => createHmac('sha256', k).update(text).digest(),
  Buffer.from('AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY')
)
const chunkScope = { date, scope, key: createSecretKey(key) }

function frame(chunks: readonly Buffer[], length: number): Buffer {
  const stage = new SignedChunks(chunkScope, seed, length, null)
  return Buffer.concat([...chunks.flatMap((chunk) => stage.update(chunk)), ...stage.final()])
}

/** Reads the frames back and checks every signature. @returns the data; null when anything is wrong */
function unframe(wire: Buffer): Buffer | null {
  const data: Buffer[] = []
  let before = seed
  for (let at = 0; at < wire.length;) {
    const end = wire.indexOf('\r\n', at)
    const head = /^([0-9a-f]+);chunk-signature=([0-9a-f]{64})$/.exec(wire.subarray(at, end).toString('latin1'))
    if (head === null) return null
    const size = parseInt(head[1]!, 16)
    const chunk = wire.subarray(end + 2, end + 2 + size)
    const digest = createHash('sha256').update(chunk).digest('hex')
    before = createHmac('sha256', key).update(['AWS4-HMAC-SHA256-PAYLOAD', date, scope, before, emptySha256, digest].join('\n')).digest('hex')
    if (before !== head[2] || wire.toString('latin1', end + 2 + size, end + 4 + size) !== '\r\n') return null
    at = end + 4 + size
    data.push(chunk)
    if (size === 0) return at === wire.length ? Buffer.concat(data) : null
    if (size < 8192 && !wire.toString('latin1', at, at + 2).startsWith('0;')) return null
  }
  return null
}

await t.test('the example of AWS, 65 KiB of "a"', async (t) => {
  const wire = frame([Buffer.alloc(66560, 'a')], 66560).toString('latin1')
  t.equal(wire.length, 66824)
  t.equal(signedChunksLength(66560, null), 66824)
  t.same([...wire.matchAll(/([0-9a-f]{1,5});chunk-signature=([0-9a-f]{64})/g)].map((m) => [m[1], m[2]]), [
    ['10000', 'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648'],
    ['400', '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497'],
    ['0', 'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9']
  ])
})

await t.test('the example of AWS with a trailer', async (t) => {
  const trailer = new ChecksumTrailer('crc32c')
  const data = Buffer.alloc(66560, 'a')
  const stage = new SignedChunks(chunkScope, '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e', data.length, trailer)
  const length = signedChunksLength(data.length, trailer)
  const wire = Buffer.concat([...stage.update(data), ...stage.final()]).toString('latin1')
  t.equal(wire.length, length)
  t.match(wire, /\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n/)
  t.ok(wire.endsWith(
    '\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n' +
      'x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n'
  ))
})

await t.test('length law and signatures for every boundary, however the bytes arrive', async (t) => {
  const sizes = [0, 1, 2, 65535, 65536, 65537, 131071, 131072, 131073, 200_000]
  for (const size of sizes) {
    const data = Buffer.alloc(size, 'x')
    for (const step of [1000, 65536, 70000, 1 << 20]) {
      const chunks: Buffer[] = []
      for (let at = 0; at < size; at += step) chunks.push(data.subarray(at, at + step))
      const wire = frame(chunks, size)
      t.equal(wire.length, signedChunksLength(size, null), `${size} by ${step}`)
      t.ok(unframe(wire)?.equals(data))
    }
  }
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 90_000 }), { maxLength: 8 }), (lengths) => {
      const chunks = lengths.map((length, i) => Buffer.alloc(length, i + 1))
      const data = Buffer.concat(chunks)
      const wire = frame(chunks, data.length)
      return wire.length === signedChunksLength(data.length, null) && unframe(wire)?.equals(data) === true
    }),
    { numRuns: 60 }
  )
})

await t.test('a body of another length never gets its end', async (t) => {
  for (const [declared, given] of [[10, 9], [10, 11], [0, 1], [65536, 65535], [65536, 65537]] as const) {
    t.throws(() => frame([Buffer.alloc(given)], declared), S3Error, `${given} of ${declared}`)
  }
})
