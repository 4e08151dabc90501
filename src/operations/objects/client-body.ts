import type { Readable } from 'node:stream'
import { S3Error } from '../../errors.ts'
import { StagedReadable, type ByteStage } from '../../http/stage.ts'
import { bodyOpener, CounterOpener, counterRange } from '../../s3ec/body.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { OperationContext } from '../context.ts'
import { type ClientSealed, unopened } from './client-sealed.ts'
import type { Slice } from './read-range.ts'

/** Bytes of an object that are held until its tag has verified: as many as AWS's own clients hold. */
export const MOST_HELD = 64 * 1024 * 1024

/** How a slice is read. */
type Reading =
  /** All of the body, and of what it opens to the bytes `first` to `last`. */
  | { readonly kind: 'whole'; readonly hold: boolean }
  /** A part that nothing verifies. */
  | { readonly kind: 'unverified'; readonly storedFirst: number; readonly storedLast: number }

/**
 * One tag stands over the whole object, so a part of it is either cut from a whole that has verified, or verified by nothing.
 * @throws S3Error NotImplemented for a part of an object that is too large to be held, where the bucket has not asked for parts that nothing verifies.
 */
export function readingOf(ctx: OperationContext, object: ClientSealed, { first, last }: Pick<Slice, 'first' | 'last'>): Reading {
  const hold = object.size <= MOST_HELD
  if (last < first || (first === 0 && last === object.size - 1)) return { kind: 'whole', hold }
  const unverified = object.description.cipher === 'gcm' && ctx.services.policyFor(object.bucket).s3ec?.unauthenticatedRanges === true
  if (unverified) return { kind: 'unverified', ...counterRange(first, last) }
  if (hold) return { kind: 'whole', hold }
  throw new S3Error('NotImplemented', {
    message: 'A range of an object of the S3 Encryption Client that is larger than 64 MiB cannot be verified: read the whole object.',
    fields: { Header: 'Range' }
  })
}

/** Opens what the store answers with. @param release called once nothing is held any more. */
export function openBody(
  ctx: OperationContext,
  { body }: Pick<UpstreamResponse, 'body'>,
  object: ClientSealed,
  slice: Pick<Slice, 'first' | 'last'>,
  reading: Reading,
  release: () => void
): Readable {
  const { bodyKey: key, description, storedSize, size } = object
  if (key === null) throw new S3Error('InternalError')
  const { first, last } = slice
  const stages: ByteStage[] = reading.kind === 'unverified'
    ? [new CounterOpener({ key, description }, { ...reading, first, last })]
    : [bodyOpener({ key, description, storedSize, plaintextSize: size, hold: reading.hold }), new Cut(first, last)]
  const stream = new StagedReadable(body, stages.map((stage) => guarded(ctx, stage)), { destroySource: true })
  return stream.once('close', release)
}

/** Every failure is counted by kind, and is the same error to the client. */
function guarded(ctx: OperationContext, stage: ByteStage): ByteStage {
  return {
    update: (chunk) => {
      try {
        return stage.update(chunk)
      } catch (error) {
        throw unopened(ctx, error)
      }
    },
    final: async () => {
      try {
        return await stage.final()
      } catch (error) {
        throw unopened(ctx, error)
      }
    }
  }
}

/** The bytes `first` to `last` of what passes. */
class Cut implements ByteStage {
  readonly #first: number
  readonly #last: number
  #passed = 0

  constructor(first: number, last: number) {
    this.#first = first
    this.#last = last
  }

  update(chunk: Buffer): readonly Buffer[] {
    const start = this.#passed
    this.#passed += chunk.length
    return [chunk.subarray(Math.max(0, this.#first - start), Math.max(0, this.#last + 1 - start))]
  }

  final(): readonly Buffer[] {
    return []
  }
}
