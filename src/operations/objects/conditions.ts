import type { Execution } from '../context.ts'
import type { Wanted } from './read-range.ts'
import { S3Error } from '../../errors.ts'
import { evaluateConditions, ifRangeHolds } from '../../s3/conditions.ts'
import { header } from '../context.ts'

/** Whether a request might end in 304, or without its range: then a HEAD goes first, so that no body is started only to be cut. */
export function mustLookFirst(x: Execution): boolean {
  return ['if-none-match', 'if-modified-since', 'if-range'].some((name) => header(x, name) !== undefined)
}

/** What is wanted of the object as it is: a range that If-Range asks for of another one is not. */
export function wantedOf(x: Execution, wanted: Wanted, etag: string, lastModified: string | undefined): Wanted {
  return wanted.kind !== 'range' || ifRangeHolds(header(x, 'if-range'), { etag, lastModified }) ? wanted : { kind: 'whole' }
}

/**
 * Evaluates the conditions of a read against the object this very answer came from, so that nothing can change between
 * the look and the leap (RFC 9110 13.2.2).
 * @throws S3Error PreconditionFailed (412) or NotModified (304), the latter with the ETag as RFC 9110 15.4.5 asks.
 */
export function checkReadConditions(x: Execution, etag: string, lastModified: string | undefined): void {
  const verdict = evaluateConditions({
    ifMatch: header(x, 'if-match'),
    ifNoneMatch: header(x, 'if-none-match'),
    ifModifiedSince: header(x, 'if-modified-since'),
    ifUnmodifiedSince: header(x, 'if-unmodified-since')
  }, { etag, lastModified })
  if (verdict === 'failed') {
    throw new S3Error('PreconditionFailed', {
      fields: { Condition: header(x, 'if-match') === undefined ? 'If-Unmodified-Since' : 'If-Match' }
    })
  }
  if (verdict === 'not-modified') {
    const modified = lastModified === undefined ? [] : [['last-modified', lastModified] as const]
    throw new S3Error('NotModified', { headers: [['etag', etag], ...modified] })
  }
}
