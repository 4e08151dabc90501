import { mergeActivities, type Activity } from '../observe/activity.ts'
import type { CheckFacts, Facts, KeyFacts, ProcessReport, ScanFacts, StoreFacts, WorkerFacts } from './facts.ts'
import { bounded } from './bounds.ts'
import { findingsOf } from './findings.ts'

/** What the page is made of. */
export interface Sources {
  readonly version: string
  readonly node: string
  readonly host: string
  readonly at: Date
  readonly uptimeSeconds: number
  readonly workers: readonly WorkerFacts[]
  /** Of the workers that answer. */
  readonly reports: readonly ProcessReport[]
  /** Of workers that have ended, or do not answer. */
  readonly departed: readonly Activity[]
  /** When the primary refused a reload that workers have not heard of, ISO 8601; absent or null: it has passed on the last one, or there is no primary. */
  readonly reloadRefused?: string | null
}

/** The facts of all processes: of each check, key and store what is worst, of all traffic the sum. */
export function factsOf({ reports, departed, at, workers, reloadRefused = null, ...process }: Sources): Facts {
  const failures = reports.flatMap(({ auditFailure }) => auditFailure ?? [])
  const ends = reports.flatMap(({ certificateEnds }) => certificateEnds ?? [])
  const reloads = reports.map(({ reload }) => reload).toSorted((a, b) => a.at < b.at ? 1 : -1)
  const facts = bounded({
    ...process,
    at: at.toISOString(),
    workers,
    ready: reports.length > 0 && reports.every(({ ready }) => ready) && workers.every(({ state }) => state === 'serving'),
    checks: groups(reports.flatMap(({ checks }) => checks), ({ store, name }) => `${store ?? ''} ${name}`).map(worst),
    keys: groups(reports.flatMap(({ keys }) => keys), ({ name }) => name).map(mergedKey),
    heldBack: [...new Set(reports.flatMap(({ heldBack }) => heldBack))],
    stores: groups(reports.flatMap(({ stores }) => stores), ({ name }) => name).map(mergedStore),
    buckets: reports[0]?.buckets ?? [],
    scans: groups(reports.flatMap(({ scans }) => scans), ({ store, bucket }) => `${store} ${bucket}`).map(newest),
    activity: mergeActivities([...reports.map(({ activity }) => activity), ...departed]),
    audited: reports.some(({ audited }) => audited),
    auditFailure: failures.toSorted((a, b) => a.since < b.since ? -1 : 1)[0] ?? null,
    certificateEnds: ends.length === 0 ? null : Math.min(...ends),
    reload: reloadRefused === null ? reloads.find(({ ok }) => !ok) ?? reloads[0] ?? { ok: true, at: at.toISOString() } : { ok: false, at: reloadRefused }
  })
  return { ...facts, findings: findingsOf(facts) }
}

type Group<T> = readonly [T, ...T[]]

/** In the order of the first of each. */
function groups<T>(all: readonly T[], nameOf: (one: T) => string): Group<T>[] {
  const found = new Map<string, [T, ...T[]]>()
  for (const one of all) {
    const group = found.get(nameOf(one))
    if (group === undefined) found.set(nameOf(one), [one])
    else group.push(one)
  }
  return [...found.values()]
}

/** One that fails, if any does, else one that has not run yet. */
function worst<T extends Pick<CheckFacts, 'since'> & { readonly ok: boolean | null }>(group: Group<T>): T {
  const [first] = group.toSorted((a, b) => rank(a.ok) - rank(b.ok) || ((a.since ?? '') < (b.since ?? '') ? -1 : 1))
  return first ?? group[0]
}

function rank(ok: boolean | null): number {
  return ok === false ? 0 : ok === null ? 1 : 2
}

function mergedKey(group: Group<KeyFacts>): KeyFacts {
  const errors = group.flatMap(({ lastError }) => lastError ?? []).toSorted((a, b) => a.at < b.at ? 1 : -1)
  return { ...worst(group), uses: group.reduce((sum, { uses }) => sum + uses, 0), lastError: errors[0] ?? null }
}

/** Each process probes for itself: what the youngest probe of a kind found counts. */
function mergedStore(group: Group<StoreFacts>): StoreFacts {
  const skews = group.flatMap(({ clockSkewSeconds }) => clockSkewSeconds ?? [])
  return {
    ...group[0],
    ready: group.every(({ ready }) => ready),
    clockSkewSeconds: skews.toSorted((a, b) => Math.abs(b) - Math.abs(a))[0] ?? null,
    capabilities: groups(group.flatMap(({ capabilities }) => capabilities), ({ kind }) => kind).map((kinds) => {
      const [known] = kinds.filter(({ ageSeconds }) => ageSeconds !== null).toSorted((a, b) => (a.ageSeconds ?? 0) - (b.ageSeconds ?? 0))
      return known ?? kinds[0]
    })
  }
}

function newest(group: Group<ScanFacts>): ScanFacts {
  return group.reduce((a, b) => a.ended < b.ended ? b : a)
}
