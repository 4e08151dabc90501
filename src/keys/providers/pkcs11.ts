import { randomBytes, type KeyObject } from 'node:crypto'
import { access, constants } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Pkcs11Config } from '../../config/key-config.ts'
import { systemWords } from '../../diagnosis.ts'
import { S3Error } from '../../errors.ts'
import { bindingOf, KEY_BYTES } from '../key-material.ts'
import type { KeySite, ProviderKind } from '../provider-kind.ts'
import { answeredBlob, answeredKey, checkBlob, eachOf, keyNotHeld, wrapAndUnwrap } from '../service/answers.ts'
import { ServiceConnection, type ServiceOptions } from '../service/connection.ts'
import type { ServiceCall } from '../service/errors.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, WrappedBucketKey } from '../types.ts'
import { PACKAGE } from './pkcs11-binding.ts'
import { Pkcs11Client } from './pkcs11-client.ts'
import { pkcs11Errors } from './pkcs11-errors.ts'
import type { TokenTask } from './pkcs11-process.ts'
import type { TokenSettings } from './pkcs11-token.ts'

type Version = Pkcs11Config['versions'][number]

export interface Pkcs11Options extends ServiceOptions, Omit<TokenSettings, 'binding'> {
  /** What key ids call the token: two tokens may have keys of one label. */
  readonly service: string
  /** The oldest first: the last one that is enabled wraps. The token may hold more. */
  readonly versions: readonly Version[]
  /** Only for tests: a module in the place of the package. */
  readonly binding?: string
  /** The context of the self-test. */
  readonly selfTestContext: KeyContext
}

/**
 * A key in a token that speaks PKCS#11. The configuration names its versions; what a token or an object says never adds one. Bucket keys are bound to
 * their context as additional data of AES-GCM.
 */
export class Pkcs11KeyProvider implements KeySource {
  readonly keyIdPrefix: string
  readonly #options: Pkcs11Options
  readonly #client: Pkcs11Client
  readonly #calls: ServiceConnection

  /** Nothing is loaded or called yet. */
  constructor(options: Pkcs11Options) {
    this.#options = options
    this.keyIdPrefix = prefixOf(options)
    const { binding = PACKAGE, module, token, pin, label, mechanism, extractable } = options
    this.#calls = new ServiceConnection(pkcs11Errors, options)
    // A caller waits for one call; what takes twice that will not come.
    this.#client = new Pkcs11Client({ binding, module, token, pin, label, mechanism, extractable }, { hangMs: 2 * this.#calls.callMs })
  }

  /** Key id that new wraps get; null when no version is enabled. */
  currentKeyId(): string | null {
    const version = this.#options.versions.findLast(({ state }) => state === 'enabled')
    return version === undefined ? null : this.keyIdPrefix + version.id
  }

  /** @throws S3Error KMS.*, AccessDenied, SlowDown, ServiceUnavailable; InternalError when the answer is not a usable key. */
  async generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    const keyId = this.#current()
    const bytes = randomBytes(KEY_BYTES)
    try {
      const task = { do: 'wrap', version: this.#versionOf(keyId), bytes, aad: bindingOf(context) } as const
      const blob = await this.#call('GenerateDataKey', keyId, use.signal, task, answeredBlob)
      return { key: answeredKey(bytes), wrapped: { keyId, blob } }
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a version that is not configured; SealgateIntegrityError for a
   * blob or context that is not the one wrapped.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    const { keyId, blob } = wrapped
    const version = this.#versionOf(keyId)
    checkBlob(wrapped)
    return this.#call('Decrypt', keyId, use.signal, { do: 'unwrap', version, bytes: blob, aad: bindingOf(context) }, answeredKey)
  }

  /**
   * The token decrypts and encrypts again. In between the bucket key is in the memory of the module's process, and not in the gateway's.
   * @throws S3Error as unwrap and generate do.
   */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const version = this.#versionOf(wrapped.keyId)
    checkBlob(wrapped)
    const keyId = this.#current()
    const target = { version: this.#versionOf(keyId), aad: bindingOf(to) }
    const task = { do: 'rewrap', version, bytes: wrapped.blob, aad: bindingOf(from), to: target } as const
    return { keyId, blob: await this.#call('ReEncrypt', wrapped.keyId, use.signal, task, answeredBlob) }
  }

  /**
   * Wraps and unwraps with the current version, and finds the others that may unwrap. A key without an enabled version passes when it can still
   * decrypt. @throws S3Error as generate and unwrap do; KMS.DisabledException when every version is disabled.
   */
  async selfTest(): Promise<void> {
    const current = this.currentKeyId()
    const usable = this.#options.versions.filter(({ state }) => state !== 'disabled')
    if (usable.length === 0) throw disabled(this.keyIdPrefix.slice(0, -1))
    // To connect and log in can take longer than a call may.
    await this.#client.opened()
    if (current !== null) await wrapAndUnwrap(this, this.#options.selfTestContext)
    for (const { id } of usable) {
      const keyId = this.keyIdPrefix + id
      if (keyId !== current) await this.#call('DescribeKey', keyId, new AbortController().signal, { do: 'find', version: id }, () => undefined)
    }
  }

  /**
   * Destroys every version that the configuration names, whatever its state.
   * @returns key ids of those that are destroyed, the keys of this label that are left in the token, and why.
   * @throws S3Error as generate does, where none is destroyed.
   */
  async destroy(signal: AbortSignal): Promise<{ readonly keyIds: readonly string[]; readonly left: number; readonly failure: S3Error | null }> {
    await this.#client.opened()
    const { done, failure } = await eachOf(
      this.#options.versions.map(({ id }) => id),
      (version) => this.#call('ScheduleKeyDeletion', this.keyIdPrefix + version, signal, { do: 'destroy', version }, () => undefined)
    )
    const left = await this.#call('DescribeKey', this.keyIdPrefix.slice(0, -1), signal, { do: 'count' }, (bytes) => bytes.readUInt32BE())
    return { keyIds: done.map((id) => this.keyIdPrefix + id), left, failure }
  }

  get versions(): Pkcs11Options['versions'] {
    return this.#options.versions
  }

  owns(keyId: string): boolean {
    return keyId.startsWith(this.keyIdPrefix)
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId)
  }

  heldBack(): [endpoint: string, held: boolean][] {
    return [[`pkcs11:${this.#options.service}`, this.#calls.holdsBack]]
  }

  /** Ends the process of the module. */
  async close(): Promise<void> {
    this.#client.close()
  }

  #call<T>(call: ServiceCall, keyId: string, signal: AbortSignal, task: TokenTask, take: (bytes: Buffer) => T): Promise<T> {
    return this.#calls.call(call, keyId, signal, async (within) => take(await this.#client.run(task, within)))
  }

  #current(): string {
    const keyId = this.currentKeyId()
    if (keyId === null) throw disabled(this.keyIdPrefix.slice(0, -1))
    return keyId
  }

  /** @returns the CKA_ID of a version that may open. @throws S3Error SealgateKeyUnavailable, KMS.DisabledException */
  #versionOf(keyId: string): string {
    const version = this.owns(keyId) ? this.#options.versions.find(({ id }) => keyId === this.keyIdPrefix + id) : undefined
    if (version === undefined) throw keyNotHeld(keyId)
    if (version.state === 'disabled') throw disabled(keyId)
    return version.id
  }
}

function prefixOf({ service, label }: Pick<Pkcs11Options, 'service' | 'label'>): string {
  return `pkcs11:${service}/${label}:`
}

function disabled(keyId: string): S3Error {
  return new S3Error('KMS.DisabledException', { message: `${keyId} is disabled.` })
}

export const pkcs11Kind: ProviderKind<Pkcs11Config> = {
  open: async (config, site) => openToken(config, site),
  names: () => [],
  shownByName: true,
  async describe({ module, token, label, mechanism, versions }) {
    const where = 'label' in token ? `token ${token.label}` : `token with serial number ${token.serial}`
    const states = versions.map(({ id, state }) => `${id} ${state}`).join(', ')
    const current = versions.findLast(({ state }) => state === 'enabled')
    return `PKCS#11 ${module}, ${where}, key ${label} (${mechanism}): ${states}; ${
      current === undefined ? 'no version is enabled: writes fail' : `seals with ${current.id}`
    }`
  },
  async check({ module, service, label }) {
    const faults = await access(module, constants.R_OK).then(
      () => [],
      (error: unknown) => [{ option: 'module', message: `cannot be read: ${systemWords(error)}` }]
    )
    const missing = await packageFault()
    return {
      faults: [...faults, ...missing === null ? [] : [{ option: 'type', message: missing }]],
      keyIds: { option: 'service', prefix: prefixOf({ service, label }) }
    }
  },
  // The token keeps the key.
  backup: async () => null,
  async destroy(config, site, { signal }) {
    const provider = openToken(config, site)
    try {
      const { keyIds, left, failure } = await provider.destroy(signal)
      return {
        keyIds,
        final: new Date().toISOString(),
        notes: [
          ...left === 0
            ? []
            : [
              `THE TOKEN STILL HAS ${left} KEYS of the label ${config.label}: not destroyed, or not named by the configuration. What they sealed is not erased.`
            ],
          'CLONES AND BACKUPS of the token still hold the key: destroy them, and the key in every other token of the cluster, or it can be brought back.'
        ],
        failure
      }
    } finally {
      await provider.close()
    }
  }
}

function openToken({ type: _, ...config }: Pkcs11Config, { selfTestContext, metrics }: KeySite): Pkcs11KeyProvider {
  return new Pkcs11KeyProvider({ ...config, selfTestContext, metrics })
}

/** Does not load native code, which could crash. @returns null when the package can be loaded. */
async function packageFault(): Promise<string | null> {
  const advice = 'in a checkout build it with "npm run build-pkcs11", beside an installed package run ' +
    `"npm install --global --allow-scripts=${PACKAGE} ${PACKAGE}@2"; both need Python 3, make and a C++ compiler`
  try {
    const entry = createRequire(import.meta.url).resolve(PACKAGE)
    await access(join(dirname(entry), 'build', 'Release', 'pkcs11.node'))
    return null
  } catch {
    return `pkcs11 needs the optional package ${PACKAGE}, whose native code is not there: ${advice}`
  }
}
