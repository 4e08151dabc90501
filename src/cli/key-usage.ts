// `sealgate keys usage`: an action of the engine that needs no key.
import { policyFor, upstreamsOfKey, type Config } from '../config/config.ts'
import { keysOf, prefixAt, type PolicyKeys } from '../config/pins.ts'
import { S3Error } from '../errors.ts'
import { openKey, type ConfiguredKey } from '../keys/configured-key.ts'
import { KeyringError } from '../keys/keyring.ts'
import { SSEC_KEY_ID } from '../keys/ssec.ts'
import { NOT_ENCRYPTED, PlacedCounts, usageAction, type PlacedCount } from '../maintenance/key-usage.ts'
import { quoted } from '../maintenance/report.ts'
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
    const policy = policyOf(options.config, options.bucket)
    const counts = new PlacedCounts((key) => policy === null ? null : prefixAt(policy, key))
    const versions = { ...options, filter: (row: Parameters<typeof options.filter>[0]) => !row.deleteMarker && options.filter(row) }
    const { totals, failure } = await examineRows(versions, platform, { bucket, upstream }, {
      action: usageAction(bucket, counts),
      onFinding: () => undefined
    })
    if (failure !== null && !stop.signal.aborted) throw failure
    const rows = await withKeys(counts.rows(), policy, options.config, platform)
    platform.stdout.write(options.json ? `${JSON.stringify(rows)}\n` : textOf(rows, policy))
    return failure !== null ? exitCodes.stopped : totals.states.has('failed') ? exitCodes.failed : exitCodes.done
  } finally {
    await upstream.close()
  }
}

type Policy = { readonly keys: PolicyKeys } | null

/** null: the configuration does not serve the bucket. */
function policyOf(config: Config, bucket: string): Policy {
  try {
    return policyFor(config, bucket)
  } catch (error) {
    if (error instanceof S3Error) return null
    throw error
  }
}

interface UsageRow extends PlacedCount {
  /** The key of the configuration that the id is of; null: of none. */
  readonly key: string | null
  /** Whether objects open with it at their place; null: that is not the configuration's to say, or a key of it could not be read. */
  readonly opens: boolean | null
}

/** No key service is called, and a key that is lost is no reason to fail. */
async function withKeys(rows: readonly PlacedCount[], policy: Policy, config: Config, { stderr }: Platform): Promise<readonly UsageRow[]> {
  const keys: ConfiguredKey[] = []
  let unread = false
  try {
    for (const [name, section] of Object.entries(config.keys)) {
      try {
        keys.push(
          await openKey(name, section, { keys: config.keys, cache: config.keyCache, usedAt: (used) => upstreamsOfKey(config, used), audit: () => undefined })
        )
      } catch (error) {
        if (!(error instanceof KeyringError) && !(error instanceof S3Error)) throw error
        unread = true
        stderr.write(`Key ${name} cannot be read, so its objects are not known: ${error.message}\n`)
      }
    }
    return rows.map((row): UsageRow => {
      const key = keys.find(({ source }) => source.owns(row.keyId))?.name ?? null
      const pins = row.prefix === null ? policy?.keys.bucket : policy?.keys.prefixes.get(row.prefix)
      const known = pins !== undefined && row.keyId !== SSEC_KEY_ID && row.keyId !== NOT_ENCRYPTED && !(key === null && unread)
      return { ...row, key, opens: known ? key !== null && keysOf(pins).includes(key) : null }
    })
  } finally {
    for (const { source } of keys) await source.close()
  }
}

function textOf(rows: readonly UsageRow[], policy: Policy): string {
  if (rows.length === 0) return 'no objects\n'
  // One place needs no heading.
  const apart = policy !== null && policy.keys.prefixes.size > 0
  const headings = new Set<string | null>()
  return rows.map((row) => {
    const { prefix, keyId, objects, bytes } = row
    const heading = apart && !headings.has(prefix) ? headingOf(prefix, policy.keys) : ''
    headings.add(prefix)
    return `${heading}${apart ? '  ' : ''}${keyId}  ${objects.toLocaleString('en')} objects  ${bytes.toLocaleString('en')} bytes${faultOf(row)}\n`
  }).join('')
}

function headingOf(prefix: string | null, { bucket, prefixes }: PolicyKeys): string {
  const pins = prefix === null ? bucket : prefixes.get(prefix) ?? bucket
  return `${prefix === null ? 'names without a prefix of the configuration' : `names under ${quoted(prefix)}`} (key ${pins.key}):\n`
}

function faultOf({ key, opens, example }: UsageRow): string {
  if (opens !== false) return ''
  return `  DO NOT OPEN: ${key === null ? 'no key of the configuration' : `key ${key}, which may not open here`}; such as ${quoted(example)}`
}
