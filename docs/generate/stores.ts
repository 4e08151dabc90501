import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { table } from './table.ts'

type Row = readonly string[]

/** What was seen of each store, and is no difference between it and the gateway. */
const known: readonly Row[] = [
  [
    'Ceph radosgw 16.2.15',
    'PutObject without versioning or with versioning suspended, source of copies. With versioning enabled none, so 501',
    'loses tags of copies; default encryption, `partNumber` and GetObjectAttributes are provided by the gateway'
  ],
  [
    'versitygw 1.8.0 (files)',
    'PutObject, CompleteMultipartUpload, DeleteObject, source of copies',
    'verifies trailing checksums; requires no digest with Object Lock headers. Objects with names that end in `/` must be empty and cannot be copied (400 DirectoryObjectContainsData), sealed or not. `a//b` is listed as `a/b` and opens only under the name it was written by. Answers 200, without a version id, to a Complete of an upload that it does not have (aborted, or completed before) if the name has an object, even under a wrong condition; the gateway asks for the parts of a client\'s upload before'
  ],
  [
    'MinIO (built from the last open source, 28 November 2026)',
    'PutObject, CompleteMultipartUpload, source of copies; the same in all kinds of bucket',
    'with a policy that denies writes without `x-amz-server-side-encryption: AES256`, PutObject and copies were refused before and accepted after `upstream.sse: AES256` (29 November 2026). Such a policy denies every UploadPart on MinIO, also of its own client. A conditional PutObject waits for everybody who reads the name ([0152](decisions/0152-conditional-copies-by-upload.md))'
  ],
  [
    'Garage 2.5.0',
    'none, so 501',
    '`profile: garage`. Answers writes with a version id of its own, which the profile removes. Tags are read as none, so that `aws s3 cp` copies large objects, which it cannot without the gateway'
  ],
  [
    'SeaweedFS 4.53',
    'all: PutObject, CompleteMultipartUpload, CopyObject, DeleteObject, source of copies',
    'drops the metadata of empty objects whose names end in `/`, so they are refused with 501: s3fs and `mkdir` of Hadoop do not work'
  ],
  [
    'moto 5.2.5',
    'none, because its answer to GetBucketVersioning is no S3 document',
    'a simulation for tests; copies pass through the gateway. rclone\'s multipart uploads fail, also without the gateway'
  ],
  [
    'Azure Blob behind s3proxy 2.6.0 and Azurite',
    '–',
    'does not work: Azure has no `-` in metadata names, and every write of the gateway needs `x-amz-meta-sealgate-key` (s3proxy answers 500)'
  ]
]

/** Summaries of `sealgate store check`, run on the date that stands above the table. */
const checkedStores: readonly Row[] = [
  [
    'MinIO (last open source)',
    '0',
    'none',
    'conditions on CopyObject, If-Match on DeleteObject, STANDARD_IA, names with `//`, with `.` and `..`, with more than 255 bytes between slashes',
    'metadata 2,048 bytes; CORS by `listen.cors`'
  ],
  [
    'Ceph radosgw 16.2.15',
    '0',
    'none',
    'conditions on CompleteMultipartUpload, CopyObject, DeleteObject, and in versioned buckets on PutObject; STANDARD_IA; names of 1,024 bytes (500)',
    'metadata 8,192 bytes or more; refuses trailing checksums; copies lose tags, which are sent again'
  ],
  [
    'Garage 2.5.0',
    '0',
    'none',
    'versions, tags, ACLs, locks, all conditional writes',
    'metadata 8,192 bytes or more; no smallest part; takes trailing checksums'
  ],
  [
    'SeaweedFS 4.53',
    '0',
    'none',
    'names with `.` and `..`, with more than 255 bytes between slashes; names with `//` are listed otherwise; empty objects whose names end in `/`',
    'metadata 8,192 bytes or more; takes and verifies checksums; all conditions in all kinds of bucket; one emptied bucket could not be removed'
  ],
  [
    'versitygw 1.8.0, without versions',
    '0',
    'none',
    'versions, locks, ACLs, conditions on CopyObject, names with more than 255 bytes between slashes; names with `//` or `..` are listed otherwise',
    'metadata 2,048 bytes'
  ],
  ['versitygw 1.8.0, with versions', '0', 'none', 'as above, but versions and locks work', 'conditions are the same in all kinds of bucket'],
  [
    'moto 5.2.5',
    '0',
    'none',
    'its answer about versioning cannot be read: versions and locks were not tried; conditions on CompleteMultipartUpload and CopyObject',
    'conditions on the source of copies are ignored: copies pass through the gateway'
  ],
  [
    's3proxy in front of Azurite',
    '4',
    'none',
    'multipart uploads (501), 1,024 bytes of metadata (431), copies (500), versions, tags; keys are listed in another order',
    'ETags are no MD5s'
  ]
]

/**
 * What was run against each store, all on 29 November 2026: clients, exit code of `store check`, then of `store-round.ts` the conditions that are enforced,
 * multipart, copies, versions and listings, then `mc.sh` and the differential comparison. A dash: not run.
 */
const runs: readonly Row[] = [
  ['MinIO (last open source)', '80 of 80', '0', 'PutObject, Complete', 'yes', 'yes', 'yes', 'yes', '79 of 84 (78)', '7,104, 0'],
  [
    'Ceph radosgw 16.2.15',
    '79 of 80: one crash of aws CLI 1 itself, which did not come again',
    '0',
    'PutObject without versions',
    'yes',
    'yes',
    'yes',
    'yes',
    '72 of 84 (68)',
    '7,104, 0'
  ],
  ['versitygw 1.8.0, without versions', '80 of 80', '0', 'PutObject, Complete, DELETE', 'yes', 'yes', '501', 'yes', '–', '7,104, 0'],
  ['versitygw 1.8.0, with versions', '62 of 62', '0', 'PutObject, Complete, DELETE', 'yes', 'yes', 'yes', 'yes', '73 of 84 (70)', '7,104, 0'],
  ['Garage 2.5.0', '80 of 80', '0', 'none', 'yes', 'yes', '501', 'yes', '–', '–'],
  ['SeaweedFS 4.53', '80 of 80', '0', 'all', 'yes', 'yes', 'yes', 'yes', '–', '–'],
  ['moto 5.2.5', '78 of 80: rclone\'s multipart uploads, also without the gateway', '0', 'none', 'yes', 'yes', '501', 'yes', '–', '–'],
  ['Azure Blob behind s3proxy 2.6.0 and Azurite', 'none: no object can be written', '4', '–', '–', '–', '–', '–', '–', '–']
]

/** Names of tests in versitygw 1.8.0's suite. */
const SUITE_TESTS = 683
/** Of these at versitygw itself, in one run. */
const SUITE_PASSED = 682
/** Names that begin with Versioning_: they need versitygw with versions. */
const VERSION_TESTS = 81
/** Those that do not pass, by reason. */
const suite = JSON.parse(readFileSync(join(import.meta.dirname, '../../test/e2e/versitygw-suite.json'), 'utf8')) as Readonly<Record<string, readonly string[]>>

/** The part of docs/COMPATIBILITY.md about single stores. */
export function storesMarkdown(): string {
  const count = (names: readonly string[], versions: boolean): number => names.filter((name) => name.startsWith('Versioning_') === versions).length
  const left = Object.entries(suite).map(([reason, names]): [number, number, string] => [count(names, false), count(names, true), reason])
    .toSorted(([a, b], [c, d]) => c + d - a - b)
  const sum = (column: 0 | 1): number => left.reduce((total, row) => total + row[column], 0)
  return [
    '## What is known of stores\n',
    `${table(['store', 'conditions enforced', 'notes'], known)}\n`,
    '## What was run against stores\n',
    `All of it on 29 November 2026, each store started by a script of \`test/e2e/stores\`, the gateway in front of it with the store's profile where it has one.

* *Clients*: \`test/e2e/clients.sh\`, aws CLI 1 and 2, boto3, SDK for JavaScript, rclone, s3cmd, curl, over HTTP and HTTPS. Where 62 steps are counted, the aws CLI 2 and an old boto3 were not installed.
* *Conditions* to *listings*: \`test/e2e/store-round.ts\`, two instances: 20 conditional writes at once of which one may win, multipart in turns and ranges over parts, copies in and between
  buckets and of parts, old versions and markers, sizes in listings, 1,050 names in three pages, DeleteObjects of 1,000. 501: the store does not have it, and the gateway says so.
* *mc*: \`test/e2e/mc.sh\`, every command that is not MinIO's administration; in brackets what the store itself passes.
* *Differential*: \`test/differential/main.ts\`, answers compared with those of the store itself, and the differences that are not in [the list](#compared-with-the-store-itself).
`,
    `${
      table(
        ['store', 'clients', '`store check`', 'conditions', 'multipart, two instances', 'copies', 'versions', 'listings', 'mc', 'differential'],
        runs
      )
    }\n`,
    `Two stores behind one gateway (\`test/e2e/two-stores.sh\`: copies of 100 MiB, syncs and mirrors between them by aws, rclone and mc, every byte compared; one of them killed in a
copy): MinIO with radosgw, and MinIO with versitygw, 18 of 18 steps each.

\`mc\` in front of MinIO: \`sql\` is refused, because the store would read sealed bytes; \`ready\` asks MinIO's own health interface; \`cors\`, \`replicate ls\` and \`watch\` fail at MinIO itself, too.
\`encrypt\`, \`cp --enc-s3\` and \`cp --enc-c\` work through the gateway and not at a MinIO without TLS and a key service.

Not built: RustFS 1.0.1, which needs Rust 1.98. No server of Google Cloud Storage's XML API was to be had.
`,
    '## versitygw\'s own suite\n',
    `\`test/e2e/versitygw-suite.ts\` runs the suite that comes with versitygw 1.8.0 (\`versitygw test full-flow\`), which expects AWS's answers, against versitygw with users and without versions. Of its
${SUITE_TESTS} tests, ${SUITE_PASSED} passed at versitygw itself in the run of 29 November 2026, and ${
      SUITE_PASSED - sum(0)
    } of these through the gateway. With versions 619 of 760 do: the reasons below, and 6 listings of versions without checksum
settings, 2 tests that the suite has no command for, and 2 copies with a legal hold or a retention by a user whose policy allows just that, which get 403 and are not explained. Run apart, ${
      VERSION_TESTS - sum(1)
    } of the ${VERSION_TESTS} that are about versions, which pass there, too. The users that it makes are clients of the gateway with their own identities at the store. What does not pass, by reason; where versitygw and AWS differ in words, the gateway says AWS's:
`,
    `${table(['tests', 'with versions', 'reason'], left.map(([plain, versions, reason]) => [String(plain), String(versions), reason]))}\n`,
    '## What `sealgate store check` found\n',
    'On 29 November 2026, each store with its defaults and over plain HTTP on the same machine; some 550 requests and 8 to 46 s each. All buckets that were made, but one of\nSeaweedFS, were removed again.\n',
    `${table(['store', 'exit code', 'settings', 'will not work', 'also'], checkedStores)}\n`
  ].join('\n')
}
