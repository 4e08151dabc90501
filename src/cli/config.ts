import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigError, loadConfig } from '../config-load.ts'
import { configWarnings } from '../config-warnings.ts'
import type { Config } from '../config.ts'
import { checkFiles } from './config-files.ts'
import { exitCodes, type Platform } from './platform.ts'

/** `--config FILE`, else SEALGATE_CONFIG, else null. @throws TypeError for arguments that are not understood. */
export function configFile(args: readonly string[], platform: Platform): string | null {
  const { values } = parseArgs({ args: [...args], options: { config: { type: 'string' } }, strict: true, allowPositionals: false })
  const file = values.config ?? platform.env['SEALGATE_CONFIG']
  return file === undefined || file === '' ? null : resolve(platform.cwd, file)
}

/** Reads a configuration with its secrets, and looks at the files it names. @throws ConfigError with every fault found. */
export async function loadWhole(file: string, { env }: Pick<Platform, 'env'>): Promise<Config> {
  const config = loadConfig({ file, env })
  await checkFiles(config, file)
  return config
}

/** `sealgate config check`: reads a configuration with its secrets, keyrings and certificates and says every fault. Contacts nothing. */
export async function runConfig(args: readonly string[], platform: Platform): Promise<number> {
  const usage = 'Usage: sealgate config check --config FILE\n'
  if (args[0] !== 'check') {
    platform.stderr.write(usage)
    return exitCodes.usage
  }
  try {
    const file = configFile(args.slice(1), platform)
    if (file === null) throw new TypeError('No configuration was named.')
    const config = await loadWhole(file, platform)
    platform.stdout.write(`${file} is valid: ${config.clients.length} clients, ${Object.keys(config.keys).length} keys, ${config.buckets.length} bucket policies\n`)
    for (const { path, message } of configWarnings(config)) platform.stdout.write(`warning: ${path}: ${message}\n`)
    return exitCodes.done
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof TypeError)) throw error
    platform.stderr.write(error instanceof ConfigError ? `${error.message}\n` : `${error.message}\n\n${usage}`)
    return exitCodes.usage
  }
}
