import type { Header } from '../http/message.ts'
import type { Execution } from './context.ts'

/** Whether clients may sign for this region (`listen.region`). */
export function acceptsRegion(x: Execution, region: string): boolean {
  const { regions } = x.parts.config.listen
  return regions.length === 0 || regions.includes(region)
}

/** The region of a bucket as clients are told: one they may sign for, because that is what they will do with it. */
export function shownRegion(x: Execution, region: string): string {
  return acceptsRegion(x, region) ? region : x.parts.config.listen.regions[0] ?? region
}

/** `x-amz-bucket-region` of an answer or error, as `shownRegion`. */
export function withShownRegion(x: Execution, headers: readonly Header[]): Header[] {
  return headers.map(([name, value]) => [name, name.toLowerCase() === 'x-amz-bucket-region' ? shownRegion(x, value) : value])
}
