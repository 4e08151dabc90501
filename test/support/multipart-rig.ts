import { createHash, randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type CreateMultipartUploadCommandInput,
  type S3Client,
  type UploadPartCommandInput
} from '@aws-sdk/client-s3'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from './gateway.ts'
import { startTestStore, type TestStore, type TestStoreOptions } from './hostile.ts'
import { startNarrowStore, type Limits } from './narrow-store.ts'

export const MiB = 1024 * 1024
export const Bucket = 'uploads'
export const stateBucket = 'sealgate-state'

/** Random bytes made once: parts are slices of them, so that no test waits for randomness. */
const pool = randomBytes(17 * MiB)

/** Bytes that differ for every start. */
export function bytes(size: number, start = 0): Buffer {
  return pool.subarray(start, start + size)
}

export function md5(data: Buffer): string {
  return createHash('md5').update(data).digest('hex')
}

/** The ETag of S3's multipart objects, with quotes. */
export function etagOf(parts: readonly Buffer[]): string {
  const hash = createHash('md5')
  for (const part of parts) hash.update(Buffer.from(md5(part), 'hex'))
  return `"${hash.digest('hex')}-${parts.length}"`
}

export interface Rig {
  readonly store: TestStore
  /** What a narrow store has refused. */
  readonly refused: readonly string[]
  readonly gateway: TestGateway
  readonly s3: S3Client
  /** Another instance of the gateway on the same store with the same keys. */
  readonly another: () => Promise<S3Client>
}

/** @param options.limits of a narrow store that stands between the gateway and the store. */
export async function rig(t: Test, options: TestGatewayOptions & TestStoreOptions & { readonly limits?: Limits } = {}): Promise<Rig> {
  const { limits } = options
  const store = await startTestStore({
    buckets: [Bucket, 'other'],
    keepBodies: false,
    defaultChecksum: false,
    ...limits === undefined ? {} : { keepAliveMs: 60_000 },
    ...options
  })
  const narrow = limits === undefined ? null : await startNarrowStore(store, limits)
  const gateways = [await startTestGateway(narrow ?? store, options)]
  t.teardown(async () => {
    for (const gateway of gateways) await gateway.close()
    await narrow?.close()
    await store.close()
  })
  const gateway = gateways[0]!
  return {
    store,
    refused: narrow?.refused ?? [],
    gateway,
    s3: cheapClient(gateway),
    another: async () => {
      const next = await startTestGateway(narrow ?? store, { ...options, keyring: gateway.keyring })
      gateways.unshift(next)
      return cheapClient(next)
    }
  }
}

/** A client that hashes no part and no object: what the gateway makes of hashes has tests of its own. */
function cheapClient(gateway: TestGateway): S3Client {
  const s3 = gateway.client()
  s3.config.requestChecksumCalculation = () => Promise.resolve('WHEN_REQUIRED')
  s3.config.responseChecksumValidation = () => Promise.resolve('WHEN_REQUIRED')
  s3.middlewareStack.add((next) => (args) => {
    const { method, headers } = args.request as { method: string; headers: Record<string, string> }
    if (method === 'PUT') headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
    return next(args)
  }, { step: 'build' })
  return s3
}

export async function create(s3: S3Client, Key: string, input: Partial<CreateMultipartUploadCommandInput> = {}): Promise<string> {
  return (await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...input }))).UploadId!
}

export async function put(
  s3: S3Client,
  Key: string,
  UploadId: string,
  PartNumber: number,
  Body: Buffer,
  input: Partial<UploadPartCommandInput> = {}
): Promise<CompletedPart> {
  const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...input }))
  return { PartNumber, ETag }
}

export function complete(s3: S3Client, Key: string, UploadId: string, Parts: CompletedPart[], input: Record<string, unknown> = {}) {
  return s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...input }))
}

/** A whole upload with parts 1, 2, … */
export async function upload(s3: S3Client, Key: string, parts: readonly Buffer[], input: Partial<CreateMultipartUploadCommandInput> = {}) {
  const id = await create(s3, Key, input)
  const listed: CompletedPart[] = []
  for (const [i, part] of parts.entries()) listed.push(await put(s3, Key, id, i + 1, part))
  return { id, listed, answer: await complete(s3, Key, id, listed) }
}

export async function read(s3: S3Client, Key: string, input: Record<string, unknown> = {}): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, ...input }))
  return Buffer.from(await Body!.transformToByteArray())
}
