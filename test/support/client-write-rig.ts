// A bucket that is written in the format of the S3 Encryption Client, with keys of each kind.
import type { Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  UploadPartCommand,
  type CompleteMultipartUploadCommandInput,
  type CompleteMultipartUploadCommandOutput,
  type CreateMultipartUploadCommandInput,
  type S3Client
} from '@aws-sdk/client-s3'
import type { ObjectVersion } from '../../src/embedded-store/records.ts'
import { FakeKms } from './fake-kms.ts'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from './gateway.ts'
import { startTestStore, type TestStore, type TestStoreOptions } from './hostile.ts'
import { readS3ec } from './s3ec-reader.ts'
import { vectorKeys } from './s3ec-vectors.ts'

export const Bucket = 'written'
export const stateBucket = 'sealgate-state'

export interface Rig {
  readonly store: TestStore
  readonly gateway: TestGateway
  readonly s3: S3Client
  readonly kms: FakeKms
  /** Another instance on the same store, with the same keys. @param write null: its configuration does not have the bucket written so. */
  readonly another: (write?: null) => Promise<{ readonly gateway: TestGateway; readonly s3: S3Client }>
}

export interface RigOptions extends TestStoreOptions {
  readonly version: 'v2' | 'v3'
  /** Default: `cloud`, under AWS KMS. */
  readonly key?: 'cloud' | 'aes' | 'rsa'
  readonly upstream?: TestGatewayOptions['upstream']
}

export async function startRig(t: Test, { version, key = 'cloud', upstream = {}, ...options }: RigOptions): Promise<Rig> {
  const kms = await FakeKms.start(t)
  kms.addKnownKey(vectorKeys.kms.arn, vectorKeys.kms.secret)
  const store = await startTestStore({ buckets: [Bucket, 'sealed'], ...options })
  const s3ec = { read: ['v3', 'v2'], commitment: 'allow', keys: [key, ...['cloud', 'aes', 'rsa'].filter((each) => each !== key)] }
  const closing: { close(): Promise<void> }[] = []
  const begin = async (write: string | null): Promise<{ gateway: TestGateway; s3: S3Client }> => {
    const gateway = await startTestGateway(store, {
      sections: {
        keys: {
          cloud: { type: 'aws-kms', arn: vectorKeys.kms.arn, endpoint: kms.endpoint, accessKeyId: 'ID', secretAccessKey: 'SECRET' },
          aes: { type: 's3ec-aes', masterKey: vectorKeys.aes.toString('base64') },
          rsa: { type: 's3ec-rsa', privateKey: vectorKeys.rsaPem, description: { name: 'pair' } }
        },
        buckets: { [Bucket]: { encryption: 'on', key: 'cloud', s3ec: write === null ? s3ec : { ...s3ec, write } }, sealed: { encryption: 'on', key: 'cloud' } },
        auth: { ssecOverHttp: true }
      },
      upstream
    })
    const s3 = gateway.client()
    closing.unshift(gateway)
    return { gateway, s3 }
  }
  const first = await begin(version)
  t.teardown(async () => {
    for (const each of closing) await each.close()
    await store.close()
  })
  return { store, ...first, kms, another: (write) => begin(write === null ? null : version) }
}

/** What a client of the format reads that goes round the gateway. @param version default: the current one */
export async function around({ store }: Pick<Rig, 'store'>, key: string, version?: ObjectVersion): Promise<Buffer> {
  const object = store.object(Bucket, key)
  return readS3ec({ metadata: (version ?? object.version).metadata, body: await object.body(version), instruction: null })
}

export async function through(s3: S3Client, Key: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from(await Body!.transformToByteArray())
}

export interface Begun {
  readonly Key: string
  readonly UploadId: string
  readonly list: readonly { readonly PartNumber: number; readonly ETag: string }[]
}

/** Begins an upload and sends its parts, the last first. */
export async function begin(s3: S3Client, Key: string, parts: readonly Buffer[], input: Partial<CreateMultipartUploadCommandInput> = {}): Promise<Begun> {
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...input }))
  const list = await Promise.all(
    parts.toReversed().map(async (Body, i) => {
      const PartNumber = parts.length - i
      const { ETag = '' } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
      return { PartNumber, ETag }
    })
  )
  return { Key, UploadId, list: list.toReversed() }
}

export function complete(
  s3: S3Client,
  { Key, UploadId, list }: Begun,
  input: Partial<CompleteMultipartUploadCommandInput> = {}
): Promise<CompleteMultipartUploadCommandOutput> {
  return s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: [...list] }, ...input }))
}
