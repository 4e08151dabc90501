import { randomBytes, type KeyObject } from 'node:crypto'
import type { GcpConfig } from '../../config/key-config.ts'
import { S3Error } from '../../errors.ts'
import { createChecksum } from '../../http/checksums.ts'
import { bindingOf, decodeBase64, KEY_BYTES } from '../key-material.ts'
import { AccessTokens } from '../service/access-token.ts'
import { answeredBlob, answeredKey, checkBlob, eachOf, keyNotHeld, serviceContext, wrapAndUnwrap } from '../service/answers.ts'
import { ServiceConnection, type ServiceOptions } from '../service/connection.ts'
import { WrongServiceAnswer, type ServiceCall } from '../service/errors.ts'
import { isRecord, type Data } from '../service/http.ts'
import { DamagedAnswer, RestClient } from '../service/rest-client.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, WrappedBucketKey } from '../types.ts'
import { gcpErrors } from './gcp-errors.ts'
import { gcpKeyIdPrefix } from './gcp-key.ts'
import { gcpTokens } from './gcp-login.ts'

const SERVICE = 'Cloud KMS'
const PUBLIC_ENDPOINT = 'https://cloudkms.googleapis.com'
/** Versions in one answer, and answers that are read. */
const VERSIONS_PER_PAGE = 500
const MOST_PAGES = 10

export interface GcpProviderOptions extends ServiceOptions {
  readonly config: GcpConfig
  /** PEM of the certificates that are trusted exclusively; null: those that Node trusts. */
  readonly ca: string | null
  readonly selfTestContext: KeyContext
}

interface Version {
  readonly number: string
  /** As Cloud KMS has it: `ENABLED`, `DESTROY_SCHEDULED` and so on. */
  readonly state: string
}

/**
 * A symmetric key of Google Cloud KMS as master key. Bucket keys are made here and encrypted there, bound to their context as additional data. Every
 * field is checked by CRC32C in both directions (docs/decisions/0155-cloud-kms.md). The name of the key comes from the configuration alone.
 */
export class GcpKmsProvider implements KeySource {
  readonly keyIdPrefix: string
  readonly #options: GcpProviderOptions
  readonly #client: RestClient
  readonly #calls: ServiceConnection
  /** Number of the version that wrapped last; null: none has yet. */
  #latest: string | null = null
  #versions: readonly Version[] = []

  /** Nothing is loaded or called yet. */
  constructor(options: GcpProviderOptions) {
    const { config, ca, metrics } = options
    this.#options = options
    this.keyIdPrefix = gcpKeyIdPrefix(config.key)
    this.#calls = new ServiceConnection(gcpErrors, options)
    this.#client = new RestClient({
      service: SERVICE,
      address: config.endpoint ?? PUBLIC_ENDPOINT,
      host: null,
      trust: { ca, client: null, serverName: config.serverName },
      connectMs: this.#calls.callMs,
      tokens: new AccessTokens(gcpTokens(config), metrics)
    })
  }

  /** With the version that wrapped last; without one before the service has said which it is. */
  currentKeyId(): string {
    return this.#latest === null ? this.keyIdPrefix.slice(0, -2) : this.keyIdPrefix + this.#latest
  }

  /** Empty where the gateway may not list them. */
  get versions(): readonly { readonly id: string; readonly state: string }[] {
    return this.#versions.map(({ number, state }) => ({
      id: `v${number}`,
      state: state === 'ENABLED' && number !== this.#latest ? 'decrypt-only' : states[state] ?? state.toLowerCase().replaceAll('_', '-')
    }))
  }

  /** @throws S3Error KMS.*, AccessDenied, SlowDown, ServiceUnavailable; InternalError when the answer is not usable. */
  async generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    const bytes = randomBytes(KEY_BYTES)
    try {
      const wrapped = await this.#encrypt('GenerateDataKey', bytes, context, use.signal)
      return { key: answeredKey(bytes), wrapped }
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a key that is not configured; SealgateIntegrityError for a blob or context that is
   * not the one wrapped.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    if (!this.owns(wrapped.keyId)) throw keyNotHeld(wrapped.keyId)
    checkBlob(wrapped)
    const body = { ...checked('ciphertext', wrapped.blob), ...checked('additionalAuthenticatedData', boundData(context)) }
    return this.#ask('Decrypt', wrapped.keyId, use.signal, 'decrypt', body, (answer) => answeredKey(bytesOf(answer, 'plaintext')))
  }

  /**
   * By `decrypt` and `encrypt`: Cloud KMS has no call that does both, so the bucket key is in the gateway's memory in between.
   * @throws S3Error as unwrap and generate do.
   */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const bytes = (await this.unwrap(wrapped, from, use)).export()
    try {
      return await this.#encrypt('Encrypt', bytes, to, use.signal)
    } finally {
      bytes.fill(0)
    }
  }

  /** Wraps, unwraps and compares. @throws S3Error as generate and unwrap do. */
  async selfTest(): Promise<void> {
    await wrapAndUnwrap(this, this.#options.selfTestContext)
    await this.#list(new AbortController().signal)
  }

  /** By a wrap: the version that a new wrap gets is known by no other call for certain, while a rotation makes its way through the service. */
  async learn(signal: AbortSignal): Promise<void> {
    await this.#encrypt('Encrypt', randomBytes(KEY_BYTES), this.#options.selfTestContext, signal)
    await this.#list(signal)
  }

  owns(keyId: string): boolean {
    return keyId.startsWith(this.keyIdPrefix) && /^[1-9]\d{0,8}$/.test(keyId.slice(this.keyIdPrefix.length))
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId)
  }

  heldBack(): (readonly [endpoint: string, held: boolean])[] {
    return [[new URL(this.#options.config.endpoint ?? PUBLIC_ENDPOINT).host, this.#calls.holdsBack]]
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  async #encrypt(call: ServiceCall, bytes: Buffer, context: KeyContext, signal: AbortSignal): Promise<WrappedBucketKey> {
    const body = { ...checked('plaintext', bytes), ...checked('additionalAuthenticatedData', boundData(context)) }
    return this.#ask(call, this.currentKeyId(), signal, 'encrypt', body, (answer) => {
      // Only the service can say that what it encrypted is what was sent.
      if (answer['verifiedPlaintextCrc32c'] !== true || answer['verifiedAdditionalAuthenticatedDataCrc32c'] !== true) {
        throw new DamagedAnswer('Cloud KMS has not verified the checksums of a request.')
      }
      const number = this.#versionIn(answer['name'])
      const blob = answeredBlob(bytesOf(answer, 'ciphertext'))
      this.#latest = number
      return { keyId: this.keyIdPrefix + number, blob }
    })
  }

  async #ask<T>(call: ServiceCall, keyId: string, signal: AbortSignal, verb: string, body: Data, take: (answer: Data) => T): Promise<T> {
    const path = `/v1/${this.#options.config.key}:${verb}`
    return this.#calls.call(call, keyId, signal, async (within) => take(await this.#client.request({ method: 'POST', path, body, signal: within })))
  }

  /**
   * Schedules the destruction of every version that is not destroyed or scheduled already. Cloud KMS refuses all uses of it from then on, and destroys it after the time that the
   * key was made with.
   * @returns key ids of those, when the last one is destroyed, and why others were refused.
   * @throws S3Error as generate does, where none is; KMS.KMSInvalidStateException where there are none.
   */
  async destroy(signal: AbortSignal): Promise<{ readonly keyIds: readonly string[]; readonly last: Date; readonly failure: S3Error | null }> {
    const live = (await this.#listed(signal)).filter(({ state }) => !state.startsWith('DESTROY'))
    if (live.length === 0) {
      throw new S3Error('KMS.KMSInvalidStateException', { message: `${this.keyIdPrefix}* has no version that is not destroyed or scheduled.` })
    }
    let last = new Date()
    const { done, failure } = await eachOf(live, async ({ number }) => {
      const path = `/v1/${this.#options.config.key}/cryptoKeyVersions/${number}:destroy`
      const { state, destroyTime } = await this.#calls.call(
        'ScheduleKeyDeletion',
        this.keyIdPrefix + number,
        signal,
        (within) => this.#client.request({ method: 'POST', path, body: {}, signal: within })
      )
      if (state !== 'DESTROY_SCHEDULED' && state !== 'DESTROYED') {
        throw new S3Error('InternalError', { message: `Cloud KMS has not scheduled version ${number}.` })
      }
      const at = new Date(String(destroyTime))
      if (at > last) last = at
    })
    return { keyIds: done.map(({ number }) => this.keyIdPrefix + number), last, failure }
  }

  /** For the operator alone: a role that only encrypts and decrypts may not list them, and nothing depends on it. */
  async #list(signal: AbortSignal): Promise<void> {
    const found = await this.#listed(signal).catch((error: unknown) => {
      if (signal.aborted || !(error instanceof S3Error)) throw error
      return null
    })
    if (found !== null) this.#versions = found
  }

  async #listed(signal: AbortSignal): Promise<readonly Version[]> {
    const found: Version[] = []
    let token = ''
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const query = new URLSearchParams({ pageSize: String(VERSIONS_PER_PAGE), fields: 'cryptoKeyVersions(name,state),nextPageToken' })
      if (token !== '') query.set('pageToken', token)
      const path = `/v1/${this.#options.config.key}/cryptoKeyVersions?${query.toString()}`
      const answer = await this.#calls.call(
        'DescribeKey',
        this.currentKeyId(),
        signal,
        (within) => this.#client.request({ method: 'GET', path, signal: within })
      )
      const rows = Array.isArray(answer['cryptoKeyVersions']) ? answer['cryptoKeyVersions'].filter(isRecord) : []
      for (const { name, state } of rows) {
        const number = numberIn(name, this.#options.config.key)
        if (number !== null && typeof state === 'string' && /^[A-Z_]{1,40}$/.test(state)) found.push({ number, state })
      }
      token = typeof answer['nextPageToken'] === 'string' ? answer['nextPageToken'] : ''
      if (token === '') break
    }
    if (token !== '') throw new S3Error('InternalError', { message: `The key has more than ${MOST_PAGES * VERSIONS_PER_PAGE} versions.` })
    return found.toSorted((a, b) => Number(a.number) - Number(b.number))
  }

  #versionIn(name: unknown): string {
    const number = numberIn(name, this.#options.config.key)
    if (number === null) throw new WrongServiceAnswer('Cloud KMS has used another key than the one of the configuration.')
    return number
  }
}

const states: Readonly<Record<string, string>> = { ENABLED: 'enabled', DISABLED: 'disabled', DESTROYED: 'destroyed', DESTROY_SCHEDULED: 'pending-deletion' }

/** STORED DATA depends on it (docs/FORMAT.md, Key providers). At most 4 KiB: an HSM takes 8 KiB with the plaintext. */
function boundData(context: KeyContext): Buffer {
  serviceContext(context)
  return bindingOf(context)
}

/** A field of a request and its checksum (Cloud KMS, "Verify end-to-end data integrity"). */
function checked(name: string, bytes: Buffer): Data {
  return { [name]: bytes.toString('base64'), [`${name}Crc32c`]: crc32c(bytes) }
}

/** A field of an answer. Damaged ones are zeroed, because they can be most of a key. @throws DamagedAnswer for another checksum than its own. */
function bytesOf(answer: Data, name: string): Buffer {
  const text = answer[name]
  const bytes = typeof text === 'string' ? decodeBase64(text) : null
  if (bytes === null) throw new WrongServiceAnswer(`Cloud KMS answered without ${name}.`)
  if (String(answer[`${name}Crc32c`]) === crc32c(bytes)) return bytes
  bytes.fill(0)
  throw new DamagedAnswer(`Cloud KMS answered with ${name} and a checksum that is not its own.`)
}

/** In decimal, as JSON has an int64. */
function crc32c(bytes: Buffer): string {
  const checksum = createChecksum('crc32c')
  checksum.update(bytes)
  return String(checksum.digest().readUInt32BE())
}

/** The number of a version of `key`; null: it is the name of something else. */
function numberIn(name: unknown, key: string): string | null {
  const start = `${key}/cryptoKeyVersions/`
  const number = typeof name === 'string' && name.startsWith(start) ? name.slice(start.length) : ''
  return /^[1-9]\d{0,8}$/.test(number) ? number : null
}
