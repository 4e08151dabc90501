// `sealgate keys usage`: an action of the engine that needs no key.
import { KeyCounts, usageAction } from '../maintenance/key-usage.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { readExisting, type ExistingValues } from './existing.ts'
import { examineRows, stopOn } from './existing-run.ts'
import { exitCodes, type Platform } from './platform.ts'
import { openStore } from './store-command.ts'

type UsageValues = Omit<ExistingValues, 'report' | 'ledger' | 'resume'>

/** `sealgate keys usage`. @returns the exit code. @throws S3Error; UsageError and ConfigError for wrong arguments. */
export async function runUsage(values: UsageValues, platform: Platform): Promise<number> {
  const options = await readExisting({ ...values, report: undefined, ledger: undefined, resume: false }, platform)
  const stop = stopOn(platform)
  const upstream = openStore(options.store, options.config)
  try {
    const bucket = new BucketClient(upstream, options.bucket, stop.signal)
    const counts = new KeyCounts()
    const versions = { ...options, filter: (row: Parameters<typeof options.filter>[0]) => !row.deleteMarker && options.filter(row) }
    const { totals, failure } = await examineRows(versions, platform, { bucket, upstream }, {
      action: usageAction(bucket, counts),
      onFinding: () => undefined
    })
    if (failure !== null && !stop.signal.aborted) throw failure
    platform.stdout.write(options.json ? `${JSON.stringify(counts.json())}\n` : textOf(counts))
    return failure !== null ? exitCodes.stopped : totals.states.has('failed') ? exitCodes.failed : exitCodes.done
  } finally {
    await upstream.close()
  }
}

function textOf(counts: KeyCounts): string {
  const rows = counts.json().map(({ keyId, objects, bytes }) => `${keyId}  ${objects.toLocaleString('en')} objects  ${bytes.toLocaleString('en')} bytes\n`)
  return rows.length === 0 ? 'no objects\n' : rows.join('')
}
