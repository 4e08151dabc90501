// What providers are known to refuse or to do otherwise than AWS, as switches of narrow-store.ts. Each switch names where that is said: an issue
// of a public repository, or a page of the provider. Looked up on 29 November 2026; the provider may have changed since. What no source says is
// not here.
import type { ProfileName } from '../../src/config/store-profiles.ts'
import type { Limits, Refusal } from './narrow-store.ts'
import { notImplemented } from './narrow-store.ts'

const missingMd5: Refusal = { status: 400, code: 'InvalidRequest', message: 'Missing required header for this request: Content-MD5' }
const mismatch: Refusal = {
  status: 400,
  code: 'XAmzContentSHA256Mismatch',
  message: 'The Content-SHA256 you specified did not match what we received'
}

export const profiles = {
  /** Cloudflare R2. */
  r2: {
    // developers.cloudflare.com/r2/api/s3/api, "Bucket region".
    region: 'auto',
    // apache/opendal#2904; a larger last part: cloudflare/cloudflare-docs#9549.
    equalParts: true,
    // The same page, lists of what is not implemented; tagging: jhaals/yopass#3657; an empty x-amz-tagging: velero-io/velero-plugin-for-aws#303;
    // x-amz-acl: saltbo/zpan#199; forms: transloadit/uppy#5052.
    lacks: ['acl', 'attributes', 'forms', 'lock', 'policy', 'tagging', 'versioning', 'website'],
    // The same page, column "Feature": what PutObject, CopyObject and reads take. 501 for every other: saltbo/zpan#199, aws/aws-sdk-js-v3#6810.
    knownHeaders:
      /^x-amz-(checksum-.*|sdk-checksum-algorithm|trailer|decoded-content-length|copy-source.*|metadata-directive|storage-class|server-side-encryption-customer-.*)$/,
    sse: notImplemented,
    // async-aws/aws#2077, rclone/rclone#8137: the edge compresses, and leaves the length out.
    headWithoutLength: 'compressible'
  },
  /** Backblaze B2. */
  b2: {
    // iterate-ch/cyberduck#16107, velero-io/velero#7534 (x-amz-sdk-checksum-algorithm), vatesfr/xen-orchestra#8358 (x-amz-checksum-mode).
    checksums: { status: 400, code: 'InvalidArgument', message: 'Unsupported header \'{}\' received for this API call.' },
    // Intrinsec/s3proxy#34: an empty one, too; forms: transloadit/uppy#5052.
    lacks: ['forms', 'tagging'],
    lacking: { status: 400, code: 'InvalidArgument', message: 'Unsupported header \'{}\' received for this API call.' },
    // sathinduga/obsidian-s3-sync-and-backup#78, lance-format/lance#5614.
    conditions: { PutObject: notImplemented },
    // zmanda/amanda#275: "required for Put Object requests with Object Lock parameters".
    contentMd5: { of: [], withLock: true, refusal: missingMd5 }
  },
  /** Hetzner Object Storage. */
  hetzner: {
    // docs.hetzner.com/storage/object-storage/supported-actions: GetObjectAttributes, website; encryption: SSE-C only.
    lacks: ['attributes', 'cors', 'website'],
    // CORS of private buckets: kyantech/Palmr#191.
    sse: notImplemented,
    // home-assistant/core#144015.
    trailers: mismatch,
    // nextcloud/files_versions_s3#55: the load balancer says 501 in HTML.
    htmlErrors: 'refused'
  },
  /** OVHcloud. Its page of limits says 10,000 parts (KB0047376, February 2026); conditions since June 2026 (ovh/public-cloud-roadmap#671). */
  ovh: {
    // ovh/public-cloud-roadmap#781 (2025).
    trailers: { status: 501, code: 'NotImplemented', message: 'Transfering payloads in multiple chunks using aws-chunked is not supported.' },
    checksums: notImplemented,
    // ovh/public-cloud-roadmap#763.
    contentMd5: { of: ['DeleteObjects'], refusal: missingMd5 }
  },
  /** Scaleway Object Storage. */
  scaleway: {
    // scaleway.com/en/docs/object-storage/api-cli/multipart-uploads; ddebeau/zfs_uploader#61.
    maxParts: 1000,
    // grafana/tempo#5761.
    sse: notImplemented
  },
  /** Wasabi. */
  wasabi: {
    // sonatype/nexus-public#94.
    lacks: ['lifecycle', 'tagging']
  },
  /** Google Cloud Storage, XML API with HMAC keys. */
  google: {
    region: 'auto',
    // rclone/rclone#6670, aws/aws-sdk-go-v2#1816.
    acceptEncoding: 'gzip(gfe)',
    // multiDelete: s3tools/s3cmd#1222, minio/mc#2398; tags, lock, versions: gist abperiasamy/9da313f7e6faa00b2e39d30557d8cce2;
    // partCopy: ClickHouse/ClickHouse#49390.
    lacks: ['attributes', 'lock', 'multiDelete', 'partCopy', 'tagging', 'versioning'],
    lacking: { status: 400, code: 'InvalidArgument', message: 'Invalid argument.' },
    // earth-mover/icechunk#533: If-Match is for reads only, generations are the conditions of writes.
    conditions: { PutObject: 'ignored', CompleteMultipartUpload: 'ignored', CopyObject: 'ignored', DeleteObject: 'ignored' }
  },
  /** NetApp StorageGRID and ONTAP. */
  storagegrid: {
    // EnterpriseDB/barman#1114.
    contentMd5: { of: ['DeleteObjects'], refusal: missingMd5 },
    // velero-io/velero#8152.
    trailers: {
      status: 400,
      code: 'InvalidArgument',
      message: 'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD or a valid sha256 value.'
    },
    // The same issue, with the empty tagging of velero-io/velero-plugin-for-aws#303.
    emptyTagging: { status: 501, code: 'NotImplemented', message: 'The s3 command you requested is not implemented.' }
  },
  /** Dell ECS and PowerScale. */
  ecs: {
    // versity/versitygw#1867: chunks are hashed with their frames.
    chunkedBodies: mismatch,
    // EnterpriseDB/barman#1146.
    contentMd5: { of: ['DeleteObjects'], refusal: { ...missingMd5, code: 'MissingContentMD5' } }
  },
  /** Alibaba Cloud OSS. */
  oss: {
    // peak/s5cmd#518.
    style: 'virtual-host',
    // apache/polaris#3346.
    trailers: {
      status: 400,
      code: 'InvalidArgument',
      message: 'aws-chunked encoding is not supported with the specified x-amz-content-sha256 value.'
    },
    // tobi/walgit#67.
    conditions: { PutObject: notImplemented },
    // alibabacloud.com/help/doc-detail/389025.html, lists of operations.
    lacks: ['attributes', 'cors', 'lock', 'policy', 'tagging', 'versioning', 'website']
  },
  /** Garage. */
  garage: {
    // garagehq.deuxfleurs.fr/connect: "Garage requires your client to talk to the correct S3 region".
    region: 'garage',
    // garagehq.deuxfleurs.fr/reference_manual/s3_compatibility.html: "All APIs that are not mentioned … will return a 501".
    lacks: ['acl', 'attributes', 'encryption', 'forms', 'lifecycle', 'lock', 'policy', 'tagging', 'versioning']
  },
  /** Ceph before 14.2.5 and gateways of its age. */
  cephOld: {
    // restic/restic#3083, restic/restic#3085.
    listV2: 'noToken',
    // velero-io/velero#9804.
    trailers: { status: 400, code: 'InvalidArgument', message: 'UnknownError' },
    lacks: ['attributes', 'lock'],
    // docs.ceph.com/en/nautilus/radosgw/s3: conditions of writes are not among its features.
    conditions: { CompleteMultipartUpload: 'ignored', CopyObject: 'ignored', DeleteObject: 'ignored' }
  }
} as const satisfies Record<string, Limits>

/** `upstream.profile` for a provider; the others need none. */
export const upstreamProfiles: Readonly<Partial<Record<keyof typeof profiles, ProfileName>>> = {
  r2: 'r2',
  b2: 'b2',
  scaleway: 'scaleway',
  wasabi: 'wasabi',
  google: 'google',
  oss: 'oss',
  garage: 'garage',
  cephOld: 'ceph14'
}
