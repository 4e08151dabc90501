import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'

/** One operation that the server took. */
export interface KmipCall {
  readonly operation: 'Encrypt' | 'Decrypt' | 'GetAttributes' | 'Revoke' | 'Destroy'
  readonly id: string
}

/** What the server does with a message instead of answering it. Return false to answer as usual. */
export type KmipMisbehaviour = (call: KmipCall, socket: TLSSocket) => boolean

interface Key {
  readonly secret: KeyObject
  /** 1 pre-active, 2 active, 3 deactivated, 4 compromised. */
  state: number
}

type Field = readonly [tag: number, type: number, value: Buffer | readonly Field[]]

const operations: Readonly<Record<number, KmipCall['operation']>> = { 0x1f: 'Encrypt', 0x20: 'Decrypt', 0x0b: 'GetAttributes', 0x13: 'Revoke', 0x14: 'Destroy' }
const [STRUCTURE, INTEGER, ENUMERATION, TEXT, BYTES] = [1, 2, 5, 7, 8] as const

class Refusal extends Error {
  readonly reason: number

  constructor(reason: number, message: string) {
    super(message)
    this.reason = reason
  }
}

/** A KMIP 1.4 server with AES-GCM, as PyKMIP 0.11.0 was seen to answer: also that a tag which does not fit is a general failure. */
export class FakeKmip {
  readonly calls: KmipCall[] = []
  readonly keys = new Map<string, Key>()
  misbehave: KmipMisbehaviour | null = null
  /** It takes additional data and ignores it. */
  ignoresAdditional = false
  /** It makes the nonce itself and says which. */
  ownNonce = false
  connections = 0
  readonly #server: Server
  readonly #sockets = new Set<TLSSocket>()

  private constructor(tls: { readonly key: string; readonly cert: string; readonly ca: string }) {
    this.#server = createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, (socket) => {
      this.connections += 1
      this.#sockets.add(socket)
      let kept = Buffer.alloc(0)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('data', (chunk: Buffer) => {
        kept = Buffer.concat([kept, chunk])
        while (kept.length >= 8 && kept.length >= 8 + kept.readUInt32BE(4)) {
          const whole = 8 + kept.readUInt32BE(4)
          this.#answer(kept.subarray(0, whole), socket)
          kept = kept.subarray(whole)
        }
      })
    })
    this.#server.on('tlsClientError', () => undefined)
  }

  static async start(
    test: { teardown(work: () => Promise<void>): void },
    tls: { readonly key: string; readonly cert: string; readonly ca: string }
  ): Promise<FakeKmip> {
    const kmip = new FakeKmip(tls)
    await new Promise<void>((resolve) => kmip.#server.listen(0, '127.0.0.1', resolve))
    test.teardown(async () => {
      for (const socket of kmip.#sockets) socket.destroy()
      await new Promise((resolve) => kmip.#server.close(resolve))
    })
    return kmip
  }

  get address(): string {
    return `localhost:${(this.#server.address() as AddressInfo).port}`
  }

  /** Ends every connection, as a server that starts anew. */
  disconnect(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** @returns its unique identifier. */
  addKey(): string {
    const id = randomBytes(4).toString('hex')
    this.keys.set(id, { secret: createSecretKey(randomBytes(32)), state: 2 })
    return id
  }

  #answer(message: Buffer, socket: TLSSocket): void {
    const item = find(find(fieldsOf(message), 0x420078), 0x42000f)
    const code = (value(item, 0x42005c) ?? Buffer.alloc(4)).readUInt32BE()
    const payload = find(item, 0x420079)
    const call = { operation: operations[code]!, id: value(payload, 0x420094)?.toString() ?? '' }
    this.calls.push(call)
    if (this.misbehave?.(call, socket) === true) return
    let fields: Field[]
    try {
      const answered = [[0x420094, TEXT, Buffer.from(call.id)] as const, ...this.#perform(call, payload)]
      fields = [[0x42007f, ENUMERATION, four(0)], [0x42007c, STRUCTURE, answered]]
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      fields = [[0x42007f, ENUMERATION, four(1)], [0x42007e, ENUMERATION, four(error.reason)], [0x42007d, TEXT, Buffer.from(error.message)]]
    }
    socket.write(answerOf([[0x42005c, ENUMERATION, four(code)], ...fields]))
  }

  #perform({ operation, id }: KmipCall, payload: readonly Field[]): Field[] {
    const key = this.keys.get(id)
    if (key === undefined) throw new Refusal(0x1, `Could not locate object: ${id}`)
    if (operation === 'GetAttributes') return [[0x420008, STRUCTURE, [[0x42000a, TEXT, Buffer.from('State')], [0x42000b, ENUMERATION, four(key.state)]]]]
    if (operation === 'Revoke') {
      if (key.state !== 2) throw new Refusal(0xb, 'The object is not active and cannot be revoked with reason other than KEY_COMPROMISE')
      key.state = 3
      return []
    }
    if (operation === 'Destroy') {
      if (key.state === 2) throw new Refusal(0xc, 'Object is active and cannot be destroyed.')
      this.keys.delete(id)
      return []
    }
    if (key.state !== 2) throw new Refusal(0xc, 'The key must be in the Active state to be used.')
    const nonce = this.ownNonce && operation === 'Encrypt' ? randomBytes(12) : value(payload, 0x42003d)!
    const [data, given] = [value(payload, 0x4200c2)!, this.ignoresAdditional ? undefined : value(payload, 0x4200fe)]
    const parameters = find(payload, 0x42002b)
    if (value(parameters, 0x420011)?.readUInt32BE() !== 9) throw new Refusal(0x7, 'Cipher mode is required.')
    if (operation === 'Encrypt') {
      const cipher = createCipheriv('aes-256-gcm', key.secret, nonce, { authTagLength: 16 }).setAAD(given ?? Buffer.alloc(0))
      const ciphertext = Buffer.concat([cipher.update(data), cipher.final()])
      return [[0x4200c2, BYTES, ciphertext], ...this.ownNonce ? [[0x42003d, BYTES, nonce] as const] : [], [0x4200ff, BYTES, cipher.getAuthTag()]]
    }
    const decipher = createDecipheriv('aes-256-gcm', key.secret, nonce, { authTagLength: 16 }).setAAD(given ?? Buffer.alloc(0))
    try {
      decipher.setAuthTag(value(payload, 0x4200ff)!)
      return [[0x4200c2, BYTES, Buffer.concat([decipher.update(data), decipher.final()])]]
    } catch {
      throw new Refusal(0x100, 'Operation failed. See the server logs for more information.')
    }
  }
}

/** A response with one batch item. */
function answerOf(item: readonly Field[]): Buffer {
  const version: Field = [0x420069, STRUCTURE, [[0x42006a, INTEGER, four(1)], [0x42006b, INTEGER, four(4)]]]
  const time = Buffer.alloc(8)
  time.writeBigInt64BE(1_795_957_822n)
  const header: Field = [0x42007a, STRUCTURE, [version, [0x420092, 9, time], [0x42000d, INTEGER, four(1)]]]
  return encoded([0x42007b, STRUCTURE, [header, [0x42000f, STRUCTURE, item]]])
}

/** A good answer to an operation of that code whose data are these bytes. */
export function answerWith(operation: KmipCall['operation'], id: string, data: Buffer): Buffer {
  const code = Number(Object.entries(operations).find(([, name]) => name === operation)?.[0])
  const payload: Field[] = [[0x420094, TEXT, Buffer.from(id)], [0x4200c2, BYTES, data], [0x4200ff, BYTES, Buffer.alloc(16)]]
  return answerOf([[0x42005c, ENUMERATION, four(code)], [0x42007f, ENUMERATION, four(0)], [0x42007c, STRUCTURE, payload]])
}

/** A refusal for that reason. */
export function refuseWith(reason: number, message: string): Buffer {
  return answerOf([[0x42007f, ENUMERATION, four(1)], [0x42007e, ENUMERATION, four(reason)], [0x42007d, TEXT, Buffer.from(message)]])
}

function encoded([tag, type, value]: Field): Buffer {
  const content = Buffer.isBuffer(value) ? value : Buffer.concat(value.map(encoded))
  const padded = Buffer.alloc(Math.ceil(content.length / 8) * 8)
  content.copy(padded)
  return Buffer.concat([four(tag << 8 | type), four(content.length), padded])
}

function fieldsOf(from: Buffer): Field[] {
  if (from.length === 0) return []
  const [head, length] = [from.readUInt32BE(0), from.readUInt32BE(4)]
  const content = from.subarray(8, 8 + length)
  const type = head & 0xff
  return [[head >>> 8, type, type === STRUCTURE ? fieldsOf(content) : content], ...fieldsOf(from.subarray(8 + Math.ceil(length / 8) * 8))]
}

function find(fields: readonly Field[], tag: number): readonly Field[] {
  return (fields.find(([each]) => each === tag)?.[2] ?? []) as readonly Field[]
}

function value(fields: readonly Field[], tag: number): Buffer | undefined {
  return fields.find(([each]) => each === tag)?.[2] as Buffer | undefined
}

function four(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}
