import { MINUTES, sumOfCalls, type Minute } from '../observe/activity.ts'
import type { Facts, FindingFacts, KeyFacts, ScanFacts, StoreFacts, WorkerFacts } from './facts.ts'
import { clock, duration, numbered, secondsSince, span } from './words.ts'

const DAY = 86_400
/** Backups that nobody has opened for so long, in days. */
const BACKUP_DAYS = 90
/** Certificates are renewed a month before they end, or a third of their time: 14 days before the end something is wrong. */
const CERTIFICATE_DAYS = 14
/** S3 refuses signatures that are 15 minutes off (AWS, "Authenticating Requests"); KMS, 5. */
const SKEW_ERROR_SECONDS = 300
const SKEW_WARNING_SECONDS = 30
/** Calls of AWS KMS take some 10 ms in its region. Each request that waits for one is slower by that much. */
const SLOW_KMS_SECONDS = 0.5
/** Minutes that count as now. */
const RECENT_MINUTES = 10
/** Of each process the first calls after a start load code and open connections: the self-test's two, and one more. They show nothing. */
const FIRST_CALLS = 3

type Known = Omit<Facts, 'findings'>
type Finding = FindingFacts

const severities: readonly Finding['severity'][] = ['error', 'warning', 'note']

/** What needs attention, errors first. The title names the trouble, the detail its cause and what to do. */
export function findingsOf(facts: Known): readonly Finding[] {
  const found = [
    ...facts.workers.flatMap((worker) => ofWorker(worker, facts.at)),
    ...ofChecks(facts),
    ...facts.keys.flatMap((key) => ofKey(key, facts.at)),
    ...ofKeyServices(facts),
    ...ofAudit(facts),
    ...ofCertificate(facts),
    ...facts.stores.flatMap(ofStore),
    ...facts.scans.flatMap((scan) => ofScan(scan, facts)),
    ...ofIntegrity(facts),
    ...ofReload(facts)
  ]
  return found.toSorted((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity))
}

function ofWorker({ number, state, startedAt, restarts, lastEnd }: WorkerFacts, now: string): Finding[] {
  const subject = `worker ${number}`
  const how = lastEnd === null ? '' : `It ended ${lastEnd.signal === null ? `with exit code ${lastEnd.code ?? 'unknown'}` : `by ${lastEnd.signal}`}. `
  const again = `${how}${restarts === 0 ? '' : `Started again ${numbered(restarts, 'time')}. `}The log line "worker ended" has more.`
  if (state === 'ended') return [{ severity: 'error', subject, title: 'The worker is dead', detail: again, since: lastEnd?.at ?? null }]
  if (state === 'silent') {
    const detail = 'It does not answer the primary. After a minute it is killed and replaced.'
    return [{ severity: 'error', subject, title: 'The worker does not answer', detail, since: null }]
  }
  if (lastEnd !== null && secondsSince(lastEnd.at, now) < MINUTES * 60) {
    return [{ severity: 'warning', subject, title: 'The worker died and was replaced', detail: again, since: lastEnd.at }]
  }
  if (state === 'starting' && secondsSince(startedAt, now) > 60) {
    return [{ severity: 'warning', subject, title: 'The worker does not come up', detail: 'It has been starting for more than a minute.', since: startedAt }]
  }
  return []
}

function causeOf({ reason, code, cause }: Pick<KeyFacts, 'reason' | 'code' | 'cause'>): string {
  const { trouble, system, errorName, status, service: _, operation: __, ...rest } = cause
  const named = [system, errorName, status === undefined ? undefined : `status ${status}`].filter((one) => one !== undefined)
  const words = Object.entries(rest).map(([name, value]) => `${name} ${value}`)
  const inBrackets = [...named, ...words].join(', ')
  return [reason ?? code ?? 'unknown reason', ...trouble === undefined ? [] : [`Kind: ${trouble}${inBrackets === '' ? '' : ` (${inBrackets})`}.`]].join(
    ' '
  )
}

const checkTitles: Readonly<Record<string, string>> = {
  store: 'The store cannot be used',
  stateBucket: 'The state bucket cannot be used',
  keys: 'No key can be used'
}

/** A state bucket of a store that is down is not a second trouble. */
function ofChecks({ checks }: Known): Finding[] {
  const failing = checks.filter(({ ok }) => !ok)
  return failing.filter(({ name, store }) => name !== 'stateBucket' || !failing.some((other) => other.name === 'store' && other.store === store)).map((
    check
  ) => ({
    severity: 'error',
    subject: check.store === null ? `check ${check.name}` : `store ${check.store}`,
    title: checkTitles[check.name] ?? `The check ${check.name} fails`,
    detail: causeOf(check),
    since: check.since
  }))
}

function ofKey(key: KeyFacts, now: string): Finding[] {
  const { name, ok, since, code, type, keyId, versions, backup } = key
  const subject = `key ${name}`
  const found: Finding[] = []
  if (ok === false) {
    const disabled = code === 'KMS.DisabledException'
    found.push({ severity: 'error', subject, title: disabled ? 'The key is disabled' : 'The key cannot be used', detail: causeOf(key), since })
  } else if (keyId === null && versions.length > 0) {
    const detail = `No version of the key is enabled: objects open, and writes fail.${type === 'local' ? ' See "sealgate keys rotate".' : ''}`
    found.push({ severity: 'warning', subject, title: 'The key seals nothing', detail, since: null })
  }
  return type === 'local' ? [...found, ...ofBackup(subject, backup, now)] : found
}

function ofBackup(subject: string, backup: KeyFacts['backup'], now: string): Finding[] {
  const advice = 'A lost keyring is lost data. Run "sealgate keys check-backup --keyring FILE --backup FILE" where the keyring is.'
  const finding = (severity: Finding['severity'], title: string, since: string | null): Finding[] => [{ severity, subject, title, detail: advice, since }]
  if (backup === null) return finding('warning', 'No backup of the keyring was ever checked here', null)
  if (backup.missing.length > 0) return finding('error', `The checked backup lacks ${backup.missing.length} of the keyring's versions`, backup.at)
  const days = Math.floor(secondsSince(backup.at, now) / DAY)
  return days < BACKUP_DAYS ? [] : finding('warning', `The backup of the keyring was last checked ${days} days ago`, backup.at)
}

/** @param at ISO 8601 */
function recent(minutes: readonly Minute[], at: string): readonly Minute[] {
  const now = Date.parse(at) / 60_000
  return minutes.filter(({ minute }) => minute > now - RECENT_MINUTES)
}

function ofKeyServices({ heldBack, activity, at, uptimeSeconds, workers }: Known): Finding[] {
  const held = heldBack.map((region): Finding => ({
    severity: 'error',
    subject: `key service ${region}`,
    title: 'Calls of the key service are held back',
    detail: 'It failed too often in a row. One call at a time tries whether it answers again.',
    since: null
  }))
  const { calls, seconds, longest, failed } = sumOfCalls(recent(activity.minutes, at), 'kms')
  const words = `${numbered(calls, 'call')} in the last ${RECENT_MINUTES} minutes took ${duration(seconds / Math.max(1, calls))} on average, the longest ${
    duration(longest)
  }`
  const subject = 'key service'
  const enough = calls > (uptimeSeconds > RECENT_MINUTES * 60 ? 0 : FIRST_CALLS * workers.length)
  if (enough && seconds / calls > SLOW_KMS_SECONDS) {
    const detail = `${words}. Requests that need a key wait for it. Look at the network to it and at its own limits.`
    held.push({ severity: 'warning', subject, title: 'The key service (KMS) is slow', detail, since: null })
  }
  if (failed > 0) held.push({ severity: 'warning', subject, title: `${numbered(failed, 'call')} of the key service failed`, detail: `${words}.`, since: null })
  return held
}

const systemWords: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the quota of the disk is used up',
  EACCES: 'no right to write',
  EROFS: 'the file system is read-only'
}

function ofAudit({ auditFailure }: Known): Finding[] {
  if (auditFailure === null) return []
  const { since, at, system } = auditFailure
  const why = system === null ? 'unknown error' : `${systemWords[system] ?? 'error of the system'} (${system})`
  const detail =
    `The system says: ${why}; last tried ${clock(at)}. Every request that needs a key fails, because a use of a key that is not recorded must not happen. `
    + 'Make room or rotate the file.'
  return [{ severity: 'error', subject: 'audit.file', title: 'The audit file cannot be written', detail, since }]
}

function ofCertificate({ certificateEnds, at }: Known): Finding[] {
  if (certificateEnds === null) return []
  const left = certificateEnds - Date.parse(at) / 1000
  if (left > CERTIFICATE_DAYS * DAY) return []
  const date = new Date(certificateEnds * 1000).toISOString()
  const found = { subject: 'listen.tls.cert', since: null, detail: 'Renew it: the gateway takes new files without a restart.' } as const
  return left < 0
    ? [{ ...found, severity: 'error', title: `The certificate expired ${clock(date)}`, since: date }]
    : [{ ...found, severity: 'warning', title: `The certificate expires in ${span(left)}, ${clock(date)}` }]
}

function ofStore({ name, clockSkewSeconds, configured, capabilities }: StoreFacts): Finding[] {
  const subject = `store ${name}`
  const found: Finding[] = []
  const off = Math.abs(clockSkewSeconds ?? 0)
  if (off >= SKEW_WARNING_SECONDS) {
    const title = `The clock of this machine is ${span(off)} ${(clockSkewSeconds ?? 0) > 0 ? 'ahead of' : 'behind'} the store's`
    const detail = 'Signatures fail when clocks are 15 minutes apart, at key services earlier. Run NTP on both.'
    found.push({ severity: off >= SKEW_ERROR_SECONDS ? 'error' : 'warning', subject, title, detail, since: null })
  }
  // Kinds of bucket in which the same is ignored are one finding.
  const kinds = new Map<string, string[]>()
  for (const { kind, conditions, failure } of capabilities) {
    const ignored = Object.entries(conditions ?? {}).flatMap(([operation, enforced]) => configured[operation] ?? enforced ? [] : [operation]).join(', ')
    if (ignored !== '') kinds.set(ignored, [...kinds.get(ignored) ?? [], kind])
    if (failure !== null) {
      const title = `It could not be found out whether the store enforces conditions in ${kind} buckets`
      found.push({ severity: 'warning', subject, title, detail: `${failure} Conditional requests are refused there.`, since: null })
    }
  }
  for (const [ignored, those] of kinds) {
    const title = `The store does not enforce conditions in buckets that are ${those.join(' or ')}`
    const detail =
      `If-Match and If-None-Match have no effect on: ${ignored}. Such requests are refused with 501 there; copies pass through the gateway if they can.`
    found.push({ severity: 'note', subject, title, detail, since: null })
  }
  return found
}

function ofScan({ bucket, pattern, states, ended }: ScanFacts, { buckets }: Known): Finding[] {
  const number = (state: string): number => states[state]?.objects ?? 0
  const sealed = buckets.find((policy) => policy.pattern === pattern)?.encryption !== 'off'
  const subject = `bucket ${bucket}`
  const found: Finding[] = []
  if (sealed && number('plaintext') > 0) {
    const detail = 'Everybody who can read the store can read them. "sealgate encrypt" seals them; "sealgate scan --report" names each.'
    found.push({ severity: 'error', subject, title: `${numbered(number('plaintext'), 'object')} in plaintext`, detail, since: ended })
  }
  if (number('damaged') > 0) {
    const detail = 'Their envelope does not verify. "sealgate scan --report" names each; restore them from another copy.'
    found.push({ severity: 'error', subject, title: numbered(number('damaged'), 'damaged object'), detail, since: ended })
  }
  return found
}

function ofIntegrity({ activity: { integrityFailures }, at }: Known): Finding[] {
  const last = integrityFailures.at(-1)
  const lately = integrityFailures.filter((failure) => secondsSince(failure.at, at) < MINUTES * 60)
  if (last === undefined || lately.length === 0) return []
  const kinds = [...new Set(lately.map(({ kind }) => kind))].join(', ')
  const detail =
    `Kinds: ${kinds}. The store gave back something else than was written. The access log names the objects: look for the codes SealgateIntegrityError and SealgateKeyUnavailable.`
  return [{
    severity: 'error',
    subject: 'integrity',
    title: `${numbered(lately.length, 'read')} did not verify in the last hour`,
    detail,
    since: lately[0]?.at ?? null
  }]
}

function ofReload({ reload: { ok, at } }: Known): Finding[] {
  const detail = 'The configuration before it is in force. The log line "configuration not reloaded" has the fault.'
  return ok ? [] : [{ severity: 'warning', subject: 'configuration', title: 'The last reload was refused', detail, since: at }]
}
