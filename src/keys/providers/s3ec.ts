import { createPrivateKey, createSecretKey, type KeyObject } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { S3ecAesConfig, S3ecRsaConfig } from '../../config/key-config.ts'
import { Finding, S3Error } from '../../errors.ts'
import { keyKindOf, unwrapByAes, unwrapByRsa } from '../../s3ec/data-key.ts'
import { boundOf, type NewDataKey, wrapByAes, wrapByRsa, type Writable } from '../../s3ec/seal.ts'
import type { WrappedDataKey } from '../../s3ec/description.ts'
import { S3ecError } from '../../s3ec/fault.ts'
import { KeyringError } from '../keyring.ts'
import type { ProviderKind } from '../provider-kind.ts'
import type { KeySource, OpenedDataKey, WrappedForClients } from '../types.ts'

/** RSA below this is broken or soon will be; above, each use would hold up every other request. */
const RSA_BITS = { least: 2048, most: 8192 } as const

type Description = S3ecAesConfig['description']

interface Master {
  readonly unwrap: (wrapped: WrappedDataKey) => KeyObject
  /** @param bound see `boundOf`. */
  readonly wrap: (dataKey: KeyObject, bound: string) => Pick<NewDataKey, 'wrap' | 'blob'>
}

/** A master key of the S3 Encryption Client: it opens data keys that have its description, wraps those of new objects, and opens no envelope. */
class S3ecKeySource implements KeySource {
  readonly opensOnly = true
  readonly versions = []
  readonly keyIdPrefix: string
  readonly #kind: 'aes' | 'rsa'
  readonly #description: Description
  readonly #master: Master

  constructor(kind: 'aes' | 'rsa', description: Description, master: Master) {
    this.#kind = kind
    this.#description = description
    this.#master = master
    this.keyIdPrefix = idOf(kind, description)
  }

  currentKeyId(): null {
    return null
  }

  opensDataKey(wrapped: WrappedDataKey): boolean {
    return keyKindOf(wrapped) === this.#kind && isDeepStrictEqual(wrapped.material, { ...this.#description })
  }

  /** @throws S3Error SealgateIntegrityError, whatever is wrong. */
  async openDataKey(wrapped: WrappedDataKey): Promise<OpenedDataKey> {
    try {
      return { key: this.#master.unwrap(wrapped), keyId: this.keyIdPrefix }
    } catch (error) {
      throw error instanceof S3ecError ? new S3Error('SealgateIntegrityError', { cause: error }) : error
    }
  }

  async wrapDataKey(dataKey: KeyObject, version: Writable): Promise<WrappedForClients> {
    const bound = boundOf(version)
    return { key: dataKey, ...this.#master.wrap(dataKey, bound), material: this.#description, bound, keyId: this.keyIdPrefix }
  }

  async generate(): Promise<never> {
    throw sealsNothing()
  }

  async unwrap(): Promise<never> {
    throw sealsNothing()
  }

  async rewrap(): Promise<never> {
    throw sealsNothing()
  }

  async selfTest(): Promise<void> {
    // There is nothing that it could wrap: it was checked when it was read.
  }

  owns(keyId: string): boolean {
    return keyId === this.keyIdPrefix
  }

  rewraps(): boolean {
    return false
  }

  heldBack(): [] {
    return []
  }

  async close(): Promise<void> {
    // It has no connection.
  }
}

function sealsNothing(): S3Error {
  return new S3Error('InternalError', { cause: new Finding('A key of the S3 Encryption Client seals nothing.') })
}

/** In the audit trail. */
function idOf(kind: 'aes' | 'rsa', description: Description): string {
  return `s3ec-${kind}:${JSON.stringify(description)}`
}

const shared = {
  names: () => [],
  shownByName: true,
  backup: async () => null,
  destroy: async () => {
    throw new KeyringError(
      'A key of the S3 Encryption Client is in the configuration or a file that it names: remove it there, and wherever else clients have it.'
    )
  }
}

export const s3ecAesKind: ProviderKind<S3ecAesConfig> = {
  ...shared,
  async open({ masterKey, description }) {
    const kek = createSecretKey(masterKey, 'base64')
    return new S3ecKeySource('aes', description, {
      unwrap: (wrapped) => unwrapByAes(kek, wrapped),
      wrap: (dataKey, bound) => ({ wrap: 'AES/GCM', blob: wrapByAes(kek, dataKey, bound) })
    })
  },
  async describe({ masterKey, description }) {
    return `S3 Encryption Client, AES of ${Buffer.from(masterKey, 'base64').length * 8} bits, ${descriptionText(description)}`
  },
  check: async ({ description }) => ({ faults: [], keyIds: { option: 'description', prefix: idOf('aes', description) } })
}

export const s3ecRsaKind: ProviderKind<S3ecRsaConfig> = {
  ...shared,
  async open({ privateKey, description }) {
    const key = rsaKey(privateKey)
    return new S3ecKeySource('rsa', description, {
      unwrap: (wrapped) => unwrapByRsa(key, wrapped),
      wrap: (dataKey, bound) => ({ wrap: 'RSA-OAEP-SHA1', blob: wrapByRsa(key, dataKey, bound) })
    })
  },
  async describe({ privateKey, description }) {
    return `S3 Encryption Client, RSA of ${rsaKey(privateKey).asymmetricKeyDetails?.modulusLength ?? 0} bits, ${descriptionText(description)}`
  },
  async check({ privateKey, description }) {
    try {
      rsaKey(privateKey)
      return { faults: [], keyIds: { option: 'description', prefix: idOf('rsa', description) } }
    } catch (error) {
      return { faults: [{ option: 'privateKey', message: (error as Error).message }], keyIds: null }
    }
  }
}

function descriptionText(description: Description): string {
  return Object.keys(description).length === 0 ? 'without a description' : `description ${JSON.stringify(description)}`
}

/** @throws KeyringError that quotes nothing. */
function rsaKey(pem: string): KeyObject {
  let key: KeyObject | null = null
  try {
    key = createPrivateKey(pem)
  } catch {
    // The message could quote the text.
  }
  const bits = key?.asymmetricKeyType === 'rsa' ? key.asymmetricKeyDetails?.modulusLength ?? 0 : 0
  if (key === null || bits < RSA_BITS.least || bits > RSA_BITS.most) {
    throw new KeyringError(`privateKey must be an RSA key in PEM, without a passphrase, of ${RSA_BITS.least} to ${RSA_BITS.most} bits.`)
  }
  return key
}
