import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ConfigError, loadConfig } from '../config-load.ts'
import type { Config } from '../config.ts'
import { S3Error } from '../errors.ts'
import { collectGarbage, type Collected } from '../execute/multipart/collect-garbage.ts'
import { StateBucket } from '../execute/multipart/state-bucket.ts'
import { createUpstream } from '../upstream/upstream.ts'
import { configFile } from './config.ts'
import { exitCodes, type Platform } from './platform.ts'

const usage = `Usage: sealgate gc [--config FILE] [--dry-run] [--older-than-hours N]

Removes from the state bucket what crashed multipart uploads have left behind: what belongs to no upload that the store
knows, and has not changed for N hours (24, which is also the least).
`
const DEFAULT_HOURS = 24
const HOUR_MS = 3_600_000

interface Options {
  readonly config: Config
  readonly dryRun: boolean
  readonly hours: number
}

/** `sealgate gc`. @returns the exit code: 1 when the store could not be asked or would not remove, 2 for a bad command line. */
export async function runGc(args: readonly string[], platform: Platform): Promise<number> {
  let options: Options
  try {
    options = readOptions(args, platform)
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof TypeError)) throw error
    platform.stderr.write(error instanceof ConfigError ? `${error.message}\n` : `${error.message}\n\n${usage}`)
    return exitCodes.usage
  }
  try {
    const collected = await collect(options)
    platform.stdout.write(reportOf(collected, options.dryRun))
    return collected.failed === 0 ? exitCodes.done : exitCodes.failed
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    platform.stderr.write(`sealgate gc: ${error.message}\n`)
    return exitCodes.failed
  }
}

/** @throws TypeError, ConfigError. */
function readOptions(args: readonly string[], platform: Platform): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { 'config': { type: 'string' }, 'dry-run': { type: 'boolean' }, 'older-than-hours': { type: 'string' } },
    strict: true,
    allowPositionals: false
  })
  const text = values['older-than-hours'] ?? String(DEFAULT_HOURS)
  const hours = /^\d{1,6}$/.test(text) ? Number(text) : 0
  // An upload may pause for long between two parts, and what it leaves would be missed by nobody but its client.
  if (hours < DEFAULT_HOURS) throw new TypeError(`--older-than-hours must be a whole number of at least ${DEFAULT_HOURS}.`)
  const file = configFile(values.config === undefined ? [] : ['--config', values.config], platform)
  if (file === null) throw new TypeError('No configuration was named.')
  return { config: loadConfig({ file, env: platform.env }), dryRun: values['dry-run'] === true, hours }
}

async function collect({ config, dryRun, hours }: Options): Promise<Collected> {
  const settings = config.upstream
  const upstream = createUpstream({ ...settings, ca: settings.ca === null ? null : readFileSync(settings.ca, 'utf8') }, config.limits)
  const { signal } = new AbortController()
  try {
    return await collectGarbage({
      state: new StateBucket(upstream, settings.stateBucket, signal),
      upstream, realm: settings.realm, olderThan: Date.now() - hours * HOUR_MS, dryRun, signal
    })
  } finally {
    await upstream.close()
  }
}

function reportOf({ live, unknown, dead, removed, failed }: Collected, dryRun: boolean): string {
  return `uploads: ${live} live or recent, ${unknown} kept because it cannot be told, ${dead} over\n`
    + `objects: ${removed} ${dryRun ? 'would be removed' : 'removed'}, ${failed} could not be removed\n`
}
