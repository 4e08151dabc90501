/** Series per metric beyond which new label values share one series, so that no input makes memory grow. */
const maxSeries = 500
const overflow = 'other'

/** How the values of several workers are combined. */
type Combine = 'sum' | 'max' | 'min'

type Labels<L extends string> = Readonly<Record<L, string>>

/** A value of one combination of labels. For a histogram `counts` has one entry per bucket and one above them all. */
interface Series {
  readonly labels: readonly string[]
  value: number
  readonly counts: number[]
}

/** All values of a metric as plain data: a worker sends it to the process that answers the scrape. */
interface FamilySnapshot {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labelNames: readonly string[]
  /** Upper bounds in ascending order; empty unless a histogram. */
  readonly buckets: readonly number[]
  readonly combine: Combine
  readonly series: readonly Series[]
}

export type Snapshot = readonly FamilySnapshot[]

class Family<L extends string> {
  readonly #shape: Omit<FamilySnapshot, 'series'>
  readonly #labelNames: readonly L[]
  readonly #series = new Map<string, Series>()

  /** @param absent true: no series before the first value, even without labels */
  constructor(shape: Omit<FamilySnapshot, 'series' | 'labelNames'>, labelNames: readonly L[], absent = false) {
    this.#shape = { ...shape, labelNames }
    this.#labelNames = labelNames
    // A metric without labels exists from the start, so that a rate over it is never "no data".
    if (labelNames.length === 0 && !absent) this.#of([])
  }

  get name(): string {
    return this.#shape.name
  }

  snapshot(): FamilySnapshot {
    return { ...this.#shape, series: [...this.#series.values()].map((s) => ({ ...s, counts: [...s.counts] })) }
  }

  protected series(labels: Labels<L>): Series {
    return this.#of(this.#labelNames.map((name) => labels[name]))
  }

  protected forget(): void {
    this.#series.clear()
  }

  protected get buckets(): readonly number[] {
    return this.#shape.buckets
  }

  #of(values: readonly string[]): Series {
    const id = values.join('\0')
    const known = this.#series.get(id)
    if (known !== undefined) return known
    if (this.#series.size >= maxSeries && !values.every((v) => v === overflow)) return this.#of(values.map(() => overflow))
    const buckets = this.#shape.buckets
    const fresh = { labels: values, value: 0, counts: buckets.length === 0 ? [] : new Array<number>(buckets.length + 1).fill(0) }
    this.#series.set(id, fresh)
    return fresh
  }
}

export class Counter<L extends string> extends Family<L> {
  /** @throws RangeError for a negative amount: a counter only grows */
  add(labels: Labels<L>, amount = 1): void {
    if (!(amount >= 0)) throw new RangeError(`counter ${this.name}: ${amount}`)
    this.series(labels).value += amount
  }

  /** Of something that counts by itself. */
  raise(labels: Labels<L>, total: number): void {
    this.add(labels, total - this.series(labels).value)
  }
}

export class Gauge<L extends string> extends Family<L> {
  set(labels: Labels<L>, value: number): void {
    this.series(labels).value = value
  }

  add(labels: Labels<L>, amount: number): void {
    this.series(labels).value += amount
  }

  /** Drops every series: for label values that change with the configuration. */
  clear(): void {
    this.forget()
  }
}

export class Histogram<L extends string> extends Family<L> {
  observe(labels: Labels<L>, value: number): void {
    const series = this.series(labels)
    let bucket = 0
    while (bucket < this.buckets.length && value > (this.buckets[bucket] ?? Infinity)) bucket += 1
    series.counts[bucket] = (series.counts[bucket] ?? 0) + 1
    series.value += value
  }
}

interface Registered {
  readonly name: string
  snapshot(): FamilySnapshot
}

/** The metrics of one process. Names and units follow the Prometheus conventions: base units, `_total` for counters. */
export class Registry {
  readonly #families: Registered[] = []
  readonly #collectors: (() => void)[] = []

  counter<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return this.#add(new Counter<L>({ name, help, type: 'counter', buckets: [], combine: 'sum' }, labelNames))
  }

  /** @param combine how the values of several workers are put together */
  gauge<L extends string = never>(name: string, help: string, labelNames: readonly L[] = [], combine: Combine = 'sum'): Gauge<L> {
    return this.#add(new Gauge<L>({ name, help, type: 'gauge', buckets: [], combine }, labelNames))
  }

  /** A gauge without labels that is not exposed before its first value, because 0 would be a value. */
  gaugeOnceKnown(name: string, help: string, combine: Combine): Gauge<never> {
    return this.#add(new Gauge<never>({ name, help, type: 'gauge', buckets: [], combine }, [], true))
  }

  /** @param buckets upper bounds, ascending */
  histogram<L extends string = never>(name: string, help: string, buckets: readonly number[], labelNames: readonly L[] = []): Histogram<L> {
    return this.#add(new Histogram<L>({ name, help, type: 'histogram', buckets, combine: 'sum' }, labelNames))
  }

  /** Runs before every snapshot: for values that are read instead of counted. */
  beforeSnapshot(collect: () => void): void {
    this.#collectors.push(collect)
  }

  snapshot(): Snapshot {
    for (const collect of this.#collectors) collect()
    return this.#families.map((family) => family.snapshot())
  }

  #add<F extends Registered>(family: F): F {
    if (this.#families.some(({ name }) => name === family.name)) throw new Error(`metric ${family.name} exists`)
    this.#families.push(family)
    return family
  }
}

/** Adds up the snapshots of several workers that run the same code. */
export function mergeSnapshots(snapshots: readonly Snapshot[]): Snapshot {
  const merged = new Map<string, { family: FamilySnapshot; series: Map<string, Series> }>()
  for (const family of snapshots.flat()) {
    let entry = merged.get(family.name)
    if (entry === undefined) merged.set(family.name, entry = { family, series: new Map() })
    for (const series of family.series) mergeSeries(entry.series, series, family.combine)
  }
  return [...merged.values()].map(({ family, series }) => ({ ...family, series: [...series.values()] }))
}

function mergeSeries(into: Map<string, Series>, from: Series, combine: FamilySnapshot['combine']): void {
  const id = from.labels.join('\0')
  const before = into.get(id)
  if (before === undefined) {
    into.set(id, { ...from, counts: [...from.counts] })
    return
  }
  before.value = combine === 'sum' ? before.value + from.value : combine === 'max' ? Math.max(before.value, from.value) : Math.min(before.value, from.value)
  for (const [i, count] of from.counts.entries()) before.counts[i] = (before.counts[i] ?? 0) + count
}

export const expositionType = 'text/plain; version=0.0.4; charset=utf-8'

/** Prometheus text format 0.0.4 (prometheus.io, "Exposition formats"). */
export function exposition(snapshot: Snapshot): string {
  let out = ''
  for (const family of snapshot) {
    out += `# HELP ${family.name} ${family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`
    out += `# TYPE ${family.name} ${family.type}\n`
    for (const series of family.series) {
      out += family.type === 'histogram' ? histogramLines(family, series) : line(family.name, pairs(family, series), series.value)
    }
  }
  return out
}

/** Buckets are cumulative, and the last, +Inf, equals the count. */
function histogramLines(family: FamilySnapshot, series: Series): string {
  const labels = pairs(family, series)
  let count = 0
  let out = ''
  for (const [i, inBucket] of series.counts.entries()) {
    count += inBucket
    const bound = family.buckets[i]
    out += line(`${family.name}_bucket`, [...labels, ['le', bound === undefined ? '+Inf' : String(bound)]], count)
  }
  return out + line(`${family.name}_sum`, labels, series.value) + line(`${family.name}_count`, labels, count)
}

function pairs(family: FamilySnapshot, series: Series): [string, string][] {
  return family.labelNames.map((name, i) => [name, series.labels[i] ?? ''])
}

function line(name: string, labels: readonly (readonly [string, string])[], value: number): string {
  const inner = labels.map(([label, text]) => `${label}="${escaped(text)}"`).join(',')
  return `${name}${inner === '' ? '' : `{${inner}}`} ${number(value)}\n`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function number(value: number): string {
  if (value === Infinity) return '+Inf'
  if (value === -Infinity) return '-Inf'
  return String(value)
}
