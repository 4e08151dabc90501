import fc from 'fast-check'
import t from 'tap'
import { bytes, enumeration, integer, Item, messageLength, structure, tags, text } from '../../../src/keys/providers/kmip-ttlv.ts'
import { WrongServiceAnswer } from '../../../src/keys/service/errors.ts'

const message = structure(
  tags.responseMessage,
  structure(
    tags.batchItem,
    enumeration(tags.resultStatus, 1),
    integer(tags.batchCount, 2),
    text(tags.resultMessage, 'äöü'),
    bytes(tags.data, Buffer.of(1, 2, 3))
  )
)

await t.test('bytes as KMIP 1.4 has them (9.1.2, examples), and back', async (t) => {
  // Integer 8, Enumeration 255, Text "Hello World", Bytes 01 02 03, of the specification; the tag is another.
  t.equal(integer(tags.batchCount, 8).toString('hex'), '42000d02000000040000000800000000')
  t.equal(enumeration(tags.operation, 255).toString('hex'), '42005c0500000004000000ff00000000')
  t.equal(text(tags.resultMessage, 'Hello World').toString('hex'), '42007d070000000b48656c6c6f20576f726c640000000000')
  t.equal(bytes(tags.data, Buffer.of(1, 2, 3)).toString('hex'), '4200c208000000030102030000000000')
  t.equal(messageLength(message), message.length)
  const item = Item.parse(message).find(tags.batchItem)
  t.equal(item?.find(tags.resultStatus)?.number, 1)
  t.equal(item?.find(tags.resultMessage)?.text, 'äöü')
  t.same(item?.find(tags.data)?.bytes, Buffer.of(1, 2, 3))
  t.same([item?.find(tags.data)?.number, item?.find(tags.data)?.text, item?.find(tags.resultStatus)?.bytes], [null, null, null], 'of another type')
  t.equal(item?.all(tags.data).length, 1)
  t.equal(item?.find(tags.nonce), undefined)
})

await t.test('whatever a server sends is a message or a WrongServiceAnswer', async (t) => {
  const parse = (input: Buffer): void => {
    try {
      Item.parse(input)
    } catch (error) {
      if (!(error instanceof WrongServiceAnswer)) throw error
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (input) => parse(Buffer.from(input))), { numRuns: 1000 })
  for (let at = 0; at < message.length; at++) {
    parse(message.subarray(0, at))
    for (const change of [1, 0x80, 0xff]) {
      const changed = Buffer.from(message)
      changed.writeUInt8(changed.readUInt8(at) ^ change, at)
      parse(changed)
    }
  }
  let deep = bytes(tags.data, Buffer.alloc(0))
  for (let i = 0; i < 9; i++) deep = structure(tags.batchItem, deep)
  t.throws(() => Item.parse(deep), { name: 'WrongServiceAnswer' })
  t.throws(() => Item.parse(Buffer.concat([message, message])), { name: 'WrongServiceAnswer' })
  t.throws(() => Item.parse(Buffer.alloc(0)), { name: 'WrongServiceAnswer' })
  t.throws(() => messageLength(structure(tags.requestMessage)), { name: 'WrongServiceAnswer' })
  t.throws(() => messageLength(integer(tags.responseMessage, 1)), { name: 'WrongServiceAnswer' })
})
