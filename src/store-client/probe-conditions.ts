import { Readable } from 'node:stream'
import type { Diagnosis } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import type { Answer } from './bucket-client.ts'
import { ProbePlace } from './probe-place.ts'
import type { Upstream, UpstreamRequest } from '../upstream/types.ts'

/** Which conditional requests the store enforces. Those that it ignores must be refused, never sent. */
export interface Conditions {
  /** PutObject: `If-None-Match: *` and `If-Match`. */
  readonly put: boolean
  /** CompleteMultipartUpload: `If-None-Match: *` and `If-Match`. */
  readonly complete: boolean
  /** CopyObject, on the destination: `If-None-Match: *` and `If-Match`. */
  readonly copy: boolean
  /** DeleteObject: `If-Match`. */
  readonly delete: boolean
  /** CopyObject: `x-amz-copy-source-if-match`, or the name below. */
  readonly copySourceIfMatch: boolean
  /** The form in which PutObject accepts the ETag of If-Match: radosgw 16 compares it with its own, which has no quotes. */
  readonly putEtags: 'quoted' | 'bare'
  /** The header for a condition on the source: radosgw 16 reads another name than S3's. */
  readonly copySourceHeader: CopySourceHeader
}

const copySourceHeaders = ['x-amz-copy-source-if-match', 'x-amz-copy-if-match'] as const
type CopySourceHeader = (typeof copySourceHeaders)[number]

/** Before a store has been probed, conditions that it might ignore are refused. */
export const unprobed: Conditions = {
  put: false,
  complete: false,
  copy: false,
  delete: false,
  copySourceIfMatch: false,
  putEtags: 'quoted',
  copySourceHeader: copySourceHeaders[0]
}

/** Finds out what a store enforces in one bucket of the gateway's own. */
export type ConditionProbe = (upstream: Upstream, bucket: string, signal: AbortSignal) => Promise<Conditions>

interface Reply {
  readonly status: number
  readonly etag: string
  readonly diagnosis: Diagnosis | null
}

/** No object has it: S3 ETags of single PUTs are MD5s, and no body written here has this one. */
const otherEtag = '"00000000000000000000000000000000"'
/** Conditions that an object with another ETag must refuse. */
const wrongConditions = [['if-none-match', '*'], ['if-match', otherEtag]] as const

/** Bytes of a body that is sent as a stream, in signed chunks: stores handle it in another way than small bodies. */
const STREAMED_BYTES = 70_000

/**
 * Finds out with real requests in a bucket of the gateway's own which conditions the store enforces in buckets of that kind. A wrong condition must
 * be refused and a right one accepted. Removes what it wrote, versions and markers included.
 * @param prefix as for ProbePlace
 * @throws S3Error ServiceUnavailable and the like when the store gives no usable answer: nothing is known then
 */
export async function probeConditions(upstream: Upstream, bucket: string, signal: AbortSignal, prefix?: string): Promise<Conditions> {
  const place = new ProbePlace(upstream, bucket, signal, prefix)
  const probe = new Probe(place)
  try {
    const putEtags = await probe.put()
    const copySourceHeader = await probe.copySource()
    return {
      put: putEtags !== null,
      complete: await probe.complete(),
      copy: await probe.copy(),
      delete: await probe.delete(),
      copySourceIfMatch: copySourceHeader !== null,
      putEtags: putEtags ?? 'quoted',
      copySourceHeader: copySourceHeader ?? copySourceHeaders[0]
    }
  } finally {
    // Best effort: the name of what remains shows what it is.
    await place.cleanUp()
  }
}

class Probe {
  readonly #place: ProbePlace

  constructor(place: ProbePlace) {
    this.#place = place
  }

  /** @returns the form of ETags that works; null when the conditions are not enforced in any */
  async put(): Promise<Conditions['putEtags'] | null> {
    const { key, etag } = await this.#written('put')
    const put = async (name: string, value: string): Promise<Reply> => this.#send('PUT', key, { headers: [[name, value]], body: Buffer.from('put') })
    if (!refused(await put('if-none-match', '*'))) return null
    const streamed = Readable.from([Buffer.alloc(STREAMED_BYTES)])
    if (!refused(await this.#send('PUT', key, { headers: [['if-none-match', '*']], body: streamed, contentLength: STREAMED_BYTES }))) return null
    for (const form of ['quoted', 'bare'] as const) {
      if (!refused(await put('if-match', shaped(otherEtag, form)))) return null
      // Some stores refuse even the right ETag in one of the forms: safe, but useless.
      if (accepted(await put('if-match', shaped(etag, form)))) return form
    }
    return null
  }

  async copy(): Promise<boolean> {
    const from = await this.#written('copy-from')
    const to = await this.#written('copy-to')
    const source = ['x-amz-copy-source', `${this.#place.name}/${from.key}`] as const
    for (const condition of wrongConditions) if (!refused(await this.#send('PUT', to.key, { headers: [source, condition] }))) return false
    return accepted(await this.#send('PUT', to.key, { headers: [source, ['if-match', to.etag]] }))
  }

  /** @returns the header that works; null when none does */
  async copySource(): Promise<CopySourceHeader | null> {
    const { key, etag } = await this.#written('source')
    for (const header of copySourceHeaders) {
      const copy = async (match: string): Promise<Reply> =>
        this.#send('PUT', this.#place.key('source-to'), {
          headers: [['x-amz-copy-source', `${this.#place.name}/${key}`], [header, match]]
        })
      if (refused(await copy(otherEtag)) && accepted(await copy(etag))) return header
    }
    return null
  }

  async delete(): Promise<boolean> {
    const { key, etag } = await this.#written('delete')
    if (!refused(await this.#send('DELETE', key, { headers: [['if-match', otherEtag]] }))) return false
    return accepted(await this.#send('DELETE', key, { headers: [['if-match', etag]] }))
  }

  async complete(): Promise<boolean> {
    const { key, etag } = await this.#written('complete')
    const { answer, id } = await this.#place.createUpload(key)
    if (!accepted(replyOf(answer)) || id === null) return false
    const part = await this.#send('PUT', key, { query: [['partNumber', '1'], ['uploadId', id]], body: Buffer.from('part') })
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.etag}</ETag></Part></CompleteMultipartUpload>`
    const finish = async (condition: readonly [string, string]): Promise<Reply> =>
      this.#send('POST', key, {
        query: [['uploadId', id]],
        headers: [condition, ['content-type', 'application/xml']],
        body: Buffer.from(list)
      })
    for (const wrong of wrongConditions) if (!refused(await finish(wrong))) return false
    return accepted(await finish(['if-match', etag]))
  }

  async #written(name: string): Promise<{ key: string; etag: string }> {
    const key = this.#place.key(name)
    const reply = await this.#send('PUT', key, { body: Buffer.from(`first ${name}`) })
    if (!accepted(reply)) {
      throw new S3Error('ServiceUnavailable', {
        message: 'The state bucket cannot be written.',
        diagnosis: reply.diagnosis
      })
    }
    return { key, etag: reply.etag }
  }

  async #send(
    method: string,
    key: string,
    parts: Partial<Pick<UpstreamRequest, 'query' | 'headers' | 'body' | 'contentLength'>>
  ): Promise<Reply> {
    return replyOf(await this.#place.answer({ method, key, ...parts }))
  }
}

function replyOf({ status, headers, error, diagnosis }: Answer): Reply {
  const failed = status === 200 && error !== null
  return {
    // An answer that fails late may be an error document with status 200 (AWS, CompleteMultipartUpload and CopyObject).
    status: error?.code === 'PreconditionFailed' ? 412 : failed ? 500 : status,
    etag: headers.get('etag') ?? '',
    diagnosis
  }
}

/** @throws S3Error when the answer shows nothing about conditions: the store has a fault */
function refused(reply: Reply): boolean {
  // 409 ConditionalRequestConflict is a refusal as well.
  if (reply.status === 412 || reply.status === 409) return true
  if (reply.status >= 500 && reply.status !== 501) {
    throw new S3Error('ServiceUnavailable', { message: 'The store did not answer the probe of conditional requests.', diagnosis: reply.diagnosis })
  }
  return false
}

function shaped(etag: string, form: Conditions['putEtags']): string {
  return form === 'quoted' ? etag : etag.replaceAll('"', '')
}

function accepted(reply: Reply): boolean {
  return reply.status >= 200 && reply.status < 300
}
