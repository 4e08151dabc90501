import { examine } from '../maintenance/classify.ts'
import type { Totals } from '../maintenance/engine.ts'
import { readExisting, runExisting, type ExistingValues } from './existing.ts'
import { exitCodes, type Platform } from './platform.ts'

/** `sealgate scan`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runScan(values: ExistingValues, platform: Platform): Promise<number> {
  return runExisting(
    'scan',
    readExisting(values, platform),
    platform,
    (job) => Promise.resolve(async (row, signal) => (await examine(job, row, signal))?.finding ?? null),
    ({ totals }) => scanCode(totals)
  )
}

/** The worst of what was found: damaged before plaintext before what could not be examined. */
function scanCode({ states }: Totals): number {
  if (states.has('damaged') || states.has('sealed-elsewhere')) return exitCodes.damaged
  if (states.has('plaintext') || states.has('archived')) return exitCodes.plaintext
  return states.has('failed') ? exitCodes.failed : exitCodes.done
}
