import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Diagnosis } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'
import type { Upstream, UpstreamRequest } from '../upstream/types.ts'
import type { Answer } from './bucket-client.ts'
import { ProbePlace } from './probe-place.ts'

const PROBE_BYTES = 70_000

/**
 * Makes sure, with an object and an upload in the state bucket, that the store accepts bodies with a trailing checksum and removes the
 * frames: a store that keeps them would acknowledge objects that cannot be opened. Removes what it wrote.
 * @throws S3Error ServiceUnavailable when it does not, or when it gives no usable answer
 */
export async function probeTrailers(upstream: Upstream, stateBucket: string, checksum: ChecksumAlgorithm, signal: AbortSignal): Promise<void> {
  const place = new ProbePlace(upstream, stateBucket, signal)
  const probe = new TrailerProbe(place, checksum)
  try {
    await probe.object()
    await probe.upload()
  } finally {
    // Best effort: the name of what remains shows what it is.
    await place.cleanUp()
  }
}

class TrailerProbe {
  readonly #place: ProbePlace
  readonly #key: string
  readonly #checksum: ChecksumAlgorithm
  readonly #data = randomBytes(PROBE_BYTES)

  constructor(place: ProbePlace, checksum: ChecksumAlgorithm) {
    this.#place = place
    this.#key = place.key('checksum')
    this.#checksum = checksum
  }

  async object(): Promise<void> {
    await this.#expect('PutObject', this.#sendData([]))
    await this.#compare('PutObject')
  }

  async upload(): Promise<void> {
    const algorithm = this.#checksum.toUpperCase()
    let id = ''
    const creating = this.#place.createUpload(this.#key, [['x-amz-checksum-algorithm', algorithm]]).then((created) => {
      id = created.id ?? ''
      return created.answer
    })
    await this.#expect('CreateMultipartUpload', creating)
    const part = await this.#expect('UploadPart', this.#sendData([['partNumber', '1'], ['uploadId', id]]))
    const parts = await this.#expect('ListParts', this.#send('GET', [['uploadId', id]]))
    const [checksum = ''] = new RegExp(`<Checksum${algorithm}>[^<]+</Checksum${algorithm}>`).exec(parts.body.toString('utf8')) ?? []
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${
      part.headers.get('etag') ?? ''
    }</ETag>${checksum}</Part></CompleteMultipartUpload>`
    const completing = this.#send('POST', [['uploadId', id]], { headers: [['content-type', 'application/xml']], body: Buffer.from(list) })
    await this.#expect('CompleteMultipartUpload', completing)
    this.#place.ended(id)
    await this.#compare('UploadPart')
  }

  async #compare(operation: string): Promise<void> {
    const { body } = await this.#expect('GetObject', this.#send('GET', []))
    if (!body.equals(this.#data)) throw unfit(`${operation}: other bytes come back`)
  }

  async #expect(operation: string, sent: Promise<Answer>): Promise<Answer> {
    const reply = await sent.catch((error: unknown) => {
      // Ceph 16 uses the announcement as the hash, and so finds the signature wrong.
      throw error instanceof S3Error && error.code === 'SealgateBadUpstream' ? unfit(`${operation}: ${error.message}`, error.diagnosis) : error
    })
    const code = reply.error?.code ?? null
    if (reply.status >= 500 && reply.status !== 501) {
      throw new S3Error('ServiceUnavailable', { message: 'The store did not answer the probe of checksums.', diagnosis: reply.diagnosis })
    }
    // An error may come inside a 200 (AWS API, CompleteMultipartUpload).
    if (reply.status >= 300 || code !== null) throw unfit(`${operation}: ${reply.status} ${code ?? ''}`, reply.diagnosis)
    return reply
  }

  #sendData(query: UpstreamRequest['query']): Promise<Answer> {
    return this.#send('PUT', query, {
      body: Readable.from([this.#data.subarray(0, 10), this.#data.subarray(10)]),
      contentLength: PROBE_BYTES,
      checksum: this.#checksum
    })
  }

  #send(method: string, query: UpstreamRequest['query'], more: Partial<UpstreamRequest> = {}): Promise<Answer> {
    return this.#place.answer({ method, key: this.#key, query, ...more }, 2 * PROBE_BYTES)
  }
}

function unfit(reason: string, diagnosis: Diagnosis | null = null): S3Error {
  return new S3Error('ServiceUnavailable', {
    message: `The store does not take checksums as upstream.checksum sends them (${reason}).`,
    diagnosis
  })
}
