import t from 'tap'
import fc from 'fast-check'
import { lifecycleForClient, lifecycleForStore } from '../../src/s3/bucket-settings.ts'
import { upstreamDocument } from '../../src/s3/xml.ts'
import { errorCode } from '../support/error-code.ts'

const client = { maxBytes: 100_000, fault: 'MalformedXML' } as const
/** The law of the object format, at a segment of 10 bytes, where every boundary is near. */
const law = (plaintext: number): number => plaintext + 51 + 2 * Math.ceil(plaintext / 10)

function document(greater: number | string, less: number | string): Buffer {
  return Buffer.from(`<LifecycleConfiguration>
  <Rule><ID>a</ID><Filter><And><Prefix>512</Prefix>
    <ObjectSizeGreaterThan>${greater}</ObjectSizeGreaterThan><ObjectSizeLessThan>${less}</ObjectSizeLessThan></And></Filter></Rule>
  <Rule><Filter><ObjectSizeGreaterThan>${greater}</ObjectSizeGreaterThan></Filter><Expiration><Days>512</Days></Expiration></Rule>
  </LifecycleConfiguration>`)
}

function bounds(xml: Buffer): [number, number] {
  const text = xml.toString()
  return [Number(/GreaterThan>(\d+)</.exec(text)?.[1]), Number(/LessThan>(\d+)</.exec(text)?.[1])]
}

await t.test('a rule chooses the same objects before and after, both ways', (t) => {
  let count = 0
  for (let greater = 0; greater <= 120; greater += 1) {
    for (let less = 0; less <= 120; less += 7) {
      const [storedGreater, storedLess] = bounds(lifecycleForStore(document(greater, less), law, client))
      const [seenGreater, seenLess] = bounds(lifecycleForClient(document(greater, less), law, upstreamDocument))
      for (let size = 0; size <= 130; size += 1) {
        if ((size > greater) !== (law(size) > storedGreater)) t.fail(`to the store: ${size} > ${greater}`)
        if ((size < less) !== (law(size) < storedLess)) t.fail(`to the store: ${size} < ${less}`)
        // No plaintext bound chooses empty objects where the store's does; every other size is exact.
        if (size > 0 && (law(size) > greater) !== (size > seenGreater)) t.fail(`to the client: stored ${law(size)} > ${greater}`)
        if ((law(size) < less) !== (size < seenLess)) t.fail(`to the client: stored ${law(size)} < ${less}`)
        count += 1
      }
    }
  }
  t.comment(`${count.toLocaleString('en')} sizes held against converted rules`)
  t.ok(count > 250_000)
  t.end()
})

await t.test('there and back is the same document, at real sizes', (t) => {
  const real = (plaintext: number): number => plaintext + 512 + 20 * Math.ceil(plaintext / 65536)
  fc.assert(fc.property(fc.integer({ min: 0, max: 5e13 }), fc.integer({ min: 0, max: 5e13 }), (greater, less) => {
    const xml = document(greater, less)
    if (!lifecycleForClient(lifecycleForStore(xml, real, client), real, upstreamDocument).equals(xml)) throw new Error('differs')
  }))
  const without = Buffer.from('<LifecycleConfiguration><Rule><Filter/></Rule></LifecycleConfiguration>')
  t.equal(lifecycleForStore(without, real, client), without)
  t.end()
})

await t.test('malformed sizes', (t) => {
  for (const size of ['', '-1', '1.5', 'x', '1e3', '9'.repeat(16)]) {
    t.equal(errorCode(() => lifecycleForStore(document(size, 1), law, client)), 'MalformedXML', size)
    t.equal(errorCode(() => lifecycleForClient(document(1, size), law, upstreamDocument)), 'SealgateBadUpstream', size)
  }
  t.end()
})
