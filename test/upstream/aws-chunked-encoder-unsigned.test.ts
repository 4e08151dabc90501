import fc from 'fast-check'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { checksumAlgorithms, createChecksum, type ChecksumAlgorithm } from '../../src/http/checksums.ts'
import { ChecksumTrailer, UnsignedChunks, unsignedChunksLength } from '../../src/upstream/aws-chunked-encoder.ts'

const MiB = 1024 * 1024

function frame(chunks: readonly Buffer[], length: number, algorithm: ChecksumAlgorithm = 'crc32'): Buffer {
  const stage = new UnsignedChunks(new ChecksumTrailer(algorithm), length)
  return Buffer.concat([...chunks.flatMap((chunk) => stage.update(chunk)), ...stage.final()])
}

function checksumOf(data: Buffer, algorithm: ChecksumAlgorithm): string {
  const checksum = createChecksum(algorithm)
  checksum.update(data)
  return checksum.digest().toString('base64')
}

/** Takes the frames off. @returns the data and the trailer; null when anything is wrong */
function unframe(wire: Buffer): { data: Buffer; trailer: string } | null {
  const data: Buffer[] = []
  for (let at = 0;;) {
    const end = wire.indexOf('\r\n', at)
    const size = parseInt(wire.toString('latin1', at, end), 16)
    at = end + 2
    if (size === 0) {
      const trailer = /^([^\r\n]+)\r\n\r\n$/.exec(wire.toString('latin1', at))?.[1]
      return trailer === undefined ? null : { data: Buffer.concat(data), trailer }
    }
    data.push(wire.subarray(at, at + size))
    at += size + 2
    if (Number.isNaN(size) || wire.toString('latin1', at - 2, at) !== '\r\n') return null
    if (size < 8192 && !wire.toString('latin1', at, at + 3).startsWith('0\r\n')) return null
  }
}

await t.test('a small body, byte for byte', async (t) => {
  // The check value of CRC-32 is cbf43926.
  t.equal(frame([Buffer.from('12345'), Buffer.from('6789')], 9).toString('latin1'), '9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n')
  t.equal(frame([], 0).toString('latin1'), '0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n')
})

await t.test('length law for every boundary, every algorithm, however the bytes arrive', async (t) => {
  const body = Buffer.alloc(2 * MiB + 2, 'abc')
  for (const size of [0, 1, 65536, MiB - 1, MiB, MiB + 1, 2 * MiB, 2 * MiB + 1]) {
    const data = body.subarray(0, size)
    for (const step of [60_000, 65536, 3 * MiB]) {
      const chunks: Buffer[] = []
      for (let at = 0; at < size; at += step) chunks.push(data.subarray(at, at + step))
      const wire = frame(chunks, size)
      const read = unframe(wire)
      t.equal(wire.length, unsignedChunksLength(size, new ChecksumTrailer('crc32')), `${size} by ${step}`)
      t.ok(read?.data.equals(data))
      t.equal(read?.trailer, `x-amz-checksum-crc32:${checksumOf(data, 'crc32')}`)
    }
  }
  for (const algorithm of Object.keys(checksumAlgorithms) as ChecksumAlgorithm[]) {
    const data = Buffer.from('some data')
    const wire = frame([data], data.length, algorithm)
    t.equal(wire.length, unsignedChunksLength(data.length, new ChecksumTrailer(algorithm)), algorithm)
    t.equal(unframe(wire)?.trailer, `x-amz-checksum-${algorithm}:${checksumOf(data, algorithm)}`)
  }
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 400_000 }), { maxLength: 8 }), (lengths) => {
      const chunks = lengths.map((length, i) => Buffer.alloc(length, i + 1))
      const data = Buffer.concat(chunks)
      const wire = frame(chunks, data.length)
      return wire.length === unsignedChunksLength(data.length, new ChecksumTrailer('crc32')) && unframe(wire)?.data.equals(data) === true
    }),
    { numRuns: 20 }
  )
})

await t.test('a body of another length never gets its end', async (t) => {
  for (const [declared, given] of [[10, 9], [10, 11], [0, 1], [MiB, MiB - 1], [MiB, MiB + 1]] as const) {
    t.throws(() => frame([Buffer.alloc(given)], declared), S3Error, `${given} of ${declared}`)
  }
  const stage = new UnsignedChunks(new ChecksumTrailer('crc32'), 9)
  t.notMatch(Buffer.concat([...stage.update(Buffer.from('123456789'))]).toString('latin1'), /0\r\n|x-amz/, 'nor does one that has not ended')
})
