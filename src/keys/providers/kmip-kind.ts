import type { KmipConfig } from '../../config/key-config.ts'
import { KeyringError } from '../keyring.ts'
import type { KeySite, ProviderKind } from '../provider-kind.ts'
import { readPem, type FileFault } from '../service/files.ts'
import type { ServerTrust } from '../service/http.ts'
import type { KmipKeyProvider } from './kmip.ts'
import { kmipKeyIdPrefix } from './kmip-key.ts'

export const kmipKind: ProviderKind<KmipConfig> = {
  open: openKmip,
  names: () => [],
  shownByName: true,
  async describe({ addresses, service, label, versions }) {
    const states = versions.map(({ id, state }) => `${id} ${state}`).join(', ')
    return `KMIP ${addresses.join(', ')}, key ${service}/${label}: ${states}`
  },
  async check(config) {
    const { faults } = await readFiles(config)
    return { faults, keyIds: { option: 'label', prefix: kmipKeyIdPrefix(config) } }
  },
  // The server keeps the key.
  backup: async () => null,
  async destroy(config, site, { signal }) {
    const provider = await openKmip(config, site)
    try {
      return {
        ...await provider.destroy(signal),
        final: new Date().toISOString(),
        notes: ['BACKUPS of the server, and its other servers until they hear of it, still hold the key: destroy them, or it can be brought back.']
      }
    } finally {
      await provider.close()
    }
  }
}

async function openKmip(config: KmipConfig, { selfTestContext, metrics }: KeySite): Promise<KmipKeyProvider> {
  const { trust, faults } = await readFiles(config)
  for (const { option, message } of faults) throw new KeyringError(`${option}: ${message}`)
  // Only here: commands that use no such key need none of it.
  const { KmipKeyProvider } = await import('./kmip.ts')
  return new KmipKeyProvider({ config, trust, selfTestContext, metrics })
}

async function readFiles({ ca, cert, key, serverName }: KmipConfig): Promise<{ readonly trust: ServerTrust; readonly faults: readonly FileFault[] }> {
  const faults: FileFault[] = []
  const trust = {
    ca: ca === null ? null : await readPem('ca', ca, faults),
    client: { cert: await readPem('cert', cert, faults), key: await readPem('key', key, faults) },
    serverName
  }
  return { trust, faults }
}
