// The status page of the admin port: what one process reports (here), several processes put together (merge.ts), what needs attention
// (findings.ts), and the page that says so (page.ts). Nothing here asks anybody, and every value goes through html.ts. `/status.json` is `Facts`, and
// the page is made of nothing else.
import type { Activity } from '../observe/activity.ts'

export interface CheckFacts {
  readonly name: string
  /** The store it is of; null: none. */
  readonly store: string | null
  readonly ok: boolean
  /** When it last ended, and since when it passes or fails, ISO 8601; null: it has not run yet. */
  readonly at: string | null
  readonly since: string | null
  /** Error code and reason of a failure. */
  readonly code: string | null
  readonly reason: string | null
  /** Fields of the diagnosis, such as `trouble` and `system`. */
  readonly cause: Readonly<Record<string, string | number>>
}

export interface KeyFacts {
  /** Its name in the configuration. */
  readonly name: string
  readonly type: string
  /** Key id that new wraps get; null when no version of a keyring is enabled. */
  readonly keyId: string | null
  readonly versions: readonly { readonly id: string; readonly state: string }[]
  /** null: not yet tried. */
  readonly ok: boolean | null
  readonly since: string | null
  readonly code: string | null
  readonly reason: string | null
  readonly cause: Readonly<Record<string, string | number>>
  /** By requests since the configuration was loaded, answers from memory included. */
  readonly uses: number
  readonly lastError: { readonly code: string; readonly at: string } | null
  /** The last backup of a keyring that was checked; null: none, or the key is not in a keyring. */
  readonly backup: { readonly at: string; readonly missing: readonly string[] } | null
}

export interface StoreFacts {
  readonly name: string
  readonly endpoint: string
  readonly region: string
  readonly ready: boolean
  /** This clock minus the store's; null: not known yet. */
  readonly clockSkewSeconds: number | null
  /** By operation: what the configuration says of it, which has precedence over what was found out. */
  readonly configured: Readonly<Record<string, boolean>>
  readonly capabilities: readonly CapabilityFacts[]
}

export interface CapabilityFacts {
  /** unversioned, versioned, suspended */
  readonly kind: string
  /** By operation: whether the store enforces conditions; null: not known, and so refused. */
  readonly conditions: Readonly<Record<string, boolean>> | null
  readonly ageSeconds: number | null
  /** Why it could not be found out. */
  readonly failure: string | null
}

export interface BucketFacts {
  /** A name, a prefix followed by "*", or "*". */
  readonly pattern: string
  readonly store: string
  readonly encryption: string
  readonly key: string
  readonly metadata: string
  /** What happens to objects that Sealgate did not write: refuse, allow. */
  readonly plaintext: string
  readonly publicRead: string
}

export interface ScanFacts {
  readonly bucket: string
  readonly store: string
  /** The pattern of the bucket's policy. */
  readonly pattern: string
  readonly ended: string
  /** Also versions that are not current. */
  readonly versions: boolean
  readonly states: Readonly<Record<string, { readonly objects: number; readonly bytes: number }>>
}

/** What one process that serves clients says of itself. It has no secret and no name of an object or a client. */
export interface ProcessReport {
  readonly ready: boolean
  readonly checks: readonly CheckFacts[]
  readonly keys: readonly KeyFacts[]
  /** Regions of key services to which calls are held back after failures. */
  readonly heldBack: readonly string[]
  readonly stores: readonly StoreFacts[]
  readonly buckets: readonly BucketFacts[]
  readonly scans: readonly ScanFacts[]
  readonly activity: Activity
  /** Whether there is an audit file. */
  readonly audited: boolean
  /** The audit file could not be written, since then and last; null: the last line was written. */
  readonly auditFailure: { readonly since: string; readonly at: string; readonly system: string | null } | null
  /** When the certificate of the listener ends, seconds since 1970; null: no TLS. */
  readonly certificateEnds: number | null
  /** The start or the last reload. `ok` false: it was refused, and the configuration before it is in force. */
  readonly reload: { readonly ok: boolean; readonly at: string }
  readonly load: { readonly connections: number; readonly requestsInFlight: number } | null
}

/** A process that serves clients, or should. */
export interface WorkerFacts {
  readonly number: number
  /** `silent`: it does not answer the primary. `ended`: another one will take its place. */
  readonly state: 'serving' | 'starting' | 'silent' | 'ended'
  /** When this process was started, ISO 8601. */
  readonly startedAt: string
  readonly restarts: number
  /** How the process before it ended; null: none did. */
  readonly lastEnd: { readonly at: string; readonly code: number | null; readonly signal: string | null } | null
  readonly load: ProcessReport['load']
}

export interface FindingFacts {
  /** `error`: requests fail, or data is at risk. `warning`: look at it. `note`: how it is, and nothing has to be done. */
  readonly severity: 'error' | 'warning' | 'note'
  /** What it is about, such as `store main` or `key cloud`. */
  readonly subject: string
  readonly title: string
  readonly detail: string
  /** ISO 8601; null: not known. */
  readonly since: string | null
}

/** Everything that the page shows, and all of `/status.json`. */
export interface Facts extends Omit<ProcessReport, 'load'> {
  readonly version: string
  readonly node: string
  /** Name of this machine. */
  readonly host: string
  /** When these facts were read, ISO 8601. */
  readonly at: string
  readonly uptimeSeconds: number
  readonly workers: readonly WorkerFacts[]
  readonly findings: readonly FindingFacts[]
  /** Entries that were left out because a list was too long, by the path of the list. */
  readonly leftOut: Readonly<Record<string, number>>
}
