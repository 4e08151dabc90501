import { Readable } from 'node:stream'
import type { KMSClient, KMSClientConfig } from '@aws-sdk/client-kms'
import type * as Sdk from '@aws-sdk/client-kms'
import { rejectOnAbort } from '../../concurrency/in-flight.ts'
import { ServiceConnection, type ServiceOptions } from '../service/connection.ts'
import { WrongServiceAnswer, type ServiceCall } from '../service/errors.ts'
import { kmsErrors, NoKmsCredentials } from './kms-errors.ts'

interface KmsConnectionOptions extends ServiceOptions {
  readonly region: string
  /** null: the public endpoint of the region. */
  readonly endpoint: string | null
  /** Absent: the standard AWS credential chain. */
  readonly credentials?: KMSClientConfig['credentials']
}

/** Sends one command. `options` must be passed to `client.send`. */
export type KmsSend<T> = (client: KMSClient, sdk: typeof Sdk, options: { abortSignal: AbortSignal }) => Promise<T>

/** The calls to one KMS region by the AWS SDK, whose own retries are off. */
export class KmsConnection {
  readonly #options: KmsConnectionOptions
  readonly #calls: ServiceConnection
  #client: Promise<[KMSClient, typeof Sdk]> | null = null

  constructor(options: KmsConnectionOptions) {
    this.#options = options
    this.#calls = new ServiceConnection(kmsErrors, options)
  }

  get holdsBack(): boolean {
    return this.#calls.holdsBack
  }

  /** As ServiceConnection.call. */
  async call<T>(operation: ServiceCall, keyId: string, signal: AbortSignal, send: KmsSend<T>): Promise<T> {
    return this.#calls.call(operation, keyId, signal, (abortSignal) => this.#attempt(abortSignal, send))
  }

  /** Closes idle connections. */
  async close(): Promise<void> {
    if (this.#client === null) return
    const [client] = await this.#client
    client.destroy()
  }

  async #attempt<T>(abortSignal: AbortSignal, send: KmsSend<T>): Promise<T> {
    const waits = { forCredentials: false }
    try {
      // Loading the SDK and the credential chain do not react to the signal.
      return await rejectOnAbort(
        abortSignal,
        this.#connect().then(async ([client, sdk]) => {
          // Called separately, so that missing credentials, or an unreachable instance metadata service, are not reported as a key service that does
          // not answer.
          waits.forCredentials = true
          await client.config.credentials()
          waits.forCredentials = false
          return send(client, sdk, { abortSignal })
        })
      )
    } catch (error) {
      throw waits.forCredentials ? new NoKmsCredentials(error) : error
    }
  }

  /** Imports the SDK with the first key request: a gateway on a local keyring never loads it. */
  #connect(): Promise<[KMSClient, typeof Sdk]> {
    this.#client ??= import('@aws-sdk/client-kms').then((sdk) => {
      const client = new sdk.KMSClient({
        region: this.#options.region,
        maxAttempts: 1,
        requestHandler: { connectionTimeout: this.#calls.callMs, requestTimeout: this.#calls.callMs },
        ...this.#options.endpoint === null ? {} : { endpoint: this.#options.endpoint },
        ...this.#options.credentials === undefined ? {} : { credentials: this.#options.credentials }
      })
      // The innermost step: the SDK reads an answer to its end, however long it is.
      client.middlewareStack.add(bounded, { step: 'deserialize', priority: 'low', name: 'boundAnswer' })
      return [client, sdk]
    })
    return this.#client
  }
}

/** Longest answer in bytes that is read. Of those that are asked for the longest has a ciphertext of 6,144 bytes, in base64. */
const MAX_ANSWER_BYTES = 64 * 1024

const bounded: Parameters<KMSClient['middlewareStack']['add']>[0] = (next) => async (args) => {
  const result = await next(args)
  const { response } = result
  if (isAnswer(response)) response.body = Readable.from(limited(response.body))
  return result
}

function isAnswer(response: unknown): response is { body: Readable } {
  return typeof response === 'object' && response !== null && 'body' in response && response.body instanceof Readable
}

async function* limited(body: Readable): AsyncGenerator<Buffer> {
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) throw new WrongServiceAnswer(`KMS answered with more than ${MAX_ANSWER_BYTES} bytes.`)
    yield chunk
  }
}
