// `sealgate keys usage`: an action of the engine that needs no key.
import { policyFor, upstreamsOfKey, type Config } from '../config/config.ts'
import { keysOf, prefixAt, type KeyPins, type PolicyKeys } from '../config/pins.ts'
import { S3Error } from '../errors.ts'
import { openKey, type ConfiguredKey } from '../keys/configured-key.ts'
import { KeyringError } from '../keys/keyring.ts'
import { SSEC_KEY_ID } from '../keys/ssec.ts'
import { faults, type Fault } from '../maintenance/faults.ts'
import { NOT_ENCRYPTED, PlacedCounts, usageAction, type PlacedCount } from '../maintenance/key-usage.ts'
import { quoted } from '../maintenance/report.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { UsageError } from './command-line.ts'
import { readExisting, type ExistingValues } from './existing.ts'
import { examineRows, openReport, stopOn } from './existing-run.ts'
import { exitCodes, type Platform } from './platform.ts'
import { openStore } from './store-command.ts'

type UsageValues = Omit<ExistingValues, 'ledger' | 'resume'>

/** `sealgate keys usage`. @returns the exit code. @throws S3Error; UsageError and ConfigError for wrong arguments. */
export async function runUsage(values: UsageValues, platform: Platform): Promise<number> {
  const options = await readExisting({ ...values, ledger: undefined, resume: false }, platform)
  if (options.report?.path.endsWith('.html') === true) throw new UsageError('--report: the name must end in .csv, .jsonl: it is a list of objects.')
  const stop = stopOn(platform)
  const keys = await readKeys(options.config, platform)
  const upstream = openStore(options.store, options.config)
  const report = options.report === null ? null : await openReport(options.report)
  try {
    const bucket = new BucketClient(upstream, options.bucket, stop.signal)
    const policy = policyOf(options.config, options.bucket)
    const prefixOf = (key: string): string | null => policy === null ? null : prefixAt(policy, key)
    const placeOf = (key: string, keyId: string): Judged => keys.judge(keyId, pinsUnder(policy, prefixOf(key)))
    const counts = new PlacedCounts(prefixOf)
    const versions = { ...options, filter: (row: Parameters<typeof options.filter>[0]) => !row.deleteMarker && options.filter(row) }
    const { totals, failure } = await examineRows(versions, platform, { bucket, upstream }, {
      action: usageAction(bucket, counts),
      onFinding: (finding) => report?.add(finding.keyId === null ? finding : { ...finding, ...wrongOf(placeOf(finding.key, finding.keyId), finding.keyId) })
    })
    await report?.close()
    if (failure !== null && !stop.signal.aborted) throw failure
    const rows = counts.rows().map((row): UsageRow => ({ ...row, ...keys.judge(row.keyId, pinsUnder(policy, row.prefix)) }))
    platform.stdout.write(options.json ? `${JSON.stringify(rows)}\n` : textOf(rows, policy))
    return failure !== null ? exitCodes.stopped : totals.states.has('failed') ? exitCodes.failed : exitCodes.done
  } finally {
    await keys.close()
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

/** The keys of a name. */
function pinsUnder(policy: Policy, prefix: string | null): KeyPins | undefined {
  return prefix === null ? policy?.keys.bucket : policy?.keys.prefixes.get(prefix)
}

interface Judged {
  /** The key of the configuration that the id is of; null: of none. */
  readonly key: string | null
  /** Whether objects open with it at their place; null: that is not the configuration's to say, or a key of it could not be read. */
  readonly opens: boolean | null
}

type UsageRow = PlacedCount & Judged

interface ReadKeys {
  readonly judge: (keyId: string, pins: KeyPins | undefined) => Judged
  readonly close: () => Promise<void>
}

/** No key service is called, and a key that is lost is no reason to fail. */
async function readKeys(config: Config, { stderr }: Platform): Promise<ReadKeys> {
  const keys: ConfiguredKey[] = []
  let unread = false
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
  return {
    judge: (keyId, pins) => {
      const key = keys.find(({ source }) => source.owns(keyId))?.name ?? null
      const known = pins !== undefined && keyId !== SSEC_KEY_ID && keyId !== NOT_ENCRYPTED && !(key === null && unread)
      return { key, opens: known ? key !== null && keysOf(pins).includes(key) : null }
    },
    close: async () => {
      for (const { source } of keys) await source.close()
    }
  }
}

/** What a report says of an object that does not open at its place. */
function wrongOf({ key, opens }: Judged, keyId: string): { readonly fault: Fault; readonly detail: string } | null {
  if (opens !== false) return null
  const fault = key === null ? 'key-unknown' : 'key-not-here'
  return { fault, detail: `${faults[fault]}: ${keyId}` }
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
