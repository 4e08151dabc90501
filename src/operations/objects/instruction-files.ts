import type { BucketPolicy } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { parallelMap } from '../../concurrency/parallel.ts'
import { type BucketContext, conditionsIn, send } from '../context.ts'
import { expectSuccess } from '../responses.ts'

/** Bytes of an object name (S3 User Guide, "Naming Amazon S3 objects"). */
export const LONGEST_NAME = 1024

/** The ends of the names that are the gateway's own in a bucket. */
function instructionSuffixes({ s3ec }: Pick<BucketPolicy, 's3ec'>): readonly string[] {
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

/** An instruction file, as it was seen. */
interface SeenFile {
  /** Of its object. */
  readonly of: string
  readonly name: string
  readonly etag: string
}

/**
 * The instruction files of objects that are to be deleted. They are asked for, because a bucket with versions would get a delete marker for each name
 * there never was.
 * @throws S3Error the store's error.
 */
export async function instructionFilesOf(ctx: BucketContext, keys: readonly string[]): Promise<readonly SeenFile[]> {
  const names = keys.flatMap((of) => instructionSuffixes(ctx.policy).map((suffix) => ({ of, name: of + suffix })))
    .filter(({ name }) => Buffer.byteLength(name) <= LONGEST_NAME)
  const seen = await parallelMap(names, { limit: PARALLEL_LOOKUPS, signal: ctx.signal }, async ({ of, name }, signal) => {
    const etag = await etagOf({ ...ctx, signal }, name)
    return etag === null ? [] : [{ of, name, etag }]
  })
  return seen.flat()
}

/** @returns null where there is none. */
async function etagOf(ctx: BucketContext, key: string): Promise<string | null> {
  const head = await send(ctx, { method: 'HEAD', key, retry: true })
  // 403: who may not list is told no more of a name that does not exist.
  if (head.status !== 404 && head.status !== 403) await expectSuccess(ctx, head)
  head.body.resume()
  return head.status === 200 ? head.headers.get('etag') ?? null : null
}

/**
 * Deletes the instruction files of objects that were deleted, as the client itself does; of a version they stay, because others need them. One that has
 * changed since belongs to an object that is being written past the gateway: clients write the file first.
 * @throws S3Error the store's error: asked again, the object is deleted again, and its file with it.
 */
export async function deleteInstructionFiles(ctx: BucketContext, seen: readonly SeenFile[]): Promise<void> {
  if (seen.length === 0) return
  const { delete: enforced } = await conditionsIn(ctx, ctx.operation.bucket)
  await parallelMap(seen, { limit: PARALLEL_LOOKUPS, signal: ctx.signal }, async ({ name, etag }, signal) => {
    const within = { ...ctx, signal }
    if (!enforced && await etagOf(within, name) !== etag) return
    const response = await send(within, { method: 'DELETE', key: name, headers: enforced ? [['if-match', etag]] : [] })
    if (response.status !== 404 && response.status !== 412) await expectSuccess(within, response)
    response.body.resume()
  })
}
