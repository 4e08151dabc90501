// Objects of the S3 Encryption Client that `sealgate encrypt` seals: the gateway opens them, by the bucket's `s3ec`, and copies them onto themselves.
import type { S3ecPolicy } from '../config/s3ec-policy.ts'
import { ENVELOPE_HEADER } from '../envelope/envelope.ts'
import { MAX_SINGLE_PLAINTEXT } from '../envelope/sizes.ts'
import { S3Error } from '../errors.ts'
import type { HeaderList } from '../http/message.ts'
import { isClientEntry } from '../s3ec/metadata.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import type { Conditions } from '../store-client/probe-conditions.ts'
import type { Examined } from './classify.ts'

/** Of an instruction file. */
const LEFT_FILE = 'left: instruction file'

/**
 * Why one is left as it is; null: it is to be sealed.
 * @param policy null: the bucket reads none.
 */
export function clientLeft(
  { finding: { key, storedBytes }, headers }: Examined,
  policy: S3ecPolicy | null
): { readonly outcome: string; readonly detail?: string } | null {
  if (policy === null || headers === null) return { outcome: 'left: not read by the bucket' }
  if (headers.has('x-amz-meta-x-amz-crypto-instr-file') || policy.instructionSuffixes.some((suffix) => key.endsWith(suffix))) {
    return { outcome: LEFT_FILE, detail: 'it goes with its object' }
  }
  if ((storedBytes ?? 0) <= MAX_SINGLE_PLAINTEXT) return null
  return { outcome: 'left: too large', detail: 'one tag stands over all of it, so that it cannot be copied in parts: more than 5 GiB' }
}

/** An instruction file as it was seen. */
interface SeenFile {
  readonly name: string
  readonly etag: string
}

/** The instruction files of an object that is to be sealed. In a bucket that keeps versions they stay: older versions of the object need them. @throws S3Error of the store. */
export async function instructionFilesOf(raw: BucketClient, key: string, { instructionSuffixes }: S3ecPolicy): Promise<readonly SeenFile[]> {
  const seen: SeenFile[] = []
  for (const name of instructionSuffixes.map((suffix) => key + suffix)) {
    const headers = Buffer.byteLength(name) > 1024 ? null : await raw.head(name)
    // What has no mark may be a client's own object, from before such names were the gateway's.
    if (headers !== null && isMarked(headers)) seen.push({ name, etag: headers.get('etag') ?? '' })
  }
  return seen
}

function isMarked(headers: HeaderList): boolean {
  return [...headers.names()].some((header) => header.endsWith('-crypto-instr-file') && isClientEntry(header))
}

/**
 * Removes the instruction files of an object that is sealed now. One that has changed since belongs to an object that is being written past the gateway:
 * clients write the file first. @throws S3Error of the store.
 */
export async function removeInstructionFiles(raw: BucketClient, seen: readonly SeenFile[], { delete: enforced }: Conditions): Promise<void> {
  for (const { name, etag } of seen) {
    const now = await raw.head(name)
    if (now?.get('etag') !== etag) continue
    const { status, error, diagnosis } = await raw.answer({ method: 'DELETE', key: name, headers: enforced ? [['if-match', etag]] : [] })
    if (status >= 300 && status !== 404 && status !== 412) {
      throw new S3Error('ServiceUnavailable', {
        status,
        message: `The store answers ${status} ${error?.code ?? ''} to the DELETE of an instruction file`,
        diagnosis
      })
    }
  }
}

/** Milliseconds after which an instruction file whose object does not come is taken to be left over. */
const DAY_MS = 86_400_000

interface FileJob {
  readonly bucket: BucketClient
  /** null: nothing is changed. */
  readonly sealed: BucketClient | null
  readonly s3ec: S3ecPolicy | null
  readonly conditions: Conditions
  /** No client writes, so that no object can be about to follow its file. */
  readonly noWriters: boolean
}

/**
 * Removes an instruction file that is left over: its object is sealed, because a run was killed before it removed the file, or because a client has
 * written the object through the gateway. In a bucket that keeps versions it stays: older versions need it.
 * @param due what there is to do with the file. @returns the same where it is needed, or may be. @throws S3Error of the store.
 */
export async function unlessLeftOver<T extends string | { readonly outcome: string }>(
  { bucket, sealed, s3ec, conditions, noWriters }: FileJob,
  { finding: { key }, headers }: Examined,
  due: T,
  signal: AbortSignal
): Promise<T | { readonly outcome: string; readonly detail: string }> {
  const suffix = s3ec?.instructionSuffixes.find((each) => key.endsWith(each))
  if (sealed === null || suffix === undefined || typeof due === 'string' || due.outcome !== LEFT_FILE || headers === null || !isMarked(headers)) return due
  const raw = bucket.until(signal)
  const object = await raw.head(key.slice(0, -suffix.length))
  if (object?.get(ENVELOPE_HEADER) === undefined || object.get('x-amz-version-id') !== undefined) return due
  const [written, since] = [headers, object].map((each) => Date.parse(each.get('last-modified') ?? '')) as [number, number]
  if (!noWriters && !(written < since && written < Date.now() - DAY_MS)) return due
  await removeInstructionFiles(raw, [{ name: key, etag: headers.get('etag') ?? '' }], conditions)
  return { outcome: 'removed: instruction file', detail: 'its object is sealed' }
}
