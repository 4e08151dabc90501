// The words of the fault matrix: what a client does, and how to tell afterwards that nothing was lost, mixed or left half done.
import { GetObjectCommand, PutObjectCommand, S3ServiceException, type PutObjectCommandOutput, type S3Client } from '@aws-sdk/client-s3'
import type { TestGateway } from '../support/gateway.ts'
import type { TestStore } from '../support/hostile.ts'

export const Bucket = 'faults'
/** Keeps versions. */
export const Versions = 'faults-versions'
/** Not encrypted. */
export const Plain = 'faults-plain'

/** One run of one script: its own keys, over one client. */
export interface Run {
  readonly s3: S3Client
  readonly gateway: TestGateway
  readonly store: TestStore
  /** Unique to the run. Every key the run makes begins so. */
  readonly id: string
  /** Runs a command of `sealgate` against the same store, with the gateway's configuration. @returns its exit code */
  readonly command: (name: string, ...args: string[]) => Promise<number>
}

export interface Script<S = unknown> {
  readonly name: string
  /** It reads objects that are not sealed: the store is trusted, and only broken transfers can be detected. */
  readonly unsealed?: boolean
  /** What it has written the gateway does not know by heart when the script acts: its caches are emptied, its keys read anew. */
  readonly prepare: (run: Run) => Promise<S>
  /** During faults. Resolves when the client has got a success. */
  readonly act: (run: Run, state: S) => Promise<unknown>
  /** After the fire. @returns what is wrong, or nothing */
  readonly check: (run: Run, state: S, acknowledged: boolean) => Promise<string | undefined>
}

export function script<S>(name: string, prepare: Script<S>['prepare'], act: Script<S>['act'], check: Script<S>['check']): Script {
  // One list holds scripts with different states; each gets back only what it made.
  return { name, prepare, act: (run, state) => act(run, state as S), check: (run, state, acknowledged) => check(run, state as S, acknowledged) }
}

/** Success that is a lie: always a failure of the gateway. */
export class WrongAnswer extends Error {}

export const bytes = (size: number, seed: number): Buffer => Buffer.alloc(size, `${seed} some text that does not repeat in blocks; `)
export const small = bytes(100, 1)
export const large = bytes(300_000, 2)
export const old = bytes(70_000, 3)

/** Further fields of a command, such as another bucket, a version or a customer's key. */
type More = Readonly<Record<string, unknown>>

export const put = ({ s3, id }: Run, Body: Buffer, more: More = {}): Promise<PutObjectCommandOutput> =>
  s3.send(new PutObjectCommand({ Bucket, Key: id, Body, ...more }))

export const get = (more: More) => async ({ s3, id }: Run): Promise<Buffer> => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: id, ...more }))
  return Buffer.from(await Body!.transformToByteArray())
}

/** The object's bytes as a client gets them; null when there is none. @throws when the read fails */
async function content(run: Run, Key: string, more: More): Promise<Buffer | null> {
  try {
    return await get({ Key, ...more })(run)
  } catch (error) {
    if (error instanceof S3ServiceException && error.name === 'NoSuchKey') return null
    throw error
  }
}

/** One of the contents it may have, whole. */
export async function isOneOf(run: Run, Key: string, allowed: readonly (Buffer | null)[], more: More = {}): Promise<string | undefined> {
  const found = await content(run, Key, more)
  const fits = allowed.some((one) => one === null ? found === null : found?.equals(one) === true)
  return fits ? undefined : `${Key} is ${found === null ? 'gone' : `${found.length} bytes, none of those it may be`}`
}

/** @param more fields of the write under fire, given the ETag of what was there */
export function write(name: string, before: Buffer | null, after: Buffer, more: (etag: string) => More = () => ({})): Script {
  return script(
    name,
    async (run) => before === null ? '' : (await put(run, before)).ETag ?? '',
    (run, etag) => put(run, after, more(etag)),
    (run, _, acknowledged) => isOneOf(run, run.id, acknowledged ? [after] : [before, after])
  )
}

export function reading(name: string, body: Buffer, read: (run: Run) => Promise<Buffer>, expected: Buffer, more: More = {}): Script {
  return script(name, (run) => put(run, body, more), async (run) => {
    isTrue(await read(run), expected)
  }, (run) => isOneOf(run, run.id, [body], more))
}

/** @throws WrongAnswer */
export function isTrue(got: Buffer, expected: Buffer): void {
  if (!got.equals(expected)) throw new WrongAnswer(`${got.length} bytes that are not the truth`)
}
