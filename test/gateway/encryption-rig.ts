import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { S3Client } from '@aws-sdk/client-s3'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'

export type Headers = Readonly<Record<string, string>>

export const sse = 'x-amz-server-side-encryption'
export const Bucket = 'encryption'

export interface EncryptionRig {
  readonly store: TestStore
  readonly gateway: TestGateway
  readonly s3: S3Client
  readonly kms: FakeKms
  /** The key clients may name, and one they may not. */
  readonly arn: string
  readonly forbidden: string
}

/** A bucket whose own key is a local one, and where clients may also ask for the KMS key `cloud`. */
export async function startEncryptionRig(
  t: { teardown(work: () => Promise<void>): void },
  policy: Readonly<Record<string, unknown>> = {},
  sections: Readonly<Record<string, unknown>> = {}
): Promise<EncryptionRig> {
  process.env['AWS_ACCESS_KEY_ID'] = 'x'
  process.env['AWS_SECRET_ACCESS_KEY'] = 'y'
  const kms = await FakeKms.start(t)
  const [arn, forbidden] = [kms.addKey(), kms.addKey()]
  const store = await startTestStore({ buckets: [Bucket] })
  const folder = await mkdtemp(join(tmpdir(), 'sealgate-encryption-'))
  await createKeyring(join(folder, 'main.json'), 'main', new Date())
  const gateway = await startTestGateway(store, {
    sections: {
      keys: {
        main: { type: 'local', keyring: join(folder, 'main.json') },
        cloud: { type: 'aws-kms', arn, aliases: ['alias/team/photos'], endpoint: kms.endpoint },
        secret: { type: 'aws-kms', arn: forbidden, endpoint: kms.endpoint }
      },
      buckets: { '*': { encryption: 'on', key: 'main', allowedKeys: ['cloud'], ...policy } },
      auth: { ssecOverHttp: true },
      ...sections
    }
  })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
    await rm(folder, { recursive: true })
  })
  return { store, gateway, s3: gateway.client(), kms, arn, forbidden }
}

export function customerHeaders(key: Buffer, prefix = `${sse}-customer`): Headers {
  return {
    [`${prefix}-algorithm`]: 'AES256',
    [`${prefix}-key`]: key.toString('base64'),
    [`${prefix}-key-md5`]: createHash('md5').update(key).digest('base64')
  }
}

export function sourceHeaders(key: Buffer): Headers {
  return customerHeaders(key, 'x-amz-copy-source-server-side-encryption-customer')
}

export const customer = randomBytes(32)

export function encodedContext(context: Headers): string {
  return Buffer.from(JSON.stringify(context)).toString('base64')
}

export interface Answer {
  readonly status: number
  /** S3 error code; '' for an answer without error document. */
  readonly code: string
  readonly message: string
  /** All encryption headers of the answer. */
  readonly sse: Headers
  readonly body: Buffer
  readonly output: { readonly Body?: { transformToByteArray(): Promise<Uint8Array> }; readonly UploadId?: string; readonly ETag?: string }
}

type Next = (
  args: { readonly request: { headers: Record<string, string> } }
) => Promise<{ readonly response: { readonly statusCode: number; readonly headers: Headers } }>

/** The common interface of the SDK's commands, which have separate types. */
interface Stack {
  add(middleware: (next: Next) => Next, options: object): void
}

/** Sends a command with further headers, signed like all others, and says what came back on the wire. */
export async function ask(s3: S3Client, command: { readonly middlewareStack: unknown }, headers: Headers = {}): Promise<Answer> {
  const seen: { status: number; headers: Headers } = { status: 0, headers: {} }
  const stack = command.middlewareStack as Stack
  stack.add((next) => async (args) => {
    Object.assign(args.request.headers, headers)
    return next(args)
  }, { step: 'build', name: 'headers' })
  stack.add((next) => async (args) => {
    const result = await next(args)
    seen.status = result.response.statusCode
    seen.headers = result.response.headers
    return result
  }, { step: 'deserialize', priority: 'low', name: 'seen' })
  const answer = (code: string, message: string, body: Buffer, output: Answer['output']): Answer => ({
    status: seen.status,
    code,
    message,
    body,
    output,
    sse: Object.fromEntries(Object.entries(seen.headers).filter(([name]) => name.startsWith(sse)))
  })
  try {
    const output = await (s3.send as unknown as (command: unknown) => Promise<Answer['output']>).call(s3, command)
    return answer('', '', output.Body === undefined ? Buffer.alloc(0) : Buffer.from(await output.Body.transformToByteArray()), output)
  } catch (error) {
    const { name, message } = error as Error
    return answer(name, message, Buffer.alloc(0), {})
  }
}
