import type { OperationName } from '../../src/s3/operations.ts'

/** Requests to a client's bucket that the gateway sends besides the client's own; `test/gateway/extra-requests.test.ts` finds any other. */
export interface ExtraRequest {
  readonly operations: readonly OperationName[]
  readonly request: OperationName
  /** Of the object or bucket the client names, or of the source of its copy. */
  readonly on: 'target' | 'source'
  /** The right it needs, as AWS names it. */
  readonly right: string
  /** The client's operation needs the same right on AWS, so that no policy has to grant more. */
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
    when: 'the manifest is not among the bytes that were read: multipart objects, digests that stand in the manifest',
    denied: relayed,
    missing: 'looked at anew once, then NoSuchKey'
  },
  {
    operations: ['GetObjectAttributes', 'GetObject'],
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: true,
    when: 'facts without bytes; a GET of a range or part whose place is not known',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['GetObject', 'GetObjectAttributes', 'CopyObject', 'UploadPartCopy'],
    request: 'HeadBucket',
    on: 'target',
    right: 's3:ListBucket',
    implied: false,
    when: 'a HEAD was answered 404, which does not say what is missing',
    denied: 'NoSuchKey',
    missing: 'NoSuchBucket'
  },
  {
    operations: lists,
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'each row that is not remembered, with `etag: md5` or `plaintext: allow`; every row with `metadata=true` (MinIO)',
    denied: 'the row shows the opaque ETag',
    missing: 'the row shows no ETag'
  },
  {
    operations: lists,
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'the MD5 of such a row stands in its manifest',
    denied: 'the row shows the opaque ETag',
    missing: 'the row shows no ETag'
  },
  {
    operations: writes,
    request: 'GetBucketVersioning',
    on: 'target',
    right: 's3:GetBucketVersioning',
    implied: false,
    when: 'the first conditional write in a bucket, and copies; asked with the gateway\'s own credentials where the client\'s may not',
    denied: 'conditions are refused with 501, and copies pass through the gateway',
    missing: 'as denied'
  },
  {
    operations: writes,
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: true,
    when: 'the condition names an ETag',
    denied: relayed,
    missing: 'the store judges the condition'
  },
  {
    operations: writes,
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: true,
    when: 'the MD5 of that ETag stands in the manifest',
    denied: relayed,
    missing: 'looked at anew once, then as missing'
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
    when: 'tags are to be copied and the HEAD of the source counts some, or the bytes pass through the gateway; else the store copies them',
    denied: 'AccessDenied: tags would be lost',
    missing: 'no tags'
  },
  {
    operations: ['CopyObject'],
    request: 'GetObjectTagging',
    on: 'target',
    right: 's3:GetObjectTagging',
    implied: false,
    when: 'the copy has tags: radosgw 16 loses them',
    denied: 'they are put',
    missing: 'they are put'
  },
  {
    operations: ['CopyObject'],
    request: 'PutObjectTagging',
    on: 'target',
    right: 's3:PutObjectTagging',
    implied: true,
    when: 'the copy has lost its tags, or they may not be read',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['CopyObject'],
    request: 'PutObject',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'in place of the copy, where the bytes pass through the gateway',
    denied: relayed,
    missing: relayed
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
    when: 'a part below 5 MiB, which does not reach the store before Complete',
    denied: 'the sealed record of the upload says that it lives',
    missing: 'NoSuchUpload'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'ListParts',
    on: 'target',
    right: 's3:ListMultipartUploadParts',
    implied: false,
    when: 'always',
    denied: 'the sealed records of the parts choose; AccessDenied where a part went to the store more than once, and with `upstream.checksum`',
    missing: 'NoSuchUpload, unless it was completed with the same list'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'UploadPart',
    on: 'target',
    right: 's3:PutObject',
    implied: true,
    when: 'always: the manifest goes behind the last part',
    denied: relayed,
    missing: 'as ListParts'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'HeadObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'the upload is not there any more; with `etag: opaque` on radosgw 16, whose answer has no ETag',
    denied: 'NoSuchUpload; 503 where only the ETag is missing',
    missing: 'as denied'
  },
  {
    operations: ['CompleteMultipartUpload'],
    request: 'GetObject',
    on: 'target',
    right: 's3:GetObject',
    implied: false,
    when: 'an object is there in place of the upload: its manifest says of which',
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
    denied: 'the upload stays at the store; the client is answered the error of the record',
    missing: 'as denied'
  },
  {
    operations: encryptionSettings,
    request: 'HeadBucket',
    on: 'target',
    right: 's3:ListBucket',
    implied: false,
    when: 'the client has no identity of its own at the store: whether there is such a bucket',
    denied: relayed,
    missing: relayed
  },
  {
    operations: encryptionSettings,
    request: 'GetBucketEncryption',
    on: 'target',
    right: 's3:GetEncryptionConfiguration',
    implied: true,
    when: 'it has one',
    denied: relayed,
    missing: 'its ACL is asked for where the store knows no such setting'
  },
  {
    operations: encryptionSettings,
    request: 'GetBucketAcl',
    on: 'target',
    right: 's3:GetBucketAcl',
    implied: false,
    when: 'it has one, and the store knows no such setting',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['PutBucketEncryption', 'DeleteBucketEncryption'],
    request: 'PutBucketEncryption',
    on: 'target',
    right: 's3:PutEncryptionConfiguration',
    implied: true,
    when: 'it has one: the store\'s own setting is written back as it is',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['PutBucketEncryption', 'DeleteBucketEncryption'],
    request: 'DeleteBucketEncryption',
    on: 'target',
    right: 's3:PutEncryptionConfiguration',
    implied: true,
    when: 'it has one, and the bucket has no setting of the store\'s',
    denied: relayed,
    missing: relayed
  },
  {
    operations: ['Preflight'],
    request: 'GetBucketCors',
    on: 'target',
    right: 's3:GetBucketCORS',
    implied: false,
    when: 'the rules are not remembered; with the gateway\'s own credentials',
    denied: 'the preflight is refused',
    missing: 'the preflight is refused'
  }
]

const introduction = `# Extra requests

What the gateway asks of the store in client buckets in addition to what the client asked for, printed from \`docs/generate/extra-requests.ts\`; a test
fails when it is out of date, and another when the gateway sends what is not in it. They go with the credentials of the client's requests
(\`clients[].upstream\`, else the gateway's own), so that a policy for one program needs these rights or accepts what stands under *denied*.
"Implied" are rights that AWS itself demands for the operation.

Reading needs \`s3:GetObject\`, writing (also in parts) \`s3:PutObject\`, copying both, and nothing else, when the gateway's own credentials
have \`s3:GetBucketVersioning\`.
`

/** The whole of docs/EXTRA-REQUESTS.md. */
export function extraRequestsMarkdown(): string {
  const header = ['operations', 'request', 'right', 'when', 'denied (403)', 'missing (404, 501)']
  const rows = extraRequests.map((
    { operations, request, on, right, implied, when, denied, missing }
  ) => [operations.join(', '), `${request}${on === 'source' ? ' of the source' : ''}`, `\`${right}\`${implied ? ' (implied)' : ''}`, when, denied, missing])
  return `${introduction}\n${[header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}
