import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/config.ts'
import { countKeyUsage, type KeyCounts, type UsageOptions } from '../maintenance/key-usage.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { requiredConfig } from './check-config.ts'
import { exitCodes, type Platform } from './platform.ts'
import { countOption, openStore } from './store-command.ts'

const CONCURRENCY = 32
const MOST = 1000

interface Options extends Omit<UsageOptions, 'onObject'> {
  readonly config: Config
  readonly bucket: string
  readonly json: boolean
}

interface UsageValues {
  readonly config: string | undefined
  readonly bucket: string
  readonly prefix: string | undefined
  readonly versions: boolean
  readonly json: boolean
  readonly concurrency: string | undefined
}

/** `sealgate keys usage`. @returns the exit code. @throws S3Error, and UsageError, ConfigError for what was asked. */
export async function runUsage(values: UsageValues, platform: Platform): Promise<number> {
  const options = readOptions(values, platform)
  const upstream = openStore(options.config)
  try {
    const bucket = new BucketClient(upstream, options.bucket, new AbortController().signal)
    platform.stdout.write(report(await countKeyUsage(bucket, options), options.json))
    return exitCodes.done
  } finally {
    await upstream.close()
  }
}

/** @throws UsageError, ConfigError. */
function readOptions(values: UsageValues, platform: Platform): Options {
  const concurrency = countOption('concurrency', values.concurrency, CONCURRENCY, MOST)
  const config = loadConfig({ file: requiredConfig(values, platform), env: platform.env })
  return { config, bucket: values.bucket, prefix: values.prefix ?? '', versions: values.versions, json: values.json, concurrency }
}

function report(counts: KeyCounts, json: boolean): string {
  const rows = counts.entries().toSorted(([a], [b]) => a < b ? -1 : 1)
  if (json) return `${JSON.stringify(rows.map(([keyId, { objects, bytes }]) => ({ keyId, objects, bytes })))}\n`
  if (rows.length === 0) return 'no objects\n'
  return rows.map(([keyId, { objects, bytes }]) => `${keyId}  ${objects.toLocaleString('en')} objects  ${bytes.toLocaleString('en')} bytes\n`).join('')
}
