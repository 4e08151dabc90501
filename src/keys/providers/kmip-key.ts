import type { KmipConfig } from '../../config/key-config.ts'

/** STORED DATA depends on it (docs/FORMAT.md, Key providers). */
export function kmipKeyIdPrefix({ service, label }: Pick<KmipConfig, 'service' | 'label'>): string {
  return `kmip:${service}/${label}:`
}
