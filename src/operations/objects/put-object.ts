import type { Header, HttpResponse } from '../../http/message.ts'
import type { Checksum, ObjectShape } from '../../envelope/envelope.ts'
import { type ObjectContext, type OperationContext, placeOf, send, storedChecksum } from '../context.ts'
import { type WriteKey, keyForWrite } from './object-keys.ts'
import { BodyVerifier } from '../../auth/body-verifier.ts'
import { DataKey } from '../../envelope/data-key.ts'
import { SingleSealer } from '../../envelope/body.ts'
import { MAX_SINGLE_PLAINTEXT, storedSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { readVerified, requestBody, streamUpstream, type BodySource, HoldLast } from '../request-body.ts'
import { writeForClients, writesForClients } from './client-write.ts'
import { asPut, putHeldBody, type StoredAnswer, type Way, type Written } from './write-way.ts'
import { ensureEnvelopeKept, envelopeHeaders } from './envelope-headers.ts'
import { rememberWritten } from './listed-facts.ts'
import { showsMd5, visibleEtag } from './visible-etag.ts'
import { expectSuccess } from '../responses.ts'
import { writeConditions, encryptionOfWrite } from './write-options.ts'

/**
 * One segment of plaintext: held until it has verified, so that every digest is in the metadata (FORMAT, Metadata). The store gets no request before all
 * of it is here.
 */
export const HELD_BYTES = 65480

/** PutObject: one sealed body, one upstream request. */
export async function putObject(ctx: OperationContext<'PutObject'>): Promise<HttpResponse> {
  const { headers } = await sealObject(ctx, requestBody(ctx), ctx.request.headers)
  return { status: 200, headers: [...headers, ['content-length', '0']], body: null }
}

interface Write {
  readonly ctx: ObjectContext
  readonly source: BodySource
  readonly key: WriteKey
  readonly verifier: BodyVerifier
  readonly wantsMd5: boolean
  readonly conditions: readonly Header[]
  readonly described: readonly Header[]
  readonly dataKey: DataKey
}

/**
 * Seals a body of known length and stores it under the request's bucket and key.
 * @param describing headers that describe the object: of the request itself, or made from the fields of a form.
 * @param way of a body that is not held.
 * @throws S3Error EntityTooLarge before a byte is read; the errors of the body, of key providers and of the store.
 */
export async function sealObject(ctx: ObjectContext, source: BodySource, describing: ReadonlyMap<string, string>, way: Way = asPut): Promise<StoredAnswer> {
  const forClients = writesForClients(ctx)
  if (forClients !== null) return writeForClients(ctx, forClients, source, describing, way)
  const size = source.payload.length
  if (size > MAX_SINGLE_PLAINTEXT) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(size), MaxSizeAllowed: String(MAX_SINGLE_PLAINTEXT) } })
  }
  const described = upstreamHeaders(describing, 'object')
  const asked = await encryptionOfWrite(ctx, describing)
  const held = size <= HELD_BYTES
  const conditions = await writeConditions(ctx, held ? 'put' : way.conditions)
  const key = await keyForWrite(ctx, placeOf(ctx), asked)
  const wantsMd5 = showsMd5(ctx.policy.etag, { kind: 'single', size }) && key.sse.mode !== 'SSE-C'
  const verifier = new BodyVerifier(source.payload, { computeMd5: wantsMd5, computeChecksum: source.computeChecksum ?? null })
  const write: Write = { ctx, source, key, verifier, wantsMd5, conditions, described, dataKey: DataKey.random() }
  const written = await (held ? putHeld(write) : sendStreamed(write, way))
  if (size === 0) await ensureEnvelopeKept(ctx)
  return answerOf(write, written)
}

function answerOf({ ctx, key, source, verifier, wantsMd5 }: Write, { response, etag: upstreamEtag }: Written): StoredAnswer {
  if (upstreamEtag === undefined) throw new S3Error('SealgateBadUpstream')
  const { md5, checksum } = verifier.digests
  const size = source.payload.length
  const etag = visibleEtag(ctx.policy.etag, { kind: 'single', size }, upstreamEtag, wantsMd5 ? md5?.toString('hex') ?? null : null)
  rememberWritten(ctx, { size, etag, upstreamEtag })
  const headers: Header[] = [['etag', etag], ...downstreamHeaders(response.headers, 'written'), ...key.responseHeaders]
  if (checksum !== null) {
    headers.push([`x-amz-checksum-${checksum.algorithm}`, checksum.value.toString('base64')], ['x-amz-checksum-type', 'FULL_OBJECT'])
  }
  return { headers, etag }
}

async function putHeld(write: Write): Promise<Written> {
  const { ctx, source, verifier, conditions } = write
  const stored = storedChecksum(ctx)
  const plaintext = await readVerified(ctx, source, verifier, HELD_BYTES)
  // An object of no bytes has no body: stores that keep objects as files accept none under names that end in "/" (docs/FORMAT.md).
  const sealer = plaintext.length === 0 ? null : new SingleSealer({ dataKey: write.dataKey, plaintextSize: plaintext.length })
  const body = sealer === null ? plaintext : Buffer.concat([...sealer.update(plaintext), ...sealer.final()])
  const { md5, checksum } = verifier.digests
  const headers = headersOf(write, sealer?.header ?? null, { md5: write.wantsMd5 ? md5 : null, checksums: fullObject(checksum), digestsInManifest: false })
  return putHeldBody(ctx, { headers, conditions, stored }, body)
}

async function sendStreamed(write: Write, way: Way): Promise<Written> {
  const { ctx, source, verifier, conditions, wantsMd5 } = write
  const { contentMd5, checksum, trailer, length } = source.payload
  const stored = storedChecksum(ctx)
  // A declared digest may be in the metadata: if it does not verify, there will be no object.
  const late = (wantsMd5 && contentMd5 === null) || trailer !== null || (source.computeChecksum ?? null) !== null
  const sealer = new SingleSealer({
    dataKey: write.dataKey,
    plaintextSize: length,
    digests: () =>
      late
        ? { md5: wantsMd5 ? verifier.digests.md5 : null, checksums: fullObject(verifier.digests.checksum) }
        : { md5: null, checksums: [] }
  })
  const known = late ? { md5: null, checksums: [] } : { md5: wantsMd5 ? contentMd5 : null, checksums: fullObject(checksum) }
  return way.store(ctx, {
    headers: headersOf(write, sealer.header, { ...known, digestsInManifest: late }),
    conditions,
    contentLength: storedSize(length),
    checksum: stored,
    stream: (submit) => streamUpstream(ctx, source, [verifier, sealer], submit)
  })
}

interface Known {
  readonly md5: Buffer | null
  readonly checksums: readonly Checksum[]
  readonly digestsInManifest: boolean
}

/** @param streamHeader null: an empty object. */
function headersOf(write: Write, streamHeader: Buffer | null, known: Known): Header[] {
  const { ctx, key, dataKey, described, source } = write
  const shape: ObjectShape = streamHeader === null ? { kind: 'empty' } : { kind: 'single', streamHeader, plaintextSize: source.payload.length }
  return envelopeHeaders(ctx, { key, dataKey, described, shape, ...known })
}

function fullObject(checksum: Pick<Checksum, 'algorithm' | 'value'> | null): Checksum[] {
  return checksum === null ? [] : [{ ...checksum, type: 'full' }]
}

/** Below this a body goes upstream as one Buffer, with a real x-amz-content-sha256. */
export const SMALL_BODY_BYTES = 65536

/** Stores a body unchanged, in a bucket that is not encrypted, under the request's bucket and key. */
export async function storePlain(ctx: OperationContext, source: BodySource, headers: readonly (readonly [string, string])[]): Promise<StoredAnswer> {
  const verifier = new BodyVerifier(source.payload, { computeMd5: false })
  const declared = headers.some(([name]) => name === 'content-md5' || name.startsWith('x-amz-checksum-'))
  const stored = storedChecksum(ctx)
  const checksum = declared || stored === null ? null : source.computeChecksum ?? stored
  const sent = { method: 'PUT', headers, checksum, pool: 'data' } as const
  const { length } = source.payload
  const response = length <= SMALL_BODY_BYTES
    ? await send(ctx, { ...sent, body: await readVerified(ctx, source, verifier, SMALL_BODY_BYTES) })
    : await streamUpstream(ctx, source, [verifier, new HoldLast()], (body) => send(ctx, { ...sent, body, contentLength: length }))
  await expectSuccess(ctx, response)
  const etag = response.headers.get('etag')
  if (etag === undefined) throw new S3Error('SealgateBadUpstream')
  return { headers: downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-length'), etag }
}
