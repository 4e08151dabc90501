// The values of options of commands on existing objects, from texts.
import type { Row, Shard } from '../maintenance/engine.ts'
import { UsageError } from './command-line.ts'

const units: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 }

/** `50MiB`, `1000`. @throws UsageError. */
export function bytesOf(name: string, text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12})(KiB|MiB|GiB|TiB|)$/.exec(text) ?? []
  const bytes = Number(digits) * (units[unit] ?? 1)
  if (digits === '' || bytes === 0) throw new UsageError(`--${name} must be a number of bytes, such as 50MiB.`)
  return bytes
}

/** `3/8`. @throws UsageError. */
export function shardOf(text: string): Shard {
  const [, index, of] = (/^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? []).map(Number)
  if (index === undefined || of === undefined || index < 1 || index > of) throw new UsageError('--shard must be I/N, with I from 1 to N.')
  return { index, of }
}

/** `s3://bucket/key`. @throws UsageError. */
export function objectOf(name: string, text: string): { readonly bucket: string; readonly key: string } {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/s.exec(text) ?? []
  if (bucket === undefined || key === undefined) throw new UsageError(`--${name} takes s3://BUCKET/KEY.`)
  return { bucket, key }
}

const days: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 }

/**
 * Terms with commas between them, all of which must hold: `size>1MiB`, `size<100`, `age>30d`, `age<24h`, `class=GLACIER`, `name=*.log`. What the source
 * does not say of a row excludes nothing. @throws UsageError.
 */
export function filterOf(text: string | undefined, prefix: string, now: number): (row: Row) => boolean {
  const terms = (text === undefined ? [] : text.split(',')).map((term) => termOf(term, now))
  return (row) => row.key.startsWith(prefix) && terms.every((holds) => holds(row))
}

function termOf(term: string, now: number): (row: Row) => boolean {
  const [, name, sign, value = ''] = /^(size|age|class|name)([<>=])(.+)$/.exec(term) ?? []
  if (name === 'size' && sign !== '=') {
    const bytes = bytesOf('filter', value)
    return ({ size }) => size === null || (sign === '>' ? size > bytes : size < bytes)
  }
  const [, digits = '', unit = ''] = /^(\d{1,6})([hdw])$/.exec(value) ?? []
  if (name === 'age' && sign !== '=' && digits !== '') {
    const edge = now - Number(digits) * (days[unit] ?? 0)
    return ({ lastModified }) => lastModified === null || (sign === '>' ? lastModified < edge : lastModified > edge)
  }
  if (name === 'class' && sign === '=') return ({ storageClass }) => storageClass === null || storageClass === value
  // One star, so that matching is linear.
  if (name === 'name' && sign === '=' && value.split('*').length === 2) {
    const [start = '', end = ''] = value.split('*')
    return ({ key }) => key.length >= start.length + end.length && key.startsWith(start) && key.endsWith(end)
  }
  throw new UsageError(`--filter: "${term}" is none of size>1MiB, age>30d, class=GLACIER, name=*.log.`)
}
