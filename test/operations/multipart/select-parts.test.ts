// The decisions of a Complete before its first request to the store: every case is tried without a gateway and a store.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { MAX_PARTS, MIN_PART_SIZE, storedPartSize } from '../../../src/envelope/sizes.ts'
import { S3Error } from '../../../src/errors.ts'
import { checksumAlgorithms, createChecksum, type ChecksumAlgorithm } from '../../../src/http/checksums.ts'
import type { OperationContext } from '../../../src/operations/context.ts'
import { checksumSettings, partChecksum } from '../../../src/operations/multipart/checksum-settings.ts'
import { newer, type Attempt } from '../../../src/operations/multipart/part-records.ts'
import { checkObjectSize, declaredChecksum, objectChecksum, selectParts, tailNumber } from '../../../src/operations/multipart/select-parts.ts'
import type { Upload } from '../../../src/operations/multipart/upload.ts'
import type { HeldPart } from '../../../src/operations/multipart/upstream-parts.ts'

type Headers = Readonly<Record<string, string>>
const algorithms = Object.keys(checksumAlgorithms) as ChecksumAlgorithm[]

function outcome(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
}

function withHeaders(headers: Headers): OperationContext {
  return { request: { headers: new Map(Object.entries(headers)) } } as unknown as OperationContext
}

/** As a Complete: what the headers declare is read first. */
function checked(ctx: OperationContext, upload: Upload, parts: readonly Attempt[]): unknown {
  const declared = declaredChecksum(ctx)
  return objectChecksum(ctx, upload, parts, declared)
}

function attempt(number: number, changes: Partial<Attempt> = {}): Attempt {
  return {
    number,
    plaintextSize: MIN_PART_SIZE,
    header: randomBytes(40),
    md5: null,
    checksum: null,
    upstreamEtag: `up-${number}`,
    inline: false,
    etag: `etag-${number}`,
    lastModified: 0,
    time: 0,
    ...changes
  }
}

function held(one: Attempt, changes: Partial<HeldPart> = {}): HeldPart {
  return { number: one.number, etag: one.upstreamEtag, size: storedPartSize(one.plaintextSize), checksums: new Map(), lastModified: null, ...changes }
}

const upload = { id: 'id' } as unknown as Upload
const listed = (partNumber: number, checksums: Headers = {}) => ({ partNumber, etag: `etag-${partNumber}`, checksums })

await t.test('the attempt is the one that the client names and the store holds', (t) => {
  const first = attempt(1)
  const again = attempt(1, { upstreamEtag: 'other try' })
  const small = attempt(2, { plaintextSize: 1, inline: true, upstreamEtag: '' })
  const known = { attempts: new Map([[1, [again, first]], [2, [small]]]), highestUpstream: 1 }
  const select = (list: Parameters<typeof selectParts>[1], holds: ReadonlyMap<number, HeldPart> | 'denied') =>
    outcome(() => selectParts(upload, list, { ...known, held: holds }))
  t.same(select([listed(1), listed(2)], new Map([[1, held(first)]])), [first, small])
  t.same(select([listed(1)], new Map([[1, held(again)]])), [again])
  t.same(select([listed(1)], 'denied'), [again], 'on records alone')
  t.equal(select([{ ...listed(1), etag: 'etag-2' }], 'denied'), 'InvalidPart')
  t.equal(select([{ ...listed(1), etag: 'etag-2' }], new Map([[1, held(first)]])), 'InvalidPart')
  t.equal(select([listed(1)], new Map()), 'InvalidPart', 'not held')
  t.equal(select([listed(1)], new Map([[1, held(first, { etag: 'third try' })]])), 'InvalidPart', 'another is held')
  for (const size of [storedPartSize(MIN_PART_SIZE) - 1, storedPartSize(MIN_PART_SIZE) + 1]) {
    t.equal(select([listed(1)], new Map([[1, held(first, { size })]])), 'InvalidPart', 'held in another length')
  }
  t.equal(select([listed(3)], 'denied'), 'InvalidPart', 'no record')
  t.equal(select([listed(2), listed(1)], new Map([[1, held(first)]])), 'EntityTooSmall', 'only the last may be small')
  const fieldsOf = (list: Parameters<typeof selectParts>[1]): unknown => {
    try {
      return selectParts(upload, list, { ...known, held: 'denied' })
    } catch (error) {
      return error instanceof S3Error ? error.fields : error
    }
  }
  t.same(fieldsOf([listed(2), listed(1)]), { ProposedSize: '1', MinSizeAllowed: String(MIN_PART_SIZE), PartNumber: '2', ETag: 'etag-2' })
  t.same(fieldsOf([listed(3)]), { UploadId: 'id', PartNumber: '3', ETag: 'etag-3' })
  t.end()
})

await t.test('checksums in the list are those of the parts', (t) => {
  const value = Buffer.from([1, 2, 3, 4])
  const known = {
    attempts: new Map([[1, [attempt(1, { checksum: { algorithm: 'crc32', value } })]], [2, [attempt(2)]]]),
    highestUpstream: 1,
    held: 'denied'
  } as const
  const select = (number: number, checksums: Headers) => outcome(() => selectParts(upload, [listed(number, checksums)], known))
  const right = value.toString('base64')
  t.type(select(1, {}), Array)
  t.type(select(1, { crc32: right }), Array)
  t.equal(select(1, { crc32: 'AAAAAA==' }), 'InvalidPart')
  for (const wrong of [{ crc32c: right }, { crc32: right, sha1: right }] as Headers[]) t.equal(select(1, wrong), 'BadDigest', 'of another algorithm')
  t.equal(select(2, { crc32: right }), 'BadDigest', 'the part has none')
  t.end()
})

await t.test('a tail of its own goes after the last part and all that the store has', (t) => {
  const small = attempt(7, { inline: true })
  const at = (parts: readonly Attempt[], highestUpstream: number) => tailNumber(parts, { attempts: new Map(), highestUpstream })
  t.equal(at([attempt(1), small], 9), 10)
  t.equal(at([attempt(1), small], 1), 8)
  t.equal(at([small, attempt(8)], 9), 10)
  t.equal(at([attempt(1)], 1), 2)
  t.equal(at([attempt(1)], MAX_PARTS - 1), MAX_PARTS)
  t.equal(at([attempt(1)], MAX_PARTS), MAX_PARTS)
  t.end()
})

await t.test('the size that a Complete declares', (t) => {
  t.equal(outcome(() => checkObjectSize(withHeaders({}), 5)), undefined)
  t.equal(outcome(() => checkObjectSize(withHeaders({ 'x-amz-mp-object-size': '5' }), 5)), undefined)
  for (const said of ['4', '05', '', '5 ', '-1']) {
    t.equal(outcome(() => checkObjectSize(withHeaders({ 'x-amz-mp-object-size': said }), 5)), 'InvalidRequest', said)
  }
  t.end()
})

await t.test('the later of two attempts, by the clock of the store and then by that of the instance', (t) => {
  const of = (lastModified: number, time: number) => attempt(1, { lastModified, time })
  for (
    const [a, b, later] of [
      [of(1, 9), of(2, 1), 'b'],
      [of(2, 1), of(1, 9), 'a'],
      [of(1, 1), of(1, 2), 'b'],
      [of(1, 2), of(1, 1), 'a'],
      [of(1, 1), of(1, 1), 'a']
    ] as const
  ) t.equal(newer(a, b), later === 'a' ? a : b)
  t.end()
})

function digestOf(algorithm: ChecksumAlgorithm, data: Buffer): Buffer {
  const checksum = createChecksum(algorithm)
  checksum.update(data)
  return checksum.digest()
}

await t.test('the checksum of the object, of every algorithm and type', (t) => {
  const data = [randomBytes(5), randomBytes(0), randomBytes(70), randomBytes(3)]
  for (const algorithm of algorithms) {
    for (const type of ['composite', 'full'] as const) {
      const { composite, fullObject } = checksumAlgorithms[algorithm]
      if (type === 'composite' ? !composite : !fullObject) continue
      const parts = data.map((plaintext, i) =>
        attempt(i + 1, { plaintextSize: plaintext.length, checksum: { algorithm, value: digestOf(algorithm, plaintext) } })
      )
      const value = type === 'full'
        ? digestOf(algorithm, Buffer.concat(data))
        : digestOf(algorithm, Buffer.concat(parts.map((part) => part.checksum?.value ?? Buffer.alloc(0))))
      const of = (headers: Headers, list: readonly Attempt[] = parts) => {
        const settings = { checksumAlgorithm: algorithm, checksumType: type }
        return outcome(() => checked(withHeaders(headers), { settings } as unknown as Upload, list))
      }
      const text = value.toString('base64')
      const name = `x-amz-checksum-${algorithm}`
      const own = type === 'full' ? 'FULL_OBJECT' : 'COMPOSITE'
      t.same(of({}), { algorithm, type, value }, `${algorithm} ${type}`)
      t.same(of({ [name]: text, 'x-amz-checksum-type': own.toLowerCase() }), { algorithm, type, value })
      t.same(of({ [name]: `${text}-4` }), type === 'composite' ? { algorithm, type, value } : 'BadDigest', 'with the number of parts')
      t.equal(of({ [name]: `${text}-3` }), 'BadDigest')
      t.equal(of({ [name]: digestOf(algorithm, Buffer.from('x')).toString('base64') }), 'BadDigest')
      t.equal(of({ 'x-amz-checksum-type': type === 'full' ? 'COMPOSITE' : 'FULL_OBJECT' }), 'InvalidRequest')
      const other = algorithm === 'crc32' ? 'crc32c' : 'crc32'
      const digest = digestOf(other, Buffer.from('x')).toString('base64')
      t.equal(of({ [`x-amz-checksum-${other}`]: digest }), 'BadDigest', 'of another algorithm')
      for (const wrong of ['', 'x', `${text}-`, `${text}-x`, `${text}-1-2`]) t.equal(of({ [name]: wrong }), 'InvalidRequest', wrong)
      t.equal(of({ [name]: text, 'x-amz-checksum-type': 'PARTIAL' }), 'InvalidRequest')
      t.equal(of({ [name]: text, [`x-amz-checksum-${other}`]: text }), 'InvalidRequest', 'two of them')
      t.equal(of({}, [...parts, attempt(5)]), 'InternalError', 'a part without')
      t.equal(of({}, [...parts, attempt(5, { checksum: { algorithm: other, value } })]), 'InternalError', 'a part with another')
    }
  }
  const none = { settings: { checksumAlgorithm: null, checksumType: null } } as unknown as Upload
  t.equal(outcome(() => checked(withHeaders({}), none, [attempt(1)])), null)
  t.equal(outcome(() => checked(withHeaders({ 'x-amz-checksum-crc32': 'AAAAAA==' }), none, [attempt(1)])), 'InvalidRequest')
  t.equal(outcome(() => checked(withHeaders({ 'x-amz-checksum-type': 'COMPOSITE' }), none, [attempt(1)])), 'InvalidRequest')
  t.end()
})

await t.test('what Create settles, and what it asks of parts', (t) => {
  const settle = (headers: Headers) => outcome(() => checksumSettings(new Map(Object.entries(headers))))
  t.same(settle({}), { checksumAlgorithm: null, checksumType: null })
  t.equal(settle({ 'x-amz-checksum-type': 'COMPOSITE' }), 'InvalidRequest', 'a type alone')
  t.equal(settle({ 'x-amz-checksum-algorithm': 'CRC32', 'x-amz-checksum-type': 'HALF_OBJECT' }), 'InvalidRequest')
  t.equal(settle({ 'x-amz-checksum-algorithm': 'BLAKE3' }), 'InvalidRequest')
  const nothing = { checksum: null, trailer: null }
  for (const algorithm of algorithms) {
    const { composite, fullObject, bytes } = checksumAlgorithms[algorithm]
    const named = { 'x-amz-checksum-algorithm': algorithm.toUpperCase() }
    const settings = (type: 'composite' | 'full') => ({ checksumAlgorithm: algorithm, checksumType: type })
    t.same(settle(named), settings(composite ? 'composite' : 'full'), algorithm)
    t.same(settle({ ...named, 'x-amz-checksum-type': 'composite' }), composite ? settings('composite') : 'InvalidRequest')
    t.same(settle({ ...named, 'x-amz-checksum-type': 'FULL_OBJECT' }), fullObject ? settings('full') : 'InvalidRequest')
    const given = { checksum: { algorithm, value: Buffer.alloc(bytes) }, trailer: null }
    const trailed = { checksum: null, trailer: algorithm }
    for (const type of ['composite', 'full'] as const) {
      for (const payload of [given, trailed]) t.equal(partChecksum(settings(type), payload, 'client'), null)
      t.equal(outcome(() => partChecksum(settings(type), nothing, 'client')), type === 'full' ? algorithm : 'InvalidRequest')
      t.equal(partChecksum(settings(type), nothing, 'copy'), algorithm)
      const other = { checksum: null, trailer: algorithm === 'crc32' ? 'crc32c' : 'crc32' } as const
      for (const origin of ['client', 'copy'] as const) t.equal(outcome(() => partChecksum(settings(type), other, origin)), 'InvalidRequest')
    }
    t.equal(partChecksum({ checksumAlgorithm: null, checksumType: null }, given, 'client'), null)
  }
  t.end()
})
