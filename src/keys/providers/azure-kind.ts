import type { AzureConfig } from '../../config/key-config.ts'
import { KeyringError } from '../keyring.ts'
import type { KeySite, ProviderKind } from '../provider-kind.ts'
import { faultsOfFile, packageFaults, readPem, type FileFault } from '../service/files.ts'
import { AZURE_PACKAGE, azureKeyIdPrefix } from './azure-key.ts'
import type { AzureKeyVaultProvider } from './azure-key-vault.ts'

export const azureKeyVaultKind: ProviderKind<AzureConfig> = {
  open: openAzure,
  names: () => [],
  shownByName: true,
  async describe({ vault, key, algorithm, endpoint, auth }) {
    return `Key Vault ${vault}, key ${key} (${algorithm})${endpoint === null ? '' : ` at ${endpoint}`}; ${loginWords[auth.method]}`
  },
  async check(config) {
    const { ca, auth } = config
    const faults: FileFault[] = []
    if (ca !== null) await readPem('ca', ca, faults)
    if (auth.method === 'token') faults.push(...await faultsOfFile('auth.tokenFile', auth.tokenFile))
    else faults.push(...packageFaults('auth.method', AZURE_PACKAGE))
    if (auth.method === 'workload-identity' && auth.tokenFile !== null) faults.push(...await faultsOfFile('auth.tokenFile', auth.tokenFile))
    return { faults, keyIds: { option: 'key', prefix: azureKeyIdPrefix(config) } }
  },
  // Azure keeps the key.
  backup: async () => null,
  async destroy(config, site, { signal }) {
    const provider = await openAzure(config, site)
    try {
      const { keyIds, final } = await provider.destroy(signal)
      return {
        keyIds,
        final: final.toISOString(),
        notes: [
          'Until then who may recover deleted keys of the vault can bring it back; who may purge them can end it now, unless the vault protects them from that.',
          'BACKUPS of the key (az keyvault key backup) and of a Managed HSM still hold it: destroy them, or it can be brought back.'
        ],
        failure: null
      }
    } finally {
      await provider.close()
    }
  }
}

async function openAzure(config: AzureConfig, { selfTestContext, metrics }: KeySite): Promise<AzureKeyVaultProvider> {
  const faults: FileFault[] = []
  const ca = config.ca === null ? null : await readPem('ca', config.ca, faults)
  for (const { option, message } of faults) throw new KeyringError(`${option}: ${message}`)
  // Only here: commands that use no such key need no HTTP client.
  const { AzureKeyVaultProvider } = await import('./azure-key-vault.ts')
  return new AzureKeyVaultProvider({ config, ca, selfTestContext, metrics })
}

const loginWords: Readonly<Record<AzureConfig['auth']['method'], string>> = {
  'default': 'with the default credential of Azure',
  'managed-identity': 'with a managed identity',
  'workload-identity': 'with a workload identity',
  'client-secret': 'with the secret of an application',
  'token': 'with a token in a file'
}
