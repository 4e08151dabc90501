import type { GcpConfig } from '../../config/key-config.ts'
import { KeyringError } from '../keyring.ts'
import type { ProviderKind } from '../provider-kind.ts'
import { faultsOfFile, packageFaults, readPem, type FileFault } from '../service/files.ts'
import { GOOGLE_PACKAGE, gcpKeyIdPrefix } from './gcp-key.ts'

export const gcpKmsKind: ProviderKind<GcpConfig> = {
  async open(config, { selfTestContext, metrics }) {
    const faults: FileFault[] = []
    const ca = config.ca === null ? null : await readPem('ca', config.ca, faults)
    for (const { option, message } of faults) throw new KeyringError(`${option}: ${message}`)
    // Only here: commands that use no such key need no HTTP client.
    const { GcpKmsProvider } = await import('./gcp-kms.ts')
    return new GcpKmsProvider({ config, ca, selfTestContext, metrics })
  },
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
  backup: async () => null
}

const loginWords: Readonly<Record<GcpConfig['auth']['method'], string>> = {
  default: 'with application default credentials',
  file: 'with the credentials of a file',
  token: 'with a token in a file'
}
