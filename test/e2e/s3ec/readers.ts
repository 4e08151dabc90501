// Clients that know nothing of the S3 Encryption Client, and read its objects through the gateway: boto3, the aws CLI and curl.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import process from 'node:process'
import { createInterface, type Interface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)

interface Access {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** What a read has given. */
interface Read {
  readonly size: number
  readonly sha256: string
  readonly announced: number
  readonly metadata: Readonly<Record<string, string>>
  readonly type: string
}

/** Of an error of S3; 0 when there was no answer, or one that broke. */
interface Refused {
  readonly status: number
  readonly code: string
}

type Answer<T> = { readonly answer: T } | Refused

export class Boto {
  readonly #child: ChildProcess
  readonly #interface: Interface
  readonly #lines: AsyncIterator<string>

  constructor(python: string, { endpoint, accessKeyId, secretAccessKey }: Access) {
    this.#child = spawn(python, [join(import.meta.dirname, 'readers.py')], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, GATEWAY: endpoint, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_EC2_METADATA_DISABLED: 'true' }
    })
    this.#interface = createInterface(this.#child.stdout!)
    this.#lines = this.#interface[Symbol.asyncIterator]()
  }

  get = (bucket: string, key: string, range?: string): Promise<Answer<Read>> => this.#ask('get', bucket, key, range ?? null)
  head = (bucket: string, key: string): Promise<Answer<Omit<Read, 'sha256' | 'announced'>>> => this.#ask('head', bucket, key)
  sizes = (bucket: string, prefix: string): Promise<Answer<Readonly<Record<string, number>>>> => this.#ask('sizes', bucket, prefix)
  url = (bucket: string, key: string): Promise<Answer<string>> => this.#ask('url', bucket, key)

  stop(): void {
    this.#child.stdin!.end()
    this.#interface.close()
  }

  async #ask<T>(...job: readonly unknown[]): Promise<Answer<T>> {
    this.#child.stdin!.write(`${JSON.stringify(job)}\n`)
    const { value } = await this.#lines.next() as IteratorResult<string, undefined>
    return JSON.parse(value ?? '{"status":0,"code":"boto3 ended"}') as Answer<T>
  }
}

export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Without this threshold the CLI reads larger objects by ranges, which one tag over the whole object does not allow. */
const READING = '5GB'

async function aws(folder: string, { endpoint, accessKeyId, secretAccessKey }: Access, threshold: string, args: readonly string[]): Promise<void> {
  const config = join(folder, `aws-${threshold}`)
  await writeFile(config, `[default]\ns3 =\n  multipart_threshold = ${threshold}\n  multipart_chunksize = 8MB\n`)
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_CONFIG_FILE: config,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1'
  }
  await run('aws', ['s3', 'cp', '--only-show-errors', '--endpoint-url', endpoint, ...args], { env })
}

/** `aws s3 cp --recursive` of a prefix into a folder of `folder`. @returns the SHA-256 of each file by its name below the prefix */
export async function awsCopy(folder: string, access: Access, from: string): Promise<Map<string, string>> {
  const into = join(folder, 'aws')
  await rm(into, { recursive: true, force: true })
  await mkdir(into)
  await aws(folder, access, READING, ['--recursive', from, into])
  const entries = await readdir(into, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(await Promise.all(files.map(async (file) => [relative(into, file), await sha256Of(file)] as const)))
}

/** `aws s3 cp` of a file, from 8 MiB in parts side by side. */
export async function awsPut(folder: string, access: Access, file: string, to: string): Promise<void> {
  await aws(folder, access, '8MB', [file, to])
}

/** @returns the SHA-256 of what curl wrote, or null when it failed */
export async function curl(url: string, file: string): Promise<string | null> {
  try {
    await run('curl', ['-fsS', '-o', file, url])
  } catch {
    return null
  }
  return sha256Of(file)
}
