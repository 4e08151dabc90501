import { randomBytes } from 'node:crypto'

let counter = 0

/** 32 characters that sort by the time they were made: version ids and upload ids. */
export function orderedId(): string {
  counter = (counter + 1) % 0x100000
  const time = Date.now().toString(16).padStart(12, '0') + counter.toString(16).padStart(5, '0')
  return time + randomBytes(8).toString('hex').slice(1)
}

/** As S3 shows them: 16 characters, upper case. */
export function requestId(): string {
  return randomBytes(8).toString('hex').toUpperCase()
}
