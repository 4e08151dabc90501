// Reads as a client that trusts nothing but the wire: what came, whether it was all, and whether it is the truth.
import { randomBytes } from 'node:crypto'
import { CompleteMultipartUploadCommand, CreateMultipartUploadCommand, UploadPartCommand, type S3Client } from '@aws-sdk/client-s3'
import { RawConnection } from './raw-client.ts'
import { headerSigned, headOf } from './wire.ts'
import type { Headers } from './signing.ts'
import type { TestGateway } from './gateway.ts'
import type { StoredObject } from './stored-object.ts'
import type { TestStore } from './hostile.ts'

/** A way to ask for an object, and what the answer must be if there is one. */
export interface Asking {
  readonly name: string
  readonly method: 'GET' | 'HEAD'
  readonly headers: Headers
  readonly query: string
  readonly expected: (truth: Buffer) => Buffer
}

const whole = (truth: Buffer): Buffer => truth
const asking = (name: string, headers: Headers, expected: Asking['expected'], method: Asking['method'] = 'GET', query = ''): Asking => ({
  name,
  method,
  headers,
  query,
  expected
})

export const askings: readonly Asking[] = [
  asking('whole', [], whole),
  asking('first byte', [['Range', 'bytes=0-0']], (truth) => truth.subarray(0, 1)),
  asking('middle', [['Range', 'bytes=65470-65500']], (truth) => truth.subarray(65470, 65501)),
  asking('open range', [['Range', 'bytes=30-']], (truth) => truth.subarray(30)),
  asking('suffix', [['Range', 'bytes=-17']], (truth) => truth.subarray(-17)),
  asking('part 1', [], whole, 'GET', '?partNumber=1'),
  asking('head', [], () => Buffer.alloc(0), 'HEAD')
]

export interface Reading {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly code: string
  readonly body: Buffer
  /** True when the client cannot see that anything is missing. */
  readonly complete: boolean
}

export async function read(gateway: TestGateway, path: string, { method, headers, query }: Pick<Asking, 'method' | 'headers' | 'query'>): Promise<Reading> {
  const connection = await RawConnection.open(gateway.endpoint)
  try {
    await connection.send(headOf(headerSigned(gateway, { method, target: `${path}${query}`, headers })))
    const answer = await connection.response({ bodyless: method === 'HEAD', timeout: 20_000 })
    const length = answer.headers['content-length']
    const complete = method === 'HEAD' || answer.headers['transfer-encoding'] === 'chunked' || (length !== undefined && answer.body.length === Number(length))
    return { ...answer, complete, code: /<Code>([^<]*)</.exec(answer.body.toString('latin1'))?.[1] ?? '' }
  } catch (error) {
    // A connection that ends without a head is a broken transfer; silence is not.
    if (error instanceof Error && error.message.startsWith('the connection ended')) {
      return { status: 0, headers: {}, code: '', body: Buffer.alloc(0), complete: false }
    }
    throw error
  } finally {
    connection.close()
  }
}

export type Verdict = 'right' | 'error' | 'broken' | 'wrong'

/** `wrong` is what must never be: a complete answer that is not the truth, or a byte that is not its prefix. */
export function judge(answer: Reading, ask: Asking, truths: readonly Buffer[]): Verdict {
  if (answer.status === 0) return 'broken'
  if (answer.status >= 300) return 'error'
  const fits = truths.some((truth) => {
    const expected = ask.expected(truth)
    if (ask.method === 'HEAD') return answer.headers['content-length'] === String(truth.length)
    const prefix = answer.body.length <= expected.length && expected.subarray(0, answer.body.length).equals(answer.body)
    return prefix && (!answer.complete || answer.body.length === expected.length)
  })
  return !fits ? 'wrong' : answer.complete ? 'right' : 'broken'
}

/** Integrity failures counted so far, of all kinds or of one. */
export function integrityFailures(gateway: TestGateway, kind?: string): number {
  const family = gateway.gateway.snapshot().find(({ name }) => name === 'sealgate_integrity_failures_total')
  const at = family?.labelNames.indexOf('kind') ?? -1
  return (family?.series ?? []).filter(({ labels }) => kind === undefined || labels[at] === kind).reduce((sum, { value }) => sum + value, 0)
}

/** Everything about a stored object, to be put back or put somewhere else. */
export interface Snapshot {
  readonly body: Buffer
  readonly metadata: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  readonly etag: string
}

export async function snapshot(object: StoredObject): Promise<Snapshot> {
  const { metadata, headers, etag } = object.version
  return { body: await object.body(), metadata, headers, etag }
}

/** Writes an object in parts through the gateway. */
export async function putMultipart(s3: S3Client, Bucket: string, Key: string, sizes: readonly number[]): Promise<Buffer> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ContentType: 'text/x-parts' }))
  const bodies = sizes.map((size) => randomBytes(size))
  const Parts = []
  for (const [i, Body] of bodies.entries()) {
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body }))
    Parts.push({ ETag, PartNumber: i + 1 })
  }
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  return Buffer.concat(bodies)
}

/** Waits until the store has as many open connections as before, or fewer. */
export async function settled(store: TestStore, open: number, withinMs = 5000): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (store.traffic.open > open && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
  return store.traffic.open <= open
}
