import type { FamilySnapshot, Series, Snapshot } from './registry.ts'

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
