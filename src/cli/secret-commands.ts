// `sealgate keys encrypt` and `keys decrypt`: small secrets under a key of the configuration.
import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import process from 'node:process'
import { buffer } from 'node:stream/consumers'
import { upstreamsOfKey } from '../config/config.ts'
import { systemWords } from '../diagnosis.ts'
import { openSecret, sealSecret } from '../keys/sealed-secret.ts'
import { parseConfig, readConfigText } from '../config/load.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { exitCodes, type Platform } from './platform.ts'
import { openKeys } from './store-command.ts'

interface SecretValues {
  readonly config: string | undefined
  readonly in: string | undefined
  readonly out: string | undefined
}

const PATIENCE_MS = 60_000

/** Prints the sealed form of a secret. @returns the exit code. @throws UsageError, ConfigError; S3Error of the key. */
export async function encryptSecret(values: SecretValues & { readonly key: string | undefined }, platform: Platform): Promise<number> {
  const config = unopened(values, platform)
  const names = Object.keys(config.keys)
  const key = values.key ?? (names.length === 1 ? names[0] : undefined)
  if (key === undefined || !names.includes(key)) throw new UsageError(`--key must say which key: ${names.join(', ')}.`)
  const realm = (upstreamsOfKey(config, key)[0] ?? Object.values(config.upstreams)[0])?.realm ?? ''
  const secret = await input(values.in, platform)
  const signal = AbortSignal.timeout(PATIENCE_MS)
  const opened = await openKeys(config, 'keys encrypt', signal)
  try {
    await output(`${await sealSecret(opened.keys, key, realm, secret, opened.useFor('', '', null))}\n`, values.out, platform)
    return exitCodes.done
  } finally {
    secret.fill(0)
    await opened.close()
  }
}

/** Prints a sealed secret in plaintext. @returns the exit code. @throws UsageError, ConfigError; S3Error of the key. */
export async function decryptSecret(values: SecretValues, platform: Platform): Promise<number> {
  const config = unopened(values, platform)
  const text = (await input(values.in, platform)).toString().trim()
  const signal = AbortSignal.timeout(PATIENCE_MS)
  const opened = await openKeys(config, 'keys decrypt', signal)
  try {
    const realms = Object.values(config.upstreams).map(({ realm }) => realm)
    await output(await openSecret(opened.keys, text, realms, opened.useFor('', '', null)), values.out, platform)
    return exitCodes.done
  } finally {
    await opened.close()
  }
}

/** Its sealed secrets are not needed, and one of them may be what is to be mended. */
function unopened(values: SecretValues, { env, ...platform }: Platform): ReturnType<typeof parseConfig> {
  const file = requiredConfig(values, { env, ...platform })
  return parseConfig(readConfigText(file), { file, env, unsealed: new Set() })
}

async function input(path: string | undefined, { cwd }: Platform): Promise<Buffer> {
  if (path === undefined) return buffer(process.stdin)
  return readFile(resolve(cwd, path)).catch((error: unknown) => {
    throw new UsageError(`--in: ${path} cannot be read: ${systemWords(error)}`)
  })
}

/** Never replaces a file. */
async function output(content: string | Buffer, path: string | undefined, { cwd, stdout }: Platform): Promise<void> {
  if (path === undefined) {
    stdout.write(content.toString())
    return
  }
  await writeFile(resolve(cwd, path), content, { flag: 'wx', mode: 0o600 }).catch((error: unknown) => {
    throw new UsageError(`--out: ${path} cannot be written: ${systemWords(error)}`)
  })
}
