import type { KeyObject } from 'node:crypto'
import type { S3ecPolicy } from '../../config/s3ec-policy.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { cbcSize } from '../../s3ec/body.ts'
import { bodyKey } from '../../s3ec/data-key.ts'
import { describe, type Description, describeWith, plaintextSizeOf } from '../../s3ec/description.ts'
import { S3ecError } from '../../s3ec/fault.ts'
import { type Entries, instructionsOf, marksOf, MOST_INSTRUCTIONS } from '../../s3ec/metadata.ts'
import { keyUse, type OperationContext, placeIn, send } from '../context.ts'
import { relayError } from '../responses.ts'
import type { InStore } from './in-store.ts'
import { LONGEST_NAME } from './instruction-files.ts'

/** An object of the S3 Encryption Client, in a bucket that opens its kind (`s3ec` of its policy). Nothing of its metadata is authentic. */
export interface ClientSealed extends InStore {
  readonly kind: 's3ec'
  readonly description: Description
  /** null: only its size was asked for, and no key was needed for that. */
  readonly bodyKey: KeyObject | null
}

type Stored = Omit<InStore, 'size'>

/** Fewest bytes of an object in CBC and in GCM. */
const FEWEST = 16

/**
 * What the headers and the instruction file of an object say, and its key.
 * @param factsOnly its size, without a key where none is needed.
 * @returns null: it is no object of this client.
 * @throws S3Error SealgateIntegrityError, SealgatePlaintextRefused for a kind that the bucket does not open, SealgateKeyUnavailable, AccessDenied for
 * an anonymous client where objects need the public mark; the errors of the store and of key services.
 */
export async function openClientSealed(ctx: OperationContext, stored: Stored, policy: S3ecPolicy, factsOnly: boolean): Promise<ClientSealed | null> {
  return judged(ctx, async () => {
    const description = await descriptionOf(ctx, stored, policy)
    if (description === null) return null
    if (!policy.read.includes(description.readable)) throw new S3Error('SealgatePlaintextRefused')
    // It has no place for the mark.
    if (ctx.request.client === null && ctx.services.policyFor(stored.bucket).publicRead === 'marked') throw new S3Error('AccessDenied')
    const size = plaintextSizeOf(description, stored.storedSize)
    if (factsOnly && size !== null) return { ...stored, kind: 's3ec', size, description, bodyKey: null }
    const key = await keyOf(ctx, stored, policy, description)
    return { ...stored, kind: 's3ec', size: size ?? await sizeByPadding(ctx, stored, description, key), description, bodyKey: key }
  })
}

/** Runs a step of verification. Its failures become one error that reveals nothing to a client, and a metric with the kind. */
async function judged<T>(ctx: OperationContext, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw unopened(ctx, error)
  }
}

/** What a client is told. */
export function unopened(ctx: OperationContext, error: unknown): unknown {
  if (error instanceof S3ecError) {
    ctx.services.integrityFailure(error.kind)
    return new S3Error('SealgateIntegrityError', { cause: error })
  }
  // Found by the keys: it has its answer already.
  if (error instanceof S3Error && error.code === 'SealgateIntegrityError') {
    ctx.services.integrityFailure(error.cause instanceof S3ecError ? error.cause.kind : 's3ec-wrap')
  }
  return error
}

async function descriptionOf(ctx: OperationContext, stored: Stored, { instructionSuffixes }: S3ecPolicy): Promise<Description | null> {
  const marks = marksOf(stored.headers)
  switch (marks.kind) {
    case 'described':
      return describe(marks.entries)
    case 'instruction-file':
      return null
    case 'none':
    case 'needs-instructions': {
      const needed = marks.kind === 'needs-instructions'
      const instructions = needed || stored.storedSize >= FEWEST ? await firstInstructions(ctx, stored, instructionSuffixes) : null
      if (instructions !== null) return describeWith(marks.entries, instructions)
      if (needed) throw new S3ecError('s3ec-instructions')
      return null
    }
  }
}

async function firstInstructions(ctx: OperationContext, { bucket, key }: Stored, suffixes: readonly string[]): Promise<Entries | null> {
  for (const suffix of suffixes) {
    const found = await instructionsAt(ctx, bucket, key + suffix)
    if (found !== null) return found
  }
  return null
}

/** @returns null where there is none, or something else. @throws S3Error where the store fails: the object could be taken for plaintext. */
async function instructionsAt(ctx: OperationContext, bucket: string, key: string): Promise<Entries | null> {
  if (Buffer.byteLength(key) > LONGEST_NAME) return null
  const response = await send(ctx, { method: 'GET', bucket, key, headers: [['range', `bytes=0-${MOST_INSTRUCTIONS - 1}`]], retry: true })
  const { status, body } = response
  if (status === 200 || status === 206) return instructionsOf(await readAll(body, MOST_INSTRUCTIONS, () => new S3Error('SealgateBadUpstream')))
  if (status === 429 || status >= 500) throw await relayError(ctx, response)
  // 403: of a name that does not exist AWS says no more to one who may not list. 416: an empty object.
  body.resume()
  return null
}

async function keyOf(ctx: OperationContext, { bucket, key, versionId }: Stored, { keys }: S3ecPolicy, description: Description): Promise<KeyObject> {
  const dataKey = await ctx.services.keys.openDataKey(keys, description, keyUse(ctx, placeIn(ctx, bucket, key), versionId))
  return bodyKey(dataKey, description)
}

/** Of an object in CBC without a note of its size: by its last block, and the one before. */
async function sizeByPadding(ctx: OperationContext, stored: Stored, description: Description, key: KeyObject): Promise<number> {
  const { storedSize, bucket, upstreamEtag, versionId } = stored
  const first = Math.max(0, storedSize - 2 * FEWEST)
  const range = `${first}-${storedSize - 1}`
  const response = await send(ctx, {
    method: 'GET',
    bucket,
    key: stored.key,
    query: versionId === null ? [] : [['versionId', versionId]],
    headers: [['range', `bytes=${range}`], ['if-match', upstreamEtag]],
    retry: true
  })
  if (response.status === 412 || response.status === 404) {
    response.body.resume()
    throw new S3Error('SlowDown', { endedBy: 'store' })
  }
  if (response.status !== 206 || response.headers.get('content-range') !== `bytes ${range}/${storedSize}`) {
    response.body.destroy()
    throw new S3Error(response.status >= 500 ? 'ServiceUnavailable' : 'SealgateBadUpstream')
  }
  const end = await readAll(response.body, storedSize - first, () => new S3Error('SealgateBadUpstream'))
  return cbcSize(end, { key, description, storedSize })
}
