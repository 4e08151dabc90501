// Objects of the S3 Encryption Client that `sealgate encrypt` seals: the gateway opens them, by the bucket's `s3ec`, and copies them onto themselves.
import type { S3ecPolicy } from '../config/s3ec-policy.ts'
import { ENVELOPE_HEADER } from '../envelope/envelope.ts'
import { MAX_SINGLE_PLAINTEXT } from '../envelope/sizes.ts'
import { isClientEntry } from '../s3ec/metadata.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import type { Examined } from './classify.ts'
import type { Finding } from './engine.ts'

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
    return { outcome: 'left: instruction file', detail: 'it goes with its object' }
  }
  if ((storedBytes ?? 0) <= MAX_SINGLE_PLAINTEXT) return null
  return { outcome: 'left: too large', detail: 'one tag stands over all of it, so that it cannot be copied in parts: more than 5 GiB' }
}

/**
 * Removes the instruction file of an object that is sealed by now: a run was killed before it could, or a client has replaced the object. In a bucket that
 * keeps versions it stays: older versions need it.
 * @returns null: it is none. @throws S3Error of the store.
 */
export async function removeOrphan(raw: BucketClient, { finding, headers }: Examined, policy: S3ecPolicy | null): Promise<Finding | null> {
  const { key, versionId } = finding
  const suffix = policy?.instructionSuffixes.find((one) => key.endsWith(one))
  if (suffix === undefined || versionId !== null || headers?.has('x-amz-meta-x-amz-crypto-instr-file') !== true) return null
  if ((await raw.head(key.slice(0, -suffix.length)))?.has(ENVELOPE_HEADER) !== true) return null
  await raw.document({ method: 'DELETE', key })
  return { ...finding, outcome: 'removed: instruction file' }
}

/**
 * Removes the instruction files of an object that is sealed now. In a bucket that keeps versions they stay: older versions of the object need them.
 * @returns how many. @throws S3Error of the store.
 */
export async function removeInstructionFiles(raw: BucketClient, key: string, { instructionSuffixes }: S3ecPolicy): Promise<number> {
  let removed = 0
  for (const name of instructionSuffixes.map((suffix) => key + suffix)) {
    const headers = Buffer.byteLength(name) > 1024 ? null : await raw.head(name)
    // What has no mark may be a client's own object, from before such names were the gateway's.
    if (headers === null || ![...headers.names()].some((header) => header.endsWith('-crypto-instr-file') && isClientEntry(header))) continue
    await raw.document({ method: 'DELETE', key: name })
    removed += 1
  }
  return removed
}
