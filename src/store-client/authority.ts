import { readFileSync } from 'node:fs'
import type { UpstreamConfig } from '../config/config.ts'

/** The certificates of `upstream.ca`, PEM; null: those that Node knows. @throws Error of the file system. */
export function authorityOf({ ca }: Pick<UpstreamConfig, 'ca'>): string | null {
  return ca === null ? null : readFileSync(ca, 'utf8')
}
