// `sealgate keys list --config`: the keys of a configuration, also those that a service keeps, which is asked for their versions.
import { requiredConfig } from './check-config.ts'
import { exitCodes, type Platform } from './platform.ts'
import { readConfig } from './sealed-config.ts'
import { openKeys } from './store-command.ts'

/** @returns the exit code. @throws UsageError, ConfigError, KeyringError. */
export async function listConfiguredKeys(named: { readonly config: string | undefined }, json: boolean, platform: Platform): Promise<number> {
  const config = await readConfig({ file: requiredConfig(named, platform), env: platform.env })
  const opened = await openKeys(config, 'keys list', new AbortController().signal)
  try {
    const keys = (await opened.keys.describe()).map(({ name, type, keyId, versions }) => ({
      name,
      type,
      keyId,
      // Versions of one key differ in the end of their key ids.
      versions: versions.map(({ id, state }) => ({ id, state, current: keyId?.endsWith(`:${id}`) === true }))
    }))
    if (json) platform.stdout.write(`${JSON.stringify({ keys })}\n`)
    else {
      for (const { name, type, keyId, versions } of keys) {
        platform.stdout.write(`${name}  ${type}  ${keyId ?? 'no version is enabled'}\n`)
        for (const { id, state, current } of versions) platform.stdout.write(`  ${id}  ${state}${current ? '  current' : ''}\n`)
      }
    }
    return exitCodes.done
  } finally {
    await opened.close()
  }
}
