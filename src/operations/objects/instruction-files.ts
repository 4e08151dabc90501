import type { BucketPolicy } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { parallelMap } from '../../concurrency/parallel.ts'
import { type BucketContext, send } from '../context.ts'
import { expectSuccess } from '../responses.ts'

/** The ends of the names that are the gateway's own in a bucket. */
export function instructionSuffixes({ s3ec }: Pick<BucketPolicy, 's3ec'>): readonly string[] {
  return s3ec?.instructionSuffixes ?? []
}

/** Whether a name is that of an instruction file: nothing else says it of a row in a listing. */
export function isInstructionFile(policy: Pick<BucketPolicy, 's3ec'>, key: string): boolean {
  return instructionSuffixes(policy).some((suffix) => key.endsWith(suffix))
}

/**
 * Instruction files hold the data keys of other objects: no client reads, writes or deletes one by its name.
 * @throws S3Error NoSuchKey for a read, AccessDenied for a write.
 */
export function refuseInstructionFile(policy: Pick<BucketPolicy, 's3ec'>, key: string, write: boolean): void {
  if (!isInstructionFile(policy, key)) return
  if (!write) throw new S3Error('NoSuchKey')
  throw new S3Error('AccessDenied', {
    message: 'In this bucket such names are those of instruction files of the S3 Encryption Client (s3ec.instructionSuffixes).'
  })
}

const PARALLEL_LOOKUPS = 32

/**
 * Deletes the instruction files of objects that were deleted, as the client itself does: without them nobody opens older versions, which is why they
 * stay where one version was deleted. Each is asked for first, because a bucket with versions would get a delete marker for each name there never was.
 * @param keys of objects that are gone. @throws S3Error the store's error: asked again, the object is deleted again, and its file with it.
 */
export async function deleteInstructionFiles(ctx: BucketContext, keys: readonly string[]): Promise<void> {
  const names = keys.flatMap((key) => instructionSuffixes(ctx.policy).map((suffix) => key + suffix)).filter((name) => Buffer.byteLength(name) <= 1024)
  await parallelMap(names, { limit: PARALLEL_LOOKUPS, signal: ctx.signal }, async (key, signal) => {
    const within = { ...ctx, signal }
    const head = await send(within, { method: 'HEAD', key, retry: true })
    head.body.resume()
    // 403: who may not list is told no more of a name that does not exist.
    if (head.status === 404 || head.status === 403) return
    await expectSuccess(within, head)
    await expectSuccess(within, await send(within, { method: 'DELETE', key }))
  })
}
