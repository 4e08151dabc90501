/** `weak` tags compare equal for If-None-Match only (RFC 9110 8.8.3.2). `tag` is without quotes. */
interface EntityTag {
  readonly tag: string
  readonly weak: boolean
}

/** Header values as received; undefined: absent. */
interface Conditions {
  readonly ifMatch?: string | undefined
  readonly ifNoneMatch?: string | undefined
  readonly ifModifiedSince?: string | undefined
  readonly ifUnmodifiedSince?: string | undefined
}

/** The object as the client sees it: ETag with or without quotes, Last-Modified as an HTTP date. */
export interface Validators {
  readonly etag: string
  readonly lastModified: string | undefined
}

type Verdict = 'pass' | 'not-modified' | 'failed'

/**
 * Without the quotes. Clients may send several. S3 accepts ETags with and without. A run of quotes at the end is matched only from its
 * beginning: otherwise a document full of quotes would cost the square of its length.
 */
export function unquoteEtag(etag: string): string {
  return etag.trim().replace(/^"+|(?<!")"+$/g, '')
}

/**
 * Reads If-Match or If-None-Match: `*` or a list of ETags, quoted as RFC 9110 13.1.1 says or bare as S3 clients send
 * them. A comma inside quotes belongs to the tag.
 */
export function parseEtagList(text: string): '*' | readonly EntityTag[] {
  if (unquoteEtag(text) === '*') return '*'
  const tags: EntityTag[] = []
  for (const match of text.matchAll(/(W\/)?"([^"]*)"|(W\/)?([^\s,"]+)/g)) {
    tags.push({ tag: match[2] ?? match[4] ?? '', weak: (match[1] ?? match[3]) !== undefined })
  }
  return tags
}

/**
 * Evaluates the conditions of a read, in the order of RFC 9110 13.2.2: If-Match outranks If-Unmodified-Since,
 * If-None-Match outranks If-Modified-Since; dates that are no dates are ignored, and so is an If-Modified-Since of the
 * future (S3 follows RFC 2616 14.25). For copies, where nothing can be "not modified", `not-modified` is a failure.
 * @param object null: there is none, so that every If-Match fails and every If-None-Match passes
 * @param now milliseconds since 1970
 */
export function evaluateConditions(conditions: Conditions, object: Validators | null, now = Date.now()): Verdict {
  // Most reads carry no condition: then no date is parsed.
  const modified = (): number | null => dateOf(object?.lastModified)
  if (conditions.ifMatch !== undefined) {
    if (object === null || !holds(conditions.ifMatch, object.etag, false)) return 'failed'
  } else {
    const since = dateOf(conditions.ifUnmodifiedSince)
    if (since !== null && (modified() ?? since) > since) return 'failed'
  }
  if (conditions.ifNoneMatch !== undefined) {
    return object !== null && holds(conditions.ifNoneMatch, object.etag, true) ? 'not-modified' : 'pass'
  }
  const since = dateOf(conditions.ifModifiedSince)
  return since !== null && since <= now && (modified() ?? Number.POSITIVE_INFINITY) <= since ? 'not-modified' : 'pass'
}

/**
 * Whether a range may be answered: If-Range names the current object, by a strong ETag or the exact date (RFC 9110 13.1.5). If not, the whole object
 * is the answer, because a client that resumes would join new bytes to old ones.
 * @param ifRange header value; undefined: absent
 */
export function ifRangeHolds(ifRange: string | undefined, object: Validators): boolean {
  if (ifRange === undefined) return true
  const date = parseHttpDate(ifRange)
  if (date !== null) return dateOf(object.lastModified) === date
  const tags = parseEtagList(ifRange)
  return tags !== '*' && tags.length === 1 && holds(ifRange, object.etag, false)
}

function dateOf(value: string | undefined): number | null {
  return value === undefined ? null : parseHttpDate(value)
}

function holds(list: string, etag: string, weakCounts: boolean): boolean {
  const tags = parseEtagList(list)
  const current = unquoteEtag(etag)
  return tags === '*' || tags.some(({ tag, weak }) => tag === current && (weakCounts || !weak))
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

const forms = [
  // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d{2}) (?<month>[A-Z][a-z]{2}) (?<year>\d{4}) (?<time>\d{2}:\d{2}:\d{2}) GMT$/,
  // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d{2})-(?<month>[A-Z][a-z]{2})-(?<year>\d{2}) (?<time>\d{2}:\d{2}:\d{2}) GMT$/,
  // asctime: Sun Nov  6 08:49:37 1994
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?<month>[A-Z][a-z]{2}) (?<day>[ \d]\d) (?<time>\d{2}:\d{2}:\d{2}) (?<year>\d{4})$/
]

/**
 * Reads an HTTP date in any of its three forms (RFC 9110 5.6.7).
 * @returns milliseconds since 1970, whole seconds; null when it is no date: such a condition is ignored (RFC 9110 13.1.3)
 */
export function parseHttpDate(text: string): number | null {
  const groups = forms.map((form) => form.exec(text.trim())?.groups).find((g) => g !== undefined)
  if (groups === undefined) return null
  const month = months.indexOf(groups['month'] ?? '')
  const day = Number(groups['day'])
  const [hour = 0, minute = 0, second = 0] = (groups['time'] ?? '').split(':').map(Number)
  if (month < 0 || day < 1 || hour > 23 || minute > 59 || second > 60) return null
  const time = Date.UTC(fullYear(groups['year'] ?? ''), month, day, hour, minute, second)
  // Date.UTC turns 31 Feb into a day of March, which is refused. A leap second becomes the next minute.
  return new Date(Date.UTC(fullYear(groups['year'] ?? ''), month, day)).getUTCDate() === day ? time : null
}

/** Two digits that seem more than 50 years ahead are in the last century (RFC 9110 5.6.7). */
function fullYear(digits: string): number {
  if (digits.length === 4) return Number(digits)
  const now = new Date().getUTCFullYear()
  const year = Math.floor(now / 100) * 100 + Number(digits)
  return year > now + 50 ? year - 100 : year
}

/** IMF-fixdate, the form that senders use. @param time milliseconds since 1970 */
export function formatHttpDate(time: number): string {
  return new Date(time).toUTCString()
}
