import type { Finding } from './run.ts'

/** A difference that is meant. The list is printed into docs/COMPATIBILITY.md. */
export interface Declared {
  readonly what: string
  readonly covers: (finding: Finding) => boolean
}

const has = ({ step }: Finding, pattern: RegExp): boolean => (step.headers ?? []).some(([name]) => pattern.test(name))
const asked = ({ step }: Finding, name: string): boolean => (step.query ?? []).some(([parameter]) => parameter === name)
const outcome = ({ where }: Finding): boolean => where === 'status' || where === 'Error/Code'
const isCopy = (f: Finding): boolean => has(f, /^x-amz-copy-source$/)
const pathOf = ({ step }: Finding): string => step.path ?? step.key ?? ''

/** What a client may see otherwise through the gateway than of Ceph radosgw 16 directly. `…` in brackets: who is at odds. */
export const declared: readonly Declared[] = [
  { what: 'Where both answer with the same error status, the code is AWS\'s: `SignatureDoesNotMatch`, `InvalidAccessKeyId`, `AccessForbidden` (CORS), `KeyTooLongError`, `InvalidPolicyDocument`, … [radosgw says less]',
    covers: (f) => f.where === 'Error/Code' && !f.errorsDiffer },
  { what: '`Accept-Ranges` stands in answers that carry object bytes only.', covers: (f) => f.where === 'header accept-ranges' },
  { what: '`CopyObjectResult/ETag` is quoted, as AWS quotes it. [radosgw does not]', covers: (f) => f.where.endsWith('Result/ETag') && f.gateway.replaceAll('"', '') === f.store },
  { what: 'CompleteMultipartUpload names the gateway in `Location`, and always an ETag. [radosgw 16 leaves it empty]', covers: (f) => f.where.startsWith('CompleteMultipartUploadResult/') },
  { what: 'Objects written with a customer\'s key show opaque ETags (`…-0`).', covers: (f) => f.where.endsWith('etag') && f.gateway.endsWith('-0"') },
  { what: 'A listing shows opaque ETags to clients that may list objects but not read them.', covers: (f) => f.where.endsWith('/ETag') && f.gateway.endsWith('-0"') },
  { what: 'SSE headers are answered as AWS answers them, also on copies. [radosgw leaves out AES256, and all of them on copies]', covers: (f) => f.where.startsWith('header x-amz-server-side-encryption') },
  { what: 'SSE-C headers for an object without a customer\'s key, and contradicting SSE headers, are refused with 400. [radosgw ignores them]',
    covers: (f) => outcome(f) && f.scenario.startsWith('sse') && (f.gateway === '400' || f.gateway === '404' || /Invalid|KMS/.test(f.gateway)) },
  { what: 'An unknown KMS key is `KMS.NotFoundException`; of a store\'s own key management behind an unencrypted bucket, 502. [radosgw: 403 InvalidAccessKeyId]',
    covers: (f) => outcome(f) && /kms unknown key/.test(pathOf(f)) },
  { what: 'Checksums are verified and given back, also where the store knows none of them.', covers: (f) => f.where.startsWith('header x-amz-checksum-') || (outcome(f) && f.scenario === 'object headers judged') },
  { what: 'A checksum that nobody gave is not made up: copies show those their source has. [AWS and the embedded store compute CRC64NVME]', covers: (f) => f.where.startsWith('CopyObjectResult/Checksum') },
  { what: 'Listings of encrypted buckets name no checksum algorithms.', covers: (f) => /\/(Contents|Version)(\[\d+\])?\/Checksum(Algorithm|Type)(\[\d+\])?$/.test(f.where) },
  { what: '`aws-chunked` is never stored as a Content-Encoding.', covers: (f) => f.where === 'header content-encoding' },
  { what: 'Tags given or kept with a copy are there. [radosgw 16 drops or spoils them]', covers: (f) => f.where === 'header x-amz-tagging-count' || f.where.startsWith('Tagging/') },
  { what: 'Legal hold, website redirect and storage class are not copied with an object, as on AWS. [radosgw copies them]', covers: (f) => /^header x-amz-(object-lock-legal-hold|website-redirect-location|storage-class)$/.test(f.where) && f.gateway === '(absent)' },
  { what: 'Conditions on reads follow RFC 9110: precedence, `*`, lists of ETags, dates in the future. [radosgw: other precedence, no `*` and no lists]',
    covers: (f) => outcome(f) && f.scenario.startsWith('object read conditions') && (f.step.headers ?? []).some(([, value]) => (f.step.headers ?? []).length > 1 || value === '*' || value.includes(', "') || value.includes('2044')) },
  { what: 'Conditions that the store does not enforce are refused with 501 in encrypted buckets: DELETE, and the destination of a copy, on radosgw 16. [radosgw ignores them]',
    covers: (f) => outcome(f) && /501|NotImplemented/.test(f.gateway) && has(f, /^if-/) },
  { what: 'Conditions on the source of a copy hold. [radosgw 16 ignores them]', covers: (f) => outcome(f) && has(f, /^x-amz-copy-source-if-/) },
  { what: 'Conditional writes compare ETags with and without quotes. [radosgw 16: without only, and If-None-Match with an ETag fails where there is no object]', covers: (f) => outcome(f) && f.scenario === 'object write conditions' && has(f, /^if-/) },
  { what: 'Ranges that RFC 9110 calls invalid are ignored, several ranges too; `bytes=-0` is 416. [radosgw answers 416 or a part]', covers: (f) => (outcome(f) || f.where === 'header content-range') && has(f, /^range$/) },
  { what: '`partNumber` works as on AWS. [radosgw 16 ignores it]', covers: (f) => asked(f, 'partNumber') && (outcome(f) || f.where.startsWith('header')) },
  { what: 'GetObjectAttributes is answered. [radosgw 16 sends the object]', covers: (f) => asked(f, 'attributes') },
  { what: 'Default encryption of buckets (`?encryption`) is the gateway\'s own in encrypted buckets. [radosgw 16 does not know it: PUT makes, DELETE removes the bucket]', covers: (f) => asked(f, 'encryption') || f.scenario === 'setting encryption' },
  { what: 'Sub-resources that S3 does not have are 501. [radosgw ignores them]', covers: (f) => outcome(f) && (asked(f, 'nonsense') || asked(f, 'usage') || asked(f, 'list-type')) },
  { what: 'Select and torrents are 501.', covers: (f) => outcome(f) && (asked(f, 'select') || asked(f, 'torrent')) },
  { what: 'A parameter given twice is 400.', covers: (f) => outcome(f) && f.scenario === 'listing parameters' && (f.step.query ?? []).filter(([name]) => name === 'prefix').length > 1 },
  { what: 'Bucket names that no bucket can have are 400 InvalidBucketName for every method. [radosgw: 404]', covers: (f) => outcome(f) && f.scenario === 'bucket names' },
  { what: 'Keys over 1,024 bytes are 400, also as the source of a copy. [radosgw: 500]', covers: (f) => outcome(f) && isCopy(f) && (f.step.key ?? '').startsWith('copy of xxx') },
  { what: 'Paths are compared with signatures as sent and as encoded, and must be UTF-8 without NUL. [radosgw: as sent only]', covers: (f) => f.scenario === 'object raw paths' },
  { what: 'Malformed credentials, dates and digests are told as AWS tells them.', covers: (f) => outcome(f) && f.scenario === 'bucket authentication' },
  { what: 'Response overrides on anonymous requests are 400, with line breaks too. [radosgw writes them into its answer]', covers: (f) => outcome(f) && (f.step.query ?? []).some(([name]) => name.startsWith('response-')) },
  { what: 'A query in a copy source other than `versionId` is 400; a body beside a copy source is read and ignored.', covers: (f) => outcome(f) && isCopy(f) && ((f.step.headers ?? []).some(([, value]) => value.includes('?x=')) || f.step.body !== undefined) },
  { what: 'An empty or malformed list of keys to delete is 400 MalformedXML. [radosgw: 200 for an empty one]', covers: (f) => outcome(f) && asked(f, 'delete') },
  { what: 'Part numbers are 1 to 10,000 and ranges of part copies have both ends, as on AWS. [radosgw takes more]', covers: (f) => outcome(f) && f.scenario.startsWith('upload') && /400|InvalidArgument/.test(f.gateway) },
  { what: 'A Complete of an unknown upload is 404. [radosgw 16: 500]', covers: (f) => outcome(f) && asked(f, 'uploadId') && f.store.startsWith('5') || f.store === 'InternalError' },
  { what: 'Copies of objects encrypted with a key succeed. [radosgw 16: 501]', covers: (f) => outcome(f) && f.scenario === 'sse copies' && (f.store === '501' || f.store === 'NotImplemented' || f.store === '404' || f.store === 'NoSuchKey') },
  { what: 'A preflight without an origin is 400.', covers: (f) => outcome(f) && f.step.method === 'OPTIONS' && f.gateway === '400' || f.gateway === 'BadRequest' },
  { what: 'Requests that S3 does not have are refused with AWS\'s codes. [radosgw 16 may take a DELETE of settings it does not know for a DELETE of the bucket: so does the gateway]', covers: (f) => outcome(f) && f.scenario === 'setting others' },
  { what: 'Website settings asked for anonymously, and POST to an object, are 403 and 405.', covers: (f) => outcome(f) && (asked(f, 'website') || (f.step.method === 'POST' && f.step.key !== undefined)) },
  { what: 'A body of unknown length is 411 for every operation; a Content-Length that is no number is 400.', covers: (f) => outcome(f) && (f.gateway === '411' || f.gateway === 'MissingContentLength' || has(f, /^content-length$/)) },
  { what: '`Expect` other than 100-continue is ignored. [radosgw closes the connection]', covers: (f) => outcome(f) && has(f, /^expect$/) },
  { what: 'Browser forms with a policy work. [radosgw 16.2.15 finds every policy malformed]', covers: (f) => f.scenario === 'form signed' },
  { what: 'Browser forms: the policy\'s faults have AWS\'s statuses, and the answer names the ETag and the gateway as Location.',
    covers: (f) => f.scenario.startsWith('form') && (outcome(f) ? Number(f.store) >= 400 && Number(f.gateway) >= 400 : /etag$|location$/i.test(f.where)) },
  { what: 'A bucket\'s used bytes (`x-rgw-bytes-used`) are within 20 bytes per object of the plaintext.', covers: (f) => f.where === 'header x-rgw-bytes-used' && Math.abs(Number(f.store) - Number(f.gateway)) <= 20_000 }
]

export function isDeclared(finding: Finding): boolean {
  return declared.some((entry) => entry.covers(finding))
}
