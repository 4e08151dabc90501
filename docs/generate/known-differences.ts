/**
 * Differences that a client can see between the gateway and the store, in addition to those that docs/COMPATIBILITY.md lists for each
 * operation. The differential tests allow these and no others. In brackets: what the store does, Ceph radosgw 16 where none is named.
 */
export const knownDifferences = {
  errorCodes: 'If both return the same error status, the code is that of AWS: `SignatureDoesNotMatch`, `InvalidAccessKeyId`, ' +
    '`AccessForbidden` (CORS), `KeyTooLongError`, `InvalidPolicyDocument`, … [radosgw\'s codes are less specific]',
  objectSize: 'Writes return no `x-amz-object-size`. [versitygw does]',
  acceptRanges: '`Accept-Ranges` is returned only with object bytes.',
  copyEtagQuotes: '`CopyObjectResult/ETag` is quoted, as AWS quotes it. [radosgw does not]',
  completeAnswer: 'CompleteMultipartUpload returns the gateway in `Location`, and always an ETag. [radosgw 16 leaves the ETag empty]',
  customerKeyEtags: 'Objects written with a customer\'s key have opaque ETags (`…-0`).',
  copyEtagHeader: 'Copies and CompleteMultipartUpload return the ETag in the document only, as on AWS. [MinIO: also as a header]',
  copySourceVersion: 'A copy from a bucket with versions names the version of its source. [MinIO: not always]',
  unreadableRows: 'A listing contains no ETags for clients that may list objects but not read them.',
  sseHeaders: 'SSE headers are returned as by AWS, also on copies. [radosgw omits AES256, and all of them on copies]',
  sseWithoutKms: 'SSE headers need no key management of the store. [MinIO without a KMS: 501; versitygw ignores them]',
  sseMistakes: 'SSE-C headers for an object without a customer\'s key, and contradicting SSE headers, are refused with 400. [radosgw ignores ' +
    'them]',
  kmsWithoutKey: '`aws:kms` without a key id means the bucket\'s own key, as on AWS. [radosgw: 400]',
  unknownKmsKey: 'An unknown KMS key is `KMS.NotFoundException`; if the store\'s own key management reports it for an unencrypted bucket, 502. [radosgw: ' +
    '403 InvalidAccessKeyId]',
  checksumsVerified: 'Checksums are verified and returned, even if the store supports none of them.',
  checksumsNotMadeUp:
    'A checksum that was neither sent nor requested is not computed: copies have those of their source. [AWS and the embedded store compute ' +
    'CRC64NVME]',
  partLists: 'ListParts: at most 1,000 rows, the marker of the last row, quoted ETags, no checksum elements without a checksum. [MinIO: 10,000, ' +
    'marker 0, empty elements; versitygw: `null`]',
  listedChecksums: 'Listings of encrypted buckets contain no checksum algorithms.',
  awsChunked: '`aws-chunked` is never stored as a Content-Encoding.',
  copiedTags: 'Tags that a copy sets or keeps are on the copy. [radosgw 16 drops or corrupts them]',
  notCopied: 'Legal hold, website redirect and storage class are not copied with an object, as on AWS. [radosgw copies them]',
  readConditions: 'Conditions on reads follow RFC 9110: precedence, `*`, lists of ETags, dates in the future. [radosgw: other precedence, no `*` ' +
    'and no lists]',
  unenforcedConditions:
    'Conditions that the store does not enforce are refused with 501 in encrypted buckets. On radosgw 16 these are DELETE, and all of them if ' +
    'versioning is enabled; those of a copy are kept by writing it as an object. [radosgw ignores them]',
  copyConditions: 'Conditions on the source of a copy are enforced. [radosgw 16 ignores them]',
  writeConditions: 'Conditional writes compare ETags with and without quotes. [radosgw 16: only without, and If-None-Match with an ETag fails ' +
    'if there is no object]',
  oddRanges:
    'Ranges that are invalid in RFC 9110, and several ranges in one request, are ignored; `bytes=-0` is 416, the last bytes of an empty object are none. [radosgw returns 416 or a part]',
  partNumber: '`partNumber` works as on AWS. [radosgw 16 ignores it]',
  attributes: 'GetObjectAttributes is supported. [radosgw 16 sends the object]',
  bucketEncryption: 'Default encryption of buckets (`?encryption`) is the gateway\'s own in encrypted buckets. [radosgw 16 ignores the parameter: PUT ' +
    'creates, DELETE removes the bucket]',
  unknownSubresources: 'Unknown sub-resources are 501. [radosgw ignores them]',
  selectAndTorrents: 'Select and torrents are 501.',
  repeatedParameters: 'A repeated parameter is 400.',
  bucketNames: 'Invalid bucket names are 400 InvalidBucketName for every method. [radosgw: 404]',
  defaultType: 'An object without a Content-Type has `binary/octet-stream`, as on AWS. [MinIO: `application/octet-stream`, radosgw: none if it is empty]',
  metadataBytes: 'User metadata and names of it are returned byte for byte. [MinIO, radosgw: as RFC 2047 encoded words; radosgw: `-` for `_`; versitygw: ' +
    'U+FFFD for what is no UTF-8]',
  replacedMetadata: 'A copy with REPLACE has the headers of the request and no others, as on AWS. [versitygw keeps Cache-Control]',
  expiresText: '`Expires` is returned as it was sent. [MinIO drops what is no date]',
  longKeys: 'Keys over 1,024 bytes are 400, also as the source of a copy. [radosgw: 500]',
  rawPaths: 'Signatures are verified against the path as sent and as encoded by AWS\'s rules; it must be UTF-8 without NUL. [radosgw: as sent only]',
  malformedCredentials: 'Malformed credentials, dates, lifetimes and digests are reported as by AWS.',
  signatureV2: 'Signature Version 2 works where the configuration allows it. [versitygw has none, MinIO none in the query of sub-resources]',
  versionOfErrors: 'A condition that does not hold is answered without a version id. [MinIO: with one]',
  anonymousOverrides: 'Response overrides on anonymous requests, and overrides with line breaks, are 400. [radosgw writes them into its response]',
  copySourceQuery: 'A query in a copy source other than `versionId`, and a version id that no store has, is 400; a body beside a copy source is read and ' +
    'ignored. [MinIO: 404]',
  copySourceText: 'Copy sources are decoded and checked as on AWS, also percent-encoded as a whole, and empty ones are 400. [radosgw: the document of ' +
    'a part copy; versitygw: 400 for encoded ones, an empty object for an empty one]',
  restoringCopies: 'A copy of an old version of an object onto the object restores it. [versitygw: 400]',
  dotSegments: 'Names with `.` and `..` between slashes name themselves. [versitygw: refused, or other objects]',
  deleteLists: 'An empty or malformed list of keys to delete is 400 MalformedXML. [radosgw: 200 for an empty one]',
  partNumbers: 'Part numbers are 1 to 10,000 and ranges of part copies have both ends, as on AWS. [radosgw accepts more]',
  unknownUploads: 'A Complete of an unknown upload is 404. [radosgw 16: 500]',
  encryptedCopies: 'Copies of objects with SSE-C or SSE-KMS succeed. [radosgw 16: 501]',
  missingDigest: 'A document without Content-MD5 or checksum is accepted: the gateway adds what the store requires.',
  preflightAnswers: 'Preflights and other requests with an Origin are answered as by AWS: with `*` or credentials allowed, all methods of the rule, the ' +
    'exposed headers of the rule and with ETag the checksums, `Vary`. [radosgw returns less, versitygw also to origins that no rule allows]',
  preflightStatus: 'Where a store has no CORS rules to read, a preflight is 200 and names the method and headers that the gateway knows. [MinIO: 204 ' +
    'and a list of its own]',
  preflightBucket: 'A preflight does not show whether the bucket exists: 403. [radosgw, versitygw: 404]',
  preflightRate: 'Where a store has no CORS rules to read, preflights may cause 50 requests a second to it; more get 403.',
  policyOrder: 'The lists of a bucket policy come in the order that the store keeps them. [MinIO: any order]',
  varyHeader: '`Vary` is returned with CORS headers only, as on AWS. [MinIO: with every response]',
  preflightOrigin: 'A preflight without an origin is 400.',
  foreignRequests: 'Unknown requests are refused with AWS\'s codes. [radosgw 16 can treat a DELETE of settings that it does not support as a ' +
    'DELETE of the bucket, also when the gateway forwards it]',
  anonymousWrites: 'Unsigned writes are 403, whatever the store\'s ACLs allow.',
  websiteRedirect:
    'The website redirect of an object in an encrypted bucket is kept by the store but not returned on reads, because the store could send clients elsewhere.',
  boundTypes:
    'A Content-Type or Content-Encoding with characters beyond ASCII, or with `=?`, is 400 in encrypted buckets, because it could not be bound to the object.',
  websiteAndPost: 'Anonymous requests for website settings are 403; POST to an object is 405.',
  malformedDocuments: 'A document that is no XML is 400 MalformedXML. [MinIO: 500; versitygw: 501]',
  missingLength: 'A body of unknown length is 411 for every operation; a Content-Length that is not a number is 400.',
  expectHeader: '`Expect` other than 100-continue is ignored. [radosgw and MinIO close the connection]',
  signedForms: 'Browser forms with a policy work. [radosgw 16.2.15 rejects every policy as malformed]',
  formAnswers: 'Browser forms: policy errors have AWS\'s statuses, and the response has the ETag and the gateway as Location.',
  bucketRegions:
    'A location that the gateway accepts as a region creates a bucket in the store\'s own region. [radosgw, versitygw: 400 for anything but their own]',
  listedNames: 'On versitygw, names with `//` are listed otherwise than they were written: their rows have no ETag.',
  usedBytes: 'A bucket\'s used bytes (`x-rgw-bytes-used`) are within 20 bytes per object of the plaintext.'
} as const

export type KnownDifference = keyof typeof knownDifferences
