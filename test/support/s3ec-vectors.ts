// Objects that the real clients of the S3 Encryption Client wrote (test/s3ec/vectors), and the keys that open them.
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { s3ecKeys, s3ecVectors, type S3ecVector } from './s3ec-reader.ts'

export interface Vector {
  readonly client: string
  readonly key: string
  readonly mode: string
  readonly metadata: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly plaintext: Buffer
  /** Of its instruction files, by suffix. */
  readonly files: Readonly<Record<string, Buffer>>
}

export const vectors: readonly Vector[] = ['go', 'hadoop', 'java1', 'java4', 'python'].flatMap((client) => {
  const { objects } = JSON.parse(readFileSync(join(s3ecVectors, `${client}.json`), 'utf8')) as { readonly objects: readonly S3ecVector[] }
  return objects.map(({ key, mode, metadata, body, plaintext, instructions }) => ({
    client,
    key,
    mode,
    metadata,
    body: Buffer.from(body, 'base64'),
    plaintext: Buffer.from(plaintext, 'base64'),
    files: Object.fromEntries(Object.entries(instructions).map(([suffix, file]) => [suffix, Buffer.from(file.body, 'base64')]))
  }))
})

/** With which the clients wrote. */
export const vectorKeys = {
  aes: Buffer.from(s3ecKeys.aes, 'hex'),
  aesSecond: Buffer.from(s3ecKeys.aesSecond, 'hex'),
  rsaPem: s3ecKeys.rsa,
  rsa: createPrivateKey(s3ecKeys.rsa),
  kms: { arn: s3ecKeys.kms.arn, secret: Buffer.from(s3ecKeys.kms.secret, 'hex') }
}
