import type { AzureConfig } from '../../config/key-config.ts'

/** The optional dependency that knows how identities of Azure become tokens. */
export const AZURE_PACKAGE = '@azure/identity'

/** STORED DATA depends on it (docs/FORMAT.md, Key providers). */
export function azureKeyIdPrefix({ vault, key }: Pick<AzureConfig, 'vault' | 'key'>): string {
  return `azure-key-vault:${new URL(vault).hostname}/${key}:`
}

/** What tokens for a vault are for: `https://vault.azure.net` of `https://NAME.vault.azure.net`. From the configuration alone, never from a server. */
export function resourceOf({ vault, resource }: Pick<AzureConfig, 'vault' | 'resource'>): string {
  return resource ?? `https://${new URL(vault).hostname.replace(/^[^.]*\./, '')}`
}
