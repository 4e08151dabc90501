import { childrenOf, childText, parseXml, textOf, upstreamDocument } from './xml.ts'

/** A rule of a bucket's CORS configuration (AWS API, CORSRule). */
export interface CorsRule {
  /** Each with at most one "*", which stands for any text. */
  readonly origins: readonly string[]
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly expose: readonly string[]
  /** Seconds a browser may keep the answer; null: not said. */
  readonly maxAge: string | null
}

/** What a browser asks: the CORS protocol of the Fetch standard. */
export interface CorsQuestion {
  readonly origin: string
  readonly method: string
  /** Names of `Access-Control-Request-Headers`, as they were spelt. */
  readonly headers: readonly string[]
}

/**
 * Reads the store's answer to GetBucketCors.
 * @throws S3Error SealgateBadUpstream
 */
export function parseCors(document: Buffer): CorsRule[] {
  const parsed = parseXml(document, upstreamDocument)
  return childrenOf(parsed.root, 'CORSRule').map((rule): CorsRule => {
    const texts = (name: string): string[] => childrenOf(rule, name).map((element) => textOf(parsed, element))
    return {
      origins: texts('AllowedOrigin'), methods: texts('AllowedMethod'), headers: texts('AllowedHeader'), expose: texts('ExposeHeader'),
      maxAge: childText(parsed, rule, 'MaxAgeSeconds')
    }
  })
}

/** The names in `Access-Control-Request-Headers`. */
export function requestedHeaders(value: string | undefined): string[] {
  return (value ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
}

/** The first rule that allows all of it; undefined when none does (AWS S3 User Guide, "How does Amazon S3 evaluate the CORS configuration"). */
export function matchingRule(rules: readonly CorsRule[], { origin, method, headers }: CorsQuestion): CorsRule | undefined {
  return rules.find((rule) =>
    rule.origins.some((pattern) => matches(pattern, origin)) && rule.methods.includes(method) &&
    headers.every((name) => rule.headers.some((pattern) => matches(pattern.toLowerCase(), name.toLowerCase()))))
}

/** The headers a rule puts on an answer. @param headers requested by a preflight; empty for ordinary requests. */
export function corsHeaders(rule: CorsRule, { origin, headers }: CorsQuestion): (readonly [name: string, value: string])[] {
  const everybody = rule.origins.includes('*')
  return [
    ['access-control-allow-origin', everybody ? '*' : origin],
    ['access-control-allow-methods', rule.methods.join(', ')],
    ...headers.length === 0 ? [] : [['access-control-allow-headers', headers.join(',')] as const],
    ...rule.expose.length === 0 ? [] : [['access-control-expose-headers', rule.expose.join(', ')] as const],
    ...rule.maxAge === null ? [] : [['access-control-max-age', rule.maxAge] as const],
    // S3 lets a browser send credentials where the rule names origins, which the Fetch standard forbids for "*".
    ...everybody ? [] : [['access-control-allow-credentials', 'true'] as const],
    ['vary', 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method']
  ]
}

function matches(pattern: string, text: string): boolean {
  const star = pattern.indexOf('*')
  if (star < 0) return pattern === text
  const [before, after] = [pattern.slice(0, star), pattern.slice(star + 1)]
  return text.length >= before.length + after.length && text.startsWith(before) && text.endsWith(after)
}
