// Fresh keys at every key service that is here: a keyring and the simulations of the clouds always; OpenBao under openbao.sh; SoftHSM under softhsm.sh. Both:
// test/e2e/openbao.sh test/e2e/softhsm.sh node …
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { FakeGcpKms } from '../support/fake-gcp-kms.ts'
import { FakeKeyVault } from '../support/fake-key-vault.ts'
import { FakeKms } from '../support/fake-kms.ts'

type Kind = 'local' | 'aws-kms' | 'gcp-kms' | 'azure-key-vault' | 'vault-transit' | 'pkcs11'

/** A key for a configuration file. */
export interface ServiceKey {
  readonly kind: Kind
  readonly section: object
  /** The same with the rights to destroy it; null: it has them. */
  readonly destroyer: object | null
}

interface KeyServices {
  readonly kinds: readonly Kind[]
  /** A key that nothing else uses. */
  make(kind: Kind): Promise<ServiceKey>
  close(): Promise<void>
}

export async function openKeyServices(): Promise<KeyServices> {
  const folder = mkdtempSync(join(tmpdir(), 'sealgate-keys-'))
  const ends: (() => Promise<void>)[] = []
  const test = {
    teardown: (end: () => Promise<void>) => {
      ends.push(end)
    }
  }
  const [kms, google, azure] = [await FakeKms.start(test), await FakeGcpKms.start(test), await FakeKeyVault.start(test)]
  const tokenOf = (kind: Kind, token: string) => {
    const tokenFile = join(folder, `${kind}-token`)
    writeFileSync(tokenFile, token)
    return { method: 'token', tokenFile }
  }
  const [googleAuth, azureAuth] = [tokenOf('gcp-kms', google.addToken()), tokenOf('azure-key-vault', azure.addToken())]
  const bao = process.env['VAULT_ADDR'] === undefined ? null : await import('./openbao-server.ts')
  const token = process.env['WORK'] === undefined ? null : await import('./softhsm-token.ts')
  if (bao !== null) {
    const mounted = await bao.admin('GET', 'sys/mounts')
    if (!('transit/' in mounted.data)) { for (const [what, type] of [['mounts', 'transit'], ['auth', 'approle']] as const) await bao.enable(what, type) }
    ends.push(() => bao.close())
  }
  let made = 0
  return {
    kinds: ['local', 'aws-kms', 'gcp-kms', 'azure-key-vault', ...bao === null ? [] : ['vault-transit'] as const, ...token === null ? [] : ['pkcs11'] as const],
    make: async (kind) => {
      made += 1
      const name = `k${made}`
      if (kind === 'local') {
        const keyring = join(folder, `${name}.json`)
        await createKeyring(keyring, name, new Date())
        return { kind, section: { type: 'local', keyring }, destroyer: null }
      }
      if (kind === 'aws-kms') {
        return { kind, section: { type: 'aws-kms', arn: kms.addKey(), endpoint: kms.endpoint, accessKeyId: 'a', secretAccessKey: 'b' }, destroyer: null }
      }
      if (kind === 'gcp-kms') {
        return { kind, section: { type: 'gcp-kms', key: google.addKey(name), endpoint: google.address, auth: googleAuth }, destroyer: null }
      }
      if (kind === 'azure-key-vault') {
        azure.addKey(name)
        return { kind, section: { type: 'azure-key-vault', vault: azure.vault, key: name, endpoint: azure.address, auth: azureAuth }, destroyer: null }
      }
      if (kind === 'pkcs11') {
        token?.makeKey(name, '01', 'AES')
        return { kind, section: token?.section([{ id: '01', state: 'enabled' }], { label: name }) ?? {}, destroyer: null }
      }
      if (bao === null) throw new Error('no OpenBao')
      const key = await bao.newKey()
      return { kind, section: bao.sectionOf(key, await bao.appRole(key)), destroyer: bao.sectionOf(key, await bao.destroyerOf(key)) }
    },
    close: async () => {
      for (const end of ends) await end()
      rmSync(folder, { recursive: true })
    }
  }
}
