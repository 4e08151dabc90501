import { resolve } from 'node:path'
import { loadConfig } from '../config/load.ts'
import { configWarnings } from '../config/warnings.ts'
import type { Config } from '../config/config.ts'
import { UsageError } from './command-line.ts'
import { checkFiles } from './config-files.ts'
import { summaryOf } from './config-summary.ts'
import { deploymentWarnings } from './deployment-warnings.ts'
import { exitCodes, type Platform } from './platform.ts'

interface Named {
  readonly config: string | undefined
}

/** The path of `--config FILE`, else of SEALGATE_CONFIG; null: neither. */
export function configFile({ config }: Named, platform: Platform): string | null {
  const file = config ?? platform.env['SEALGATE_CONFIG']
  return file === undefined || file === '' ? null : resolve(platform.cwd, file)
}

/** As `configFile`. @throws UsageError when no configuration is named. */
export function requiredConfig(named: Named, platform: Platform): string {
  const file = configFile(named, platform)
  if (file === null) throw new UsageError('No configuration is named: give --config FILE or SEALGATE_CONFIG.')
  return file
}

/** Reads a configuration with its secrets, and looks at the files it names. @throws ConfigError with every fault found. */
export async function loadWhole(file: string, { env }: Pick<Platform, 'env'>): Promise<Config> {
  const config = loadConfig({ file, env })
  await checkFiles(config, file)
  return config
}

interface CheckValues extends Named {
  readonly online: boolean
  readonly bucket: string | undefined
}

/** `sealgate config check`. @returns the exit code. @throws UsageError, ConfigError with every fault. */
export async function runConfig(values: CheckValues, platform: Platform): Promise<number> {
  if (values.bucket !== undefined && !values.online) throw new UsageError('--bucket needs --online.')
  const file = requiredConfig(values, platform)
  const config = await loadWhole(file, platform)
  platform.stdout.write(`${file} is valid.\n\n${await summaryOf(config)}`)
  const warnings = [...configWarnings(config), ...await deploymentWarnings(config, file)]
  if (warnings.length > 0) platform.stdout.write(`\nWarnings:\n${warnings.map(({ path, message }) => `  ${path}: ${message}\n`).join('')}`)
  if (!values.online) return exitCodes.done
  const { checkOnline } = await import('./online.ts')
  return checkOnline(config, values.bucket ?? null, platform)
}
