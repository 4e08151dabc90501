import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/config.ts'
import { collectGarbage, type Collected } from '../maintenance/garbage.ts'
import { StateBucket } from '../store-client/state-bucket.ts'
import { UsageError } from './command-line.ts'
import { requiredConfig } from './check-config.ts'
import { exitCodes, type Platform } from './platform.ts'
import { openStore } from './store-command.ts'

const DEFAULT_HOURS = 24
const HOUR_MS = 3_600_000

interface GcValues {
  readonly 'config': string | undefined
  readonly 'dry-run': boolean
  readonly 'older-than-hours': string | undefined
}

interface Options {
  readonly config: Config
  readonly dryRun: boolean
  readonly hours: number
}

/** `sealgate gc`. @returns the exit code. @throws S3Error, and UsageError, ConfigError for what was asked. */
export async function runGc(values: GcValues, platform: Platform): Promise<number> {
  const options = readOptions(values, platform)
  const collected = await collect(options)
  platform.stdout.write(reportOf(collected, options.dryRun))
  return collected.failed === 0 ? exitCodes.done : exitCodes.failed
}

/** @throws UsageError, ConfigError. */
function readOptions(values: GcValues, platform: Platform): Options {
  const text = values['older-than-hours'] ?? String(DEFAULT_HOURS)
  const hours = /^\d{1,6}$/.test(text) ? Number(text) : 0
  // An upload may pause for hours between two parts, and its state must not be removed then.
  if (hours < DEFAULT_HOURS) throw new UsageError(`--older-than-hours must be a whole number of at least ${DEFAULT_HOURS}.`)
  return { config: loadConfig({ file: requiredConfig(values, platform), env: platform.env }), dryRun: values['dry-run'], hours }
}

async function collect({ config, dryRun, hours }: Options): Promise<Collected> {
  const settings = config.upstream
  const upstream = openStore(config)
  const { signal } = new AbortController()
  try {
    return await collectGarbage({
      state: new StateBucket(upstream, settings.stateBucket, signal),
      upstream,
      realm: settings.realm,
      olderThan: Date.now() - hours * HOUR_MS,
      dryRun,
      signal
    })
  } finally {
    await upstream.close()
  }
}

function reportOf({ live, unknown, dead, removed, failed }: Collected, dryRun: boolean): string {
  return `uploads: ${live} live or recent, ${unknown} kept because their state is not known, ${dead} over\n`
    + `objects: ${removed} ${dryRun ? 'would be removed' : 'removed'}, ${failed} could not be removed\n`
}
