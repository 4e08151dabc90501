import type { Authenticated } from '../auth/types.ts'
import type { BucketPolicy, Config, UpstreamConfig } from '../config/config.ts'
import type { HttpResponse } from '../http/message.ts'
import type { Place } from '../envelope/envelope.ts'
import type { KeyContext, KeyUse } from '../keys/types.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { PostForm } from '../s3/post-form.ts'
import type { CorsRule } from '../s3/cors.ts'
import type { Level, OperationName, operations } from '../s3/operations.ts'
import type { OperationOf } from '../s3/route.ts'
import type { Capabilities } from '../store-client/capabilities.ts'
import type { Conditions } from '../store-client/probe-conditions.ts'
import type { Upstream, UpstreamIdentity, UpstreamRequest, UpstreamResponse } from '../upstream/types.ts'
import type { DetachedPartWrites } from './multipart/detached-writes.ts'
import type { Budget } from '../concurrency/budget.ts'
import type { Turns } from '../concurrency/turns.ts'
import type { ObjectCache, SettingsCache } from './caches.ts'
import { Finding, S3Error } from '../errors.ts'

/** One store, with what is known of it and what is under way there. */
export interface Store {
  /** Of this opening of it: one that a reload has changed keeps its name, and what hangs at the earlier one must not count at it. */
  readonly id: string
  readonly settings: UpstreamConfig
  readonly upstream: Upstream
  readonly detachedWrites: DetachedPartWrites
  /** What it was seen to do, by kind of bucket. */
  readonly capabilities: Pick<Capabilities, 'of' | 'ofStateBucket' | 'known' | 'report'>
}

/** What every handler works with. Made at start, and replaced as a whole by a reload. */
export interface Services {
  readonly config: Config
  /** By the names of the configuration. Which one a request goes to its bucket says: `storeOf`. */
  readonly stores: ReadonlyMap<string, Store>
  readonly keys: KeyRegistry
  readonly objects: ObjectCache
  readonly settings: SettingsCache
  /** `listen.cors`: rules for every bucket. Where there are any, the store is not asked for its own. */
  readonly ownCors: readonly CorsRule[]
  /**
   * Bytes of plaintext that are held until they have verified, and of small copies until the store is asked to write. What anonymous clients hold comes out of
   * nothing that others need.
   */
  readonly held: { readonly clients: Budget; readonly anonymous: Budget; readonly copies: Budget }
  /** One Complete of an upload at a time. */
  readonly completes: Turns
  /** Counts objects that failed verification, by kind. */
  readonly integrityFailure: (kind: string) => void
  /** Logs why a browser was not given CORS headers: its rules could not be read. */
  readonly corsUnknown: (requestId: string, bucket: string, error: S3Error) => void
  readonly policyFor: (bucket: string) => BucketPolicy
}

interface Context<O, P> {
  readonly request: Authenticated
  readonly operation: O
  readonly policy: P
  readonly services: Services
  /** The browser form of a PostObject, read up to its file. */
  readonly form: PostForm | null
  /** Aborts when nobody waits for the result: the client's own signal, or that of one of several tasks that run at once for it. */
  readonly signal: AbortSignal
}

/** Policy of the bucket. For requests without a bucket: what the configuration says of any bucket, where the request is anonymous; else null. */
type PolicyOf<N extends OperationName> = BucketPolicy | ('service' extends (typeof operations)[N]['level'] ? null : never)

/** One authenticated, routed and authorised request. `N`: the operations it may be, which prove that there is a bucket, a key or an upload id. */
export type OperationContext<N extends OperationName = OperationName> = Context<OperationOf<N>, PolicyOf<N>>

type NamesOf<L extends Level> = { [N in OperationName]: (typeof operations)[N]['level'] extends L ? N : never }[OperationName]
type NamesOfUploads = { [N in OperationName]: 'uploadId' extends (typeof operations)[N]['select'][number] ? N : never }[OperationName]

/** A request for a bucket or for an object in it. */
export type BucketContext = OperationContext<NamesOf<'bucket' | 'object'>>
/** A request for an object. */
export type ObjectContext = OperationContext<NamesOf<'object'>>
/** A request that names an upload: a part, a list of parts, a Complete or an Abort. */
export type UploadContext = OperationContext<NamesOfUploads>

export type Handler<N extends OperationName> = (ctx: OperationContext<N>) => Promise<HttpResponse>

/** The store where a bucket is. @throws S3Error AccessDenied when no policy covers it. */
export function storeOf(services: Pick<Services, 'stores' | 'policyFor'>, bucket: string): Store {
  const { upstream } = services.policyFor(bucket)
  const store = services.stores.get(upstream)
  if (store === undefined) throw new S3Error('InternalError', { cause: new Finding(`There is no store named ${upstream}.`) })
  return store
}

/** The name of the store where a bucket is; null where no policy covers it, so that it is not served. */
export function upstreamNameOf({ policyFor }: Pick<Services, 'policyFor'>, bucket: string): string | null {
  try {
    return policyFor(bucket).upstream
  } catch (error) {
    if (error instanceof S3Error && error.code === 'AccessDenied') return null
    throw error
  }
}

/** The store where the bucket of this request is. */
export function storeHere({ services, operation: { bucket } }: OperationContext): Store {
  if (bucket === null) throw new S3Error('InternalError', { cause: new Finding('The request has no bucket.') })
  return storeOf(services, bucket)
}

type Entering = Pick<OperationContext, 'request' | 'services'>

/**
 * Takes a place at a store for this request until it is over: where there are several stores, one that hangs must not hold what requests to
 * others need. @throws S3Error SlowDown.
 */
export function enterStore({ request: { http, client }, services }: Entering, { id, settings: { connections } }: Store): void {
  if (services.stores.size === 1) return
  http.admit?.(
    client === null
      ? { kind: 'store', id: `anonymous ${id}`, most: Math.ceil(connections / 2) }
      : { kind: 'store', id, most: shareOf(services, 'requestsInFlight') }
  )
}

/**
 * For a request that needs several stores: a place of its own kind, in place of that at one store. Otherwise a store that hangs would use up the
 * places of another that answers. @throws S3Error SlowDown.
 */
export function enterSeveralStores({ request: { http }, services }: Entering): void {
  http.admit?.({ kind: 'store', id: 'several', most: shareOf(services, 'requestsInFlight') })
}

/** What requests that wait for the same may use of a limit: an even share for each store, and one for requests that need several. At least 1. */
export function shareOf({ stores, config: { limits } }: Services, limit: 'requestsInFlight' | 'unauthenticatedRequests'): number {
  return Math.max(1, Math.floor(limits[limit] / (stores.size + 1)))
}

/** Where an object is bound to: its bucket says at which store, and the store in which realm. */
export function placeIn(ctx: OperationContext, bucket: string, objectKey: string): Place {
  return { realm: storeOf(ctx.services, bucket).settings.realm, bucket, objectKey }
}

/** The place the object of this request is bound to. */
export function placeOf(ctx: ObjectContext): Place {
  return placeIn(ctx, ctx.operation.bucket, ctx.operation.key)
}

/** The context a bucket key is bound to: the bucket, or the object itself where bucket keys are off. */
export function keyContext(place: Place, bucketKeys: boolean, requestContext: Readonly<Record<string, string>>): KeyContext {
  return { realm: place.realm, bucket: place.bucket, objectKey: bucketKeys ? null : place.objectKey, requestContext }
}

/** The use of a key, for the audit trail. */
export function keyUse(ctx: OperationContext, place: Place, versionId: string | null = null): KeyUse {
  return {
    requestId: ctx.request.http.id,
    principal: ctx.request.client?.accessKeyId ?? 'anonymous',
    sourceAddress: ctx.request.http.remoteAddress,
    operation: ctx.operation.name,
    bucket: place.bucket,
    objectKey: place.objectKey,
    versionId,
    signal: ctx.signal
  }
}

/**
 * The identity a request goes to a store with; undefined: the gateway itself. Anonymous requests that are left to the store go unsigned, so that it
 * grants them what it grants everybody, and not what it grants the gateway.
 */
function identityAt(ctx: OperationContext, { settings: { name } }: Store): UpstreamIdentity | null | undefined {
  const { client } = ctx.request
  if (client !== null) return client.identities[name]
  const publicRead = ctx.policy?.publicRead
  return publicRead === 'store' || publicRead === 'marked' ? null : undefined
}

/** Which conditional requests the store enforces in a bucket, by the kind of bucket it is now. @throws S3Error of the upstream. */
export function conditionsIn(ctx: OperationContext, bucket: string): Promise<Conditions> {
  const store = storeOf(ctx.services, bucket)
  const identity = identityAt(ctx, store)
  return store.capabilities.of({
    bucket,
    headers: withTerms(ctx, bucket, []),
    signal: ctx.signal,
    ...identity === undefined ? {} : { identity }
  })
}

/** Name of the identity that this client's requests go upstream with: the store may show to one what it refuses to another. Anonymous: null. */
export function readerOf(ctx: OperationContext): string | null {
  const identity = identityAt(ctx, storeHere(ctx))
  return identity === undefined ? '' : identity?.accessKeyId ?? null
}

const EXPECTED_OWNER = 'x-amz-expected-bucket-owner'
const REQUEST_PAYER = 'x-amz-request-payer'

type Sent = Pick<UpstreamRequest, 'method'> & Partial<UpstreamRequest>

/**
 * Sends a request to the store for this client. Fields that are not given are empty, with the control pool and no retry. Each request repeats the
 * client's expected bucket owner and that it pays.
 * @param at for requests without a bucket. Default: the store of the bucket that is sent, or of that of the request.
 */
export async function send(ctx: OperationContext, sent: Sent, at?: Store): Promise<UpstreamResponse> {
  const bucket = sent.bucket === undefined ? ctx.operation.bucket : sent.bucket
  const store = at ?? (bucket === null ? storeHere(ctx) : storeOf(ctx.services, bucket))
  const identity = identityAt(ctx, store)
  return store.upstream.request({
    bucket,
    key: ctx.operation.key,
    query: [],
    body: null,
    contentLength: sent.body instanceof Buffer ? sent.body.length : 0,
    signal: ctx.signal,
    retry: false,
    pool: 'control',
    ...(identity === undefined ? {} : { identity }),
    ...sent,
    headers: withTerms(ctx, bucket, sent.headers ?? [])
  })
}

/** Requests that precede or follow the client's own must fail where the client's own would fail. */
function withTerms(ctx: OperationContext, bucket: string | null, headers: UpstreamRequest['headers']): UpstreamRequest['headers'] {
  const expected = header(ctx, bucket === ctx.operation.bucket ? EXPECTED_OWNER : 'x-amz-source-expected-bucket-owner')
  const terms = [[EXPECTED_OWNER, bucket === null ? undefined : expected], [REQUEST_PAYER, header(ctx, REQUEST_PAYER)]] as const
  const missing = terms.flatMap(([name, value]): [string, string][] => value === undefined || headers.some(([given]) => given === name) ? [] : [[name, value]])
  return missing.length === 0 ? headers : [...headers, ...missing]
}

/**
 * The checksum of stored bytes that is sent to the store with them; null: none.
 * @throws S3Error ServiceUnavailable until a probe has shown that the store removes the frames of such bodies.
 */
export function storedChecksum(ctx: OperationContext): UpstreamConfig['checksum'] {
  const { capabilities, settings: { checksum } } = storeHere(ctx)
  if (checksum !== null && !capabilities.known) {
    throw new S3Error('ServiceUnavailable', { message: 'Support for trailing checksums has not been confirmed yet (upstream.checksum).' })
  }
  return checksum
}

/** A header of the request as S3 sees it, including query parameters that stand for headers. */
export function header(ctx: OperationContext, name: string): string | undefined {
  return ctx.request.headers.get(name)
}
