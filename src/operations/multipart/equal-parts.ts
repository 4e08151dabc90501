// Stores that demand parts of one size (`upstream.equalParts`, Cloudflare R2): which parts are sent to the store at once, and what Complete demands
// of them (docs/MULTIPART-STATE.md, "Stores that want equal parts"; docs/decisions/0066 and 0085).
import { setTimeout as delay } from 'node:timers/promises'
import { MAX_STORED_SINGLE, MIN_PART_SIZE, storedPartSize, tailSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { equalSizeName } from '../../store-client/state-names.ts'
import { type OperationContext, storeHere } from '../context.ts'
import type { Attempt } from './part-records.ts'
import { stateBucketOf, type Upload } from './upload.ts'

/** Milliseconds before each further look for the size that part 1 settles: clients send their first parts at the same time. */
const LOOK_AGAIN_MS = [100, 250, 650]

/**
 * The stored size in bytes of the parts that are sent to the store at once. The first attempt at part 1 with 5 MiB or more settles it. Other parts look
 * for it for up to a second. With a wrong size parts wait, or Complete refuses them; no object becomes wrong.
 * @param size plaintext bytes of the part. @returns null: not settled.
 * @throws S3Error ServiceUnavailable
 */
export async function settledSize(ctx: OperationContext, upload: Upload, number: number, size: number): Promise<number | null> {
  const { objects } = ctx.services
  const cached = objects.equalSize(upload.hash)
  if (cached !== undefined) return cached
  const settles = number === 1 && size >= MIN_PART_SIZE
  const once = storeHere(ctx).capabilities.ofStateBucket.put
  if (settles && once) return settle(ctx, upload, storedPartSize(size))
  for (let looks = 0;; looks += 1) {
    const found = objects.equalSize(upload.hash) ?? await readSize(ctx, upload)
    if (found !== null) return found
    if (settles) return settle(ctx, upload, storedPartSize(size))
    const pause = LOOK_AGAIN_MS[looks]
    if (pause === undefined) return null
    // When the client disconnects, the next request to the store fails with the abort.
    await delay(pause, undefined, { signal: ctx.signal }).catch(() => undefined)
  }
}

/** @returns the size that was settled first. */
async function settle(ctx: OperationContext, upload: Upload, stored: number): Promise<number> {
  const body = Buffer.alloc(8)
  body.writeBigUInt64BE(BigInt(stored))
  try {
    await stateBucketOf(ctx).put(equalSizeName(upload.hash), body, storeHere(ctx).capabilities.ofStateBucket.put)
    ctx.services.objects.rememberEqualSize(upload.hash, stored)
    return stored
  } catch (error) {
    // Settled by another attempt, or through another instance.
    const first = await readSize(ctx, upload)
    if (first === null) throw error
    return first
  }
}

async function readSize(ctx: OperationContext, upload: Upload): Promise<number | null> {
  const body = await stateBucketOf(ctx).get(equalSizeName(upload.hash))
  if (body?.length !== 8) return null
  const size = Number(body.readBigUInt64BE())
  ctx.services.objects.rememberEqualSize(upload.hash, size)
  return size
}

/**
 * Refuses the part with the highest number that the store takes unless the tail is sure to fit behind it: it would need a number more.
 * @param settled stored bytes, from settledSize; null: at least those of a part of 5 MiB.
 * @throws S3Error InvalidArgument
 */
export function checkTailFits(number: number, size: number, settled: number | null): void {
  // 852 + 180 * number bounds the tail (docs/FORMAT.md, Proof of the size law).
  if (storedPartSize(size) + 852 + 180 * number <= (settled ?? storedPartSize(MIN_PART_SIZE))) return
  throw new S3Error('InvalidArgument', { message: tooLarge(number), fields: { ArgumentName: 'partNumber', ArgumentValue: String(number) } })
}

function tooLarge(number: number): string {
  return `Part ${number} must be smaller: this gateway stores what describes the object behind the last part.`
}

/**
 * How many bytes of the tail fit behind the last part, if that waits. If the store demands equal parts, the parts of a Complete are checked against
 * that rule, with R2's message.
 * @throws S3Error InvalidPart
 */
export function roomBehind(ctx: OperationContext, upload: Upload, parts: readonly Attempt[]): number {
  const { equalParts, maxParts } = storeHere(ctx).settings
  const last = parts.at(-1)
  // Where the option was removed during the upload, a part of any size may wait.
  if (!equalParts) return last?.inline === true ? MAX_STORED_SINGLE - storedPartSize(last.plaintextSize) : 0
  const sizes = parts.map(({ plaintextSize }) => storedPartSize(plaintextSize))
  const [equal = 0] = sizes
  const wrong = parts.find((part, i) => sizes[i] !== equal && (part !== last || !part.inline || (sizes[i] ?? 0) > equal))
  if (wrong !== undefined) throw unequal(upload, wrong, 'All non-trailing parts must have the same length.')
  // A store accepts any size of an only part.
  if (last === undefined || (last.plaintextSize < MIN_PART_SIZE && parts.length === 1)) return Number.POSITIVE_INFINITY
  const room = equal - storedPartSize(last.plaintextSize)
  if (last.number >= maxParts && tailSize(parts.map(({ plaintextSize }) => plaintextSize)) > room) throw unequal(upload, last, tooLarge(last.number))
  return room
}

function unequal(upload: Upload, { number, etag }: Attempt, message: string): S3Error {
  return new S3Error('InvalidPart', { message, fields: { UploadId: upload.id, PartNumber: String(number), ETag: etag } })
}
