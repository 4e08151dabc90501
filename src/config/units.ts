import { z } from 'zod'

/** Bounds of a number, both included; `above` is not. */
interface Bounds {
  readonly min?: number
  readonly above?: number
  readonly max?: number
}

interface Kind {
  /** What the option is, with examples: completes "must be …". */
  readonly is: string
  /** Factors of the units by their names in lower case; '' is the unit of plain numbers. */
  readonly units: ReadonlyMap<string, number>
  readonly whole: boolean
  readonly show: (value: number) => string
}

const sizeUnits = new Map([
  ['', 1],
  ['b', 1],
  ['kb', 1e3],
  ['mb', 1e6],
  ['gb', 1e9],
  ['tb', 1e12],
  ['kib', 2 ** 10],
  ['mib', 2 ** 20],
  ['gib', 2 ** 30],
  ['tib', 2 ** 40]
])
const timeUnits = new Map([['', 1], ['ms', 1e-3], ['s', 1], ['m', 60], ['h', 3600], ['d', 86_400]])
const count: Kind = { is: 'a whole number', units: new Map([['', 1]]), whole: true, show: String }
const size: Kind = { is: 'a size in bytes such as 65536, 64KiB or 2MiB', units: sizeUnits, whole: true, show: showBytes }
const rate: Kind = { is: 'bytes per second such as 1024, 64KiB or 1MiB', units: sizeUnits, whole: false, show: showBytes }
const time: Kind = { is: 'a time such as 60 (seconds), 250ms, 5s, 2m or 1h', units: timeUnits, whole: false, show: showSeconds }
/** Node's timers take at most 2³¹ ms; what is longer fires at once. A day is longer than any of these times has to be. */
const LONGEST_SECONDS = 86_400

/** A whole number without a unit. A text of digits counts, so that it can come from the environment. */
export function wholeNumber(bounds: Bounds): z.ZodType<number> {
  return number(count, bounds)
}

/** Bytes: a plain number, or one with B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024). */
export function bytes(bounds: Bounds): z.ZodType<number> {
  return number(size, bounds)
}

/** Bytes per second, written as `bytes` are. */
export function bytesPerSecond(bounds: Bounds): z.ZodType<number> {
  return number(rate, bounds)
}

/** Seconds, at most a day: a plain number, or one with ms, s, m, h or d. */
export function seconds(bounds: Bounds): z.ZodType<number> {
  return number(time, { max: LONGEST_SECONDS, ...bounds })
}

function number(kind: Kind, bounds: Bounds): z.ZodType<number> {
  const must = `must be ${kind.is}${range(kind, bounds)}`
  return z.union([z.number(), z.string()], { error: must }).transform((written, context) => {
    const value = typeof written === 'number' ? written : parse(written, kind)
    const fault = value === null ? unitFault(written, kind) : ''
    if (value !== null && within(value, kind, bounds)) return value
    context.addIssue({ code: 'custom', message: fault === '' ? must : `${must}; ${fault}` })
    return z.NEVER
  })
}

/** null: not of this kind. Rounded to nine digits behind the point, because 0.1 × 3 is not 0.3. */
function parse(text: string, { units }: Kind): number | null {
  const [, digits, unit = ''] = /^([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)$/.exec(text.trim()) ?? []
  const factor = units.get(unit.toLowerCase())
  return digits === undefined || factor === undefined ? null : Math.round(Number(digits) * factor * 1e9) / 1e9
}

function within(value: number, { whole }: Kind, { min = -Infinity, above = -Infinity, max = Infinity }: Bounds): boolean {
  return (!whole || Number.isSafeInteger(value)) && value >= min && value > above && value <= max
}

/** What is wrong with a text that is not a number of this kind; '' when the rule itself is the best answer. */
function unitFault(written: unknown, kind: Kind): string {
  const unit = /^[0-9.]+ ?([A-Za-z]{1,7})$/.exec(String(written))?.[1]?.toLowerCase()
  if (unit === undefined) return ''
  if (kind.units.size === 1) return 'it has no unit'
  const [isSize, isTime] = [sizeUnits.has(unit), timeUnits.has(unit)]
  if (kind.units === sizeUnits && isTime && unit !== 'm') return `"${unit}" is a unit of time`
  if (kind.units === timeUnits && isSize) return `"${unit}" is a unit of size`
  return `there is no unit "${unit}": ${kind.units === sizeUnits ? 'kB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024' : 'ms, s, m, h, d'}`
}

function range({ show }: Kind, { min, above, max }: Bounds): string {
  if (min !== undefined && max !== undefined) return `, from ${show(min)} to ${show(max)}`
  const least = min !== undefined ? `, at least ${show(min)}` : above !== undefined ? `, above ${show(above)}` : ''
  return max === undefined ? least : `${least}, at most ${show(max)}`
}

/** The largest unit that gives a whole number: `2MiB`, `1500B`. */
export function showBytes(value: number): string {
  const units = ['TiB', 'GiB', 'MiB', 'KiB'].map((unit) => [unit, sizeUnits.get(unit.toLowerCase()) ?? 1] as const)
  const [unit, factor] = units.find(([, each]) => value > 0 && value % each === 0) ?? ['B', 1]
  return `${value / factor}${unit}`
}

/** The largest unit that gives a whole number: `2m`, `90s`, `250ms`. */
export function showSeconds(value: number): string {
  if (!Number.isInteger(value)) return `${Math.round(value * 1e6) / 1e3}ms`
  const [unit, factor] = ([['d', 86_400], ['h', 3600], ['m', 60]] as const).find(([, each]) => value > 0 && value % each === 0) ?? ['s', 1]
  return `${value / factor}${unit}`
}
