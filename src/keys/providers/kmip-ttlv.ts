import { WrongServiceAnswer } from '../service/errors.ts'

/** Tags of KMIP 1.4 (OASIS, 9.1.3.1) that are sent or read. */
export const tags = {
  attribute: 0x420008,
  attributeName: 0x42000a,
  attributeValue: 0x42000b,
  batchCount: 0x42000d,
  batchItem: 0x42000f,
  blockCipherMode: 0x420011,
  cryptographicAlgorithm: 0x420028,
  cryptographicParameters: 0x42002b,
  nonce: 0x42003d,
  maximumResponseSize: 0x420050,
  operation: 0x42005c,
  protocolVersion: 0x420069,
  protocolVersionMajor: 0x42006a,
  protocolVersionMinor: 0x42006b,
  requestHeader: 0x420077,
  requestMessage: 0x420078,
  requestPayload: 0x420079,
  responseMessage: 0x42007b,
  responsePayload: 0x42007c,
  resultMessage: 0x42007d,
  resultReason: 0x42007e,
  resultStatus: 0x42007f,
  revocationReason: 0x420081,
  revocationReasonCode: 0x420082,
  uniqueIdentifier: 0x420094,
  data: 0x4200c2,
  tagLength: 0x4200ce,
  additionalData: 0x4200fe,
  authenticationTag: 0x4200ff
} as const

type Tag = (typeof tags)[keyof typeof tags]

const types = { structure: 1, integer: 2, enumeration: 5, text: 7, bytes: 8 } as const
const HEADER_BYTES = 8
/** Structures inside of each other. Those that are asked for have five. */
const MOST_DEPTH = 8

/** One item of a message: tag, type, length, and a value padded to eight bytes (KMIP 1.4, 9.1). */
function item(tag: Tag, type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUIntBE(tag, 0, 3)
  header.writeUInt8(type, 3)
  header.writeUInt32BE(value.length, 4)
  return Buffer.concat([header, value, Buffer.alloc(padding(value.length))])
}

export function structure(tag: Tag, ...items: readonly Buffer[]): Buffer {
  return item(tag, types.structure, Buffer.concat(items))
}

export function integer(tag: Tag, value: number): Buffer {
  return item(tag, types.integer, fourBytes(value))
}

export function enumeration(tag: Tag, value: number): Buffer {
  return item(tag, types.enumeration, fourBytes(value))
}

export function text(tag: Tag, value: string): Buffer {
  return item(tag, types.text, Buffer.from(value, 'utf8'))
}

export function bytes(tag: Tag, value: Buffer): Buffer {
  return item(tag, types.bytes, value)
}

/** Bytes of the whole message that begins so. @param start its first eight bytes. @throws WrongServiceAnswer for what begins none. */
export function messageLength(start: Buffer): number {
  if (start.readUIntBE(0, 3) !== tags.responseMessage || start[3] !== types.structure) throw malformed()
  return HEADER_BYTES + start.readUInt32BE(4)
}

/** An item of an answer. */
export class Item {
  readonly tag: number
  readonly #type: number
  readonly #value: Buffer
  readonly #items: readonly Item[]

  private constructor(tag: number, type: number, value: Buffer, items: readonly Item[]) {
    this.tag = tag
    this.#type = type
    this.#value = value
    this.#items = items
  }

  /** @throws WrongServiceAnswer unless `message` is one item and nothing else. */
  static parse(message: Buffer): Item {
    const [only, ...more] = Item.#read(message, 0)
    if (only === undefined || more.length > 0) throw malformed()
    return only
  }

  static #read(from: Buffer, depth: number): Item[] {
    if (depth > MOST_DEPTH) throw malformed()
    const found: Item[] = []
    for (let at = 0; at < from.length;) {
      if (from.length - at < HEADER_BYTES) throw malformed()
      const [type, length, start] = [from.readUInt8(at + 3), from.readUInt32BE(at + 4), at + HEADER_BYTES]
      const end = start + length
      if (end + padding(length) > from.length) throw malformed()
      const value = from.subarray(start, end)
      found.push(new Item(from.readUIntBE(at, 3), type, value, type === types.structure ? Item.#read(value, depth + 1) : []))
      at = end + padding(length)
    }
    return found
  }

  /** The first item of that tag in this structure. */
  find(tag: Tag): Item | undefined {
    return this.#items.find((each) => each.tag === tag)
  }

  all(tag: Tag): readonly Item[] {
    return this.#items.filter((each) => each.tag === tag)
  }

  /** @returns null for an item of another type. */
  get number(): number | null {
    return (this.#type === types.integer || this.#type === types.enumeration) && this.#value.length === 4 ? this.#value.readUInt32BE() : null
  }

  get text(): string | null {
    return this.#type === types.text ? this.#value.toString('utf8') : null
  }

  get bytes(): Buffer | null {
    return this.#type === types.bytes ? this.#value : null
  }
}

function fourBytes(value: number): Buffer {
  const four = Buffer.alloc(4)
  four.writeUInt32BE(value)
  return four
}

function padding(length: number): number {
  return (8 - length % 8) % 8
}

function malformed(): WrongServiceAnswer {
  return new WrongServiceAnswer('The KMIP server answered with what is no message of KMIP.')
}
