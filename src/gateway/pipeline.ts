// The way of every request: authenticate, route, authorise, plan, handle. Each step takes only what the step before it made, and nothing
// is sent to the store before the first three are done. gateway.ts makes the services that handlers use and reloads them; the other files are
// readiness, status and the metrics of a request.
import { type AuthContext, credentialLookup } from '../auth/types.ts'
import { enterStore, storeOf, type Handler, type OperationContext, type Services } from '../operations/context.ts'
import type { HttpRequest, HttpResponse, RequestNote } from '../http/message.ts'
import type { PostForm } from '../s3/post-form.ts'
import { isOwnBucket, type BucketPolicy, type Config } from '../config/config.ts'
import { parseTarget } from '../http/target.ts'
import { authenticate, isFormUpload } from '../auth/authenticate.ts'
import { authorize } from '../auth/authorize.ts'
import { admitPayload } from '../auth/payload.ts'
import { S3Error } from '../errors.ts'
import { readDocument } from '../operations/request-body.ts'
import { corsHeadersFor, knownCorsHeaders, preflight, withCors } from '../operations/buckets/cors.ts'
import { handlers } from '../operations/handlers.ts'
import { refuseInstructionFile } from '../operations/objects/instruction-files.ts'
import { authenticatedForm } from '../operations/objects/post-object.ts'
import { refuseReservedMetadata } from '../plan/headers.ts'
import { plan, isPublic } from '../plan/plan.ts'
import { type OperationName, operations } from '../s3/operations.ts'
import { address, route, type Operation, type OperationOf, type RoutableRequest } from '../s3/route.ts'

/** Everything the pipeline needs. Replaced as a whole when the configuration is reloaded. */
export interface Pipeline {
  readonly services: Services
  readonly auth: AuthContext
}

/**
 * Serves one request: authenticate, route, authorise, plan, handle. No request goes upstream, and no key is requested, before the first three are
 * done.
 * @throws S3Error for every answer that is an error.
 */
export async function handle(pipeline: Pipeline, request: HttpRequest): Promise<HttpResponse> {
  const { services } = pipeline
  if (!request.headers.has('origin') && request.method !== 'OPTIONS') return (await answer(pipeline, request)).response
  const { bucket } = address(request.target, request.host, services.config.listen.domains)
  if (request.method === 'OPTIONS' && bucket !== null) {
    request.annotate?.({ operation: 'Preflight', bucket })
    return preflight(services, request, bucket)
  }
  const readable = (error: unknown): never => {
    throw error instanceof S3Error ? error.withHeaders(knownCorsHeaders(services, request, bucket, error.headers)) : error
  }
  try {
    const { response, signed } = await answer(pipeline, request)
    const { pending } = response
    const cors = await corsHeadersFor(services, request, bucket, signed ? 'signed' : 'unsigned')
    if (pending === undefined) return { ...response, headers: withCors(response.headers, cors) }
    return { ...response, pending: { headers: () => withCors(pending.headers(), cors), document: pending.document.catch(readable) } }
  } catch (error) {
    return readable(error)
  }
}

interface Answer {
  readonly response: HttpResponse
  readonly signed: boolean
}

async function answer({ services, auth }: Pipeline, request: HttpRequest): Promise<Answer> {
  const { domains } = services.config.listen
  const posted = formTarget(request, domains)
  const authenticated = posted === null
    ? { request: authenticate(request, auth), form: null }
    : await authenticatedForm(request, auth, posted.bucket)
  const { client } = authenticated.request
  if (posted === null) request.admit?.(client === null ? { kind: 'anonymous' } : { kind: 'client', id: client.accessKeyId, limits: client.limits })
  if (client !== null) request.annotate?.({ client: client.accessKeyId })
  const operation = posted ?? routed({ ...request, headers: authenticated.request.headers }, domains)
  request.annotate?.(noteOf(operation, authenticated.form))
  const row = operations[operation.name]
  admitPayload(authenticated.request, row.takesBody === 'data' ? 'object-data' : 'other')
  const policy = operation.bucket === null ? null : services.policyFor(operation.bucket)
  if (policy !== null) request.annotate?.({ upstream: policy.upstream })
  const everybody = client === null && operation.name === 'ListBuckets' ? services.policyFor('') : policy
  const publicRead = policy === null ? everybody?.publicRead === 'store' : isPublic(policy.publicRead, operation)
  authorize(client, { bucket: operation.bucket, own: isOwnBucket(services.config, operation.bucket), write: row.write, publicRead })
  if (policy !== null && operation.key !== null) refuseInstructionFile(policy, operation.key, row.write)
  const { handler, note } = plan(operation.name, policy)
  if (handler === 'refuse' || handler === 'preflight') {
    throw new S3Error('NotImplemented', { message: `${operation.name} is not available through this gateway. ${note}` })
  }
  const ctx: OperationContext = {
    request: authenticated.request,
    form: authenticated.form,
    operation,
    services,
    policy: everybody,
    signal: request.signal
  }
  if (operation.bucket !== null) enterStore(ctx, storeOf(services, operation.bucket))
  refuseReservedMetadata(authenticated.request.headers)
  await verifyUnusedBody(ctx)
  // A handler accepts the operations that the table plans for it, which the compiler cannot know here.
  const response = await (handlers[handler] as Handler<OperationName>)(ctx)
  if (client !== null && operation.bucket !== null) services.settings.corsAt(storeOf(services, operation.bucket).settings.name).used(operation.bucket)
  return { response, signed: client !== null }
}

/** Fields of the access log for an operation. The key of a form upload is a field of the form. */
function noteOf({ name, bucket, key }: Operation, form: PostForm | null): RequestNote {
  const named = key ?? form?.fields.get('key')
  return { operation: name, ...bucket === null ? {} : { bucket }, ...named === undefined ? {} : { key: named } }
}

/**
 * The body that a request declares is checked first, even where the operation uses no body: a signed hash of other bytes belongs to another request.
 */
async function verifyUnusedBody(ctx: OperationContext): Promise<void> {
  if (operations[ctx.operation.name].takesBody === 'none' && ctx.request.payload.framing !== 'none') await readDocument(ctx)
}

function routed({ method, target, headers, host }: RoutableRequest, domains: readonly string[]): Operation {
  return route({ method, target, headers, host }, domains)
}

/**
 * The upload that a browser form asks for; null for every other request. A policy signs uploads only: a form posted to `?delete` is a request without
 * credentials.
 */
function formTarget(request: HttpRequest, domains: readonly string[]): OperationOf<'PostObject'> | null {
  if (!isFormUpload(request)) return null
  const operation = routed(request, domains)
  return operation.name === 'PostObject' ? operation : null
}

const rootTarget = parseTarget('/')

/** The part of the configuration that authentication needs. */
export function authContext(config: Config, policies: (bucket: string) => BucketPolicy): AuthContext {
  const { domains, regions } = config.listen
  return {
    credential: credentialLookup(config.clients),
    regions,
    v2Query: config.auth.v2Query,
    v2Header: config.auth.v2Header,
    now: () => new Date(),
    virtualHostBucket: (host) => address(rootTarget, host, domains).bucket,
    isPublicRead: (request) => {
      const { bucket } = address(request.target, request.host, domains)
      return policies(bucket ?? '').publicRead !== false
    }
  }
}
