import type { GcpConfig } from '../../config/key-config.ts'
import { KeyringError } from '../keyring.ts'
import type { KeySite, ProviderKind } from '../provider-kind.ts'
import { faultsOfFile, packageFaults, readPem, type FileFault } from '../service/files.ts'
import { GOOGLE_PACKAGE, gcpKeyIdPrefix } from './gcp-key.ts'
import type { GcpKmsProvider } from './gcp-kms.ts'

export const gcpKmsKind: ProviderKind<GcpConfig> = {
  open: openGcp,
  names: () => [],
  shownByName: true,
  async describe({ key, endpoint, auth }) {
    return `Cloud KMS ${key}${endpoint === null ? '' : ` at ${endpoint}`}; ${loginWords[auth.method]}`
  },
  async check({ key, ca, auth }) {
    const faults: FileFault[] = []
    if (ca !== null) await readPem('ca', ca, faults)
    if (auth.method === 'token') faults.push(...await faultsOfFile('auth.tokenFile', auth.tokenFile))
    else faults.push(...packageFaults('auth.method', GOOGLE_PACKAGE))
    if (auth.method === 'file') faults.push(...await faultsOfFile('auth.file', auth.file))
    return { faults, keyIds: { option: 'key', prefix: gcpKeyIdPrefix(key) } }
  },
  // Google keeps the key.
  backup: async () => null,
  async destroy(config, site, { signal }) {
    const provider = await openGcp(config, site)
    try {
      const { keyIds, last, failure } = await provider.destroy(signal)
      return {
        keyIds,
        final: last.toISOString(),
        notes: [
          'Until then an administrator of Cloud KMS can restore the versions (cryptoKeyVersions.restore). The time is that of the key, and --days means nothing to it.'
        ],
        failure
      }
    } finally {
      await provider.close()
    }
  }
}

async function openGcp(config: GcpConfig, { selfTestContext, metrics }: KeySite): Promise<GcpKmsProvider> {
  const faults: FileFault[] = []
  const ca = config.ca === null ? null : await readPem('ca', config.ca, faults)
  for (const { option, message } of faults) throw new KeyringError(`${option}: ${message}`)
  // Only here: commands that use no such key need no HTTP client.
  const { GcpKmsProvider } = await import('./gcp-kms.ts')
  return new GcpKmsProvider({ config, ca, selfTestContext, metrics })
}

const loginWords: Readonly<Record<GcpConfig['auth']['method'], string>> = {
  default: 'with application default credentials',
  file: 'with the credentials of a file',
  token: 'with a token in a file'
}
