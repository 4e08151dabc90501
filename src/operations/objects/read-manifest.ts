import type { Manifest } from '../../envelope/manifest.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { Execution } from '../context.ts'
import { openTail } from '../../envelope/manifest.ts'
import { EnvelopeError } from '../../envelope/error.ts'
import { storedSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { send } from '../context.ts'
import { ENVELOPE_HEADER, verified, type SealedObject } from './sealed-object.ts'

/** The object was replaced between two requests of one read: the caller starts over, once. */
export class ObjectChanged extends Error {
  constructor() {
    super('The object changed between two requests of one read.')
    this.name = 'ObjectChanged'
  }
}

/** Covers the manifest of some 500 parts (FORMAT, Manifest); longer ones take a second read. */
const SUFFIX_BYTES = 65536
/** The tail of a single object: one part record, fixed fields and footer, at most 456 bytes. */
const SINGLE_SUFFIX_BYTES = 512

/**
 * The manifest of an object whose envelope has opened: from the cache, or by one suffix read tied to the ETag just seen.
 * @throws ObjectChanged when the object was replaced, re-wrapped or deleted since; S3Error SealgateIntegrityError when the tail does not open.
 */
export async function readManifest(x: Execution, object: SealedObject): Promise<Manifest> {
  const cached = x.parts.objects.manifest(object.objectKey.commitment, object.upstreamEtag)
  // The stored size is the word of the store, at every request anew: a manifest that was read once does not vouch for it.
  if (cached !== undefined && storedSize(cached.plaintextSize) === object.storedSize) return cached
  let wanted = Math.min(object.storedSize, object.envelope.kind === 'single' ? SINGLE_SUFFIX_BYTES : SUFFIX_BYTES)
  // The footer is not authenticated before the manifest is: one that asks for more at every reading would be read for ever.
  for (let readings = 0; readings < 2; readings += 1) {
    const suffix = await readSuffix(x, object, wanted)
    const opened = await verified(x, () => openTail(suffix, object.storedSize, object.objectKey, object.envelope.kind))
    if ('parts' in opened) {
      x.parts.objects.rememberManifest(object.objectKey.commitment, object.upstreamEtag, opened)
      return opened
    }
    wanted = opened.need
  }
  throw new S3Error('SealgateIntegrityError')
}

async function readSuffix(x: Execution, object: SealedObject, bytes: number): Promise<Buffer> {
  const first = object.storedSize - bytes
  const response = await send(x, {
    method: 'GET',
    bucket: object.bucket,
    key: object.key,
    query: object.versionId === null ? [] : [['versionId', object.versionId]],
    headers: [['range', `bytes=${first}-${object.storedSize - 1}`], ['if-match', object.upstreamEtag]],
    retry: true
  })
  try {
    if (response.status === 412 || response.status === 404) throw new ObjectChanged()
    await verified(x, () => { checkSuffix(response, object, first) })
    return await readAll(response.body, bytes, () => new S3Error('SealgateBadUpstream'))
  } catch (error) {
    response.body.destroy()
    throw error
  }
}

/** Both answers of one read must show the same object. */
function checkSuffix(response: UpstreamResponse, object: SealedObject, first: number): void {
  if (response.status !== 206) throw new S3Error(response.status >= 500 ? 'ServiceUnavailable' : 'SealgateBadUpstream')
  if (response.headers.get('content-range') !== `bytes ${first}-${object.storedSize - 1}/${object.storedSize}`) throw new EnvelopeError('length')
  // A copy onto itself, a re-wrap among them, may keep the ETag.
  if (response.headers.get(ENVELOPE_HEADER) !== object.headers.get(ENVELOPE_HEADER)) throw new ObjectChanged()
}
