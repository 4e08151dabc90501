/** 1,234 or 12.3K or 4.5M */
export function many(value: number): string {
  return value < 10_000 ? Math.round(value).toLocaleString('en') : value.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 1 })
}

/** 1 object, 2 objects */
export function numbered(count: number, noun: string): string {
  return `${many(count)} ${noun}${count === 1 ? '' : 's'}`
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10))
  const shown = value / 1024 ** power
  return `${shown >= 100 || power === 0 ? Math.round(shown) : shown.toFixed(1)} ${units[power] ?? ''}`
}

/** A short time such as the duration of a request. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(2))} ms`
  return seconds < 100 ? `${Number(seconds.toPrecision(3))} s` : span(seconds)
}

const spans = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']] as const

/** A long time: two units at most, as 3 d 4 h. */
export function span(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds))
  const words: string[] = []
  for (const [length, unit] of spans) {
    const number = Math.floor(rest / length)
    rest -= number * length
    if (number > 0 || (unit === 's' && words.length === 0)) words.push(`${number} ${unit}`)
    // Hours behind days are enough.
    if (words.length === 2 || (words.length === 1 && number === 0)) break
  }
  return words.join(' ')
}

/** 2026-11-29 12:34:56 UTC */
export function clock(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`
}

/** @param now ISO 8601 */
export function secondsSince(iso: string, now: string): number {
  return (Date.parse(now) - Date.parse(iso)) / 1000
}

export function share(part: number, whole: number): string {
  if (whole === 0) return '0 %'
  const percent = part / whole * 100
  // 99.99 % of a million objects is not all of them.
  return percent === 100 || percent === 0 ? `${percent} %` : `${Math.min(99.9, Math.max(0.1, Number(percent.toFixed(1))))} %`
}
