/**
 * What a client may see otherwise through the gateway than of the store directly, besides what docs/COMPATIBILITY.md says of each
 * operation. Found and held by the differential tests, which know no other. In brackets: what Ceph radosgw 16 does.
 */
export const knownDifferences = {
  errorCodes: 'Where both answer with the same error status, the code is AWS\'s: `SignatureDoesNotMatch`, `InvalidAccessKeyId`, ' +
    '`AccessForbidden` (CORS), `KeyTooLongError`, `InvalidPolicyDocument`, … [radosgw says less]',
  objectSize: 'Writes tell no `x-amz-object-size`. [versitygw does]',
  acceptRanges: '`Accept-Ranges` stands in answers that carry object bytes only.',
  copyEtagQuotes: '`CopyObjectResult/ETag` is quoted, as AWS quotes it. [radosgw does not]',
  completeAnswer: 'CompleteMultipartUpload names the gateway in `Location`, and always an ETag. [radosgw 16 leaves it empty]',
  customerKeyEtags: 'Objects written with a customer\'s key show opaque ETags (`…-0`).',
  unreadableRows: 'A listing shows no ETags to clients that may list objects but not read them.',
  sseHeaders: 'SSE headers are answered as AWS answers them, also on copies. [radosgw leaves out AES256, and all of them on copies]',
  sseMistakes: 'SSE-C headers for an object without a customer\'s key, and contradicting SSE headers, are refused with 400. [radosgw ignores ' +
    'them]',
  kmsWithoutKey: '`aws:kms` without a key id means the bucket\'s own key, as on AWS. [radosgw: 400]',
  unknownKmsKey: 'An unknown KMS key is `KMS.NotFoundException`; of a store\'s own key management behind an unencrypted bucket, 502. [radosgw: ' +
    '403 InvalidAccessKeyId]',
  checksumsVerified: 'Checksums are verified and given back, also where the store knows none of them.',
  checksumsNotMadeUp: 'A checksum that nobody gave or asked for is not made up: copies show those their source has. [AWS and the embedded store compute ' +
    'CRC64NVME]',
  listedChecksums: 'Listings of encrypted buckets name no checksum algorithms.',
  awsChunked: '`aws-chunked` is never stored as a Content-Encoding.',
  copiedTags: 'Tags given or kept with a copy are there. [radosgw 16 drops or spoils them]',
  notCopied: 'Legal hold, website redirect and storage class are not copied with an object, as on AWS. [radosgw copies them]',
  readConditions: 'Conditions on reads follow RFC 9110: precedence, `*`, lists of ETags, dates in the future. [radosgw: other precedence, no `*` ' +
    'and no lists]',
  unenforcedConditions: 'Conditions that the store does not enforce are refused with 501 in encrypted buckets: DELETE, and the destination of a copy, ' +
    'on radosgw 16, and all of them where versioning is enabled. [radosgw ignores them]',
  copyConditions: 'Conditions on the source of a copy hold. [radosgw 16 ignores them]',
  writeConditions: 'Conditional writes compare ETags with and without quotes. [radosgw 16: without only, and If-None-Match with an ETag fails ' +
    'where there is no object]',
  oddRanges: 'Ranges that RFC 9110 calls invalid are ignored, several ranges too; `bytes=-0` is 416. [radosgw answers 416 or a part]',
  partNumber: '`partNumber` works as on AWS. [radosgw 16 ignores it]',
  attributes: 'GetObjectAttributes is answered. [radosgw 16 sends the object]',
  bucketEncryption: 'Default encryption of buckets (`?encryption`) is the gateway\'s own in encrypted buckets. [radosgw 16 does not know it: PUT ' +
    'makes, DELETE removes the bucket]',
  unknownSubresources: 'Sub-resources that S3 does not have are 501. [radosgw ignores them]',
  selectAndTorrents: 'Select and torrents are 501.',
  repeatedParameters: 'A parameter given twice is 400.',
  bucketNames: 'Bucket names that no bucket can have are 400 InvalidBucketName for every method. [radosgw: 404]',
  longKeys: 'Keys over 1,024 bytes are 400, also as the source of a copy. [radosgw: 500]',
  rawPaths: 'Paths are compared with signatures as sent and as encoded, and must be UTF-8 without NUL. [radosgw: as sent only]',
  malformedCredentials: 'Malformed credentials, dates and digests are told as AWS tells them.',
  anonymousOverrides: 'Response overrides on anonymous requests are 400, with line breaks too. [radosgw writes them into its answer]',
  copySourceQuery: 'A query in a copy source other than `versionId` is 400; a body beside a copy source is read and ignored.',
  deleteLists: 'An empty or malformed list of keys to delete is 400 MalformedXML. [radosgw: 200 for an empty one]',
  partNumbers: 'Part numbers are 1 to 10,000 and ranges of part copies have both ends, as on AWS. [radosgw takes more]',
  unknownUploads: 'A Complete of an unknown upload is 404. [radosgw 16: 500]',
  encryptedCopies: 'Copies of objects encrypted with a key succeed. [radosgw 16: 501]',
  missingDigest: 'A document without Content-MD5 or checksum is taken: the gateway adds what the store demands.',
  preflightAnswers: 'Preflights are answered as AWS answers them: with `*` or credentials allowed, all methods of the rule, `Vary`. [radosgw says less]',
  preflightOrigin: 'A preflight without an origin is 400.',
  foreignRequests: 'Requests that S3 does not have are refused with AWS\'s codes. [radosgw 16 may take a DELETE of settings it does not know for a ' +
    'DELETE of the bucket: so does the gateway]',
  anonymousWrites: 'Writes without a signature are 403, whatever the store\'s ACLs allow.',
  websiteRedirect:
    'The website redirect of an object in an encrypted bucket is kept by the store and not told on reads: it would be the store that sends clients elsewhere.',
  boundTypes:
    'A Content-Type or Content-Encoding with characters beyond ASCII, or with `=?`, is 400 in encrypted buckets: it could not be bound to the object.',
  websiteAndPost: 'Website settings asked for anonymously, and POST to an object, are 403 and 405.',
  missingLength: 'A body of unknown length is 411 for every operation; a Content-Length that is no number is 400.',
  expectHeader: '`Expect` other than 100-continue is ignored. [radosgw closes the connection]',
  signedForms: 'Browser forms with a policy work. [radosgw 16.2.15 finds every policy malformed]',
  formAnswers: 'Browser forms: the policy\'s faults have AWS\'s statuses, and the answer names the ETag and the gateway as Location.',
  bucketRegions: 'A location that the gateway accepts as a region makes a bucket in the store\'s own region. [radosgw: 400 for what is not its zone group]',
  usedBytes: 'A bucket\'s used bytes (`x-rgw-bytes-used`) are within 20 bytes per object of the plaintext.'
} as const

export type KnownDifference = keyof typeof knownDifferences
