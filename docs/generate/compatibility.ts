import { table } from './table.ts'
import { extensions, olderNames, operationNames, operations } from '../../src/s3/operations.ts'
import type { OperationName } from '../../src/s3/operations.ts'
import { knownDifferences } from './known-differences.ts'
import { planners } from '../../src/plan/plan.ts'

type Row = readonly string[]

const introduction = `# Compatibility

What Sealgate does with every S3 operation. This page is printed from the tables that decide it
(\`src/s3/operations.ts\`, \`src/plan/plan.ts\`); a test fails when it is out of date.

| word | meaning |
|---|---|
| forward | re-signed, headers filtered, body untouched |
| seal | bytes are encrypted on their way to the store |
| open | bytes or facts are decrypted and verified on their way to the client |
| rewrite | the store does the work; sizes, ETags or conditions are translated |
| copy | the store copies sealed bytes under a new wrap |
| emulate | the gateway answers |
| refuse | 501 NotImplemented, with the reason |

"Sealed" is a bucket with \`encryption: on\`, "plain" one with \`encryption: off\`. Requests for the state bucket are
answered with \`NoSuchBucket\` whatever the operation.
`

const features: readonly Row[] = [
  ['Event notifications', 'stored `size`, the store\'s `eTag`; names, times and version ids are right'],
  ['Inventory, analytics, metrics', 'stored sizes, the store\'s ETags and checksums'],
  ['Metadata tables', 'the same, and the gateway\'s own metadata: key id and sealed envelope, no secret'],
  ['Replication', 'sealed replicas; they open through a gateway with the same keys that names the source bucket as an alias'],
  ['Bucket websites, Transfer Acceleration', 'sealed bytes: their endpoints bypass the gateway'],
  ['Public ACLs and policies', 'sealed bytes to whoever asks the store; for public reads through the gateway set `publicRead`'],
  ['Lifecycle', 'size filters are converted both ways; the store\'s own minimum for transitions (AWS: 128 KiB) counts stored bytes'],
  ['Access logs, inventory files', 'written by the store and not sealed: readable through the gateway with `plaintext: allow`'],
  ['Bucket policies', 'conditions on source address, user agent, authentication and encryption headers see the gateway\'s request'],
  ['Costs and quotas', 'count stored bytes: 512 bytes for an object and 20 for each 64 KiB more than the plaintext']
]

const etagModes: readonly Row[] = [
  [
    '`md5` (default)',
    'the plaintext\'s MD5, and MD5 of MD5s with `-N` for multipart uploads, in every operation',
    'a listing asks for each row it does not remember: one HEAD or one small read'
  ],
  [
    '`opaque`',
    'the store\'s ETag, with `-0` behind it where it has no dash; `-N` counts the client\'s parts where the store\'s ETags are MD5s of MD5s',
    'no MD5 to compare: rclone as AWS, Ceph or Minio needs `use_multipart_etag = false`, Java SDK v2 before 2.30 `announce: aws:kms`'
  ]
]

const differences = `Objects under customer keys (SSE-C) show opaque ETags in both modes. Conditional requests name the visible
ETag; the gateway translates it and the store enforces it. Conditions that the store was found to ignore are refused with 501.

## Known differences

* Object, part and copy limits of 5 GiB hold for what is stored: a single PUT takes 5,367,070,708 bytes, a part 5,367,071,380.
* A part of 5 MiB or more with the highest number that the store takes (upstream.maxParts, 10,000) is refused when it is uploaded: its number is needed for what is behind the last part.
* With \`upstream.checksum: crc32\` stores that hold to AWS's rule want part numbers to start at 1 without gaps, and no part uploaded above
  the last one listed.
* User metadata is limited to what the store leaves beside the gateway's entries: 1,152 bytes with the describing headers when they are sealed
  ([FORMAT, Limits](FORMAT.md#limits)), 2 KB less 720 bytes with \`metadata: clear\`. Names beginning with \`x-amz-meta-sealgate\`, and in clear
  two names that differ in \`-\` and \`_\` alone, are refused with InvalidArgument.
* Sealed metadata comes back byte for byte. AWS and MinIO return bytes beyond ASCII as RFC 2047 encoded words. A store's own use of
  a content type (website endpoints, CDNs that compress) sees \`application/octet-stream\`.
* Checksums are AWS's ten: CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, XXHASH64, XXHASH3, XXHASH128. They are given back for whole
  objects and parts, never for a range. Any other is refused with 400, in buckets that are not encrypted too.
* CompleteMultipartUpload compares the checksums of parts that are in its list and needs none; AWS demands them of COMPOSITE uploads.
* A copy has the checksum of its source, or one of \`x-amz-checksum-algorithm\`: where that is not known yet, the bytes pass through the
  gateway. Copies of multipart objects keep a composite checksum unless asked, where AWS computes one over the whole; into a bucket that is
  not encrypted only a checksum goes along that is known before the body, and a store that holds parts to the checksum of their upload
  refuses copied ones; with \`upstream.checksum\` both get the one that is asked for.
* CopyObject, UploadPartCopy and CompleteMultipartUpload are ordinary answers for 15 s. What takes longer gets a 200, white space every 5 s, and then
  the document or an error document, as on AWS; of the headers it has those that were known when the 200 went out (not
  always \`x-amz-version-id\`). HTTP/1.0 clients wait in silence.
* Query parameters that an operation does not have are refused: with 501 on writes, and on reads where they are bare names;
  other unknown \`name=value\` pairs are dropped from reads. Bare names are dropped from GET and HEAD of objects too (\`?v2\`), unless they are
  a sub-resource of some S3 server.
* A request with two sub-resources (\`?acl&tagging\`), or with a parameter given twice, is InvalidArgument.
* Buckets named \`admin\` or \`minio\` are InvalidBucketName: those paths are the stores' own administration interfaces.
* Copy sources by ARN (access points, Outposts) and SigV4A are refused.
* UploadPart, ListParts and CompleteMultipartUpload of an upload under a customer's key want its headers; stores complete without.
* Encryption headers on requests that continue an upload are taken where they agree with it, and refused where they do not; MinIO and Ceph ignore
  them, AWS refuses them all.
* A request target in absolute form must name the host of the Host header.
* Redirects of the store are never relayed; a \`Location\` that names a host is left out.
* Anonymous requests: reads only, and only where a bucket's \`publicRead\` says so (\`true\`: objects and listings, no settings; \`prefixes\`: current objects under them and listings of them; \`store\`: as
  far as the store's ACLs allow). Unsigned writes are refused even where the store would take them, unsigned forms too.
* IAM, STS and SNS calls that Ceph takes on the same endpoint are not passed on.
* Bucket policies and \`?encryption\` of the store never see the client's SSE headers: a policy that demands them denies every write.
* Of copies between sealed buckets policies see \`s3:x-amz-copy-source\` as \`bucket/key\`, without a slash in front and percent-encoded, with
  the version where the source has one; \`s3:x-amz-metadata-directive\` is always REPLACE, because the envelope among the metadata is another one.
  A copy into or out of a bucket that is not encrypted is a GET and a PUT to them, an UploadPartCopy too.
* Buckets of other Ceph tenants (\`tenant:bucket\`, in paths and copy sources) are InvalidBucketName: what is sealed names its bucket, and one
  bucket would have two names. Give the clients of a tenant a gateway whose credentials (\`upstream\`) are of that tenant.
* A browser form with a file above 256 KiB must have the file as its last field and a Content-Length.
* MinIO keeps no CORS rules of buckets (501 NotImplemented) and lets every origin in: without rules to read, the gateway relays what the store answers to a
  preflight. \`listen.cors\` replaces the store's rules and answers for all buckets, and no preflight goes to the store then.

## What is known of stores

| store | conditions enforced | besides |
|---|---|---|
| Ceph radosgw 16.2.15 | PutObject without versioning or with it suspended (with it enabled: none, so 501), source of copies | loses tags of copies; default encryption, \`partNumber\` and GetObjectAttributes are the gateway's |
| versitygw 1.8.0 (files) | PutObject, CompleteMultipartUpload, DeleteObject, source of copies | verifies trailing checksums, wants no digest of bodies that it locks. Objects under names that end in \`/\` must be empty, and it copies none (400 DirectoryObjectContainsData), sealed or not. \`a//b\` is listed as \`a/b\` and opens under the name it was written by alone. HEAD with \`versionId=null\` is 404 in buckets without versions: their version listings show no ETags with \`etag: md5\` |
| MinIO (built from the last open source, 28 November 2026) | PutObject, CompleteMultipartUpload, source of copies, alike in all kinds of bucket | |
| moto 5.2.5 | PutObject, DeleteObject | a simulation for tests; copies pass through the gateway |
`

const comparison = 'The same requests, sent to Ceph radosgw 16 directly and through the gateway, to an encrypted and to an unencrypted bucket, are answered\n' +
  'alike (status, headers, documents) but for this list. In brackets: what radosgw does. `node test/differential/main.ts` compares again.'

/** The request line that selects an operation, as in AWS's own reference. */
function wire(name: OperationName): string {
  const row = operations[name]
  const path = { service: '/', bucket: '/bucket', object: '/bucket/key' }[row.level]
  const query = row.select.length === 0 ? '' : `?${row.select.join('&')}`
  return `\`${row.method} ${path}${query}\`${'header' in row ? ` with \`${row.header}\`` : ''}`
}

function namesOf(name: OperationName): string {
  const older = Object.entries(olderNames).filter(([, newer]) => newer === name).map(([old]) => old)
  return [name, ...older].join(', ')
}

function operationRows(names: readonly OperationName[]): Row[] {
  return names.map((name) => {
    const { on, off } = planners[name]
    return [namesOf(name), wire(name), on.effect, off.effect, on.note]
  })
}

/** The whole of docs/COMPATIBILITY.md. */
export function compatibilityMarkdown(): string {
  const served = operationNames.filter((name) => planners[name].on.effect !== 'refuse')
  const refused = operationNames.filter((name) => planners[name].on.effect === 'refuse')
  const header = ['operation', 'request', 'sealed', 'plain', 'note']
  const sections = (['object', 'bucket', 'service'] as const).map((level) => {
    const title = { object: 'Objects', bucket: 'Buckets', service: 'Service' }[level]
    return `## ${title}\n\n${table(header, operationRows(served.filter((name) => operations[name].level === level)))}\n`
  })
  const reasons = table(['operation', 'request', 'why'], refused.map((name) => [namesOf(name), wire(name), planners[name].on.note]))
  const foreign = table(['extension', 'recognised by'], extensions.map((extension) => [extension.name, markOf(extension)]))
  return [
    introduction,
    ...sections,
    `## Refused\n\n${reasons}\n`,
    `Also refused, whatever operation they ride on, because to ignore the mark would be to store or serve something else:\n\n${foreign}\n`,
    `## What other features of the store will show\n\nWhat reads a bucket without the gateway sees what is stored.\n`,
    `${table(['feature', 'what it shows'], features)}\n`,
    `## ETags\n\n${table(['mode', 'visible ETag', 'price'], etagModes)}\n`,
    differences,
    `## Compared with the store itself\n\n${comparison}\n`,
    `${Object.values(knownDifferences).map((text) => `* ${text}`).join('\n')}\n`
  ].join('\n')
}

function markOf({ query, header, prefix, value }: (typeof extensions)[number]): string {
  const name = `${query ?? header ?? ''}${prefix === true ? '*' : ''}`
  return `${query === undefined ? 'header' : 'query'} \`${name}${value === undefined ? '' : `: ${value}`}\``
}
