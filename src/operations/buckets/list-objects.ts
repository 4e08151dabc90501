import { setImmediate } from 'node:timers/promises'
import type { HttpResponse } from '../../http/message.ts'
import type { RowFacts } from '../caches.ts'
import type { BucketContext, OperationContext } from '../context.ts'
import { parallel } from '../../concurrency/parallel.ts'
import { isDescribing } from '../../envelope/metadata.ts'
import { plaintextSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { unquoteEtag } from '../../s3/conditions.ts'
import type { ListingRow } from '../../s3/listing-rows.ts'
import type { RowEdit } from '../../s3/listing.ts'
import { openListing, ROWS_AT_ONCE } from '../../s3/scanned-listing.ts'
import { forwardForDocument } from '../forward.ts'
import { inspectObject, retryOnChange } from '../objects/inspect.ts'
import { isInstructionFile } from '../objects/instruction-files.ts'
import { isListedByLaw, rowName } from '../objects/listed-facts.ts'
import { describedHeaders } from '../objects/response-headers.ts'
import { clientEtag } from '../objects/sealed-object.ts'
import { opaqueTag } from '../objects/visible-etag.ts'
import { editedResponse } from '../responses.ts'

/** Codes of an object that cannot be opened, as opposed to a store or key service that fails. InvalidRequest: SSE-C objects need their key. */
const closedCodes: ReadonlySet<string> = new Set(['InvalidRequest', 'SealgateIntegrityError', 'SealgateKeyUnavailable', 'SealgatePlaintextRefused'])

/** Rows looked up at once in `md5` mode. */
const PARALLEL_LOOKUPS = 32

/**
 * ListObjects, ListObjectsV2, ListObjectVersions: sizes by the size law, ETags by the bucket's mode, and the sealed metadata where the listing shows
 * metadata (MinIO's `metadata=true`). Instruction files of the S3 Encryption Client are left out. One row never fails the listing: a row that cannot be opened is shown as stored.
 */
export async function listObjects(ctx: OperationContext<'ListObjects' | 'ListObjectsV2' | 'ListObjectVersions'>): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(ctx)
  const listing = await openListing(document)
  // Everybody may list one prefix only: the store must not return more.
  if (typeof ctx.policy.publicRead === 'object' && ctx.request.client === null && !listing.listsOnly(ctx.operation.query.get('prefix') ?? '')) {
    throw new S3Error('SealgateBadUpstream')
  }
  const edits = await editsOf(ctx, listing.rows)
  const body = await listing.write(edits, ctx.policy.s3ec === null ? null : (key) => isInstructionFile(ctx.policy, key))
  return editedResponse(response, body)
}

/** The edit of each row. Only those that no earlier request has found out need requests of their own. */
async function editsOf(ctx: BucketContext, rows: readonly ListingRow[]): Promise<RowEdit[]> {
  const edits: RowEdit[] = []
  const unknown: number[] = []
  for (const [i, row] of rows.entries()) {
    if (i % ROWS_AT_ONCE === ROWS_AT_ONCE - 1) await setImmediate()
    const edit = knownEdit(ctx, row)
    edits.push(edit ?? {})
    if (edit === null) unknown.push(i)
  }
  if (unknown.length === 0) return edits
  await parallel(unknown, { limit: PARALLEL_LOOKUPS, signal: ctx.signal }, async (i, signal) => {
    const row = rows[i]
    if (row !== undefined) edits[i] = await editOf({ ...ctx, signal }, row)
  })
  return edits
}

/** null: the store must be asked. */
function knownEdit(ctx: BucketContext, row: ListingRow): RowEdit | null {
  const { policy } = ctx
  const { etag, size } = row
  if (etag === null || size === null || isInstructionFile(policy, row.key)) return {}
  // By the size law no object need be inspected, unless plaintext objects may be among the sealed ones.
  if (!row.described && isListedByLaw(policy, plaintextSize(size) ?? size)) return byLaw(ctx, etag, size)
  // A copy of an object onto itself can change its metadata under the same ETag.
  const cached = row.described ? undefined : ctx.services.objects.row(...rowName(ctx, row.key, row.versionId, etag))
  return cached === undefined ? null : { ...cached, checksums: [] }
}

/** As the row of a sealed object of which nothing else is known. @param etag null: nothing may be said of it */
function byLaw({ policy }: BucketContext, etag: string | null, stored: number): RowEdit {
  const size = plaintextSize(stored)
  return { etag: etag === null ? null : opaqueTag(policy.etag, etag), checksums: [], ...(size === null ? {} : { size }) }
}

async function editOf(ctx: BucketContext, row: ListingRow): Promise<RowEdit> {
  const facts = await rowFacts(ctx, row)
  if (typeof facts === 'object') return { ...facts, checksums: [] }
  return byLaw(ctx, facts === 'unknown' ? null : row.etag ?? '', row.size ?? 0)
}

/**
 * Size and ETag of a row by inspecting the object. `closed`: it does not open for this client, and so has no other ETag in any
 * operation. `unknown`: the store failed just now. The row gets no ETag, because a different one would mean to clients that the object has changed.
 */
async function rowFacts(ctx: BucketContext, row: ListingRow): Promise<RowFacts & Pick<RowEdit, 'described'> | 'closed' | 'unknown'> {
  const bucket = ctx.operation.bucket
  const etag = row.etag ?? ''
  try {
    // Not every store without versions knows the version id `null` that it lists (versitygw: 404).
    const versionId = row.latest && row.versionId === 'null' ? null : row.versionId
    const object = await retryOnChange(() => inspectObject(ctx, { bucket, key: row.key, versionId, customerKey: null, factsOnly: true }))
    if (versionId !== row.versionId && unquoteEtag(object.upstreamEtag) !== etag) return 'unknown'
    // Overwritten since the store made the listing: the current state is shown, but not cached.
    const facts = { size: object.size, etag: unquoteEtag(clientEtag(ctx, object)) }
    if (unquoteEtag(object.upstreamEtag) === etag) ctx.services.objects.rememberRow(facts, ...rowName(ctx, row.key, row.versionId, etag))
    return row.described && object.kind !== 'plain' ? { ...facts, described: describedHeaders(object).filter(([name]) => isDescribing(name)) } : facts
  } catch (error) {
    if (!(error instanceof S3Error) || ctx.signal.aborted) throw error
    return closedCodes.has(error.code) ? 'closed' : 'unknown'
  }
}
