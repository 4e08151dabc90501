import { randomBytes, type KeyObject } from 'node:crypto'
import { unwrap, wrap } from '../../envelope/data-key.ts'
import { Finding, S3Error } from '../../errors.ts'
import { bindingOf, KEY_BYTES, takeKey } from '../key-material.ts'
import { destroyKeyring, fileStamp, readKeyring } from '../keyring-file.ts'
import { isLive, KeyringError, type Keyring, type MasterKeyVersion } from '../keyring.ts'
import { readBackupCheck } from '../backup-check.ts'
import { keyNotHeld } from '../service/answers.ts'
import { systemWords } from '../../diagnosis.ts'
import type { KeyConfig } from '../../config/config.ts'
import type { ProviderKind } from '../provider-kind.ts'
import type { BucketKey, KeyContext, KeySource, WrappedBucketKey } from '../types.ts'

/**
 * Master keys from a keyring file. It works in memory. Before a use that no cache answers it looks whether the file has changed, and takes over which
 * versions were disabled or destroyed: a revocation needs no signal. Everything else of a changed file waits for the next reload.
 */
export class LocalKeyProvider implements KeySource {
  readonly #path: string
  #keyring: Keyring
  #stamp: string | null

  private constructor(path: string, keyring: Keyring, stamp: string | null) {
    this.#path = path
    this.#keyring = keyring
    this.#stamp = stamp
  }

  /** @throws KeyringError when the file is missing, malformed, open to others, or of another realm. */
  static async open(path: string, realms: readonly string[] = []): Promise<LocalKeyProvider> {
    // Before the file is read: a change in between is then seen at the first use.
    const stamp = await fileStamp(path)
    return new LocalKeyProvider(path, await readKeyring(path, realms), stamp)
  }

  /** Keyrings of one name cannot be told apart. */
  get keyIdPrefix(): string {
    return prefixOf(this.#keyring.name)
  }

  /** Without the keys. */
  get versions(): readonly Pick<MasterKeyVersion, 'id' | 'state'>[] {
    return this.#keyring.versions.map(({ id, state }) => ({ id, state }))
  }

  /** Key id that new wraps get; null when no version is enabled. */
  currentKeyId(): string | null {
    const current = this.#keyring.current()
    return current === null ? null : this.#keyring.keyId(current)
  }

  /** @throws S3Error KMS.DisabledException when no version is enabled. */
  async generate(context: KeyContext): Promise<BucketKey> {
    await this.#takeRevocations()
    const bytes = randomBytes(KEY_BYTES)
    try {
      const wrapped = this.#wrap(bytes, context)
      return { key: keyFrom(bytes), wrapped }
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * @throws S3Error SealgateKeyUnavailable when the keyring lacks the version, KMS.DisabledException when it is disabled,
   * KMS.KMSInvalidStateException when it was destroyed, SealgateIntegrityError when
   * the blob cannot be opened: damaged, or wrapped for another place.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext): Promise<KeyObject> {
    await this.#takeRevocations()
    return keyFrom(this.#unwrap(wrapped, context))
  }

  /** @throws S3Error as unwrap and generate do. */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext): Promise<WrappedBucketKey> {
    await this.#takeRevocations()
    const bytes = this.#unwrap(wrapped, from)
    try {
      return this.#wrap(bytes, to)
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * Wraps and unwraps in memory with every version that may unwrap. A keyring without an enabled version passes when it can still decrypt: a key kept
   * for old objects is a valid configuration.
   * @throws S3Error KMS.DisabledException when every version is disabled.
   */
  async selfTest(): Promise<void> {
    const usable = this.#keyring.live.filter((version) => version.state !== 'disabled')
    if (usable.length === 0) throw disabled(`local:${this.#keyring.name}`)
    const aad = bindingOf({ realm: 'self-test', bucket: 'self-test', objectKey: null, requestContext: {} })
    for (const version of usable) {
      const bytes = randomBytes(KEY_BYTES)
      const opened = unwrap(version.key, wrap(version.key, bytes, aad), aad)
      if (!opened.equals(bytes)) {
        throw new S3Error('InternalError', { cause: new Finding(`Self-test of ${this.#keyring.keyId(version)} gave another key back.`) })
      }
    }
  }

  owns(keyId: string): boolean {
    return keyId.startsWith(this.keyIdPrefix)
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId)
  }

  #wrap(bytes: Buffer, context: KeyContext): WrappedBucketKey {
    const current = this.#keyring.current()
    if (current === null) throw disabled(`local:${this.#keyring.name}`)
    return { keyId: this.#keyring.keyId(current), blob: wrap(current.key, bytes, bindingOf(context)) }
  }

  #unwrap(wrapped: WrappedBucketKey, context: KeyContext): Buffer {
    const version = this.#versionOf(wrapped.keyId)
    if (!isLive(version)) {
      throw new S3Error('KMS.KMSInvalidStateException', { message: `${wrapped.keyId} was destroyed at ${version.destroyed}.` })
    }
    if (version.state === 'disabled') throw disabled(wrapped.keyId)
    try {
      return unwrap(version.key, wrapped.blob, bindingOf(context))
    } catch (error) {
      throw new S3Error('SealgateIntegrityError', { cause: error })
    }
  }

  heldBack(): [] {
    return []
  }

  async close(): Promise<void> {
    // The file was read whole when the keyring was opened.
  }

  /** A file that cannot be read now changes nothing: the keys in memory are those of the last reload. */
  async #takeRevocations(): Promise<void> {
    const stamp = await fileStamp(this.#path)
    if (stamp === null || stamp === this.#stamp) return
    const changed = await readKeyring(this.#path).catch(() => null)
    if (changed === null || changed.name !== this.#keyring.name) return
    this.#keyring = this.#keyring.restrictedBy(changed)
    this.#stamp = stamp
  }

  #versionOf(keyId: string): MasterKeyVersion {
    const version = this.owns(keyId) ? this.#keyring.find(keyId.slice(this.keyIdPrefix.length)) : null
    if (version === null) throw keyNotHeld(keyId)
    return version
  }
}

/** A blob that opens to zeros or to another length was made with the master key, but not by Sealgate. */
function keyFrom(bytes: Buffer): KeyObject {
  const key = takeKey(bytes)
  if (key === null) throw new S3Error('SealgateIntegrityError', { cause: new Finding('The wrapped key is not 32 bytes or is zero.') })
  return key
}

function disabled(keyId: string): S3Error {
  return new S3Error('KMS.DisabledException', { message: `${keyId} is disabled.` })
}

export const localKind: ProviderKind<Extract<KeyConfig, { type: 'local' }>> = {
  open: ({ keyring }, { realms }) => LocalKeyProvider.open(keyring, realms),
  names: () => [],
  shownByName: true,
  async describe({ keyring: path }) {
    const keyring = await readKeyring(path)
    const states = keyring.versions.map(({ id, state }) => `${id} ${state}`).join(', ')
    const current = keyring.current()
    return `keyring ${path}: ${states}; ${current === null ? 'no version is enabled: writes fail' : `seals with ${keyring.keyId(current)}`}`
  },
  async check({ keyring: path }, realms) {
    try {
      const { name } = await readKeyring(path, realms)
      return { faults: [], keyIds: { option: 'keyring', prefix: prefixOf(name) } }
    } catch (error) {
      const message = error instanceof KeyringError ? error.message : systemWords(error)
      return { faults: [{ option: 'keyring', message }], keyIds: null }
    }
  },
  backup: ({ keyring }, versions) => readBackupCheck(keyring, versions),
  async destroy({ keyring: path }) {
    const now = new Date()
    return {
      keyIds: await destroyKeyring(path, now),
      final: now.toISOString(),
      notes: [
        'Destroy it on every other instance too, by this command or by copying the file there.',
        'BACKUPS of the keyring still hold the key: destroy them, and snapshots of the disk, or it can be brought back.'
      ],
      failure: null
    }
  }
}

function prefixOf(keyring: string): string {
  return `local:${keyring}:`
}
