import type { HttpResponse } from '../../http/message.ts'
import { enterSeveralStores, enterStore, type OperationContext, type Store, storeOf, upstreamNameOf } from '../context.ts'
import { mayAccess } from '../../auth/authorize.ts'
import { isOwnBucket, upstreamsWith } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { parallelMap } from '../../concurrency/parallel.ts'
import { PageTurns } from '../../s3/page-turns.ts'
import { isBucketName } from '../../s3/names.ts'
import { childOf, childText, parseXml, renderXml, rewriteXml, textOf, upstreamDocument, type XmlNode } from '../../s3/xml.ts'
import { forwardForDocument, forwardedQuery } from '../forward.ts'
import { editedResponse, xmlResponse } from '../responses.ts'
import { shownRegion } from '../shown-region.ts'

/**
 * ListBuckets: without the gateway's own buckets, only what the client may touch, and of each store only the buckets that are mapped to it.
 * @throws the error of any store that is asked: a list without its buckets would look complete (docs/decisions/0090-several-stores.md).
 */
export async function listBuckets(ctx: OperationContext<'ListBuckets'>): Promise<HttpResponse> {
  const stores = storesFor(ctx)
  const [only, ...others] = stores
  if (only !== undefined && others.length === 0) {
    enterStore(ctx, only)
    return oneList(ctx, only)
  }
  enterSeveralStores(ctx)
  return mergedList(ctx, stores)
}

/** The stores that may hold a bucket which this client may touch: it does not depend on others. */
function storesFor({ services, request: { client } }: OperationContext<'ListBuckets'>): readonly Store[] {
  if (services.stores.size === 1) return [...services.stores.values()]
  // Anonymous: what the configuration says of any bucket decides, and so its store.
  if (client === null) return [storeOf(services, '')]
  const names = upstreamsWith(services.config, client.buckets)
  return [...services.stores.values()].filter(({ settings }) => names.includes(settings.name))
}

/** Whether a bucket that this store lists is shown. */
function isShown({ request, services }: OperationContext<'ListBuckets'>, bucket: string | null, store: Store): boolean {
  if (!mayAccess(request.client, { bucket, own: isOwnBucket(services.config, bucket), write: false })) return false
  return services.stores.size === 1 || (bucket !== null && upstreamNameOf(services, bucket) === store.settings.name)
}

/** The list of one store, edited: its pages are the store's. */
async function oneList(ctx: OperationContext<'ListBuckets'>, store: Store): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(ctx, forwardedQuery(ctx), store)
  const body = rewriteXml(document, (editor, parsed) => {
    for (const element of childOf(parsed, parsed.root, 'Buckets')?.children ?? []) {
      const region = childOf(parsed, element, 'BucketRegion')
      if (region !== undefined) editor.setText(region, shownRegion(ctx, textOf(parsed, region)))
      if (!isShown(ctx, childText(parsed, element, 'Name'), store)) editor.remove(element)
    }
  })
  return editedResponse(response, body)
}

/** S3's limit of `max-buckets`. */
const MOST_BUCKETS = 10_000
/** Rows that one store may list for one request, ten times the buckets that an account may have without asking (AWS, "Bucket quotas"). */
const MOST_LISTED = 100_000

/** The page of a merged list that is asked for. */
interface Window {
  /** Most buckets. */
  readonly most: number
  readonly prefix: string
  /** Only names that sort after this one. */
  readonly after: string
}

/**
 * One list of all, in the order of the names as S3 gives it, whose pages are the gateway's own: stores know nothing of each other's tokens. Of each
 * store no more is kept than the page can show, whatever it lists.
 */
async function mergedList(ctx: OperationContext<'ListBuckets'>, stores: readonly Store[]): Promise<HttpResponse> {
  const { query } = ctx.operation
  const window: Window = {
    most: pageSize(query.get('max-buckets')),
    prefix: query.get('prefix') ?? '',
    after: Buffer.from(query.get('continuation-token') ?? '', 'base64url').toString()
  }
  const lists = await parallelMap(
    stores,
    { limit: stores.length + 1, signal: ctx.signal },
    (store, signal) => bucketsAt({ ...ctx, signal }, store, window)
  )
  const all = lists.flatMap(({ buckets }) => buckets).toSorted(byName)
  const page = all.slice(0, window.most)
  const last = page.at(-1)
  const owner = lists[0]?.owner ?? []
  return xmlResponse(renderXml(['ListAllMyBucketsResult', [
    ...owner.length === 0 ? [] : [['Owner', owner] satisfies XmlNode],
    ['Buckets', page.map(({ fields }): XmlNode => ['Bucket', fields])],
    ...last === undefined || page.length === all.length ? [] : [['ContinuationToken', Buffer.from(last.name).toString('base64url')] satisfies XmlNode],
    ...window.prefix === '' ? [] : [['Prefix', window.prefix] satisfies XmlNode]
  ]]))
}

function pageSize(asked: string | undefined): number {
  const most = asked === undefined ? MOST_BUCKETS : /^\d{1,5}$/.test(asked) ? Number(asked) : 0
  if (most >= 1 && most <= MOST_BUCKETS) return most
  throw new S3Error('InvalidArgument', {
    message: `Argument max-buckets must be an integer between 1 and ${MOST_BUCKETS}`,
    fields: { ArgumentName: 'max-buckets', ArgumentValue: asked ?? '' }
  })
}

interface Listed {
  readonly name: string
  readonly fields: readonly XmlNode[]
}

function byName(a: Listed, b: Listed): number {
  return a.name < b.name ? -1 : 1
}

/**
 * What a store lists of the buckets that are mapped to it and belong to the page, all pages: at most one bucket more than the page has, so that it is
 * known whether there is a next one. @throws the store's error; SealgateBadUpstream for more than `MOST_LISTED` rows.
 */
async function bucketsAt(
  ctx: OperationContext<'ListBuckets'>,
  store: Store,
  { most, prefix, after }: Window
): Promise<{ readonly owner: readonly XmlNode[]; readonly buckets: readonly Listed[] }> {
  const asked = forwardedQuery(ctx).filter(([name]) => name !== 'max-buckets' && name !== 'continuation-token')
  const turns = new PageTurns(MOST_LISTED)
  let buckets: Listed[] = []
  let owner: readonly XmlNode[] = []
  for (let token: string | null = ''; token !== null;) {
    const { document } = await forwardForDocument(ctx, token === '' ? asked : [...asked, ['continuation-token', token]], store)
    const parsed = parseXml(document, upstreamDocument)
    if (parsed.root.name !== 'ListAllMyBucketsResult') throw new S3Error('SealgateBadUpstream')
    const fieldsOf = (element: typeof parsed.root, names: readonly string[]): XmlNode[] =>
      names.flatMap((name) => {
        const text = childText(parsed, element, name)
        return text === null ? [] : [[name, name === 'BucketRegion' ? shownRegion(ctx, text) : text] satisfies XmlNode]
      })
    const rows = childOf(parsed, parsed.root, 'Buckets')?.children ?? []
    for (const row of rows) {
      const name = childText(parsed, row, 'Name')
      if (name === null || !isBucketName(name) || !name.startsWith(prefix) || name <= after || !isShown(ctx, name, store)) continue
      buckets.push({ name, fields: fieldsOf(row, ['Name', 'CreationDate', 'BucketRegion', 'BucketArn']) })
    }
    buckets = buckets.toSorted(byName).slice(0, most + 1)
    const owned = childOf(parsed, parsed.root, 'Owner')
    if (owned !== undefined) owner = fieldsOf(owned, ['DisplayName', 'ID'])
    const next = childText(parsed, parsed.root, 'ContinuationToken')
    token = next === '' ? null : next
    if (token !== null) turns.turn(token, rows.length)
  }
  return { owner, buckets }
}
