import { storesMarkdown } from './stores.ts'
import { table } from './table.ts'
import { extensions, olderNames, operationNames, operations } from '../../src/s3/operations.ts'
import type { OperationName } from '../../src/s3/operations.ts'
import { knownDifferences } from './known-differences.ts'
import { planners } from '../../src/plan/plan.ts'
import { idleHeaders } from '../../src/store-client/store-adapter.ts'
import { profileNames, storeProfiles } from '../../src/config/store-profiles.ts'

type Row = readonly string[]

const introduction = `# Compatibility

What Sealgate does with every S3 operation. This page is printed from the tables that decide it
(\`src/s3/operations.ts\`, \`src/plan/plan.ts\`); a test fails when it is out of date.

| word | meaning |
|---|---|
| forward | re-signed, headers filtered, body unchanged |
| seal | bytes are encrypted on their way to the store |
| open | bytes or properties are decrypted and verified on their way to the client |
| rewrite | the store does the work; sizes, ETags or conditions are translated |
| copy | the store copies sealed bytes under a new wrap |
| emulate | the gateway answers |
| refuse | 501 NotImplemented, with the reason |

"Sealed" is a bucket with \`encryption: on\`, "plain" one with \`encryption: off\`. Requests for the state bucket are
answered with \`NoSuchBucket\` whatever the operation.
`

const features: readonly Row[] = [
  ['Event notifications', 'stored `size` and the store\'s `eTag`; names, times and version ids are correct'],
  ['Inventory, analytics, metrics', 'stored sizes, the store\'s ETags and checksums'],
  ['Metadata tables', 'the same, and the gateway\'s own metadata: key id and sealed envelope, no secret'],
  ['Replication', 'sealed replicas; a gateway with the same keys opens them if it names the source bucket as an alias'],
  ['Bucket websites, Transfer Acceleration', 'sealed bytes: their endpoints bypass the gateway'],
  ['Public ACLs and policies', 'sealed bytes to anyone who asks the store; for public reads through the gateway set `publicRead`'],
  [
    'Objects of the S3 Encryption Client',
    'opened where the bucket lists their kind (`s3ec`): plaintext and its size, opaque ETags, no ranges beyond 64 MiB; `docs/S3-ENCRYPTION-CLIENT.md`'
  ],
  ['Lifecycle', 'size filters are converted both ways; the store\'s own minimum for transitions (AWS: 128 KiB) counts stored bytes'],
  ['Access logs, inventory files', 'plaintext, written by the store: readable through the gateway with `plaintext: allow`'],
  ['Bucket policies', 'conditions on source address, user agent, authentication and encryption headers apply to the gateway\'s requests'],
  ['Costs and quotas', 'count stored bytes: the plaintext, 512 bytes per object and 20 bytes per 64 KiB']
]

const etagModes: readonly Row[] = [
  [
    '`md5` (default)',
    'the plaintext\'s MD5, and MD5 of MD5s with `-N` for multipart uploads, in every operation',
    'a listing costs one HEAD, and for some one small read, for each row that this process has neither listed nor written'
  ],
  [
    '`md5-small`',
    'the plaintext\'s MD5 of objects of up to 8 MiB that were written in one piece; of all others the store\'s ETag as with `opaque`, but with `-1` where it has no dash',
    'a listing costs requests as with `md5` for each row of up to 8 MiB, none for others; no MD5 of parts is computed. Clients that compare MD5s (s3cmd, rclone, `filemd5` of Terraform) ' +
    'compare those of small objects; the AWS CLI and the current SDKs of AWS compare none. For larger objects as with `opaque`'
  ],
  [
    '`opaque`',
    'the store\'s ETag, with `-0` appended if it has no dash; `-N` is the number of the client\'s parts if the store\'s ETags are MD5s of MD5s',
    'clients have no MD5 to compare: rclone as AWS, Ceph or Minio needs `use_multipart_etag = false`, Java SDK v2 before 2.30 `announce: aws:kms`'
  ]
]

const differences = `Objects under customer keys (SSE-C) have opaque ETags in all modes. Conditional requests name the visible
ETag; the gateway translates it and the store enforces it. Conditions that the store ignores, as the probes found, are refused with 501. A conditional copy passes through the gateway where
the store enforces conditions on PutObject or CompleteMultipartUpload and not on CopyObject.

## Known differences

* The limits of 5 GiB for objects, parts and copies apply to stored bytes: a single PUT takes 5,367,070,708 bytes, a part 5,367,071,380.
* The part with the highest number that the store accepts (\`upstream.maxParts\`, 10,000) is refused on upload if it has 5 MiB or more: the gateway needs
  that number for the bytes that follow the last part.
* With \`upstream.equalParts\` the rule of the store (Cloudflare R2) holds for the client's parts, too: all but the last have one size, and the last is not
  larger; otherwise Complete is InvalidPart, as on R2. Parts that do not have the size of part 1 wait in the state bucket and are copied into the upload by
  Complete: the last one if it is shorter, and those that arrive before part 1 or with a size that part 1 no longer has. Shown on 29 November 2026 with aws-cli, rclone, s3cmd and mc in front of MinIO and radosgw 16, behind a proxy that
  refuses unequal parts; not tried against R2 itself.
* With \`upstream.checksum: crc32\`, stores that follow AWS's rule require part numbers that start at 1 without gaps, and no uploaded part above
  the last one listed.
* User metadata is limited by the space that the gateway's entries leave: 1,152 bytes including the describing headers when they are sealed
  ([FORMAT, Limits](FORMAT.md#limits)), 2 KB less 720 bytes with \`metadata: clear\`. Names beginning with \`x-amz-meta-sealgate\` are refused with
  InvalidArgument. With \`metadata: clear\` so are two names that differ only in \`-\` and \`_\`.
* Sealed metadata is returned byte for byte. AWS and MinIO return bytes beyond ASCII as RFC 2047 encoded words. Features of the store that use
  the content type (website endpoints, CDNs that compress) see \`application/octet-stream\`.
* Checksums are AWS's ten: CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, XXHASH64, XXHASH3, XXHASH128. They are returned for whole
  objects and parts, never for a range. Any other is refused with 400, also in unencrypted buckets.
* CompleteMultipartUpload compares the checksums of parts that are in its list and requires none; AWS requires them for COMPOSITE uploads.
* A copy has the checksum of its source, or the one that \`x-amz-checksum-algorithm\` names. If that one is not known yet, the bytes pass through the
  gateway. Copies of multipart objects keep a composite checksum unless another is requested; AWS computes one over the whole object.
* A copy into an unencrypted bucket has only a checksum that is known before the body. A store that requires parts to have the checksum of their upload
  refuses copied parts. With \`upstream.checksum\` both get the checksum that is requested.
* CopyObject, UploadPartCopy and CompleteMultipartUpload get an ordinary response within 15 s. If they take longer, the response is a 200, white space every 5 s, and
  then the document or an error document, as on AWS. It has the headers that were known when the 200 was sent (not
  always \`x-amz-version-id\`). HTTP/1.0 clients receive nothing until the end.
* Query parameters that an operation does not have are refused with 501 on writes. On reads bare names are refused, and
  other unknown \`name=value\` pairs are dropped. Bare names are also dropped from GET and HEAD of objects (\`?v2\`), unless they are
  a sub-resource of some S3 server.
* A request with two sub-resources (\`?acl&tagging\`), or with a repeated parameter, is InvalidArgument.
* Buckets named \`admin\` or \`minio\` are InvalidBucketName: those paths are the stores' own administration interfaces.
* Copy sources by ARN (access points, Outposts) and SigV4A are refused.
* UploadPart, ListParts and CompleteMultipartUpload of an upload under a customer's key require its headers; stores complete without them.
* Encryption headers on requests that continue an upload are accepted if they agree with the upload, and refused otherwise; MinIO and Ceph ignore
  them, AWS refuses them all.
* A request target in absolute form must name the host of the Host header.
* Redirects of the store are never relayed; a \`Location\` that names a host is left out.
* Anonymous requests may only read, and only as a bucket's \`publicRead\` allows. \`true\`: objects and listings, no settings. \`prefixes\`: current objects under them
  and listings of them. \`store\`: what the store's ACLs allow. \`marked\`: the same, but only objects written with \`x-amz-acl: public-read\`. Unsigned writes and
  unsigned forms are refused even if the store would accept them.
* IAM, STS and SNS calls, which Ceph accepts on the same endpoint, are not forwarded.
* Bucket policies and \`?encryption\` of the store never see the client's SSE headers: a policy that requires them denies every write, unless
  \`upstream.sse\` sends them.
* For copies between sealed buckets, policies see \`s3:x-amz-copy-source\` as \`bucket/key\`, without a leading slash and percent-encoded, with
  the version if the source has one. \`s3:x-amz-metadata-directive\` is always REPLACE, because the copy has a new envelope in its metadata.
  A copy into or out of an unencrypted bucket, and every UploadPartCopy, is a GET and a PUT to the store's policies.
* Buckets of other Ceph tenants (\`tenant:bucket\`, in paths and copy sources) are InvalidBucketName: a sealed object names its bucket, and one
  bucket would have two names. Run a gateway for each tenant, with credentials (\`upstream\`) of that tenant.
* A browser form with a file above 256 KiB must have the file as its last field and a Content-Length.
* MinIO keeps no CORS rules of buckets (501 NotImplemented) and allows every origin. If there are no rules to read, the gateway relays the store's response to a
  preflight. \`listen.cors\` replaces the store's rules for all buckets; then no preflight goes to the store.
`

const idle = Object.entries(idleHeaders).map(([feature, { name, values }]) =>
  `without \`${feature}\`, \`${name}\`${values === null ? '' : ` if it is ${values.map((value) => `\`${value}\``).join(' or ')}`}`
)

const providers = `## Stores with less than S3

\`upstream.profile\` sets the options of \`upstream\` for a provider; what the configuration says itself has precedence. \`lacks\` names what a store does not have.
\`multiDelete\` (DeleteObjects) is done by single requests, 16 at once, with AWS's results in the order of the document. \`listV2\` (ListObjectsV2) is done by ListObjects. Every
other operation, header or parameter that needs one of them is answered with 501 NotImplemented and not sent: a store that ignores a sub-resource that it does not know
would take PutObjectTagging for PutObject; reads of a bucket's settings are sent. Without \`versioning\`, \`versionId=null\` is left out, and other version ids
are InvalidArgument, also in copy sources and in the keys of DeleteObjects. Settings of a bucket are read from the store if it knows them, and as not set if it does not
([decision](decisions/0106-what-a-store-says-of-a-bucket-has-precedence.md)). Without \`tagging\` objects have no tags. Headers that change nothing are left out:
${idle.join('; ')}.

${
  table(
    ['profile', 'store', 'options'],
    profileNames.filter((name) => name !== 'none').map((name) => [
      `\`${name}\``,
      storeProfiles[name].title,
      Object.entries<string | number | boolean | readonly string[]>(storeProfiles[name].options).map(([option, value]) =>
        `\`${option}: ${typeof value === 'object' ? `[${value.join(', ')}]` : String(value)}\``
      ).join(', ')
    ])
  )
}

Hetzner, OVHcloud, NetApp StorageGRID and Dell ECS need no profile. \`test/support/narrow-profiles.ts\` has the limits of twelve providers with their sources (looked up on
29 November 2026); a server with these limits stands in for the providers in tests. None of the hosted services themselves has been tried. With \`test/e2e/narrow.sh\`, aws CLI 1, rclone,
mc, s3cmd and restic ran through the gateway in front of MinIO and of radosgw behind such a server on 29 November 2026, for B2, Dell ECS, Garage, Google, Hetzner,
old Ceph, OSS, OVHcloud, R2, Scaleway, StorageGRID and Wasabi: all 28 steps each. \`npm run campaign profiles\` repeats it. For every store:

* An empty \`x-amz-tagging\` is not sent. Accept-Encoding is sent as \`identity\` and not signed. Checksums are not sent unless \`upstream.checksum\` says so.
* DeleteObjects and settings have Content-MD5; so do objects of up to 64 KiB with Object Lock headers, which B2 demands. Larger ones need a store that knows trailing checksums.
* An error page in HTML becomes the S3 error of its status; the log has \`errorName: HtmlErrorPage\`.
* If the store's response to HEAD has no length, the size is read with a range of one byte.
* Google's conditions on writes (generations) are not used: conditional writes are refused with 501 there, as the probe finds. With \`metadata: clear\`, Google decompresses what has
  \`Content-Encoding: gzip\` and such objects do not open; sealed metadata (the default) is not affected.
* Browser forms are stored with PutObject, so that a store needs no POST. A store without CORS rules needs \`listen.cors\`.
`

const comparison =
  'The same requests are sent to a store directly and through the gateway, to an encrypted and to an unencrypted bucket. The responses have\n' +
  'the same status, headers and documents except for this list. In brackets: what the store does, Ceph radosgw 16 where none is named. `node test/differential/main.ts` repeats the comparison.'

/** The request line that selects an operation, as in the AWS API reference. */
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
    `Also refused with every operation, because ignoring them would store or serve something else:\n\n${foreign}\n`,
    `## Other features of the store\n\nFeatures that read a bucket without the gateway see the stored bytes.\n`,
    `${table(['feature', 'what it shows'], features)}\n`,
    `## ETags\n\n${table(['mode', 'visible ETag', 'price'], etagModes)}\n`,
    differences,
    storesMarkdown(),
    providers,
    `## Compared with the store itself\n\n${comparison}\n`,
    `${Object.values(knownDifferences).map((text) => `* ${text}`).join('\n')}\n`
  ].join('\n')
}

function markOf({ query, header, prefix, value }: (typeof extensions)[number]): string {
  const name = `${query ?? header ?? ''}${prefix === true ? '*' : ''}`
  return `${query === undefined ? 'header' : 'query'} \`${name}${value === undefined ? '' : `: ${value}`}\``
}
