import t from 'tap'
import fc from 'fast-check'
import { checksumCodes } from '../../src/envelope/attributes.ts'
import {
  checksumAlgorithmNamed,
  checksumAlgorithms,
  combineCrc,
  compositeChecksum,
  createChecksum,
  decodeBase64,
  isCombinable,
  parseChecksum,
  type ChecksumAlgorithm
} from '../../src/http/checksums.ts'

const algorithms = Object.keys(checksumAlgorithms) as ChecksumAlgorithm[]
const combinable = ['crc32', 'crc32c', 'crc64nvme'] as const

function checksum(algorithm: ChecksumAlgorithm, ...chunks: readonly Buffer[]): Buffer {
  const running = createChecksum(algorithm)
  for (const chunk of chunks) running.update(chunk)
  return running.digest()
}

await t.test('the check values of the catalogues', async (t) => {
  const nine = Buffer.from('123456789')
  t.equal(checksum('crc32', nine).toString('hex'), 'cbf43926')
  t.equal(checksum('crc32c', nine).toString('hex'), 'e3069283')
  t.equal(checksum('crc64nvme', nine).toString('hex'), 'ae8b14860a799888')
  t.equal(checksum('sha1', nine).toString('hex'), 'f7c3bc1d808e04732adf679965ccc34ca7ae3441')
  t.equal(checksum('sha256', nine).toString('hex'), '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225')
  t.equal(checksum('md5', nine).toString('hex'), '25f9e794323b453885f5181f1b624d0b')
  t.match(checksum('sha512', nine).toString('hex'), /^d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a/)
  // xxHash: the test vectors of its reference implementation for nothing, and xxhsum for the rest.
  t.equal(checksum('xxhash64').toString('hex'), 'ef46db3751d8e999')
  t.equal(checksum('xxhash3').toString('hex'), '2d06800538d394c2')
  t.equal(checksum('xxhash128').toString('hex'), '99aa06d3014798d86001c324468d497f')
  t.equal(checksum('xxhash64', Buffer.from('xxhash')).toString('hex'), '32dd38952c4bc720')
  t.equal(checksum('crc64nvme', Buffer.alloc(4096)).toString('hex'), '6482d367eb22b64e', '4 KiB of zeros, NVMe specification')
  t.equal(checksum('crc64nvme', Buffer.alloc(4096, 0xff)).toString('hex'), 'c0ddba7302eca3ac', '4 KiB of ones, NVMe specification')
})

await t.test('every algorithm gives a digest of its declared size, also of no bytes', async (t) => {
  for (const algorithm of algorithms) t.equal(checksum(algorithm).length, checksumAlgorithms[algorithm].bytes, algorithm)
  t.equal(checksum('crc32').toString('base64'), 'AAAAAA==')
  t.equal(checksum('crc64nvme').toString('hex'), '0000000000000000')
})

await t.test('three parts of 5 MiB, as the S3 conformance suite has them', async (t) => {
  const parts = ['A', 'B', 'C'].map((letter) => Buffer.alloc(5 * 1024 * 1024, letter))
  const combined = combinable.map((algorithm) =>
    parts.map((part) => checksum(algorithm, part))
      .reduce((all, part) => combineCrc(algorithm, all, part, 5 * 1024 * 1024)).toString('base64')
  )
  t.same(combined, ['WgDhBQ==', 'xU+Krw==', 'i+6LR0y3eFo='])
  t.equal(compositeChecksum('sha256', parts.map((part) => checksum('sha256', part))).toString('base64'), 'uWBwpe1dxI4Vw8Gf0X9ynOdw/SS6VBzfWm9giiv1sf4=')
})

await t.test('the split of the input does not matter, nor does alignment', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat(200), { maxLength: 6 }), fc.nat(9), (bytes, cuts, offset) => {
      const data = Buffer.alloc(bytes.length + offset)
      data.set(bytes, offset)
      const view = data.subarray(offset)
      const at = [0, ...cuts.map((cut) => Math.min(cut, view.length)).sort((a, b) => a - b), view.length]
      const pieces = at.slice(1).map((end, i) => view.subarray(at[i], end))
      return algorithms.every((algorithm) => checksum(algorithm, ...pieces).equals(checksum(algorithm, Buffer.from(bytes))))
    }),
    { numRuns: 500 }
  )
})

await t.test('checksums that run at the same time do not disturb each other', async () => {
  const step = fc.tuple(fc.nat(3), fc.uint8Array({ maxLength: 700 }))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) =>
      algorithms.every((algorithm) => {
        const running = Array.from({ length: 4 }, () => createChecksum(algorithm))
        for (const [which, bytes] of steps) running[which]!.update(Buffer.from(bytes))
        return running.every((one, which) =>
          one.digest().equals(checksum(algorithm, Buffer.concat(steps.filter(([at]) => at === which).map(([, bytes]) => bytes))))
        )
      })),
    { numRuns: 200 }
  )
})

await t.test('combining equals computing over the concatenation', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 3000 }), (a, b) =>
      combinable.every((algorithm) => {
        const [first, second] = [Buffer.from(a), Buffer.from(b)]
        return combineCrc(algorithm, checksum(algorithm, first), checksum(algorithm, second), second.length)
          .equals(checksum(algorithm, first, second))
      })),
    { numRuns: 1000 }
  )
})

await t.test('combining is associative for lengths no test can compute over', async () => {
  // Two of them are a length too, which is exact below 2^53.
  const length = fc.integer({ min: 0, max: 2 ** 52 - 1 })
  fc.assert(
    fc.property(fc.nat(2), fc.uint8Array({ minLength: 24, maxLength: 24 }), length, length, (which, bytes, lengthB, lengthC) => {
      const algorithm = combinable[which]!
      const size = checksumAlgorithms[algorithm].bytes
      const [a, b, c] = [0, 8, 16].map((at) => Buffer.from(bytes.subarray(at, at + size))) as [Buffer, Buffer, Buffer]
      const left = combineCrc(algorithm, combineCrc(algorithm, a, b, lengthB), c, lengthC)
      const right = combineCrc(algorithm, a, combineCrc(algorithm, b, c, lengthC), lengthB + lengthC)
      return left.equals(right)
    }),
    { numRuns: 1000 }
  )
})

await t.test('combining refuses what cannot be right', async (t) => {
  t.throws(() => combineCrc('crc32', Buffer.alloc(8), Buffer.alloc(4), 1), RangeError)
  t.throws(() => combineCrc('crc64nvme', Buffer.alloc(8), Buffer.alloc(4), 1), RangeError)
  for (const length of [-1, 0.5, NaN, 2 ** 53]) t.throws(() => combineCrc('crc32', Buffer.alloc(4), Buffer.alloc(4), length), RangeError)
})

await t.test('a checksum has one spelling', async (t) => {
  t.same(parseChecksum('crc32', 'AAAAAA=='), Buffer.alloc(4))
  for (const text of ['', 'AAAAAA', 'AAAAAA=', 'AAAAAA== ', ' AAAAAA==', 'AAAAAB==', 'AAAA', 'AAAAAAAA', 'bad', 'AAAA_A==', 'AAAAAA==-3']) {
    t.equal(parseChecksum('crc32', text), null, JSON.stringify(text))
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
    const text = Buffer.from(bytes).toString('base64')
    return decodeBase64(text, bytes.length)?.equals(bytes) === true && decodeBase64(text, bytes.length + 1) === null
  }))
})

await t.test('names of algorithms', async (t) => {
  t.equal(checksumAlgorithmNamed('CRC64NVME'), 'crc64nvme')
  t.equal(algorithms.length, 10, 'all of AWS')
  t.same(algorithms.filter((name) => checksumAlgorithms[name].fullObject !== isCombinable(name)), [], 'only what can be combined is FULL_OBJECT')
  t.same(
    Object.fromEntries(Object.entries(checksumCodes).map(([name, { bytes }]) => [name, bytes])),
    Object.fromEntries(algorithms.map((name) => [name, checksumAlgorithms[name].bytes])),
    'the envelope has a code for each'
  )
  for (const name of ['', 'blake3', 'xxhash32', 'sha-256', '__proto__', 'constructor', 'toString']) t.equal(checksumAlgorithmNamed(name), undefined, name)
})
