import { S3Error } from '../errors.ts'
import { percentEncode } from '../http/target.ts'
import { compareUtf8 } from './sorted.ts'
import type { SortedMap } from './sorted.ts'

/** S3 never gives more rows at once. */
const PAGE_LIMIT = 1000

/**
 * `max-keys` and its relatives.
 * @throws S3Error InvalidArgument
 */
export function pageSize(name: string, text: string | undefined): number {
  if (text === undefined || text === '') return PAGE_LIMIT
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0x7fffffff) {
    throw new S3Error('InvalidArgument', {
      message: `Provided ${name} not an integer or within integer range`,
      fields: { ArgumentName: name, ArgumentValue: text }
    })
  }
  return Math.min(Number(text), PAGE_LIMIT)
}

/**
 * How names are written in a listing: as they are, or percent-encoded, which lets control characters through XML.
 * @throws S3Error InvalidArgument
 */
export function nameEncoding(encodingType: string | undefined): (name: string) => string {
  if (encodingType === undefined || encodingType === '') return (name) => name
  if (encodingType.toLowerCase() === 'url') return (name) => percentEncode(name, { keepSlash: true })
  throw new S3Error('InvalidArgument', {
    message: 'Invalid Encoding Method specified in Request',
    fields: { ArgumentName: 'encoding-type', ArgumentValue: encodingType }
  })
}

export interface PageQuery {
  readonly prefix: string
  readonly delimiter: string
  /** Where the previous page ended: a key, or a common prefix. Everything up to it is left out. */
  readonly after: string
  /** Rows of the `after` key itself that still belong on this page (versions of one key may span pages). */
  readonly resume: boolean
  readonly limit: number
}

export interface Page<Row> {
  readonly rows: readonly Row[]
  readonly commonPrefixes: readonly string[]
  /** Set when there is more: the last thing on this page. */
  readonly last: { readonly row: Row } | { readonly prefix: string } | null
}

/**
 * One page of a listing: rows, and in their place common prefixes where a delimiter follows the prefix.
 * @param expand the rows of a key, in order; none for keys that do not show
 */
export function listPage<Value, Row>(
  source: Pick<SortedMap<Value>, 'get' | 'atOrAfter' | 'after' | 'afterPrefix'>,
  query: PageQuery,
  expand: (key: string, value: Value) => readonly Row[]
): Page<Row> {
  const rows: Row[] = []
  const commonPrefixes: string[] = []
  let last: Page<Row>['last'] = null
  for (const item of walk(source, query, expand)) {
    if (rows.length + commonPrefixes.length >= query.limit) return { rows, commonPrefixes, last }
    if ('row' in item) rows.push(item.row)
    else commonPrefixes.push(item.prefix)
    last = item
  }
  return { rows, commonPrefixes, last: null }
}

function* walk<Value, Row>(
  source: Pick<SortedMap<Value>, 'get' | 'atOrAfter' | 'after' | 'afterPrefix'>,
  query: PageQuery,
  expand: (key: string, value: Value) => readonly Row[]
): Generator<{ readonly row: Row } | { readonly prefix: string }> {
  let key = firstKey(source, query)
  while (key?.startsWith(query.prefix) === true) {
    const rows = expand(key, source.get(key) as Value)
    const prefix = rows.length === 0 ? null : commonPrefix(key, query)
    if (prefix === null) {
      for (const row of rows) yield { row }
      key = source.after(key)
    } else {
      // A page that ended inside a common prefix has shown it already.
      if (!query.after.startsWith(prefix)) yield { prefix }
      key = source.afterPrefix(prefix)
    }
  }
}

/** The later of two starting points: the first key with the prefix, the first after the page before. */
function firstKey<Value>(source: Pick<SortedMap<Value>, 'atOrAfter' | 'after'>, { prefix, after, resume }: PageQuery): string | undefined {
  const first = source.atOrAfter(prefix)
  if (after === '' || first === undefined) return first
  const next = resume ? source.atOrAfter(after) : source.after(after)
  return next !== undefined && compareUtf8(next, first) < 0 ? first : next
}

function commonPrefix(key: string, { prefix, delimiter }: PageQuery): string | null {
  const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
  return at < 0 ? null : key.slice(0, at + delimiter.length)
}
