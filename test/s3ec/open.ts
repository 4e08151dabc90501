// Opens objects with the stages of src/s3ec alone, as the gateway does with a store and its keys around them.
import { createSecretKey, type KeyObject } from 'node:crypto'
import { bodyOpener, cbcSize } from '../../src/s3ec/body.ts'
import { bodyKey, keyKindOf, unwrapByAes, unwrapByRsa } from '../../src/s3ec/data-key.ts'
import { S3ecError, type S3ecFault } from '../../src/s3ec/fault.ts'
import { describe, describeWith, type Description, plaintextSizeOf } from '../../src/s3ec/description.ts'
import { instructionsOf, marksOf } from '../../src/s3ec/metadata.ts'
import { headersOf } from '../support/s3ec-writer.ts'

/** With which fault a call ends. */
export function faultOf(call: () => unknown): S3ecFault | 'none' {
  try {
    call()
    return 'none'
  } catch (error) {
    if (error instanceof S3ecError) return error.kind
    throw error
  }
}

export interface ReaderKeys {
  readonly aes: KeyObject
  readonly rsa: KeyObject
  readonly kms: (blob: Buffer, context: Readonly<Record<string, string>>) => Buffer
}

export interface StoredForm {
  readonly metadata: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Of the instruction file. */
  readonly file?: Buffer
}

export function describeStored({ metadata, file }: StoredForm): Description {
  const marks = marksOf(headersOf(metadata))
  if (marks.kind === 'instruction-file') throw new S3ecError('s3ec-format')
  if (marks.kind === 'described') return describe(marks.entries)
  const instructions = instructionsOf(file ?? Buffer.alloc(0))
  if (instructions === null) throw new S3ecError('s3ec-instructions')
  return describeWith(marks.entries, instructions)
}

export function unwrap(description: Description, keys: ReaderKeys): KeyObject {
  switch (keyKindOf(description)) {
    case 'aes':
      return unwrapByAes(keys.aes, description)
    case 'rsa':
      return unwrapByRsa(keys.rsa, description)
    case 'kms':
      return createSecretKey(keys.kms(description.blob, description.material))
  }
}

/** @param sizes of the chunks in which the body comes, over and over. @throws S3ecError; `released` has what had come out by then. */
export function open(stored: StoredForm, keys: ReaderKeys, { hold = true, chunk = 5, released = [] as Buffer[] } = {}): Buffer {
  const description = describeStored(stored)
  const { body } = stored
  const key = bodyKey(unwrap(description, keys), description)
  const storedSize = body.length
  const plaintextSize = plaintextSizeOf(description, storedSize) ?? cbcSize(body.subarray(-32), { key, description, storedSize })
  const stage = bodyOpener({ key, description, storedSize, plaintextSize, hold })
  for (let at = 0; at < body.length; at += chunk) released.push(...stage.update(Buffer.from(body.subarray(at, at + chunk))))
  const last = stage.final()
  if (last instanceof Promise) throw new TypeError('a promise')
  released.push(...last)
  const plaintext = Buffer.concat(released)
  if (plaintext.length !== plaintextSize) throw new TypeError('another size than was announced')
  return plaintext
}
