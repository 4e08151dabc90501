import { rejectOnAbort } from '../../concurrency/in-flight.ts'
import { WrongServiceAnswer } from '../service/errors.ts'
import type { ServerTrust } from '../service/http.ts'
import { KmipConnection, MAX_ANSWER_BYTES } from './kmip-connection.ts'
import { KmipRefusal } from './kmip-errors.ts'
import { bytes, enumeration, integer, Item, structure, tags, text } from './kmip-ttlv.ts'

/** Connections at once, and so requests; more wait. Key requests are few: the cache of bucket keys stands before them. */
const CONNECTIONS = 8
const ENCRYPT = 0x1f
const DECRYPT = 0x20
const GET_ATTRIBUTES = 0x0b
const REVOKE = 0x13
const DESTROY = 0x14
/** Revocation reason: cessation of operation. */
const CEASED = 6
const GCM = 9
const AES = 3
const SUCCESS = 0
export const TAG_BYTES = 16

/** What AES-GCM makes of a plaintext. */
export interface Sealed {
  readonly nonce: Buffer
  readonly ciphertext: Buffer
  readonly tag: Buffer
}

interface Answer {
  /** null: success. */
  readonly refusal: { readonly reason: number; readonly message: string } | null
  readonly payload: Item | null
}

/**
 * Requests of KMIP 1.4 over TLS to the servers of one cluster, one at a time on each connection. A server that does not answer gives its turn to the
 * next one of the configuration.
 */
export class KmipClient {
  readonly #addresses: readonly string[]
  readonly #trust: ServerTrust
  readonly #idle: KmipConnection[] = []
  #turn = 0
  #busy = 0
  readonly #waiting: (() => void)[] = []
  #closed = false

  /** @param addresses HOST:PORT of each server */
  constructor(addresses: readonly string[], trust: ServerTrust) {
    this.#addresses = addresses
    this.#trust = trust
  }

  /** @param nonce 12 bytes that no other call has. @throws KmipRefusal, WrongServiceAnswer, errors of the network; signal.reason. */
  async encrypt(id: string, plaintext: Buffer, nonce: Buffer, additional: Buffer, signal: AbortSignal): Promise<Sealed> {
    const items = [bytes(tags.data, plaintext), bytes(tags.nonce, nonce), bytes(tags.additionalData, additional)]
    const payload = await this.#operate(ENCRYPT, id, [gcm, ...items], signal)
    const [ciphertext, tag] = [payload.find(tags.data)?.bytes, payload.find(tags.authenticationTag)?.bytes]
    // Modules that make the nonce themselves say which it was.
    const used = payload.find(tags.nonce)?.bytes ?? nonce
    if (ciphertext?.length !== plaintext.length || tag?.length !== TAG_BYTES || used.length !== nonce.length) {
      throw new WrongServiceAnswer('The KMIP server answered Encrypt without ciphertext and tag of AES-GCM.')
    }
    return { nonce: used, ciphertext, tag }
  }

  /** @returns the plaintext, which the caller zeroes. @throws as encrypt does. */
  async decrypt(id: string, { nonce, ciphertext, tag }: Sealed, additional: Buffer, signal: AbortSignal): Promise<Buffer> {
    const items = [bytes(tags.data, ciphertext), bytes(tags.nonce, nonce), bytes(tags.additionalData, additional), bytes(tags.authenticationTag, tag)]
    const plaintext = (await this.#operate(DECRYPT, id, [gcm, ...items], signal)).find(tags.data)?.bytes
    if (plaintext === undefined || plaintext === null) throw new WrongServiceAnswer('The KMIP server answered Decrypt without data.')
    return plaintext
  }

  /** The lifecycle state of a key; null: the server does not say. */
  async stateOf(id: string, signal: AbortSignal): Promise<number | null> {
    const payload = await this.#operate(GET_ATTRIBUTES, id, [text(tags.attributeName, 'State')], signal)
    const state = payload.all(tags.attribute).find((each) => each.find(tags.attributeName)?.text === 'State')
    return state?.find(tags.attributeValue)?.number ?? null
  }

  /** Deactivates a key, without which a server does not destroy it, and destroys it. @throws as encrypt does. */
  async destroy(id: string, signal: AbortSignal): Promise<void> {
    const reason = structure(tags.revocationReason, enumeration(tags.revocationReasonCode, CEASED))
    await this.#operate(REVOKE, id, [reason], signal).catch((error: unknown) => {
      // One that is not active any more cannot be deactivated again.
      if (!(error instanceof KmipRefusal)) throw error
    })
    await this.#operate(DESTROY, id, [], signal)
  }

  close(): void {
    this.#closed = true
    for (const connection of this.#idle.splice(0)) connection.destroy()
  }

  async #operate(operation: number, id: string, items: readonly Buffer[], signal: AbortSignal): Promise<Item> {
    const { refusal, payload } = await this.#request(operation, [text(tags.uniqueIdentifier, id), ...items], signal)
    if (refusal !== null) throw await this.#refused(refusal, operation, id, signal)
    const answered = payload?.find(tags.uniqueIdentifier)?.text
    if (payload === null || answered !== id) throw new WrongServiceAnswer('The KMIP server has used another key than it was asked for.')
    return payload
  }

  /** Servers word the refusal of a deactivated key in several ways: its state is asked for. */
  async #refused({ reason, message }: NonNullable<Answer['refusal']>, operation: number, id: string, signal: AbortSignal): Promise<KmipRefusal> {
    const refusal = new KmipRefusal(reason, message, { opening: operation === DECRYPT })
    if (operation === GET_ATTRIBUTES || !refusal.mayBeState) return refusal
    const state = await this.stateOf(id, signal).catch(() => null)
    signal.throwIfAborted()
    return new KmipRefusal(reason, message, { opening: operation === DECRYPT, state })
  }

  async #request(operation: number, payload: readonly Buffer[], signal: AbortSignal): Promise<Answer> {
    await this.#enter(signal)
    const turn = this.#turn
    try {
      const connection = this.#usable() ?? await KmipConnection.open(this.#addresses[turn] ?? '', this.#trust, signal)
      const answer = answerIn(Item.parse(await connection.request(requestMessage(operation, payload), signal)), operation)
      if (this.#closed) connection.destroy()
      else this.#idle.push(connection)
      return answer
    } catch (error) {
      if (!(error instanceof WrongServiceAnswer) && !signal.aborted && turn === this.#turn) this.#turn = (turn + 1) % this.#addresses.length
      throw error
    } finally {
      this.#busy -= 1
      this.#waiting.shift()?.()
    }
  }

  /** Waits for its turn. @throws signal.reason */
  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    while (this.#busy >= CONNECTIONS) {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      const wake = (): void => {
        resolve(undefined)
      }
      this.#waiting.push(wake)
      try {
        await rejectOnAbort(signal, promise)
      } catch (error) {
        const at = this.#waiting.indexOf(wake)
        // One that was woken as it left gives its turn on.
        if (at < 0) this.#waiting.shift()?.()
        else this.#waiting.splice(at, 1)
        throw error
      }
    }
    this.#busy += 1
  }

  #usable(): KmipConnection | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) if (idle.usable) return idle
    return undefined
  }
}

const gcm = structure(
  tags.cryptographicParameters,
  enumeration(tags.blockCipherMode, GCM),
  enumeration(tags.cryptographicAlgorithm, AES),
  integer(tags.tagLength, TAG_BYTES)
)

function requestMessage(operation: number, payload: readonly Buffer[]): Buffer {
  const version = structure(tags.protocolVersion, integer(tags.protocolVersionMajor, 1), integer(tags.protocolVersionMinor, 4))
  return structure(
    tags.requestMessage,
    structure(tags.requestHeader, version, integer(tags.maximumResponseSize, MAX_ANSWER_BYTES), integer(tags.batchCount, 1)),
    structure(tags.batchItem, enumeration(tags.operation, operation), structure(tags.requestPayload, ...payload))
  )
}

/** @throws WrongServiceAnswer for what is no answer to one request of that operation. */
function answerIn(message: Item, operation: number): Answer {
  const items = message.all(tags.batchItem)
  const [item] = items
  const status = item?.find(tags.resultStatus)?.number ?? null
  const answered = item?.find(tags.operation)?.number ?? null
  // An answer to what was no request at all has no operation.
  if (item === undefined || items.length > 1 || status === null || (answered !== operation && (answered !== null || status === SUCCESS))) {
    throw new WrongServiceAnswer('The KMIP server answered something else than it was asked for.')
  }
  if (status === SUCCESS) return { refusal: null, payload: item.find(tags.responsePayload) ?? null }
  const [reason, words] = [item.find(tags.resultReason)?.number ?? 0, item.find(tags.resultMessage)?.text ?? '']
  return { refusal: { reason, message: words }, payload: null }
}
