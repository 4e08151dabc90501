import type { KnownDifference } from '../../docs/generate/known-differences.ts'
import type { Finding } from './run.ts'

const has = ({ step }: Finding, pattern: RegExp): boolean => (step.headers ?? []).some(([name]) => pattern.test(name))
const asked = ({ step }: Finding, name: string): boolean => (step.query ?? []).some(([parameter]) => parameter === name)
const outcome = ({ where }: Finding): boolean => where === 'status' || where === 'Error/Code'
const isCopy = (f: Finding): boolean => has(f, /^x-amz-copy-source$/)
const pathOf = ({ step }: Finding): string => step.path ?? step.key ?? ''

/** Not one range of one byte or more, or more than 64 bits long. */
function isOddRange([name, value]: readonly [string, string]): boolean {
  const [, first = '', last = '', suffix = ''] = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/.exec(value) ?? []
  return name === 'range' && (first === '' ? Number(suffix) === 0 : last !== '' && (Number(last) < Number(first) || Number(last) > 2 ** 63))
}

/** A document whose lists may be in any order. */
const sorted = (text: string): string => text.split('').sort().join('')
const sends = ({ step }: Finding, name: string, value: RegExp): boolean => (step.headers ?? []).some(([n, v]) => n === name && value.test(v))
const isComplete = (f: Finding): boolean => f.step.method === 'POST' && asked(f, 'uploadId')
const isCors = (f: Finding): boolean => f.scenario === 'setting cors' || f.step.method === 'OPTIONS'

/** Which findings each known difference explains. One without a row does not compile. */
const covers: Readonly<Record<KnownDifference, (finding: Finding) => boolean>> = {
  errorCodes: (f) => f.where === 'Error/Code' && !f.errorsDiffer,
  objectSize: (f) => f.where === 'header x-amz-object-size' && f.gateway === '(absent)',
  acceptRanges: (f) => f.where === 'header accept-ranges',
  copyEtagQuotes: (f) => f.where.endsWith('Result/ETag') && f.gateway.replaceAll('"', '') === f.store,
  completeAnswer: (f) => f.where.startsWith('CompleteMultipartUploadResult/'),
  customerKeyEtags: (f) => /etag$/i.test(f.where) && f.gateway.endsWith('-0"'),
  copyEtagHeader: (f) => f.where === 'header etag' && f.gateway === '(absent)' && (isCopy(f) || isComplete(f)),
  copySourceVersion: (f) => f.where === 'header x-amz-copy-source-version-id' && f.store === '(absent)',
  unreadableRows: (f) => /\/(Contents|Version)\/ETag$/.test(f.where) && f.gateway === '(absent)' && (f.step.as === 'alt' || f.step.as === 'anonymous'),
  sseHeaders: (f) => f.where.startsWith('header x-amz-server-side-encryption'),
  sseWithoutKms: (f) => outcome(f) && f.scenario.startsWith('sse') && (/^(501|404|NotImplemented|NoSuchKey)$/.test(f.store) || f.gateway === 'NoSuchKey'),
  sseMistakes: (f) => outcome(f) && f.scenario.startsWith('sse') && (f.gateway === '400' || f.gateway === '404' || /Invalid|KMS/.test(f.gateway)),
  kmsWithoutKey: (f) => f.scenario === 'sse mistakes' && pathOf(f) === 'kms without key' && (outcome(f) || f.where.startsWith('header') || f.where === 'body'),
  unknownKmsKey: (f) => outcome(f) && /kms unknown key/.test(pathOf(f)),
  checksumsVerified: (f) => f.where.startsWith('header x-amz-checksum-') || (outcome(f) && f.scenario === 'object headers judged'),
  checksumsNotMadeUp: (f) => f.where.startsWith('CopyObjectResult/Checksum'),
  partLists: (f) =>
    /^ListPartsResult\/(MaxParts|NextPartNumberMarker|Checksum(Algorithm|Type))$/.test(f.where) ||
    f.where.startsWith('ListMultipartUploadsResult/Upload/Checksum') ||
    (/^ListPartsResult\/Part(\[\d+\])?\/ETag$/.test(f.where) && f.gateway === `"${f.store}"`),
  listedChecksums: (f) => /\/(Contents|Version)(\[\d+\])?\/Checksum(Algorithm|Type)(\[\d+\])?$/.test(f.where),
  awsChunked: (f) => f.where === 'header content-encoding',
  copiedTags: (f) => f.where === 'header x-amz-tagging-count' || f.where.startsWith('Tagging/'),
  notCopied: (f) => /^header x-amz-(object-lock-legal-hold|website-redirect-location|storage-class)$/.test(f.where) && f.gateway === '(absent)',
  readConditions: (f) =>
    outcome(f) && f.scenario.startsWith('object read conditions') &&
    (f.step.headers ?? []).some(([, value]) => (f.step.headers ?? []).length > 1 || value === '*' || value.includes(', "') || value.includes('2044')),
  unenforcedConditions: (f) => outcome(f) && /501|NotImplemented/.test(f.gateway) && has(f, /^if-/),
  copyConditions: (f) => outcome(f) && has(f, /^x-amz-copy-source-if-/),
  writeConditions: (f) => outcome(f) && f.scenario === 'object write conditions' && has(f, /^if-/),
  oddRanges: (f) =>
    (outcome(f) || (f.where === 'header content-range' && f.gateway === '(absent)')) && (f.step.headers ?? []).some(isOddRange) ||
    outcome(f) && f.scenario === 'object lengths' && has(f, /^range$/) && f.step.key === 'e' ||
    // Only an empty object has no last byte.
    outcome(f) && sends(f, 'range', /^bytes=-0*[1-9]/) && /^(416|InvalidRange)$/.test(f.store) && /^(200|\(absent\))$/.test(f.gateway),
  partNumber: (f) => asked(f, 'partNumber') && (outcome(f) || f.where.startsWith('header')),
  attributes: (f) => asked(f, 'attributes'),
  bucketEncryption: (f) => asked(f, 'encryption') || f.scenario === 'setting encryption',
  unknownSubresources: (f) => outcome(f) && (asked(f, 'nonsense') || asked(f, 'usage') || asked(f, 'list-type')),
  selectAndTorrents: (f) => outcome(f) && (asked(f, 'select') || asked(f, 'torrent')),
  repeatedParameters: (f) => outcome(f) && f.scenario === 'listing parameters' && (f.step.query ?? []).filter(([name]) => name === 'prefix').length > 1,
  bucketNames: (f) => outcome(f) && f.scenario === 'bucket names',
  defaultType: (f) => f.where === 'header content-type' && f.gateway === 'binary/octet-stream' && (f.store === '' || f.store === 'application/octet-stream'),
  metadataBytes: (f) => f.where.startsWith('header x-amz-meta-') && (f.scenario === 'object metadata' || f.scenario.startsWith('random')),
  replacedMetadata: (f) => f.where === 'header cache-control' && f.gateway === '(absent)' && f.scenario === 'object copies',
  expiresText: (f) => f.where === 'header expires' && f.store === '(absent)',
  longKeys: (f) => outcome(f) && (/^(copy of )?xxx/.test(f.step.key ?? '')) && /400|KeyTooLongError/.test(f.gateway),
  rawPaths: (f) => f.scenario === 'object raw paths',
  malformedCredentials: (f) =>
    outcome(f) && (f.scenario === 'bucket authentication' ||
      (f.scenario === 'object presigned' && (Number(f.step.expires) < 0 || f.step.as === 'unknown'))),
  versionOfErrors: (f) => f.where === 'header x-amz-version-id' && f.gateway === '(absent)' && has(f, /^if-/),
  signatureV2: (f) =>
    (f.scenario === 'object presigned' || (f.scenario.startsWith('random') && /^(400|AuthorizationQueryParametersError)$/.test(f.store))) &&
    (f.step.sign?.startsWith('v2') === true) && (!outcome(f) || /^(400|403|404|\D.*)$/.test(f.store)),
  anonymousOverrides: (f) => outcome(f) && (f.step.query ?? []).some(([name]) => name.startsWith('response-')),
  copySourceQuery: (f) =>
    outcome(f) && isCopy(f) && ((f.step.headers ?? []).some(([, value]) => /\?x=|\?versionId=nonsense/.test(value)) || f.step.body !== undefined),
  copySourceText: (f) =>
    f.scenario === 'object copies' && (sends(f, 'x-amz-copy-source', /^$|%2F|\{bucket:a\}%2F/i) || f.step.key === 'c11' || f.step.key === 'c3') &&
    (outcome(f) || /^Copy(Part|Object)Result\//.test(f.where)),
  restoringCopies: (f) => outcome(f) && f.scenario === 'versions' && sends(f, 'x-amz-copy-source', /\?versionId=/) && /^(400|InvalidRequest)$/.test(f.store),
  dotSegments: (f) => f.step.key !== undefined && /(^|\/| )\.{1,2}(\/|$)/.test(f.step.key) && outcome(f),
  deleteLists: (f) => outcome(f) && asked(f, 'delete'),
  partNumbers: (f) => outcome(f) && f.scenario.startsWith('upload') && /400|InvalidArgument/.test(f.gateway),
  unknownUploads: (f) => outcome(f) && asked(f, 'uploadId') && f.store.startsWith('5') || f.store === 'InternalError',
  encryptedCopies: (f) =>
    outcome(f) && f.scenario === 'sse copies' && (f.store === '501' || f.store === 'NotImplemented' || f.store === '404' || f.store === 'NoSuchKey'),
  missingDigest: (f) => outcome(f) && f.step.bare === true && asked(f, 'lifecycle') && (f.gateway === '200' || f.gateway === '(absent)'),
  preflightAnswers: (f) =>
    isCors(f) && (/^header (vary|access-control-allow-credentials|access-control-expose-headers)$/.test(f.where) ||
      (f.where === 'header access-control-allow-origin' && (f.gateway === '*' || f.store === '(absent)')) ||
      (f.where === 'header access-control-allow-headers' && f.gateway === f.store.toLowerCase().replaceAll(', ', ',')) ||
      (f.where === 'header access-control-allow-methods' && (f.store === '(absent)' || f.gateway.split(', ').includes(f.store)))),
  preflightStatus: (f) => f.step.method === 'OPTIONS' && f.where === 'status' && f.store === '204' && f.gateway === '200',
  preflightBucket: (f) =>
    outcome(f) && f.step.method === 'OPTIONS' && (f.gateway === '403' || f.gateway === 'AccessForbidden') && /404|NoSuchBucket/.test(f.store),
  preflightRate: (f) =>
    f.scenario === 'setting cors' && f.step.method === 'OPTIONS' && f.store === '204' && f.gateway === '403' ||
    f.gateway === 'AccessForbidden' && f.store === '(absent)',
  varyHeader: (f) => f.where === 'header vary' && (f.gateway === '(absent)' || f.store.startsWith(`${f.gateway},`)),
  policyOrder: (f) => f.where === 'body' && asked(f, 'policy') && sorted(f.gateway) === sorted(f.store),
  preflightOrigin: (f) => outcome(f) && f.step.method === 'OPTIONS' && f.gateway === '400' || f.gateway === 'BadRequest',
  foreignRequests: (f) => outcome(f) && f.scenario === 'setting others',
  anonymousWrites: (f) =>
    outcome(f) && (f.scenario === 'form anonymous' || f.scenario === 'access bucket public-read-write') && (f.gateway === '404' || f.gateway === 'NoSuchKey') ||
    outcome(f) && f.step.as === 'anonymous' && !['GET', 'HEAD', 'OPTIONS'].includes(f.step.method),
  websiteRedirect: (f) => f.where === 'header x-amz-website-redirect-location' && f.gateway === '(absent)',
  boundTypes: (f) =>
    outcome(f) && /400|InvalidArgument/.test(f.gateway) &&
    (f.step.headers ?? []).some(([name, value]) => /^content-(type|encoding)$/i.test(name) && /=\?|[^\x20-\x7e]/.test(value)),
  websiteAndPost: (f) => outcome(f) && (asked(f, 'website') || (f.step.method === 'POST' && f.step.key !== undefined)),
  malformedDocuments: (f) =>
    outcome(f) && f.step.method === 'PUT' && (f.gateway === '400' || f.gateway === 'MalformedXML') && /^(5\d\d|NotImplemented|InternalError)$/.test(f.store),
  missingLength: (f) => outcome(f) && (f.gateway === '411' || f.gateway === 'MissingContentLength' || has(f, /^content-length$/)),
  expectHeader: (f) => outcome(f) && (has(f, /^expect$/) || (f.scenario === 'object put headers' && f.step.key === 'h22')),
  signedForms: (f) => f.scenario === 'form signed',
  formAnswers: (f) => f.scenario.startsWith('form') && (outcome(f) ? Number(f.store) >= 400 && Number(f.gateway) >= 400 : /etag$|location$/i.test(f.where)),
  bucketRegions: (f) => outcome(f) && f.scenario === 'bucket make' && (f.step.bucket === 'l1' || f.step.bucket === 'l2'),
  listedNames: (f) =>
    /^(ListBucketResult\/Contents|ListVersionsResult\/Version)(\[\d+\])?\/ETag$/.test(f.where) && f.gateway === '(absent)' &&
    process.env['STORE_NAME'] === 'versitygw',
  usedBytes: (f) => f.where === 'header x-rgw-bytes-used' && Math.abs(Number(f.store) - Number(f.gateway)) <= 20_000
}

export function isDeclared(finding: Finding): boolean {
  return Object.values(covers).some((explains) => explains(finding))
}
