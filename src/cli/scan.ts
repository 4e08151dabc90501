import { policyFor } from '../config/config.ts'
import { S3Error } from '../errors.ts'
import { examine } from '../maintenance/classify.ts'
import type { Totals } from '../maintenance/engine.ts'
import { countUploads, uploadsNote, type UnfinishedUploads } from '../maintenance/unfinished-uploads.ts'
import { writeScanRecord } from '../operations/buckets/scan-record.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { StateBucket } from '../store-client/state-bucket.ts'
import { readExisting, type Existing, type ExistingValues } from './existing.ts'
import { runExisting, type ExistingJob } from './existing-run.ts'
import { exitCodes, type Platform } from './platform.ts'

/** `sealgate scan`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runScan(values: ExistingValues, platform: Platform): Promise<number> {
  const options = await readExisting(values, platform)
  let uploads: UnfinishedUploads | null = null
  return runExisting(
    { command: 'scan', more: () => ({ unfinishedUploads: uploads }), note: () => uploadsNote(uploads) },
    options,
    platform,
    async (job) => {
      uploads = await countUploads(job, new BucketClient(job.upstream, options.store.stateBucket, job.signal), options.prefix)
      return async (row, signal) => (await examine(job, row, signal))?.finding ?? null
    },
    async ({ totals, summary: { ended, ledger } }, job) => {
      if (isWhole(values)) {
        // What a run before has seen is as old as that run.
        await keepResult(options, job, totals, totals.skipped > 0 && ledger !== null ? ledger : ended).catch((error: unknown) => {
          if (!(error instanceof S3Error)) throw error
          platform.stderr.write(`The metrics will not show this scan: ${error.message} (${error.code})\n`)
        })
      }
      const code = scanCode(totals)
      // A run over some rows says nothing of uploads, which are in no list and have no size.
      const readable = isUnselected(values) && (uploads?.plaintext ?? 0) > 0
      return readable && code !== exitCodes.damaged ? exitCodes.plaintext : code
    }
  )
}

/** The worst of what was found: damaged before plaintext before what could not be examined. */
export function scanCode({ states }: { readonly states: Pick<Totals['states'], 'has'> }): number {
  if (states.has('damaged') || states.has('sealed-elsewhere')) return exitCodes.damaged
  if (states.has('plaintext') || states.has('archived')) return exitCodes.plaintext
  return states.has('failed') ? exitCodes.failed : exitCodes.done
}

/** The result of a part of a bucket is not that of the bucket. An inventory is of another time. */
function isWhole(values: ExistingValues): boolean {
  return values.prefix === undefined && isUnselected(values)
}

function isUnselected({ filter, shard, keys, inventory }: ExistingValues): boolean {
  return [filter, shard, keys, inventory].every((value) => value === undefined)
}

/** Keeps the result in the state bucket, for the metrics of the gateway. */
async function keepResult(
  { store, bucket, config, versions }: Existing,
  { upstream, opened, signal }: ExistingJob,
  totals: Totals,
  ended: number
): Promise<void> {
  const states: Record<string, { readonly objects: number; readonly bytes: number }> = Object.fromEntries(
    [...totals.states].map(([state, { objects, storedBytes }]) => [state, { objects, bytes: storedBytes }])
  )
  // A ledger of a scan has nothing but sealed objects.
  const { objects = 0, bytes = 0 } = states['sealed'] ?? {}
  if (totals.skipped > 0) states['sealed'] = { objects: objects + totals.skipped, bytes: bytes + totals.skippedBytes }
  const provider = opened.keys.providerFor(policyFor(config, bucket).keys.bucket.key)
  const use = { ...opened.useFor(bucket, '', null), objectKey: null }
  await writeScanRecord(new StateBucket(upstream, store.stateBucket, signal), { realm: store.realm, bucket }, provider, { ended, versions, states }, use)
}
