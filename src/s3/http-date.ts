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
  // Date.UTC carries 31 Feb into March; a date that does not exist is no date. A leap second is the next minute.
  return new Date(Date.UTC(fullYear(groups['year'] ?? ''), month, day)).getUTCDate() === day ? time : null
}

/** Two digits that seem more than 50 years ahead are of the last century (RFC 9110 5.6.7). */
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
