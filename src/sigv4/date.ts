/** Milliseconds that a request's date may differ from the gateway's clock (AWS: RequestTimeTooSkewed after 15 minutes). */
export const maxSkewMilliseconds = 900_000

const isoBasic = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/

/** ISO 8601 basic format, `20130524T000000Z`. @returns undefined when the text is anything else or no real date. */
export function parseIsoBasic(text: string): Date | undefined {
  const match = isoBasic.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  return realDate(Number(year), Number(month), Number(day), Number(hour), Number(minute), Number(second))
}

/** @returns the date as `20130524T000000Z`. */
export function formatIsoBasic(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const httpDate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) (?:GMT|UTC|[+-]0000)$/

/**
 * RFC 1123 date as in a `Date` header, with GMT, or with `+0000`, which s3cmd writes.
 * @returns undefined when the text is anything else or no real date.
 */
export function parseHttpDate(text: string): Date | undefined {
  const match = httpDate.exec(text)
  if (match === null) return undefined
  const [, day, month, year, hour, minute, second] = match
  return realDate(Number(year), months.indexOf(month ?? '') + 1, Number(day), Number(hour), Number(minute), Number(second))
}

const isoExtended = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?Z$/

/** ISO 8601 extended format in UTC, `2007-12-01T12:00:00.000Z`, as the expiration of a POST policy has it. */
export function parseIsoExtended(text: string): Date | undefined {
  const match = isoExtended.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  return realDate(Number(year), Number(month), Number(day), Number(hour), Number(minute), Number(second))
}

function realDate(year: number, month: number, day: number, hour: number, minute: number, second: number): Date | undefined {
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second))
  // Date.UTC turns 31 February into a day of March: a date that changes in a round trip does not exist.
  const same = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day &&
    date.getUTCHours() === hour && date.getUTCMinutes() === minute && date.getUTCSeconds() === second
  return same ? date : undefined
}
