import { createCipheriv, createDecipheriv, createHash, randomBytes, type KeyObject, createSecretKey } from 'node:crypto'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One call the server took. */
export interface KmsCall {
  readonly operation: string
  readonly input: Readonly<Record<string, unknown>>
}

/** What the server does with a call instead of answering it. Return false to answer as usual. */
export type Misbehaviour = (call: KmsCall, response: ServerResponse) => boolean

type State = 'enabled' | 'disabled' | 'pending-deletion'
type Context = Record<string, string>

/**
 * A key management service that speaks KMS's JSON protocol over HTTP: GenerateDataKey, Encrypt, Decrypt and ReEncrypt with
 * encryption context, key states, and whatever misbehaviour a test asks for.
 */
export class FakeKms {
  readonly calls: KmsCall[] = []
  misbehave: Misbehaviour | null = null
  readonly #keys = new Map<string, { secret: KeyObject; state: State }>()
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const operation = String(request.headers['x-amz-target']).replace('TrentService.', '')
        this.#answer({ operation, input: JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown> }, response)
      })
    })
  }

  static async start(test: { teardown(work: () => Promise<void>): void }): Promise<FakeKms> {
    const kms = new FakeKms()
    await new Promise<void>((resolve) => kms.#server.listen(0, '127.0.0.1', resolve))
    test.teardown(async () => {
      kms.#server.closeAllConnections()
      await new Promise((resolve) => kms.#server.close(resolve))
    })
    return kms
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Adds a key and returns its ARN. */
  addKey(region = 'eu-west-1'): string {
    const arn = `arn:aws:kms:${region}:111122223333:key/${randomBytes(8).toString('hex')}`
    this.addKnownKey(arn, randomBytes(32))
    return arn
  }

  /** Adds a key with a secret that is known: what it sealed in an earlier run can be opened. */
  addKnownKey(arn: string, secret: Buffer): void {
    this.#keys.set(arn, { secret: createSecretKey(secret), state: 'enabled' })
  }

  /** Adds a multi-Region key. @returns its ARNs */
  addMultiRegionKey(regions: readonly string[]): string[] {
    const [id, secret] = [`mrk-${randomBytes(8).toString('hex')}`, createSecretKey(randomBytes(32))]
    const arns = regions.map((region) => `arn:aws:kms:${region}:111122223333:key/${id}`)
    for (const arn of arns) this.#keys.set(arn, { secret, state: 'enabled' })
    return arns
  }

  setState(arn: string, state: State): void {
    this.#keys.get(arn)!.state = state
  }

  count(operation: string): number {
    return this.calls.filter((call) => call.operation === operation).length
  }

  /** What a blob of the latest GenerateDataKey holds. */
  opened(blob: Buffer): Buffer {
    const { input } = this.calls.findLast(({ operation }) => operation === 'GenerateDataKey')!
    return this.#open(String(input['KeyId']), blob, (input['EncryptionContext'] ?? {}) as Context)
  }

  #answer(call: KmsCall, response: ServerResponse): void {
    this.calls.push(call)
    if (this.misbehave?.(call, response) === true) return
    try {
      send(response, 200, this.#perform(call))
    } catch (error) {
      refuse(response, (error as Error).message)
    }
  }

  #perform({ operation, input }: KmsCall): Record<string, unknown> {
    const context = (input['EncryptionContext'] ?? {}) as Context
    const blob = Buffer.from((input['CiphertextBlob'] ?? '') as string, 'base64')
    switch (operation) {
      case 'GenerateDataKey': {
        const plaintext = randomBytes(32)
        const keyId = String(input['KeyId'])
        return { KeyId: keyId, Plaintext: plaintext.toString('base64'), CiphertextBlob: this.#seal(keyId, plaintext, context) }
      }
      case 'Encrypt': {
        const keyId = String(input['KeyId'])
        return { KeyId: keyId, CiphertextBlob: this.#seal(keyId, Buffer.from(String(input['Plaintext']), 'base64'), context) }
      }
      case 'Decrypt': {
        // Old clients do not name the key: the blob does.
        const keyId = (input['KeyId'] as string | undefined) ?? this.#sealerOf(blob)
        return { KeyId: keyId, Plaintext: this.#open(keyId, blob, context).toString('base64') }
      }
      case 'ReEncrypt': {
        const source = String(input['SourceKeyId'])
        const plaintext = this.#open(source, blob, input['SourceEncryptionContext'] as Context)
        const destination = String(input['DestinationKeyId'])
        return {
          SourceKeyId: source,
          KeyId: destination,
          CiphertextBlob: this.#seal(destination, plaintext, input['DestinationEncryptionContext'] as Context)
        }
      }
      case 'ScheduleKeyDeletion': {
        const arn = String(input['KeyId'])
        this.setState(arn, 'pending-deletion')
        return { KeyId: arn, KeyState: 'PendingDeletion', DeletionDate: Date.now() / 1000 + Number(input['PendingWindowInDays']) * 86_400 }
      }
      default:
        throw new Error('UnknownOperationException')
    }
  }

  #seal(arn: string, plaintext: Buffer, context: Context): string {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#usable(arn), nonce, { authTagLength: 16 }).setAAD(canonical(context))
    return Buffer.concat([fingerprint(arn), nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]).toString('base64')
  }

  #open(arn: string, blob: Buffer, context: Context): Buffer {
    const key = this.#usable(arn)
    if (blob.length < 48) throw new Error('InvalidCiphertextException')
    if (!blob.subarray(0, 4).equals(fingerprint(arn))) throw new Error('IncorrectKeyException')
    const decipher = createDecipheriv('aes-256-gcm', key, blob.subarray(4, 16), { authTagLength: 16 }).setAAD(canonical(context))
    decipher.setAuthTag(blob.subarray(-16))
    try {
      return Buffer.concat([decipher.update(blob.subarray(16, -16)), decipher.final()])
    } catch {
      throw new Error('InvalidCiphertextException')
    }
  }

  #sealerOf(blob: Buffer): string {
    const found = [...this.#keys.keys()].find((arn) => fingerprint(arn).equals(blob.subarray(0, 4)))
    if (found === undefined) throw new Error('InvalidCiphertextException')
    return found
  }

  #usable(arn: string): KeyObject {
    const key = this.#keys.get(arn)
    if (key === undefined) throw new Error('NotFoundException')
    if (key.state === 'disabled') throw new Error('DisabledException')
    if (key.state === 'pending-deletion') throw new Error('KMSInvalidStateException')
    return key.secret
  }
}

/** Answers with an error as KMS words it. Nearly all come with 400, throttling among them. */
export function refuse(response: ServerResponse, name: string, status = 400): void {
  send(response, status, { __type: name, message: `${name} said the fake` })
}

export function send(response: ServerResponse, status: number, body: unknown): void {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', 'content-length': bytes.length }).end(bytes)
}

function canonical(context: Context): Buffer {
  return Buffer.from(JSON.stringify(Object.entries(context).sort(([a], [b]) => a < b ? -1 : 1)))
}

/** So that a blob shows which key sealed it, as KMS's blobs do. */
function fingerprint(arn: string): Buffer {
  return createHash('sha256').update(arn.split('/')[1] ?? '').digest().subarray(0, 4)
}
