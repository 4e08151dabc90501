import type { KeyObject } from 'node:crypto'
import { Finding, S3Error } from '../../errors.ts'
import { KEY_BYTES, takeKey } from '../key-material.ts'
import { encryptionContext, isReservedContextName, type KeyContext, type KeyProvider, type KeyUse, type WrappedBucketKey } from '../types.ts'
import { WrongServiceAnswer } from './errors.ts'

/** Longest ciphertext of a wrapped key in bytes: CiphertextBlob of AWS KMS (API reference, Decrypt), which docs/FORMAT.md allows for all. */
const MAX_BLOB_BYTES = 6144

/** The key of an answer. `plaintext` is zeroed. @throws WrongServiceAnswer unless it is a key. */
export function answeredKey(plaintext: Uint8Array | undefined): KeyObject {
  const key = plaintext === undefined ? null : takeKey(plaintext)
  if (key === null) throw new WrongServiceAnswer(`The key service answered with a key that is not ${KEY_BYTES} bytes or is zero.`)
  return key
}

/** The ciphertext of an answer. @throws WrongServiceAnswer for an impossible length. */
export function answeredBlob(blob: Uint8Array | undefined): Buffer {
  if (blob === undefined || blob.length === 0 || blob.length > MAX_BLOB_BYTES) {
    throw new WrongServiceAnswer('The key service answered with a ciphertext of an impossible length.')
  }
  return Buffer.from(blob)
}

/** @throws S3Error SealgateIntegrityError for a blob that no service can have made. */
export function checkBlob({ blob }: WrappedBucketKey): void {
  if (blob.length > 0 && blob.length <= MAX_BLOB_BYTES) return
  throw new S3Error('SealgateIntegrityError', { cause: new Finding('The wrapped key has an impossible length.') })
}

/** An object names a key that no key of the configuration, or not this one, opens. */
export function keyNotHeld(keyId: string): S3Error {
  return new S3Error('SealgateKeyUnavailable', { message: `The object is sealed with key ${keyId}, which the gateway does not hold.` })
}

/** Wraps, unwraps and compares. @throws S3Error as generate and unwrap do; InternalError when another key came back. */
export async function wrapAndUnwrap(provider: Pick<KeyProvider, 'generate' | 'unwrap'>, context: KeyContext): Promise<void> {
  const use: KeyUse = {
    requestId: 'self-test',
    principal: 'self-test',
    sourceAddress: '',
    operation: 'self-test',
    bucket: context.bucket,
    objectKey: null,
    versionId: null,
    signal: new AbortController().signal
  }
  const made = await provider.generate(context, use)
  const opened = await provider.unwrap(made.wrapped, context, use)
  if (!opened.equals(made.key)) throw new S3Error('InternalError', { cause: new Finding(`Self-test of ${made.wrapped.keyId} gave another key back.`) })
}

/**
 * Tries the work with each, also after one has failed: of what cannot be undone as much is to be done as can be, and said.
 * @returns those with which it was done, and the first failure. @throws S3Error where it was done with none.
 */
export async function eachOf<T>(
  all: readonly T[],
  work: (one: T) => Promise<void>
): Promise<{ readonly done: readonly T[]; readonly failure: S3Error | null }> {
  const done: T[] = []
  let failure: S3Error | null = null
  for (const one of all) {
    try {
      await work(one)
      done.push(one)
    } catch (error) {
      if (!(error instanceof S3Error)) throw error
      failure ??= error
    }
  }
  if (failure !== null && done.length === 0) throw failure
  return { done, failure }
}

/** The context for a key service. @throws S3Error InvalidArgument when the client's part uses a reserved name. */
export function serviceContext(context: KeyContext): Record<string, string> {
  const reserved = Object.keys(context.requestContext).find(isReservedContextName)
  if (reserved !== undefined) throw new S3Error('InvalidArgument', { message: `The encryption context name ${reserved} is reserved.` })
  return encryptionContext(context)
}
