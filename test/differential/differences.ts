import type { KnownDifference } from '../../docs/generate/known-differences.ts'
import type { Finding } from './run.ts'

const has = ({ step }: Finding, pattern: RegExp): boolean => (step.headers ?? []).some(([name]) => pattern.test(name))
const asked = ({ step }: Finding, name: string): boolean => (step.query ?? []).some(([parameter]) => parameter === name)
const outcome = ({ where }: Finding): boolean => where === 'status' || where === 'Error/Code'
const isCopy = (f: Finding): boolean => has(f, /^x-amz-copy-source$/)
const pathOf = ({ step }: Finding): string => step.path ?? step.key ?? ''

/** Not one range of one byte or more. */
function isOddRange([name, value]: readonly [string, string]): boolean {
  const [, first = '', last = '', suffix = ''] = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/.exec(value) ?? []
  return name === 'range' && (first === '' ? Number(suffix) === 0 : last !== '' && Number(last) < Number(first))
}

/** Which findings each known difference explains. One without a row does not compile. */
const covers: Readonly<Record<KnownDifference, (finding: Finding) => boolean>> = {
  errorCodes: (f) => f.where === 'Error/Code' && !f.errorsDiffer,
  objectSize: (f) => f.where === 'header x-amz-object-size' && f.gateway === '(absent)',
  acceptRanges: (f) => f.where === 'header accept-ranges',
  copyEtagQuotes: (f) => f.where.endsWith('Result/ETag') && f.gateway.replaceAll('"', '') === f.store,
  completeAnswer: (f) => f.where.startsWith('CompleteMultipartUploadResult/'),
  customerKeyEtags: (f) => /etag$/i.test(f.where) && f.gateway.endsWith('-0"'),
  unreadableRows: (f) => /\/(Contents|Version)\/ETag$/.test(f.where) && f.gateway === '(absent)' && (f.step.as === 'alt' || f.step.as === 'anonymous'),
  sseHeaders: (f) => f.where.startsWith('header x-amz-server-side-encryption'),
  sseMistakes: (f) => outcome(f) && f.scenario.startsWith('sse') && (f.gateway === '400' || f.gateway === '404' || /Invalid|KMS/.test(f.gateway)),
  kmsWithoutKey: (f) => f.scenario === 'sse mistakes' && pathOf(f) === 'kms without key' && (outcome(f) || f.where.startsWith('header') || f.where === 'body'),
  unknownKmsKey: (f) => outcome(f) && /kms unknown key/.test(pathOf(f)),
  checksumsVerified: (f) => f.where.startsWith('header x-amz-checksum-') || (outcome(f) && f.scenario === 'object headers judged'),
  checksumsNotMadeUp: (f) => f.where.startsWith('CopyObjectResult/Checksum'),
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
    outcome(f) && f.scenario === 'object lengths' && has(f, /^range$/) && f.step.key === 'e',
  partNumber: (f) => asked(f, 'partNumber') && (outcome(f) || f.where.startsWith('header')),
  attributes: (f) => asked(f, 'attributes'),
  bucketEncryption: (f) => asked(f, 'encryption') || f.scenario === 'setting encryption',
  unknownSubresources: (f) => outcome(f) && (asked(f, 'nonsense') || asked(f, 'usage') || asked(f, 'list-type')),
  selectAndTorrents: (f) => outcome(f) && (asked(f, 'select') || asked(f, 'torrent')),
  repeatedParameters: (f) => outcome(f) && f.scenario === 'listing parameters' && (f.step.query ?? []).filter(([name]) => name === 'prefix').length > 1,
  bucketNames: (f) => outcome(f) && f.scenario === 'bucket names',
  longKeys: (f) => outcome(f) && isCopy(f) && (f.step.key ?? '').startsWith('copy of xxx'),
  rawPaths: (f) => f.scenario === 'object raw paths',
  malformedCredentials: (f) => outcome(f) && f.scenario === 'bucket authentication',
  anonymousOverrides: (f) => outcome(f) && (f.step.query ?? []).some(([name]) => name.startsWith('response-')),
  copySourceQuery: (f) => outcome(f) && isCopy(f) && ((f.step.headers ?? []).some(([, value]) => value.includes('?x=')) || f.step.body !== undefined),
  deleteLists: (f) => outcome(f) && asked(f, 'delete'),
  partNumbers: (f) => outcome(f) && f.scenario.startsWith('upload') && /400|InvalidArgument/.test(f.gateway),
  unknownUploads: (f) => outcome(f) && asked(f, 'uploadId') && f.store.startsWith('5') || f.store === 'InternalError',
  encryptedCopies: (f) =>
    outcome(f) && f.scenario === 'sse copies' && (f.store === '501' || f.store === 'NotImplemented' || f.store === '404' || f.store === 'NoSuchKey'),
  missingDigest: (f) => outcome(f) && f.step.bare === true && asked(f, 'lifecycle') && (f.gateway === '200' || f.gateway === '(absent)'),
  preflightAnswers: (f) =>
    f.step.method === 'OPTIONS' && (/^header (vary|access-control-allow-credentials)$/.test(f.where) ||
      (f.where === 'header access-control-allow-origin' && f.gateway === '*') ||
      (f.where === 'header access-control-allow-methods' && f.gateway.split(', ').includes(f.store))),
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
  missingLength: (f) => outcome(f) && (f.gateway === '411' || f.gateway === 'MissingContentLength' || has(f, /^content-length$/)),
  expectHeader: (f) => outcome(f) && has(f, /^expect$/),
  signedForms: (f) => f.scenario === 'form signed',
  formAnswers: (f) => f.scenario.startsWith('form') && (outcome(f) ? Number(f.store) >= 400 && Number(f.gateway) >= 400 : /etag$|location$/i.test(f.where)),
  bucketRegions: (f) => outcome(f) && f.scenario === 'bucket make' && f.step.bucket === 'l2',
  usedBytes: (f) => f.where === 'header x-rgw-bytes-used' && Math.abs(Number(f.store) - Number(f.gateway)) <= 20_000
}

export function isDeclared(finding: Finding): boolean {
  return Object.values(covers).some((explains) => explains(finding))
}
