import type { Readable } from 'node:stream'
import type { CopySource } from '../s3/copy-source.ts'
import type { BodySource } from './body.ts'
import type { Execution } from './context.ts'
import type { Looked } from './head-object.ts'
import { copiedHeaders } from './copied-headers.ts'
import { copyResult } from './copy-result.ts'
import { fetchSlice } from './open-body.ts'
import type { Known } from './pending-answer.ts'
import { sealObject } from './put-object.ts'
import { storePlain } from './store-plain.ts'

/**
 * A copy whose bytes change on the way: from an object Sealgate did not write into a sealed bucket, or from a sealed one into
 * a bucket that is not encrypted; and where the store cannot tie a copy to what was looked at. The only copies of whole objects that
 * move data through the gateway.
 */
export async function copyThrough(x: Execution, source: CopySource, { object, manifest }: Looked, known: Known): Promise<Buffer> {
  const described = await copiedHeaders(x, source, object)
  const stream = await fetchSlice(x, object, manifest, { first: 0, last: object.size - 1, status: 200, partsCount: null }, 'source')
  try {
    const stored = x.policy.encryption === 'off'
      ? await storePlain(x, plaintextSource(stream, object.size), [...described, ...storesAffair(x)])
      : await sealObject(x, plaintextSource(stream, object.size), new Map([...described, ...encryptionHeaders(x)]))
    known(stored.headers.filter(([name]) => name !== 'etag'))
    return copyResult(stored.etag, null, [])
  } finally {
    stream.destroy()
  }
}

/** Plaintext that has been verified already: nothing more is promised of it but its length in bytes. */
export function plaintextSource(stream: Readable, length: number): BodySource {
  return {
    stream,
    payload: { framing: 'plain', length, sha256: null, chunkSigner: null, contentMd5: null, checksum: null, trailer: null }
  }
}

/** What the request asks of the destination that in a bucket which is not encrypted is the store's to do. */
function storesAffair(x: Execution): (readonly [string, string])[] {
  const conditions = [...x.request.headers].filter(([name]) => name === 'if-match' || name === 'if-none-match')
  return [...conditions, ...encryptionHeaders(x)]
}

function encryptionHeaders(x: Execution): (readonly [string, string])[] {
  return [...x.request.headers].filter(([name]) => name.startsWith('x-amz-server-side-encryption'))
}
