import { policyFor, type BucketPolicy, type Config } from '../config/config.ts'
import type { KeyDescription } from '../keys/configured-key.ts'
import type { KeySelfTest } from '../keys/self-test.ts'
import type { CheckResult } from '../observe/health.ts'
import type { BucketFacts, CapabilityFacts, CheckFacts, KeyFacts, ProcessReport, ScanFacts, StoreFacts } from '../page/facts.ts'
import type { LastScan } from './scans.ts'
import type { OpenStore } from './stores.ts'
import { fieldsOf } from '../diagnosis.ts'

interface Sources extends Pick<ProcessReport, 'activity' | 'audited' | 'auditFailure' | 'certificateEnds' | 'reload' | 'load'> {
  readonly config: Config
  readonly ready: boolean
  /** Those of no store. */
  readonly checks: readonly CheckResult[]
  readonly stores: readonly Pick<OpenStore, 'settings' | 'health' | 'clockSkewSeconds' | 'capabilities'>[]
  readonly keys: readonly KeyDescription[]
  readonly selfTest: KeySelfTest | null
  readonly heldBack: ReadonlyMap<string, boolean>
  /** Of buckets that the configuration serves: others are not read. */
  readonly scans: readonly LastScan[]
}

/** What this process says of itself on the status page: from the configuration names and choices only, and never a credential. */
export function processReport({ config, checks, stores, keys, selfTest, heldBack, scans, ...rest }: Sources): ProcessReport {
  return {
    ...rest,
    checks: [
      ...checks.map((check) => checkFacts(check, null)),
      ...stores.flatMap(({ settings, health }) => health.report().checks.map((check) => checkFacts(check, settings.name)))
    ],
    keys: keys.map((key) => keyFacts(key, selfTest)),
    heldBack: [...heldBack].flatMap(([region, held]) => held ? [region] : []),
    stores: stores.map(storeFacts),
    buckets: config.buckets.map(bucketFacts),
    scans: scans.map((scan) => scanFacts(config, scan))
  }
}

function checkFacts({ name, ok, at, since, error, failure }: CheckResult, store: string | null): CheckFacts {
  return { name, store, ok, at, since, code: error, reason: failure?.reason ?? null, cause: fieldsOf(failure?.diagnosis ?? null) }
}

function keyFacts({ name, type, keyId, versions, backup }: KeyDescription, selfTest: KeySelfTest | null): KeyFacts {
  const state = selfTest?.states.find(({ key }) => key === name)
  const { uses, lastError } = selfTest?.usesOf(name) ?? { uses: 0, lastError: null }
  return {
    name,
    type,
    keyId,
    versions,
    ok: state?.ok ?? null,
    since: state?.since ?? null,
    code: state?.code ?? null,
    reason: state?.reason ?? null,
    cause: fieldsOf(state?.diagnosis ?? null),
    uses,
    lastError,
    backup
  }
}

function storeFacts(
  { settings: { name, endpoint, region, conditions: configured }, health, clockSkewSeconds, capabilities }: Sources['stores'][number]
): StoreFacts {
  return {
    name,
    endpoint,
    region,
    ready: health.report().ready,
    clockSkewSeconds,
    configured,
    capabilities: capabilities.report().map(({ kind, conditions, ageSeconds, failure }): CapabilityFacts => ({
      kind,
      conditions: conditions === null
        ? null
        : Object.fromEntries(Object.entries(conditions).flatMap(([operation, enforced]) => typeof enforced === 'boolean' ? [[operation, enforced]] : [])),
      ageSeconds,
      failure
    }))
  }
}

function bucketFacts([pattern, { upstream, encryption, keys, metadata, plaintext, publicRead }]: readonly [string, BucketPolicy]): BucketFacts {
  return { pattern, store: upstream, encryption, key: keys.bucket.key, metadata, plaintext, publicRead: publicWords(publicRead) }
}

function publicWords(rule: BucketPolicy['publicRead']): string {
  if (typeof rule === 'object') return `under ${rule.prefixes.join(', ')}`
  return typeof rule === 'string' ? rule : rule ? 'all' : 'none'
}

function scanFacts(config: Config, { bucket, store, ended, versions, states }: LastScan): ScanFacts {
  const policy = policyFor(config, bucket)
  const pattern = config.buckets.find(([, candidate]) => candidate === policy)?.[0] ?? ''
  return { bucket, store, pattern, ended: new Date(ended).toISOString(), versions, states }
}
