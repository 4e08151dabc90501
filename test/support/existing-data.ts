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
    'ledger': undefined,
    'resume': false,
    'from': undefined,
    'dry-run': false,
    'estimate': false,
    'verify': false,
    'purge-plaintext-versions': false,
    'assume-no-writers': false
  }
}

/** A body in parts of a size. */
export function partsOf(body: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.max(1, Math.ceil(body.length / size)) }, (_, i) => body.subarray(i * size, (i + 1) * size))
}

/** Uploads parts, one after the other. @returns the id of the version, where the store names one. */
export async function putParts(
  s3: S3Client,
  object: CreateMultipartUploadCommandInput,
  parts: Iterable<Buffer>
): Promise<string | undefined> {
  const { Bucket, Key, ChecksumAlgorithm } = object
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(object))
  const Parts = []
  for (const Body of parts) {
    const PartNumber: number = Parts.length + 1
    const { ETag, ChecksumSHA256 } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ChecksumAlgorithm }))
    Parts.push({ PartNumber, ETag, ChecksumSHA256 })
  }
  return (await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))).VersionId
}
