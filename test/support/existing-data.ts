// For tests and campaigns of the commands on existing objects.
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  type S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import type { runDecrypt, runEncrypt } from '../../src/cli/existing-actions.ts'

type Values = Parameters<typeof runEncrypt>[0] & Parameters<typeof runDecrypt>[0]

/** The options of `encrypt` and `decrypt` as the command line gives them where nothing is said, with the summary as JSON. */
export function existingValues(config: string, bucket: string): Values {
  return {
    config,
    bucket,
    'to': 'out',
    'prefix': undefined,
    'keys': undefined,
    'inventory': undefined,
    'filter': undefined,
    'report': undefined,
    'json': true,
    'concurrency': undefined,
    'rate': undefined,
    'bandwidth': undefined,
    'shard': undefined,
    'from': undefined,
    'dry-run': false,
    'estimate': false,
    'verify': false,
    'purge-plaintext-versions': false,
    'assume-no-writers': false
  }
}

/** Uploads a body in parts of a size. @returns the id of its version, where the store names one. */
export async function putParts(
  s3: S3Client,
  { ChecksumAlgorithm, ...object }: Omit<CreateMultipartUploadCommandInput, 'Bucket' | 'Key'> & { Bucket: string; Key: string },
  body: Buffer,
  partSize: number
): Promise<string | undefined> {
  const { Bucket, Key } = object
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...object, ChecksumAlgorithm }))
  const Parts = []
  for (let i = 0; i * partSize < body.length || i === 0; i += 1) {
    const Body = body.subarray(i * partSize, (i + 1) * partSize)
    const { ETag, ChecksumSHA256 } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body, ChecksumAlgorithm }))
    Parts.push({ PartNumber: i + 1, ETag, ChecksumSHA256 })
  }
  return (await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))).VersionId
}
