import { S3Error } from '../errors.ts'

/** Rows of one page of a listing, as AWS, Ceph and MinIO return them by default. */
const PAGE = 1000
/** Most rows of a listing for one request: a hundred attempts at each of 10,000 parts. */
export const MOST_ROWS = 1_000_000
/** Most pages without a row one after the other: a store may need some for what was deleted. */
const MOST_EMPTY = 1000

/** Finds a sequence that repeats, with a period of any length and constant memory (Brent's algorithm). */
class Cycle {
  #turns = 0
  #last: string | null = null
  #remembered: string | null = null
  #nextRemembered = 1

  /** Whether a value is the one before, or the one that is replaced after 1, 2, 4, … values. */
  closes(value: string): boolean {
    if (value === this.#last || value === this.#remembered) return true
    this.#turns += 1
    this.#last = value
    if (this.#turns >= this.#nextRemembered) {
      this.#remembered = value
      this.#nextRemembered *= 2
    }
    return false
  }
}

/**
 * Detects a listing that does not end: the store chooses the tokens, and could repeat one, show the same rows under new ones, pages without a row, or
 * new rows for ever. Against new rows only a bound helps: a store can always make up names.
 */
export class PageTurns {
  readonly #mostRows: number
  readonly #tokens = new Cycle()
  readonly #pages = new Cycle()
  #rows = 0
  #empty = 0

  /** @param mostRows a page counts as a full one even with fewer rows. Infinite for commands, which hold one page at a time. */
  constructor(mostRows: number) {
    this.#mostRows = mostRows
  }

  /**
   * To be called when a page is not the last.
   * @param token names the next page; null where the store did not name one. @param rows of this page.
   * @param page what no other page of the listing can have, such as the names of its first and its last row; null: not known.
   * @throws S3Error SealgateBadUpstream
   */
  turn(token: string | null, rows: number, page: string | null = null): void {
    this.#rows += Math.max(rows, PAGE)
    this.#empty = rows === 0 ? this.#empty + 1 : 0
    const repeats = token === null || this.#tokens.closes(token) || (rows > 0 && page !== null && this.#pages.closes(page))
    if (repeats || this.#rows > this.#mostRows || this.#empty > MOST_EMPTY) {
      throw new S3Error('SealgateBadUpstream', { message: 'The store returned a listing that does not end.' })
    }
  }
}
