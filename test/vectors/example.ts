// The worked example of docs/FORMAT.md: what a reader computes on its way through test/vectors/example.json, step by step.
// Prints it: node test/vectors/example.ts. A test holds the document to it.
import { createDecipheriv } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import process from 'node:process'
import { place } from './objects.ts'
import { vectors } from './generate.ts'
import { commitmentOf, fields, hkdf, readBody, streamKeyOf, streamSize, u16, u64, u8 } from './writer.ts'

interface Example {
  readonly headers: Readonly<Record<string, string>>
  readonly keyring: { readonly keys: readonly { readonly key: string }[] }
  readonly body: readonly (string | number)[]
}

/** Bytes from the front, one field after the other. */
class Cursor {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  take(size: number): Buffer {
    return this.#bytes.subarray(this.#at, this.#at += size)
  }

  get rest(): Buffer {
    return this.#bytes.subarray(this.#at)
  }
}

function open(key: Buffer, nonce: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

/** The example as text, in a fenced block. */
export function example(): string {
  const { headers, keyring, body: encoded } = vectors().get('example') as unknown as Example
  const lines: string[] = []
  const say = (name: string, value: Buffer | string): void => {
    const text = typeof value === 'string' ? value : value.toString('hex')
    const rows = text.match(/.{1,96}/gs) ?? ['(none)']
    lines.push(`${name.padEnd(22)}${rows[0]}`, ...rows.slice(1).map((row) => `${' '.repeat(22)}${row}`))
  }
  const step = (title: string): void => {
    lines.push('', `# ${title}`)
  }
  const unwrap = (name: string, kek: Buffer, wrapped: Buffer, aad: Buffer): Buffer => {
    const key = hkdf(kek, wrapped.subarray(0, 32), 'sealgate/v1/wrap')
    say(`${name}: salt`, wrapped.subarray(0, 32))
    say(`${name}: key`, key)
    say(`${name}: AAD`, aad)
    return open(key, Buffer.alloc(12), wrapped.subarray(32), aad)
  }
  const stream = (name: string, streamKey: Buffer, ad: Buffer, stored: Buffer): Buffer => {
    const key = hkdf(streamKey, stored.subarray(1, 33), ad)
    const nonce = Buffer.concat([stored.subarray(33, 40), u8(0, 0, 0, 0, 1)])
    say(`${name}: header`, stored.subarray(0, 40))
    say(`${name}: AD`, ad)
    say(`${name}: key`, key)
    say(`${name}: nonce`, nonce)
    say(`${name}: segment 0`, stored.subarray(40))
    return open(key, nonce, stored.subarray(40), Buffer.alloc(0))
  }
  const associated = (kind: number, number: number, length: number, suffix: Buffer = Buffer.alloc(0)): Buffer =>
    Buffer.concat([Buffer.from('sealgate'), u8(1, kind), u16(number), u64(length), suffix])

  step('The object')
  say('realm', place.realm)
  say('bucket', place.bucket)
  say('object', place.object)
  for (const [name, value] of Object.entries(headers)) {
    lines.push(`${name}:`)
    say('', value)
  }
  const master = Buffer.from(keyring.keys[0]?.key ?? '', 'base64')
  say('key in the keyring', master)

  step('Step 1: the envelope')
  const envelope = new Cursor(Buffer.from(headers['x-amz-meta-sealgate'] ?? '', 'base64url'))
  const clear = envelope.take(4)
  say('version, suite', clear.subarray(0, 2))
  say('kind, scope', clear.subarray(2))
  const bucket = envelope.take(envelope.take(1).readUInt8())
  say('bucket', `${bucket.toString('hex')} "${bucket.toString()}"`)
  const blob = envelope.take(envelope.take(2).readUInt16BE())
  say('wrapped bucket key', blob)
  const commitment = envelope.take(32)
  say('commitment', commitment)
  const header = envelope.take(40)
  say('stream header', header)
  say('box', envelope.rest)

  step('Step 2: the bucket key and the box')
  const bucketKey = unwrap('bucket key', master, blob, fields('sealgate/v1/bucket-key', place.realm, place.bucket, ''))
  say('bucket key', bucketKey)
  const box = new Cursor(
    unwrap('box', bucketKey, envelope.rest, fields('sealgate/v1/envelope', clear, commitment, header, place.realm, place.bucket, place.object))
  )

  step('Step 3: the data key')
  const dataKey = box.take(32)
  say('data key', dataKey)
  say('commitment', commitmentOf(dataKey))
  const streamKey = streamKeyOf(dataKey)
  say('stream key', streamKey)

  step('Steps 4 and 5: the attributes')
  say('flags, SSE, checksums', box.take(3))
  const length = box.take(8)
  say('plaintext length', length)
  say('MD5', box.take(16))
  say('checksum', box.take(2 + 32))
  const sealed = new Cursor(box.rest)
  say('sealed metadata', box.rest)
  const code = sealed.take(1)
  const value = sealed.take(sealed.take(2).readUInt16BE())
  say('entry', `${code.toString('hex')} "${value.toString()}"`)

  step('Step 7: the body')
  const body = readBody(encoded)
  const size = Number(length.readBigUInt64BE())
  say('size of the body', String(body.length))
  const plaintext = stream('stream', streamKey, associated(1, 1, size), body.subarray(0, streamSize(size)))
  say('plaintext', `${plaintext.toString('hex')} ${JSON.stringify(plaintext.toString())}`)

  step('Step 8: zeros, manifest and footer')
  const footer = body.subarray(-12)
  const start = body.length - 12 - footer.readUInt32BE(8)
  say('zeros', `bytes ${streamSize(size)} to ${start - 1}`)
  say('footer', footer)
  const stored = body.subarray(start, -12)
  const manifest = stream('manifest', streamKey, associated(3, 0, stored.length - 56, footer), stored)
  say('manifest', manifest)
  return ['```', ...lines.slice(1), '```', ''].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(example())
