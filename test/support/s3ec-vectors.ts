// Objects that the real clients of the S3 Encryption Client wrote (s3ec-clients.json), and the keys that open them.
import { createDecipheriv, createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Vector {
  readonly metadata: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly key: string
  readonly mode: string
  readonly client: string
  readonly plaintext: Buffer
  readonly files: Readonly<Record<string, Buffer>>
}

interface VectorFile {
  readonly keys: { readonly aes: string; readonly aesSecond: string; readonly rsa: string; readonly kms: { readonly arn: string; readonly secret: string } }
  readonly objects: readonly (Record<'key' | 'mode' | 'client' | 'plaintext' | 'body', string> & {
    readonly metadata: Record<string, string>
    readonly instructions?: Record<string, string>
  })[]
}

const file = JSON.parse(readFileSync(join(import.meta.dirname, 's3ec-clients.json'), 'utf8')) as VectorFile

/** Objects of the real clients. */
export const vectors: readonly Vector[] = file.objects.map(({ key, mode, client, plaintext, body, metadata, instructions = {} }) => ({
  key,
  mode,
  client,
  metadata,
  plaintext: Buffer.from(plaintext, 'base64'),
  body: Buffer.from(body, 'base64'),
  files: Object.fromEntries(Object.entries(instructions).map(([suffix, text]) => [suffix, Buffer.from(text, 'base64')]))
}))

/** With which the clients wrote. */
export const vectorKeys = {
  aes: Buffer.from(file.keys.aes, 'hex'),
  aesSecond: Buffer.from(file.keys.aesSecond, 'hex'),
  rsaPem: file.keys.rsa,
  rsa: createPrivateKey(file.keys.rsa),
  kms: { arn: file.keys.kms.arn, secret: Buffer.from(file.keys.kms.secret, 'hex') }
}

/** As test/support/fake-kms.ts seals, which was the key service of those clients. */
export function openAsFakeKms(blob: Buffer, context: Readonly<Record<string, string>>): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', vectorKeys.kms.secret, blob.subarray(4, 16), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(JSON.stringify(Object.entries(context).sort())))
  decipher.setAuthTag(blob.subarray(-16))
  try {
    return Buffer.concat([decipher.update(blob.subarray(16, -16)), decipher.final()])
  } catch {
    throw new Error('InvalidCiphertextException')
  }
}
