// The real S3 Encryption Clients as programs that take jobs. Each is started with the environment of `start` and then reads lines:
//
//   modes                                          answered with its modes, separated by tabs
//   put<TAB>MODE<TAB>BUCKET<TAB>KEY<TAB>FILE       writes the object
//   get<TAB>MODE<TAB>BUCKET<TAB>KEY<TAB>FILE       reads it into the file
//
// and answers each job with `ok` or `failed: REASON`. A mode is FORMAT-KEY with options: the key is aes, rsa or kms; `+file` puts the
// metadata into an instruction file, `+parts` uploads in parts of 5 or 8 MiB, `+context` has an encryption context, `+described` uses
// the second AES key with a material description, `+rotated` replaces the instruction file by one for that key, `+suffix` makes a second
// instruction file, and `+bc` uses the ciphers of Bouncy Castle.
// s3ec.sh builds them in the folder of the environment variable S3EC_CACHE.
import { spawn, type ChildProcess } from 'node:child_process'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface, type Interface } from 'node:readline'
import { s3ecKeys as keys } from '../../support/s3ec-reader.ts'

const here = import.meta.dirname

interface Program {
  /** Name and version. */
  readonly of: string
  readonly needs: string
  readonly run: readonly [string, ...string[]]
}

function java(cache: string, name: string, of: string): Program {
  const folder = join(cache, name)
  return { of, needs: join(folder, 'out/Client.class'), run: ['java', '-Xmx1500m', '-cp', `${folder}/lib/*:${folder}/out`, 'Client'] }
}

const programs = (cache: string): Readonly<Record<string, Program>> => ({
  python: {
    of: 'amazon-s3-encryption-client-python 4.0.0',
    needs: join(cache, 'python/bin/python'),
    run: [join(cache, 'python/bin/python'), join(here, 'client.py')]
  },
  java4: java(cache, 'java4', 'software.amazon.encryption.s3:amazon-s3-encryption-client-java 4.0.1'),
  java1: java(cache, 'java1', 'com.amazonaws:aws-java-sdk-s3 1.12.797'),
  hadoop: java(cache, 'hadoop', 'org.apache.hadoop:hadoop-aws 3.3.6 with com.amazonaws:aws-java-sdk-s3 1.12.797'),
  go: { of: 'github.com/aws/amazon-s3-encryption-client-go/v3 v3.2.0', needs: join(cache, 'go/client'), run: [join(cache, 'go/client')] }
})

/** The key material as the programs take it. */
function keyEnvironment(): Record<string, string> {
  const rsa = createPrivateKey(keys.rsa)
  return {
    S3EC_AES: keys.aes,
    S3EC_AES_2: keys.aesSecond,
    S3EC_RSA: rsa.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    S3EC_RSA_PUBLIC: createPublicKey(rsa).export({ type: 'spki', format: 'der' }).toString('base64'),
    S3EC_KMS_KEY: keys.kms.arn
  }
}

export interface Services {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly kms: string
}

/** The clients that are built. */
export function clientNames(cache: string): string[] {
  return Object.entries(programs(cache)).filter(([, { needs }]) => existsSync(needs)).map(([name]) => name)
}

export class Client {
  readonly of: string
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #interface: Interface

  /** Starts the program; its errors go to `stderr` of this process. */
  constructor(cache: string, name: string, services: Services) {
    const program = programs(cache)[name]
    if (program === undefined) throw new Error(`no client ${name}`)
    this.of = program.of
    const [command, ...args] = program.run
    this.#child = spawn(command, args, {
      stdio: ['pipe', 'pipe', process.env['S3EC_VERBOSE'] === undefined ? 'ignore' : 'inherit'],
      env: {
        ...process.env,
        ...keyEnvironment(),
        S3EC_STORE: services.endpoint,
        S3EC_KMS: services.kms,
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: services.accessKeyId,
        AWS_SECRET_ACCESS_KEY: services.secretAccessKey,
        AWS_EC2_METADATA_DISABLED: 'true'
      }
    })
    this.#interface = createInterface(this.#child.stdout!)
    this.#lines = this.#interface[Symbol.asyncIterator]()
  }

  async modes(): Promise<string[]> {
    return (await this.#ask('modes')).split('\t')
  }

  /** @returns null, or why the client failed */
  async job(operation: 'put' | 'get', mode: string, bucket: string, key: string, file: string): Promise<string | null> {
    const answer = await this.#ask([operation, mode, bucket, key, file].join('\t'))
    return answer === 'ok' ? null : answer
  }

  stop(): void {
    this.#child.stdin!.end()
    this.#interface.close()
  }

  async #ask(line: string): Promise<string> {
    this.#child.stdin!.write(`${line}\n`)
    const { value, done } = await this.#lines.next() as IteratorResult<string, undefined>
    if (done === true) throw new Error(`${this.of} ended`)
    return value
  }
}
