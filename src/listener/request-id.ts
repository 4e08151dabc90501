import { randomFillSync } from 'node:crypto'

const idBytes = 8
/** One call of the generator makes many ids: a call per id would cost more than parsing the request. */
const pool = Buffer.alloc(512 * idBytes)
let at = pool.length

/** A request id in the form of S3: 16 upper-case hexadecimal digits, random. */
export function newRequestId(): string {
  if (at === pool.length) {
    randomFillSync(pool)
    at = 0
  }
  at += idBytes
  return pool.toString('hex', at - idBytes, at).toUpperCase()
}
