import { randomFillSync } from 'node:crypto'

const idBytes = 8
/** One call of the generator for many ids: alone it would cost more than parsing the request. */
const pool = Buffer.alloc(512 * idBytes)
let at = pool.length

/** A request id as S3 makes them: 16 upper-case hexadecimal digits, random. */
export function newRequestId(): string {
  if (at === pool.length) {
    randomFillSync(pool)
    at = 0
  }
  at += idBytes
  return pool.toString('hex', at - idBytes, at).toUpperCase()
}
