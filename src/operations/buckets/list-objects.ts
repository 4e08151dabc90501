import type { HttpResponse } from '../../http/message.ts'
import type { RowFacts } from '../caches.ts'
import { type BucketContext, type OperationContext, readerOf } from '../context.ts'
import { isDescribing } from '../../envelope/metadata.ts'
import { plaintextSize } from '../../envelope/sizes.ts'
import { editedResponse } from '../responses.ts'
import { S3Error } from '../../errors.ts'
import { unquoteEtag } from '../../s3/conditions.ts'
import { listsOnly, readListing, writeListing, type ListingRow, type RowEdit } from '../../s3/listing.ts'
import { opaqueEtag, clientEtag } from '../objects/sealed-object.ts'
import { forwardForDocument } from '../forward.ts'
import { inspectObject, retryOnChange } from '../objects/inspect.ts'
import { parallelMap } from '../../concurrency/parallel.ts'
import { describedHeaders } from '../objects/response-headers.ts'

/** What says that an object does not open, as opposed to a store or key service that fails: SSE-C objects want their key. */
const closedCodes: ReadonlySet<string> = new Set(['InvalidRequest', 'SealgateIntegrityError', 'SealgateKeyUnavailable', 'SealgatePlaintextRefused'])

/** Rows looked up at once in `md5` mode. */
const PARALLEL_LOOKUPS = 32

/**
 * ListObjects, ListObjectsV2, ListObjectVersions: sizes by the size law, ETags by the bucket's mode, and where the listing tells what describes
 * the objects (MinIO's `metadata=true`), what was sealed of it. Never fails for one row: a row that does not open is shown as stored.
 */
export async function listObjects(ctx: OperationContext<'ListObjects' | 'ListObjectsV2' | 'ListObjectVersions'>): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(ctx)
  // What everybody may list is one prefix: the store must not make more of it.
  if (typeof ctx.policy.publicRead === 'object' && ctx.request.client === null && !listsOnly(document, ctx.operation.query.get('prefix') ?? '')) {
    throw new S3Error('SealgateBadUpstream')
  }
  const rows = readListing(document)
  const edits = await parallelMap(rows, { limit: PARALLEL_LOOKUPS, signal: ctx.signal }, (row, signal) => editOf({ ...ctx, signal }, row))
  const body = writeListing(document, (_, i) => edits[i] ?? {})
  return editedResponse(response, body)
}

async function editOf(ctx: BucketContext, row: ListingRow): Promise<RowEdit> {
  if (row.etag === null || row.size === null) return {}
  const byLaw = plaintextSize(row.size)
  // The size law needs no second look, unless plaintext may stand beside sealed objects.
  if (ctx.policy.etag === 'opaque' && ctx.policy.plaintext === 'refuse' && !row.described) {
    return { etag: unquoteEtag(opaqueEtag(row.etag)), checksums: [], ...(byLaw === null ? {} : { size: byLaw }) }
  }
  const facts = await rowFacts(ctx, row)
  if (typeof facts === 'object') return { ...facts, checksums: [] }
  const etag = facts === 'unknown' ? null : unquoteEtag(opaqueEtag(row.etag))
  return { etag, checksums: [], ...(byLaw === null ? {} : { size: byLaw }) }
}

/**
 * Size and ETag of a row, from the cache or by looking at the object. `closed`: it does not open for this client, and so has
 * no other ETag in any operation. `unknown`: the store failed just now; another ETag than at other times would tell clients
 * that the object has changed, so it gets none.
 */
async function rowFacts(ctx: BucketContext, row: ListingRow): Promise<RowFacts & Pick<RowEdit, 'described'> | 'closed' | 'unknown'> {
  const bucket = ctx.operation.bucket
  const etag = row.etag ?? ''
  const name = [readerOf(ctx), bucket, row.key, row.versionId, etag] as const
  // What describes an object can change under its ETag: a copy onto itself does that.
  const cached = row.described ? undefined : ctx.services.objects.row(...name)
  if (cached !== undefined) return cached
  try {
    const { object, manifest } = await retryOnChange(() => inspectObject(ctx, { bucket, key: row.key, versionId: row.versionId, customerKey: null }))
    // Overwritten since the store made the listing: what is shown is what is there now, but it is not remembered.
    const facts = { size: object.size, etag: unquoteEtag(clientEtag(ctx, object, manifest)) }
    if (unquoteEtag(object.upstreamEtag) === etag) ctx.services.objects.rememberRow(facts, ...name)
    return row.described && object.kind !== 'plain' ? { ...facts, described: describedHeaders(object).filter(([name]) => isDescribing(name)) } : facts
  } catch (error) {
    if (!(error instanceof S3Error) || ctx.signal.aborted) throw error
    return closedCodes.has(error.code) ? 'closed' : 'unknown'
  }
}
