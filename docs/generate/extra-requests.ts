import type { OperationName } from '../../src/s3/operations.ts'

/** Requests that the gateway adds in a client's bucket; `test/gateway/extra-requests.test.ts` finds any other. */
export interface ExtraRequest {
  readonly operations: readonly OperationName[]
  readonly request: OperationName
  /** The object or bucket that the client names, or the source of its copy. */
  readonly on: 'target' | 'source'
  /** The right it needs, as AWS names it. */
  readonly right: string
  /** The client's operation needs the same right on AWS, so that no policy has to grant it in addition. */
  readonly implied: boolean
  readonly when: string
  readonly denied: string
  readonly missing: string
}

const relayed = 'answered to the client'
const writes = ['PutObject', 'PostObject', 'CopyObject', 'CompleteMultipartUpload', 'DeleteObject', 'DeleteObjects'] as const
const encryptionSettings = ['PutBucketEncryption', 'GetBucketEncryption', 'DeleteBucketEncryption'] as const
const lists = ['ListObjects', 'ListObjectsV2', 'ListObjectVersions'] as const

export const extraRequests: readonly ExtraRequest[] = [
  {
    operations: ['GetObject', 'HeadObject', 'GetObjectAttributes'],
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: true,
    when: 'the bytes that were read do not include the manifest: multipart objects, digests that only the manifest has; or the response to HEAD has no length',
    denied: relayed,
    missing: 'the object is read again once, then NoSuchKey'
  },
  {
    operations: ['GetObjectAttributes', 'GetObject'],
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: true,
    when: 'attributes without a body; a GET of a range or part whose stored range is not known',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['GetObject', 'GetObjectAttributes', 'CopyObject', 'UploadPartCopy'],
    request: 'HeadBucket',
    on: 'target',
    right: 's3:ListBucket',
    implied: false,
    when: 'a HEAD was answered 404, which does not tell a missing key from a missing bucket',
    denied: 'NoSuchKey',
    missing: 'NoSuchBucket'
  },
  {
    operations: lists,
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'each row that is not cached, with `etag: md5` (`md5-small`: of up to 8 MiB), `plaintext: allow` or `s3ec`; every row with `metadata=true` (MinIO)',
    denied: 'the row shows the opaque ETag',
    missing: 'the row shows no ETag'
  },
  {
    operations: lists,
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'the MD5 of such a row is in the manifest of its object',
    denied: 'the row shows the opaque ETag',
    missing: 'the row shows no ETag'
  },
  {
    operations: ['GetObject', 'HeadObject', 'GetObjectAttributes', 'CopyObject', 'UploadPartCopy', ...lists],
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when:
      'with `s3ec`: instruction files of an object without marks, or of version 3 without its data key; the last two blocks of one in CBC without a noted size',
    denied: 'as missing',
    missing: 'the object is taken for plaintext, or does not open'
  },
  {
    operations: ['DeleteObject', 'DeleteObjects'],
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'with `s3ec`: each instruction file that the deleted object may have, unless a version was deleted',
    denied: 'the file stays',
    missing: 'there is none'
  },
  {
    operations: ['DeleteObject', 'DeleteObjects'],
    request: 'DeleteObject',
    on: 'target',
    right: 's3:DeleteObject',
    implied: true,
    when: 'that file exists, and is still the same once the object is gone',
    denied: relayed,
    missing: relayed
  },
  {
    operations: writes,
    request: 'GetBucketVersioning',
    on: 'target',
    right: 's3:GetBucketVersioning',
    implied: false,
    when: 'the first conditional write in a bucket, and copies; sent with the gateway\'s own credentials if the client\'s are denied',
    denied: 'conditions are refused with 501, and copies pass through the gateway',
    missing: 'as denied'
  },
  {
    operations: writes,
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: true,
    when: 'the condition names an ETag, or is `If-None-Match: *` of a copy that passes through the gateway',
    denied: relayed,
    missing: 'the store judges the condition'
  },
  {
    operations: ['PutObject', 'PostObject', 'CopyObject'],
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'an empty object whose name ends in "/" was written: stores that have directories there can drop its metadata',
    denied: 'the store is believed',
    missing: 'the store is believed'
  },
  {
    operations: writes,
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: true,
    when: 'the MD5 of that ETag is in the manifest',
    denied: relayed,
    missing: 'the object is read again once, then treated as missing'
  },
  {
    operations: ['CopyObject', 'UploadPartCopy'],
    request: 'HeadObject',
    on: 'source',
    right: 's3:GetObject',
    implied: true,
    when: 'always',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject', 'UploadPartCopy'],
    request: 'GetObject',
    on: 'source',
    right: 's3:GetObject',
    implied: true,
    when: 'the manifest is needed, or the bytes pass through the gateway',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject'],
    request: 'GetObjectTagging',
    on: 'source',
    right: 's3:GetObjectTagging',
    implied: true,
    when: 'tags are to be copied, and the HEAD of the source reports some or the bytes pass through the gateway; otherwise the store copies them',
    denied: 'AccessDenied: tags would be lost',
    missing: 'no tags'
  },
  {
    operations: ['CopyObject'],
    request: 'GetObjectTagging',
    on: 'target',
    right: 's3:GetObjectTagging',
    implied: false,
    when: 'the copy should have tags, which radosgw 16 loses',
    denied: 'the gateway writes the tags',
    missing: 'the gateway writes the tags'
  },
  {
    operations: ['CopyObject'],
    request: 'PutObjectTagging',
    on: 'target',
    right: 's3:PutObjectTagging',
    implied: true,
    when: 'the copy has lost its tags, or reading them is denied',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject'],
    request: 'PutObject',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'in place of the copy, if the bytes pass through the gateway',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject'],
    request: 'CreateMultipartUpload',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'in place of the copy, if more than 1 MiB passes through the gateway under a condition: one part, and the Complete has the condition',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject'],
    request: 'UploadPart',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'the part of that upload',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject'],
    request: 'CompleteMultipartUpload',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'the end of that upload',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject'],
    request: 'AbortMultipartUpload',
    on: 'target',
    right: 's3:AbortMultipartUpload',
    implied: false,
    when: 'that upload has failed',
    denied: 'the upload stays at the store, noted: `sealgate gc` aborts it; the client gets the first error',
    missing: 'it is over'
  },
  {
    operations: ['UploadPartCopy'],
    request: 'UploadPart',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'in place of the copy',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['UploadPart', 'UploadPartCopy'],
    request: 'ListParts',
    on: 'target',
    right: 's3:ListMultipartUploadParts',
    implied: false,
    when: 'a part that does not reach the store before Complete: below 5 MiB, with `s3ec.write`, or with `upstream.equalParts` of another size than part 1',
    denied: 'the sealed record of the upload shows that it exists',
    missing: 'NoSuchUpload'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'ListParts',
    on: 'target',
    right: 's3:ListMultipartUploadParts',
    implied: false,
    when: 'always',
    denied: 'the sealed records select the parts; AccessDenied if a part was sent to the store more than once, and with `upstream.checksum`',
    missing: 'NoSuchUpload, unless it was completed with the same list'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'UploadPart',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'always: the manifest is appended to the last part; with `s3ec.write` the body of the object',
    denied: relayed,
    missing: 'as ListParts'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'CreateMultipartUpload',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when:
      'with `s3ec.write`: the object is written by another upload, under a key of this Complete. What the client has set when it began is set again, tags and a lock among it',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'AbortMultipartUpload',
    on: 'target',
    right: 's3:AbortMultipartUpload',
    implied: false,
    when: 'with `s3ec.write`: the upload of the client when the object is there, or the other one when that has failed',
    denied: 'the upload of the client stays at the store, without parts; the other one noted: `sealgate gc` aborts it',
    missing: 'it is over'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'UploadPartCopy',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'with `upstream.equalParts`, for parts that wait in the state bucket, which the copy reads; not if the client has its own identity',
    denied: 'the part passes through the gateway',
    missing: 'the part passes through the gateway'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when:
      'the upload no longer exists, or its condition does not hold: has it been completed before; with `etag: opaque` on radosgw 16, whose response has no ETag',
    denied: 'NoSuchUpload or PreconditionFailed; 503 if only the ETag is missing',
    missing: 'as denied'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'the same, and there is an object: its manifest names the upload it comes from',
    denied: 'NoSuchUpload',
    missing: 'NoSuchUpload'
  },
  {
    operations: ['CreateMultipartUpload'],
    request: 'AbortMultipartUpload',
    on: 'target',
    right: 's3:AbortMultipartUpload',
    implied: false,
    when: 'the record of the upload could not be written',
    denied: 'the upload stays at the store; the client gets the error of the record',
    missing: 'as denied'
  },
  {
    operations: encryptionSettings,
    request: 'HeadBucket',
    on: 'target',
    right: 's3:ListBucket',
    implied: false,
    when: 'the client has no identity of its own at the store: to find out whether the bucket exists',
    denied: relayed,
    missing: relayed
  },
  {
    operations: encryptionSettings,
    request: 'GetBucketEncryption',
    on: 'target',
    right: 's3:GetEncryptionConfiguration',
    implied: true,
    when: 'the client has its own identity at the store',
    denied: relayed,
    missing: 'if the store does not support the setting, the ACL of the bucket is read'
  },
  {
    operations: encryptionSettings,
    request: 'GetBucketAcl',
    on: 'target',
    right: 's3:GetBucketAcl',
    implied: false,
    when: 'the client has its own identity, and the store does not support the setting',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['PutBucketEncryption', 'DeleteBucketEncryption'],
    request: 'PutBucketEncryption',
    on: 'target',
    right: 's3:PutEncryptionConfiguration',
    implied: true,
    when: 'the client has its own identity: the store\'s own setting is written back unchanged',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['PutBucketEncryption', 'DeleteBucketEncryption'],
    request: 'DeleteBucketEncryption',
    on: 'target',
    right: 's3:PutEncryptionConfiguration',
    implied: true,
    when: 'the client has its own identity, and the store has no setting for the bucket',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['Preflight'],
    request: 'GetBucketCors',
    on: 'target',
    right: 's3:GetBucketCORS',
    implied: false,
    when: 'the rules are not cached; sent with the gateway\'s own credentials',
    denied: 'the preflight is refused',
    missing: 'the preflight is refused'
  }
]

const introduction = `# Extra requests

The requests that the gateway sends to the store in client buckets in addition to the client's own. This page is printed from
\`docs/generate/extra-requests.ts\`; one test fails when it is out of date, another when the gateway sends a request that it does not list. The requests
use the credentials of the client's requests (\`clients[].upstream\`, otherwise the gateway's own). A policy for one program must grant these rights, or
accept what the column *denied* describes. "Implied" are rights that AWS itself requires for the operation.

If the gateway's own credentials have \`s3:GetBucketVersioning\`, reading needs only \`s3:GetObject\`, writing (also in parts) only \`s3:PutObject\`, and
copying both.
`

/** The whole of docs/EXTRA-REQUESTS.md. */
export function extraRequestsMarkdown(): string {
  const header = ['operations', 'request', 'right', 'when', 'denied (403)', 'missing (404, 501)']
  const rows = extraRequests.map((
    { operations, request, on, right, implied, when, denied, missing }
  ) => [operations.join(', '), `${request}${on === 'source' ? ' of the source' : ''}`, `\`${right}\`${implied ? ' (implied)' : ''}`, when, denied, missing])
  return `${introduction}\n${[header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}
