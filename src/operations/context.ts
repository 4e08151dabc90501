import type { Authenticated } from '../auth/types.ts'
import type { BucketPolicy, Config } from '../config/config.ts'
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
import type { Turns } from '../concurrency/turns.ts'
import type { ObjectCache, SettingsCache } from './caches.ts'
import { S3Error } from '../errors.ts'

/** What every handler works with. Made at start, and replaced as a whole by a reload. */
export interface Services {
  readonly config: Config
  readonly upstream: Upstream
  readonly keys: KeyRegistry
  readonly objects: ObjectCache
  readonly settings: SettingsCache
  /** `listen.cors`: rules for every bucket. Where there are any, the store is not asked for its own. */
  readonly ownCors: readonly CorsRule[]
  readonly detachedWrites: DetachedPartWrites
  /** One Complete of an upload at a time. */
  readonly completes: Turns
  /** Probed capabilities of the store, by kind of bucket. */
  readonly capabilities: Pick<Capabilities, 'of' | 'ofStateBucket' | 'known' | 'report'>
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

/** The place an object of this realm is bound to. */
export function placeIn(ctx: OperationContext, bucket: string, objectKey: string): Place {
  return { realm: ctx.services.config.upstream.realm, bucket, objectKey }
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
 * The identity a request goes upstream with; undefined: the gateway itself. Anonymous requests that are left to the store go unsigned, so that it
 * grants them what it grants everybody, and not what it grants the gateway.
 */
function identityOf(ctx: OperationContext): UpstreamIdentity | null | undefined {
  const { client } = ctx.request
  if (client !== null) return client.upstream ?? undefined
  const publicRead = ctx.policy?.publicRead
  return publicRead === 'store' || publicRead === 'marked' ? null : undefined
}

/** Which conditional requests the store enforces in a bucket, by the kind of bucket it is now. @throws S3Error of the upstream. */
export function conditionsIn(ctx: OperationContext, bucket: string): Promise<Conditions> {
  const identity = identityOf(ctx)
  return ctx.services.capabilities.of({
    bucket,
    headers: withTerms(ctx, bucket, []),
    signal: ctx.signal,
    ...identity === undefined ? {} : { identity }
  })
}

/** Name of the identity that this client's requests go upstream with: the store may show to one what it refuses to another. Anonymous: null. */
export function readerOf(ctx: OperationContext): string | null {
  const identity = identityOf(ctx)
  return identity === undefined ? '' : identity?.accessKeyId ?? null
}

const EXPECTED_OWNER = 'x-amz-expected-bucket-owner'
const REQUEST_PAYER = 'x-amz-request-payer'

type Sent = Pick<UpstreamRequest, 'method'> & Partial<UpstreamRequest>

/**
 * Sends a request to the store for this client. Fields that are not given are empty, with the control pool and no retry. Each request repeats the
 * client's expected bucket owner and that it pays.
 */
export function send(ctx: OperationContext, sent: Sent): Promise<UpstreamResponse> {
  const identity = identityOf(ctx)
  const bucket = sent.bucket === undefined ? ctx.operation.bucket : sent.bucket
  return ctx.services.upstream.request({
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
export function storedChecksum(ctx: OperationContext): Config['upstream']['checksum'] {
  const { capabilities, config: { upstream: { checksum } } } = ctx.services
  if (checksum !== null && !capabilities.known) {
    throw new S3Error('ServiceUnavailable', { message: 'Support for trailing checksums has not been confirmed yet (upstream.checksum).' })
  }
  return checksum
}

/** A header of the request as S3 sees it, including query parameters that stand for headers. */
export function header(ctx: OperationContext, name: string): string | undefined {
  return ctx.request.headers.get(name)
}
