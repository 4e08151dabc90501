import { randomBytes } from 'node:crypto'
import { access, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseConfig } from '../config/load.ts'
import type { Config } from '../config/config.ts'
import { createKeyring } from '../keys/keyring-file.ts'
import { DirectoryBackend } from '../embedded-store/directory.ts'
import { startStore } from '../embedded-store/server.ts'
import type { Platform } from './platform.ts'

/** What `sealgate serve` runs without a configuration: everything on this machine, for a trial. */
export interface Demo {
  readonly config: Config
  /** Prints what is running and how to use it. */
  announce(address: Address, admin: Address | null): void
  stop(): Promise<void>
}

interface Address {
  readonly host: string
  readonly port: number
}

interface Credential {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

const region = 'us-east-1'
const realm = 'default'

/** Starts the embedded store on a loopback port, and makes a keyring and a credential under `data` where there are none. */
export async function startDemo(platform: Platform): Promise<Demo> {
  const directory = join(platform.cwd, 'data')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const keyring = join(directory, 'keyring.json')
  const fresh = !await exists(keyring)
  if (fresh) await createKeyring(keyring, 'main', new Date(), realm)
  const client = await credential(join(directory, 'credentials.json'))
  // Only the gateway uses this store, and only while both run.
  const own = newCredential()
  const store = await startStore({ backend: new DirectoryBackend(join(directory, 'store')), credentials: [own], region, host: '127.0.0.1', port: 0 })
  const config = parseConfig(
    JSON.stringify({
      // Any free port: whoever tries two things at once has a page of each.
      admin: { port: 0, page: true },
      upstream: { endpoint: store.endpoint, region, realm, ...own },
      clients: [client],
      keys: { main: { type: 'local', keyring } },
      buckets: { '*': {} },
      log: { level: 'warn' }
    }),
    { file: join(directory, 'trial.yaml'), env: {} }
  )
  return {
    config,
    announce: (address, admin) => {
      platform.stdout.write(screen(urlOf(address), admin === null ? '' : urlOf(admin), client, fresh))
    },
    stop: () => store.close()
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false)
}

/** Reads the credential, or makes one that only the owner of the file can read. */
async function credential(path: string): Promise<Credential> {
  if (!await exists(path)) {
    await writeFile(path, `${JSON.stringify(newCredential(), null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  }
  const found: unknown = JSON.parse(await readFile(path, 'utf8'))
  if (
    typeof found === 'object' && found !== null && 'accessKeyId' in found && 'secretAccessKey' in found
    && typeof found.accessKeyId === 'string' && typeof found.secretAccessKey === 'string'
  ) {
    return { accessKeyId: found.accessKeyId, secretAccessKey: found.secretAccessKey }
  }
  throw new Error(`${path} does not hold a credential. Remove it to get a new one.`)
}

function newCredential(): Credential {
  return { accessKeyId: `SG${randomBytes(9).toString('hex').toUpperCase()}`, secretAccessKey: randomBytes(30).toString('hex') }
}

function urlOf({ host, port }: Address): string {
  return `http://${host}:${port}`
}

function screen(endpoint: string, page: string, client: Credential, fresh: boolean): string {
  return `
Sealgate is running on ${endpoint}
Every object is encrypted before it is stored. Stop with Ctrl-C.
Its status page: ${page}/

This is a set-up to try out, not one to keep data in:
  store       ./data/store             a directory in place of your S3 store
  keyring     ./data/keyring.json      ${fresh ? 'made just now' : 'as it was'}; without it nothing in the store can be read again
  realm       ${realm.padEnd(24)} part of what every object is bound to: keep it with the keyring
  credential  ./data/credentials.json  the one client that may sign
  no TLS      and so only reachable from this machine
For your own store write a configuration: see sealgate config example and sealgate serve --config FILE.

Paste into another terminal:

  export AWS_ACCESS_KEY_ID=${client.accessKeyId}
  export AWS_SECRET_ACCESS_KEY=${client.secretAccessKey}
  export AWS_DEFAULT_REGION=${region}
  aws --endpoint-url ${endpoint} s3 mb s3://demo
  echo "hello, sealed world" | aws --endpoint-url ${endpoint} s3 cp - s3://demo/hello.txt
  aws --endpoint-url ${endpoint} s3 ls s3://demo
  aws --endpoint-url ${endpoint} s3 cp s3://demo/hello.txt -

What the store holds instead: ls -R data/store

`
}
