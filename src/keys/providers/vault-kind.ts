import type { VaultConfig } from '../../config/key-config.ts'
import { KeyringError } from '../keyring.ts'
import type { KeySite, ProviderKind } from '../provider-kind.ts'
import { readPem, type FileFault } from '../service/files.ts'
import { keyNameOf, type VaultFiles } from './vault-key.ts'
import type { VaultTransitProvider } from './vault-transit.ts'

export const vaultTransitKind: ProviderKind<VaultConfig> = {
  open: openTransit,
  names: () => [],
  shownByName: true,
  async describe(config) {
    const { addresses, namespace, mount, key, auth } = config
    return `Vault Transit key ${key} at ${mount}${namespace === null ? '' : ` in namespace ${namespace}`}, ${addresses.join(', ')}; ${loginWords[auth.method]}`
  },
  async check(config) {
    const { faults } = await readFiles(config)
    return { faults, keyIds: { option: 'key', prefix: `${keyNameOf(config)}:v` } }
  },
  backup: async () => null,
  async destroy(config, site, { signal }) {
    const provider = await openTransit(config, site)
    try {
      return {
        keyIds: await provider.destroy(signal),
        final: new Date().toISOString(),
        notes: ['SNAPSHOTS AND BACKUPS of the server and its storage still hold the key: destroy them, or it can be brought back.'],
        failure: null
      }
    } finally {
      await provider.close()
    }
  }
}

async function openTransit(config: VaultConfig, { selfTestContext, metrics }: KeySite): Promise<VaultTransitProvider> {
  const { files, faults: [fault] } = await readFiles(config)
  if (fault !== undefined) throw new KeyringError(`${fault.option}: ${fault.message}`)
  // Only here: commands that use no such key need no HTTP client.
  const { VaultTransitProvider } = await import('./vault-transit.ts')
  return new VaultTransitProvider({ config, files, selfTestContext, metrics })
}

const loginWords: Readonly<Record<VaultConfig['auth']['method'], string>> = {
  token: 'with a token',
  approle: 'login by AppRole',
  kubernetes: 'login by the service account of the pod',
  jwt: 'login by JWT',
  cert: 'login by client certificate',
  agent: 'with the token of a local agent'
}

/** The PEM files of a configuration. */
async function readFiles({ ca, auth }: VaultConfig): Promise<{ readonly files: VaultFiles; readonly faults: FileFault[] }> {
  const faults: FileFault[] = []
  const read = (option: string, file: string): Promise<string> => readPem(option, file, faults)
  const files = {
    ca: ca === null ? null : await read('ca', ca),
    client: auth.method === 'cert' ? { cert: await read('auth.cert', auth.cert), key: await read('auth.key', auth.key) } : null
  }
  return { files, faults }
}
