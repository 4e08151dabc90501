import { parseArgs } from 'node:util'
import { loadConfig } from '../config-load.ts'
import type { Config } from '../config.ts'
import { countKeyUsage, type KeyCounts, type UsageOptions } from '../rewrap/key-usage.ts'
import { StoredBucket } from '../rewrap/stored-bucket.ts'
import { configFile } from './config.ts'
import { exitCodes, type Platform } from './platform.ts'
import { countOption, openStore, runStoreCommand } from './store-command.ts'

const usage = `Usage: sealgate keys usage [--config FILE] --bucket NAME [--prefix P] [--versions] [--json] [--concurrency N]

Counts the objects of a bucket and their stored bytes by the id of the key that sealed them. Asks no key: it reads what stands
beside each object, with one HEAD per object, N at once (32).

  --versions  every version, not the current ones alone: before a key is disabled, no version should need it any more
`
const CONCURRENCY = 32
const MOST = 1000

interface Options extends Omit<UsageOptions, 'onObject'> {
  readonly config: Config
  readonly bucket: string
  readonly json: boolean
}

/** `sealgate keys usage`. @returns the exit code: 1 when the store could not be asked, 2 for a bad command line. */
export async function runUsage(args: readonly string[], platform: Platform): Promise<number> {
  return runStoreCommand('keys usage', usage, platform, () => readOptions(args, platform), async (options) => {
    const upstream = openStore(options.config)
    try {
      const bucket = new StoredBucket(upstream, options.bucket, new AbortController().signal)
      platform.stdout.write(report(await countKeyUsage(bucket, options), options.json))
      return exitCodes.done
    } finally {
      await upstream.close()
    }
  })
}

/** @throws TypeError, ConfigError. */
function readOptions(args: readonly string[], platform: Platform): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      config: { type: 'string' }, bucket: { type: 'string' }, prefix: { type: 'string' }, versions: { type: 'boolean' },
      json: { type: 'boolean' }, concurrency: { type: 'string' }
    },
    strict: true,
    allowPositionals: false
  })
  const { bucket = '', prefix = '' } = values
  if (bucket === '') throw new TypeError('--bucket must be given.')
  const concurrency = countOption('concurrency', values.concurrency, CONCURRENCY, MOST)
  const file = configFile(values.config === undefined ? [] : ['--config', values.config], platform)
  if (file === null) throw new TypeError('No configuration was named.')
  return {
    config: loadConfig({ file, env: platform.env }), bucket, prefix, versions: values.versions === true, json: values.json === true, concurrency
  }
}

function report(counts: KeyCounts, json: boolean): string {
  const rows = counts.entries().toSorted(([a], [b]) => a < b ? -1 : 1)
  if (json) return `${JSON.stringify(rows.map(([keyId, { objects, bytes }]) => ({ keyId, objects, bytes })))}\n`
  if (rows.length === 0) return 'no objects\n'
  return rows.map(([keyId, { objects, bytes }]) => `${keyId}  ${objects.toLocaleString('en')} objects  ${bytes.toLocaleString('en')} bytes\n`).join('')
}
