import type { Header } from '../http/message.ts'
import type { OperationContext } from './context.ts'

/** Whether clients may sign for this region (`listen.region`). */
export function acceptsRegion(ctx: OperationContext, region: string): boolean {
  const { regions } = ctx.services.config.listen
  return regions.length === 0 || regions.includes(region)
}

/** The region of a bucket as clients see it: one that they may sign for, because they will sign for it. */
export function shownRegion(ctx: OperationContext, region: string): string {
  return acceptsRegion(ctx, region) ? region : ctx.services.config.listen.regions[0] ?? region
}

/** `x-amz-bucket-region` of an answer or error, as `shownRegion`. */
export function withShownRegion(ctx: OperationContext, headers: readonly Header[]): Header[] {
  return headers.map(([name, value]) => [name, name.toLowerCase() === 'x-amz-bucket-region' ? shownRegion(ctx, value) : value])
}
