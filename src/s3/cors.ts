import { checksumAlgorithms } from '../http/checksums.ts'
import { S3Error } from '../errors.ts'
import { childrenOf, childText, parseXml, textOf, upstreamDocument, type XmlLimits } from './xml.ts'

/** A rule as written: a CORSRule of the AWS API, or one of `listen.cors`. Origins and headers have at most one "*" each. */
interface WrittenRule {
  readonly origins: readonly string[]
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly expose: readonly string[]
  /** Seconds a browser may keep the answer; null: not set. */
  readonly maxAge: string | null
}

/** A rule prepared to be matched many times. */
export interface CorsRule {
  readonly origins: Patterns
  readonly methods: ReadonlySet<string>
  /** In lower case. */
  readonly headers: Patterns
  /** Values of the headers that do not depend on the request; '' where there is none. */
  readonly allowMethods: string
  readonly exposeHeaders: string
  readonly maxAge: string | null
}

/** What a browser asks: the CORS protocol of the Fetch standard. */
export interface CorsQuestion {
  readonly origin: string
  readonly method: string
  /** Names of `Access-Control-Request-Headers` in lower case, each once; null: more than are examined. */
  readonly headers: readonly string[] | null
}

/** AWS accepts 64 KB and 100 rules (API, PutBucketCors); stores return them with other white space and escapes. */
export const corsDocument: XmlLimits = { ...upstreamDocument, maxBytes: 256 * 1024 }
const maxRules = 100
/** Far more than any browser or SDK sends: each is compared with every pattern of every rule. */
const maxNames = 100
/** Characters of a list in one header: an answer must not be many times as large as its request. */
const maxListLength = 2048
const knownMethods = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE'])

/** Whether rules can allow a method at all (AWS API, CORSRule). */
export function isCorsMethod(method: string): boolean {
  return knownMethods.has(method)
}

/**
 * Headers that a page may read where it may read ETags (docs/decisions/0020-cors-answers.md): SDKs repeat the checksum of each part when they
 * complete an upload, and name the version that they have read.
 */
export const exposedWithETag: readonly string[] = [
  ...Object.keys(checksumAlgorithms).map((name) => `x-amz-checksum-${name}`),
  'x-amz-checksum-type',
  'x-amz-version-id',
  'x-amz-request-id'
]

/**
 * Reads the store's answer to GetBucketCors.
 * @throws S3Error SealgateBadUpstream; also for more than 256 KiB or 100 rules
 */
export function parseCors(document: Buffer): CorsRule[] {
  const parsed = parseXml(document, corsDocument)
  const rules = childrenOf(parsed.root, 'CORSRule')
  if (rules.length > maxRules) throw new S3Error('SealgateBadUpstream')
  return rules.map((rule) => {
    const texts = (name: string): string[] => childrenOf(rule, name).map((element) => textOf(parsed, element))
    return corsRule({
      origins: texts('AllowedOrigin'),
      methods: texts('AllowedMethod'),
      headers: texts('AllowedHeader'),
      expose: texts('ExposeHeader'),
      maxAge: childText(parsed, rule, 'MaxAgeSeconds')
    })
  })
}

export function corsRule({ origins, methods, headers, expose, maxAge }: WrittenRule): CorsRule {
  const allowed = new Set(methods.filter((method) => knownMethods.has(method)))
  return {
    origins: new Patterns(origins),
    methods: allowed,
    headers: new Patterns(headers.map((name) => name.toLowerCase())),
    allowMethods: [...allowed].join(', '),
    exposeHeaders: exposed(expose),
    maxAge
  }
}

/** The value of Access-Control-Expose-Headers: the headers of the rule, and where these include ETag, those that SDKs need with it. */
export function exposed(names: readonly string[]): string {
  const shown = new Map(names.map((name) => [name.toLowerCase(), name]))
  if (shown.has('etag')) { for (const name of exposedWithETag) if (!shown.has(name)) shown.set(name, name) }
  return joinedWithin([...shown.values()], ', ')
}

/** The names in `Access-Control-Request-Headers`, in lower case and each once; null when there are more than 100. */
export function requestedHeaders(value: string | undefined): readonly string[] | null {
  const names = new Set<string>()
  for (const part of (value ?? '').split(',')) {
    const name = part.trim().toLowerCase()
    if (name === '') continue
    names.add(name)
    if (names.size > maxNames) return null
  }
  return [...names]
}

/** The first rule that allows all of it; undefined when none does (AWS S3 User Guide, "How does Amazon S3 evaluate the CORS configuration"). */
export function matchingRule(rules: readonly CorsRule[], { origin, method, headers }: CorsQuestion): CorsRule | undefined {
  if (headers === null) return undefined
  return rules.find((rule) => rule.methods.has(method) && rule.origins.match(origin) && headers.every((name) => rule.headers.match(name)))
}

/** The headers that a rule adds to an answer. For ordinary requests the question names no headers. */
export function corsHeaders(rule: CorsRule, { origin, headers }: CorsQuestion): (readonly [name: string, value: string])[] {
  const everybody = rule.origins.all
  return [
    ['access-control-allow-origin', everybody ? '*' : origin],
    ['access-control-allow-methods', rule.allowMethods],
    ...headers === null || headers.length === 0 ? [] : [['access-control-allow-headers', headers.join(',')] as const],
    ...rule.exposeHeaders === '' ? [] : [['access-control-expose-headers', rule.exposeHeaders] as const],
    ...rule.maxAge === null ? [] : [['access-control-max-age', rule.maxAge] as const],
    // S3 lets a browser send credentials where the rule names origins; the Fetch standard forbids it for "*".
    ...everybody ? [] : [['access-control-allow-credentials', 'true'] as const],
    ['vary', 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method']
  ]
}

/** Texts with at most one "*", which matches any text. Those without are found in one step, the others are tried one by one. */
class Patterns {
  /** True when one of them matches everything. */
  readonly all: boolean
  readonly #exact: ReadonlySet<string>
  readonly #starred: readonly (readonly [before: string, after: string])[]

  constructor(patterns: readonly string[]) {
    const unique = new Set(patterns)
    this.all = unique.has('*')
    this.#exact = new Set([...unique].filter((pattern) => !pattern.includes('*')))
    this.#starred = [...unique].filter((pattern) => pattern.includes('*')).map((pattern) => {
      const star = pattern.indexOf('*')
      return [pattern.slice(0, star), pattern.slice(star + 1)]
    })
  }

  match(text: string): boolean {
    return this.all || this.#exact.has(text) ||
      this.#starred.some(([before, after]) => text.length >= before.length + after.length && text.startsWith(before) && text.endsWith(after))
  }
}

function joinedWithin(texts: readonly string[], separator: string): string {
  let joined = ''
  for (const text of texts) {
    const longer = joined === '' ? text : joined + separator + text
    if (longer.length <= maxListLength) joined = longer
  }
  return joined
}
