// Writes of objects of the Amazon S3 Encryption Client, for readers that go round the gateway (docs/decisions/0167-writing-for-the-s3-encryption-client.md).
import { createSecretKey, randomBytes } from 'node:crypto'
import type { Header } from '../../http/message.ts'
import { BodyVerifier } from '../../auth/body-verifier.ts'
import { MAX_STORED_SINGLE } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { sseResponseHeaders } from '../../keys/sse-headers.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { isClientEntry } from '../../s3ec/metadata.ts'
import { newObject, type NewObject, storedSizeOf, type Writable } from '../../s3ec/seal.ts'
import { keyUse, type ObjectContext, placeOf, storedChecksum, storeHere } from '../context.ts'
import { type BodySource, readVerified, streamUpstream } from '../request-body.ts'
import { checkClearSize } from './envelope-headers.ts'
import { rememberWritten } from './listed-facts.ts'
import { opaqueEtag } from './visible-etag.ts'
import { encryptionOfWrite, writeConditions } from './write-options.ts'
import { putHeldBody, type StoredAnswer, type Way, type Written } from './write-way.ts'

export interface Wanted {
  readonly version: Writable
  /** Name of the key that wraps the data key. */
  readonly key: string
}

/** How the bucket of a request wants new objects; null: sealed. */
export function writesForClients({ policy: { s3ec } }: Pick<ObjectContext, 'policy'>): Wanted | null {
  const [key] = s3ec?.keys ?? []
  return s3ec === null || s3ec.write === null || key === undefined ? null : { version: s3ec.write, key }
}

/** Up to this a body is held until it has verified, and the store gets no request before. */
const HELD_BYTES = 65_536

/**
 * Encrypts a body of known length as the client does, and stores it under the request's bucket and key. One tag stands over all of it, in its last bytes:
 * they go to the store only when the body has verified.
 * @param describing as `sealObject` takes it. @param way of a body that is not held.
 * @throws S3Error as `sealObject`; NotImplemented for encryption that the client's format has no place for; InvalidArgument for metadata with its names.
 */
export async function writeForClients(
  ctx: ObjectContext,
  wanted: Wanted,
  source: BodySource,
  describing: ReadonlyMap<string, string>,
  way: Way
): Promise<StoredAnswer> {
  const { length } = source.payload
  const storedSize = storedSizeOf(length)
  if (storedSize > MAX_STORED_SINGLE) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(length), MaxSizeAllowed: String(MAX_STORED_SINGLE - (storedSize - length)) } })
  }
  const described = upstreamHeaders(describing, 'object')
  refuseClientEntries(described)
  const asked = await clientEncryptionOf(ctx, describing)
  const held = length <= HELD_BYTES
  const conditions = await writeConditions(ctx, held ? 'put' : way.conditions)
  const { headers: own, stage } = await newClientObject(ctx, wanted, length)
  checkClearSize(described, own, storeHere(ctx).settings.metadataBytes)
  const headers = [...described, ...own]
  const verifier = new BodyVerifier(source.payload, { computeMd5: false, computeChecksum: source.computeChecksum ?? null })
  const stored = storedChecksum(ctx)
  const written = held
    ? await putHeldBody(ctx, { headers, conditions, stored }, Buffer.concat(await sealed(stage, await readVerified(ctx, source, verifier, HELD_BYTES))))
    : await way.store(ctx, {
      headers,
      conditions,
      contentLength: storedSize,
      checksum: stored,
      stream: (submit) => streamUpstream(ctx, source, [verifier, stage], submit)
    })
  const answer = answerOf(ctx, written, verifier, asked)
  rememberWritten(ctx, { size: length, etag: answer.etag, upstreamEtag: written.etag ?? '' })
  return answer
}

/**
 * One new object under a data key that no other has: whatever is written twice has another keystream each time.
 * @param size bytes of plaintext. @throws S3Error of the key.
 */
export async function newClientObject(ctx: ObjectContext, { version, key }: Wanted, size: number): Promise<NewObject> {
  const dataKey = createSecretKey(randomBytes(32))
  return newObject(version, await ctx.services.keys.wrapDataKey(key, dataKey, version, keyUse(ctx, placeOf(ctx))), size)
}

async function sealed(stage: NewObject['stage'], plaintext: Buffer): Promise<readonly Buffer[]> {
  return [...stage.update(plaintext), ...await stage.final()]
}

function answerOf(ctx: ObjectContext, { response, etag: upstreamEtag }: Written, verifier: BodyVerifier, asked: 'none' | 'AES256'): StoredAnswer {
  if (upstreamEtag === undefined) throw new S3Error('SealgateBadUpstream')
  const { checksum } = verifier.digests
  const etag = opaqueEtag(ctx.policy.etag, upstreamEtag)
  const headers: Header[] = [['etag', etag], ...downstreamHeaders(response.headers, 'written'), ...sseResponseHeaders({ mode: asked }, 'write')]
  if (checksum !== null) {
    headers.push([`x-amz-checksum-${checksum.algorithm}`, checksum.value.toString('base64')], ['x-amz-checksum-type', 'FULL_OBJECT'])
  }
  return { headers, etag }
}

/** A reader would take them for those of the gateway. @throws S3Error InvalidArgument */
export function refuseClientEntries(described: readonly Header[]): void {
  const [name] = described.find(([each]) => isClientEntry(each)) ?? []
  if (name === undefined) return
  throw new S3Error('InvalidArgument', {
    message: 'This bucket is written in the format of the S3 Encryption Client, which has this name of metadata for itself.',
    fields: { ArgumentName: name }
  })
}

/**
 * The encryption that a write asks for. Readers that go round the gateway have the key of the bucket and no other.
 * @throws S3Error as `encryptionOfWrite`; NotImplemented for a key of the request.
 */
export async function clientEncryptionOf(ctx: ObjectContext, describing: ReadonlyMap<string, string>): Promise<'none' | 'AES256'> {
  const { mode } = await encryptionOfWrite(ctx, describing)
  if (mode === 'none' || mode === 'AES256') return mode
  throw new S3Error('NotImplemented', {
    message: 'This bucket is written in the format of the S3 Encryption Client, under the key that the configuration names: a request cannot choose another.',
    fields: { Header: mode === 'SSE-C' ? 'x-amz-server-side-encryption-customer-algorithm' : 'x-amz-server-side-encryption' }
  })
}
