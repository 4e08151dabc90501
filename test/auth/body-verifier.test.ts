import { createHash, createHmac } from 'node:crypto'
import t from 'tap'
import fc from 'fast-check'
import type { PayloadPromise } from '../../src/auth/types.ts'
import { BodyVerifier } from '../../src/auth/body-verifier.ts'
import { S3Error } from '../../src/errors.ts'
import { checksumAlgorithms, createChecksum, type ChecksumAlgorithm } from '../../src/http/checksums.ts'
import { ChunkSignatureChain, SigningSecret } from '../../src/sigv4/signing.ts'
import { day, emptyHash, secretAccessKey, signingKey, timestamp } from '../support/signing.ts'

const scope = `${day}/us-east-1/s3/aws4_request`
const seed = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9'
const key = signingKey(secretAccessKey, day, 'us-east-1')
const plain: PayloadPromise = { framing: 'plain', length: 0, sha256: null, chunkSigner: null, contentMd5: null, checksum: null, trailer: null }

function digest(algorithm: ChecksumAlgorithm, data: Buffer): Buffer {
  const checksum = createChecksum(algorithm)
  checksum.update(data)
  return checksum.digest()
}

type Framing = 'unsigned' | 'signed' | 'signed+trailer'

/** Encodes as the AWS documents say, signing with nothing of the code under test. `lineEnd` is minio-go's "\n\r\n" if asked. */
function encode(framing: Framing, chunks: readonly Buffer[], trailer: readonly [name: string, value: string] | null, lineEnd = '\r\n', last = '\r\n'): Buffer {
  let previous = seed
  const sign = (kind: string, ...more: readonly string[]): string => {
    previous = createHmac('sha256', key).update([`AWS4-HMAC-SHA256-${kind}`, timestamp, scope, previous, ...more].join('\n')).digest('hex')
    return previous
  }
  const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')
  const head = (data: Buffer): string =>
    data.length.toString(16) +
    (framing === 'unsigned' ? '' : `;chunk-signature=${sign('PAYLOAD', emptyHash, sha256(data))}`) + '\r\n'
  const parts: (string | Buffer)[] = []
  for (const chunk of chunks) if (chunk.length > 0) parts.push(head(chunk), chunk, '\r\n')
  parts.push(head(Buffer.alloc(0)))
  if (trailer !== null) parts.push(`${trailer[0]}:${trailer[1]}${lineEnd}`)
  if (framing === 'signed+trailer' && trailer !== null) {
    parts.push(`x-amz-trailer-signature:${sign('TRAILER', sha256(`${trailer[0].toLowerCase()}:${trailer[1]}\n`))}\r\n`)
  }
  parts.push(last)
  return Buffer.concat(parts.map((part) => Buffer.from(part as string, 'latin1')))
}

function promise(framing: Framing, length: number, trailer: ChecksumAlgorithm | null): PayloadPromise {
  const chain = new ChunkSignatureChain(new SigningSecret(secretAccessKey).signingKey(day, 'us-east-1'), timestamp, scope, seed)
  return { ...plain, framing: 'aws-chunked', length, chunkSigner: framing === 'unsigned' ? null : chain, trailer }
}

function read(promised: PayloadPromise, pieces: readonly Buffer[]): { readonly data: Buffer; readonly body: BodyVerifier } {
  const body = new BodyVerifier(promised, { computeMd5: true })
  const out: Buffer[] = []
  for (const piece of pieces) out.push(...body.update(piece))
  out.push(...body.final())
  return { data: Buffer.concat(out), body }
}

function failure(promised: PayloadPromise, raw: Buffer): string {
  try {
    read(promised, [raw])
    return 'accepted'
  } catch (error) {
    return error instanceof S3Error ? error.code : String(error)
  }
}

function split(raw: Buffer, cuts: readonly number[]): readonly Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (raw.length + 1)).sort((a, b) => a - b), raw.length]
  return at.slice(1).map((end, i) => raw.subarray(at[i], end))
}

const framings: readonly Framing[] = ['unsigned', 'signed', 'signed+trailer']
const algorithms = Object.keys(checksumAlgorithms) as ChecksumAlgorithm[]

await t.test('any chunks, any split, any framing: the plaintext comes out', async () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...framings),
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 5 }),
      fc.option(fc.constantFrom(...algorithms)),
      fc.array(fc.nat(2000), { maxLength: 8 }),
      fc.boolean(),
      fc.boolean(),
      (framing, parts, algorithm, cuts, goLineEnd, noLast) => {
        const chunks = parts.map((part) => Buffer.from(part))
        const data = Buffer.concat(chunks)
        const trailer = algorithm === null || framing === 'signed' ? null : algorithm
        const field = trailer === null ? null : [`x-amz-checksum-${trailer}`, digest(trailer, data).toString('base64')] as const
        const raw = encode(framing, chunks, field, goLineEnd ? '\n\r\n' : '\r\n', noLast ? '' : '\r\n')
        const bytewise = [...raw].map((byte) => Buffer.from([byte]))
        return [[raw], bytewise, split(raw, cuts)].every((pieces) => {
          const result = read(promise(framing, data.length, trailer), pieces)
          return result.data.equals(data) && result.body.digests.md5?.equals(createHash('md5').update(data).digest()) === true &&
            (result.body.digests.checksum?.value ?? null)?.toString('base64') === field?.[1]
        })
      }
    ),
    { numRuns: 600 }
  )
})

await t.test('every bit of every byte, and every truncation', async (t) => {
  let flips = 0
  let cuts = 0
  const wrong: string[] = []
  for (const framing of framings) {
    const chunks = [Buffer.from('hello '), Buffer.from('world'), Buffer.from('!')]
    const data = Buffer.concat(chunks)
    const trailer = framing === 'signed' ? null : 'crc32c'
    const raw = encode(framing, chunks, trailer === null ? null : ['x-amz-checksum-crc32c', digest('crc32c', data).toString('base64')])
    t.ok(read(promise(framing, data.length, trailer), [raw]).data.equals(data), framing)
    for (let at = 0; at < raw.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = Buffer.from(raw)
        flipped[at] = flipped[at]! ^ (1 << bit)
        flips += 1
        if (failure(promise(framing, data.length, trailer), flipped) !== 'accepted') continue
        // White space around a trailer and the case of its name say nothing. All else does: data, sizes and signatures above all.
        const says = (body: Buffer): string => body.toString('latin1').replace(/x-amz-\S+?:/gi, (name) => name.toLowerCase()).replace(/[\t\r\n]/g, '')
        if (says(flipped) !== says(raw)) wrong.push(`${framing}: bit ${bit} of byte ${at}`)
        t.ok(read(promise(framing, data.length, trailer), [flipped]).data.equals(data))
      }
    }
    for (let length = 0; length < raw.length; length += 1) {
      cuts += 1
      // The final CRLF is the one thing real clients leave out.
      if (length === raw.length - 2) continue
      if (failure(promise(framing, data.length, trailer), raw.subarray(0, length)) === 'accepted') wrong.push(`${framing}: cut to ${length}`)
    }
  }
  t.same(wrong, [])
  t.comment(`${flips.toLocaleString('en')} flipped bits and ${cuts} truncations of chunked bodies, 0 wrong bodies accepted`)
})

await t.test('malformed framing', async (t) => {
  const cases: readonly (readonly [raw: string, length: number, code: string])[] = [
    ['', 0, 'IncompleteBody'],
    ['5\r\nhello\r\n', 5, 'IncompleteBody'],
    ['5\r\nhello\r\n0', 5, 'IncompleteBody'],
    ['5\r\nhello\r\n0\r', 5, 'IncompleteBody'],
    ['5\r\nhello\r\n0\r\n', 5, 'accepted'],
    ['5\r\nhello\r\n0\r\n\r\n', 5, 'accepted'],
    ['5\r\nhello\r\n0\r\n\r\n\r\n', 5, 'IncompleteBody'],
    ['5\r\nhello\r\n0\r\n\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['05\r\nhello\r\n000\r\n\r\n', 5, 'accepted'],
    ['5\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['5\r\nhello\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['5\r\nhello0\r\n\r\n', 5, 'IncompleteBody'],
    ['5\r\nhell\r\n0\r\n\r\n', 4, 'IncompleteBody'],
    ['4\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['5\r\nhello\r\n0\r\n\r\n', 4, 'IncompleteBody'],
    ['5\r\nhello\r\n0\r\n\r\n', 6, 'IncompleteBody'],
    ['+5\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['-5\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['0x5\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    [' 5\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['5 \r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['5;a=b\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    [`5;chunk-signature=${seed}\r\nhello\r\n0\r\n\r\n`, 5, 'IncompleteBody'],
    ['\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['g\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['ffffffffffffffff\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['00000000000000005\r\nhello\r\n0\r\n\r\n', 5, 'IncompleteBody'],
    ['0'.repeat(5000), 5, 'IncompleteBody'],
    [`5\r\nhello\r\n0\r\n${'a'.repeat(5000)}`, 5, 'IncompleteBody'],
    ['5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n', 5, 'MalformedTrailerError'],
    ['5\r\nhello\r\n0\r\nno colon\r\n\r\n', 5, 'MalformedTrailerError'],
    ['5\r\nhello\r\n0\r\n: x\r\n\r\n', 5, 'MalformedTrailerError']
  ]
  for (const [raw, length, code] of cases) {
    t.equal(failure(promise('unsigned', length, null), Buffer.from(raw)), code, JSON.stringify(raw.slice(0, 60)))
  }
})

await t.test('trailers', async (t) => {
  const crc = digest('crc32', Buffer.from('hello')).toString('base64')
  const body = (trailer: string): Buffer => Buffer.from(`5\r\nhello\r\n0\r\n${trailer}\r\n`)
  const cases: readonly (readonly [trailer: string, code: string])[] = [
    [`x-amz-checksum-crc32:${crc}\r\n`, 'accepted'],
    [`X-Amz-Checksum-CRC32: ${crc} \r\n`, 'accepted'],
    [`x-amz-checksum-crc32:${crc}\n\r\n`, 'accepted'],
    ['', 'MalformedTrailerError'],
    [`x-amz-checksum-crc32c:${crc}\r\n`, 'MalformedTrailerError'],
    [`x-amz-checksum-crc32:${crc}\r\nx-amz-checksum-crc32:${crc}\r\n`, 'MalformedTrailerError'],
    [`x-amz-checksum-crc32:${crc}\r\nx-amz-meta-a:b\r\n`, 'MalformedTrailerError'],
    [`x-amz-checksum-crc32:${crc}\r\nx-amz-trailer-signature:${seed}\r\n`, 'MalformedTrailerError'],
    ['x-amz-checksum-crc32:AAAAAA==\r\n', 'BadDigest'],
    ['x-amz-checksum-crc32:\r\n', 'InvalidRequest'],
    ['x-amz-checksum-crc32:bad\r\n', 'InvalidRequest'],
    [`x-amz-checksum-crc32:${crc}=\r\n`, 'InvalidRequest'],
    ['a:b\r\n'.repeat(9), 'MalformedTrailerError']
  ]
  for (const [trailer, code] of cases) t.equal(failure(promise('unsigned', 5, 'crc32'), body(trailer)), code, JSON.stringify(trailer))
})

await t.test('a chunk out of the chain', async (t) => {
  const chunks = [Buffer.from('aaaa'), Buffer.from('bbbb'), Buffer.from('cccc')]
  const lines = encode('signed', chunks, null).toString('latin1').split('\r\n')
  const [a, b, c, end] = [lines.slice(0, 2), lines.slice(2, 4), lines.slice(4, 6), lines.slice(6)] as [string[], string[], string[], string[]]
  const run = (length: number, ...parts: readonly string[][]): string =>
    failure(promise('signed', length, null), Buffer.from(parts.flat().join('\r\n'), 'latin1'))
  t.equal(run(12, a, b, c, end), 'accepted')
  t.equal(run(12, b, a, c, end), 'SignatureDoesNotMatch', 'swapped')
  t.equal(run(12, a, a, c, end), 'SignatureDoesNotMatch', 'doubled')
  t.equal(run(8, a, c, end), 'SignatureDoesNotMatch', 'dropped')
  t.equal(run(8, a, b, end), 'SignatureDoesNotMatch', 'last dropped')
  t.equal(run(12, a, b, c), 'IncompleteBody', 'end dropped')
  t.equal(run(12, a, b, c, ['0', '', '']), 'IncompleteBody', 'end unsigned')
  const [head = '', ...data] = a
  t.equal(run(12, [`x${head}`, ...data], b, c, end), 'IncompleteBody', 'more before a size')
  t.equal(run(12, [`${head}0`, ...data], b, c, end), 'IncompleteBody', 'more behind a signature')
})

await t.test('the trailer signature', async (t) => {
  const trailer = ['x-amz-checksum-crc32', digest('crc32', Buffer.from('hello')).toString('base64')] as const
  const raw = encode('signed+trailer', [Buffer.from('hello')], trailer).toString('latin1')
  t.equal(failure(promise('signed+trailer', 5, 'crc32'), Buffer.from(raw)), 'accepted')
  t.equal(failure(promise('signed+trailer', 5, 'crc32'), Buffer.from(raw.replace(/x-amz-trailer-signature:.*\r\n/, ''))), 'MalformedTrailerError', 'missing')
  t.equal(failure(promise('signed+trailer', 5, 'crc32'), Buffer.from(raw.replace(/(trailer-signature:)./, '$1g'))), 'SignatureDoesNotMatch')
  t.equal(failure(promise('signed+trailer', 5, 'crc32'), Buffer.from(raw.replace(trailer[1], 'AAAAAA=='))), 'SignatureDoesNotMatch', 'other value')
  t.equal(failure(promise('signed+trailer', 5, null), Buffer.from(raw)), 'MalformedTrailerError', 'not announced')
  const swapped = raw.replace(/(x-amz-checksum-crc32:.*\r\n)(x-amz-trailer-signature:.*\r\n)/, '$2$1')
  t.equal(failure(promise('signed+trailer', 5, 'crc32'), Buffer.from(swapped)), 'MalformedTrailerError', 'before what it signs')
})

await t.test('what is too long fails at once, and not at its end', async (t) => {
  for (
    const body of [new BodyVerifier({ ...plain, length: 4 }, { computeMd5: false }), new BodyVerifier(promise('unsigned', 4, null), { computeMd5: false })]
  ) {
    t.throws(() => body.update(Buffer.from('5\r\nhello')), { code: 'IncompleteBody' })
  }
  const line = (length: number): string => failure(promise('unsigned', 0, 'crc32'), Buffer.from(`0\r\n${'a'.repeat(length - 3)}:\r\n\r\n`))
  t.equal(line(4096), 'MalformedTrailerError', 'the longest line')
  t.equal(line(4097), 'IncompleteBody')
  const fields = (count: number): string => failure(promise('unsigned', 0, 'crc32'), Buffer.from(`0\r\n${'a:b\r\n'.repeat(count)}`))
  t.equal(fields(8), 'MalformedTrailerError')
})

await t.test('promises of plain bodies', async (t) => {
  const data = Buffer.from('Welcome to Amazon S3.')
  const sha256 = createHash('sha256').update(data).digest('hex')
  const md5 = createHash('md5').update(data).digest()
  const base = { ...plain, length: data.length }
  const other = Buffer.from('Welcome to Amazon S4.')
  t.equal(failure({ ...base, sha256 }, data), 'accepted')
  t.equal(failure({ ...base, sha256 }, other), 'XAmzContentSHA256Mismatch')
  t.equal(failure({ ...base, contentMd5: md5 }, data), 'accepted')
  t.equal(failure({ ...base, contentMd5: md5 }, other), 'BadDigest')
  t.equal(failure(base, data.subarray(1)), 'IncompleteBody')
  t.equal(failure(base, Buffer.concat([data, data])), 'IncompleteBody')
  t.equal(failure({ ...base, length: 0, sha256: emptyHash }, Buffer.alloc(0)), 'accepted')
  for (const algorithm of algorithms) {
    const checksum = { algorithm, value: digest(algorithm, data) }
    t.equal(failure({ ...base, sha256, checksum }, data), 'accepted', algorithm)
    t.equal(failure({ ...base, checksum }, other), 'BadDigest', algorithm)
    t.same(read({ ...base, checksum }, [data]).body.digests.checksum, checksum)
  }
  t.throws(() => read({ ...base, checksum: { algorithm: 'crc32', value: Buffer.alloc(4) } }, [data]), {
    message: 'The CRC32 you specified did not match the calculated checksum.'
  })
})

await t.test('digests only after the body has verified, and only those that were wanted', async (t) => {
  const body = new BodyVerifier({ ...plain, length: 1 }, { computeMd5: false })
  t.throws(() => body.digests)
  body.update(Buffer.from('a'))
  t.throws(() => body.digests)
  body.final()
  t.same(body.digests, { md5: null, checksum: null, sha256: null })
  for (const algorithm of algorithms) {
    const computing = new BodyVerifier({ ...plain, length: 1 }, { computeMd5: false, computeChecksum: algorithm })
    computing.update(Buffer.from('a'))
    computing.final()
    t.same(computing.digests.checksum, { algorithm, value: digest(algorithm, Buffer.from('a')) }, `${algorithm} was wanted`)
  }
})
