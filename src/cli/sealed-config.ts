import { upstreamsOfKey, type Config } from '../config/config.ts'
import { ConfigError, parseConfig, readConfigText } from '../config/load.ts'
import { S3Error } from '../errors.ts'
import { openKeyRegistry } from '../keys/registry.ts'
import { keyIdOfSecret, openSecret } from '../keys/sealed-secret.ts'
import type { KeyUse } from '../keys/types.ts'
import type { Platform } from './platform.ts'

/** Sealed secrets of a configuration and what is in them. */
export type Unsealed = Readonly<Record<string, string>>

const PATIENCE_MS = 30_000

/** Reads a configuration, with its sealed secrets opened. @throws ConfigError with every fault found. */
export async function readConfig({ file, env }: { readonly file: string; readonly env: Platform['env'] }): Promise<Config> {
  const text = readConfigText(file)
  return parseConfig(text, { file, env, unsealed: await unseal(text, file, env) })
}

/**
 * Opens the sealed secrets of a configuration by its own keys, whose sections therefore have none. Not in the audit trail, which is not open yet.
 * @throws ConfigError with every fault found.
 */
export async function unseal(text: string, file: string, env: Platform['env']): Promise<Unsealed> {
  const { config, sealed } = sealedIn(text, file, env)
  if (config === null || sealed.size === 0) return {}
  const usedAt = (key: string) => upstreamsOfKey(config, key)
  const keys = await openKeyRegistry({ keys: config.keys, cache: config.keyCache, usedAt, audit: () => undefined })
  const realms = Object.values(config.upstreams).map(({ realm }) => realm)
  try {
    const opened: Record<string, string> = {}
    for (const secret of sealed) opened[secret] = (await openSecret(keys, secret, realms, use())).toString()
    return opened
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    throw new ConfigError(file, [{ path: '', message: `a sealed secret cannot be opened: ${error.message}` }])
  } finally {
    await keys.close()
  }
}

/** The sealed secrets of a configuration, and the configuration without what is in them; null: it has none. */
function sealedIn(text: string, file: string, env: Platform['env']): { readonly config: Config | null; readonly sealed: ReadonlySet<string> } {
  const sealed = new Set<string>()
  return { config: text.includes('sealed') ? parseConfig(text, { file, env, unsealed: sealed }) : null, sealed }
}

/** Ids of the master keys that the sealed secrets of a configuration are under. @throws ConfigError; S3Error SealgateIntegrityError. */
export function keyIdsOfSecrets({ file, env }: { readonly file: string; readonly env: Platform['env'] }): readonly string[] {
  return [...sealedIn(readConfigText(file), file, env).sealed].map(keyIdOfSecret)
}

function use(): KeyUse {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  return { requestId: 'cli-config', principal: 'cli', sourceAddress: '', operation: 'config', bucket: '', objectKey: null, versionId: null, signal }
}
