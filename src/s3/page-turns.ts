import { S3Error } from '../errors.ts'

/** Rows of one page of a listing, as AWS, Ceph and MinIO return them by default. */
const PAGE = 1000
/** Most rows of a listing for one request: a hundred attempts at each of 10,000 parts. */
export const MOST_ROWS = 1_000_000

/**
 * Detects a listing that does not end: the store chooses the tokens, and could repeat one, or return new rows, for ever. Each token is
 * compared with the one before and with one that is replaced after 1, 2, 4, … pages (Brent's algorithm), so that a cycle of any
 * length is found with constant memory.
 */
export class PageTurns {
  readonly #mostRows: number
  #rows = 0
  #turns = 0
  #last: string | null = null
  #remembered: string | null = null
  #nextRemembered = 1

  /** @param mostRows a page counts as a full one even with fewer rows. Infinite for commands, which hold one page at a time. */
  constructor(mostRows: number) {
    this.#mostRows = mostRows
  }

  /**
   * To be called when a page is not the last.
   * @param token names the next page; null where the store did not name one. @param rows of this page.
   * @throws S3Error SealgateBadUpstream
   */
  turn(token: string | null, rows: number): void {
    this.#turns += 1
    this.#rows += Math.max(rows, PAGE)
    if (token === null || token === this.#last || token === this.#remembered || this.#rows > this.#mostRows) {
      throw new S3Error('SealgateBadUpstream', { message: 'The store returned a listing that does not end.' })
    }
    this.#last = token
    if (this.#turns < this.#nextRemembered) return
    this.#remembered = token
    this.#nextRemembered *= 2
  }
}
