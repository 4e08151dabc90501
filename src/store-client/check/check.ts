// `sealgate store check`: what a store can do, as a table of questions. Each check names its cost and reads the answers; plan.ts puts
// the tables together, makes the buckets and cleans up. A check writes only inside its place.
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BucketKind, UpstreamConfig } from '../../config/config.ts'
import type { StoreFeature } from '../../config/store-profiles.ts'
import { diagnosisOf } from '../../diagnosis.ts'
import { S3Error } from '../../errors.ts'
import { HeaderList } from '../../http/message.ts'
import { readListing, type ListingRow } from '../../s3/listing-rows.ts'
import type { Upstream } from '../../upstream/types.ts'
import { isPassing, type Answer, type Sent } from '../bucket-client.ts'
import type { ProbePlace } from '../probe-place.ts'

/** Options of the configuration by their path, `upstream.maxParts`, and what they should be; null: left out. Lists are added to. */
export type Settings = Readonly<Record<string, string | number | boolean | readonly string[] | null>>

/**
 * `used`: the gateway relies on it, and it is there. `unused`: there or not, the gateway does without. `through`: it is not there, and
 * works by other means. `fails`: it will not work. `unknown`: the store gave no answer to read it from.
 */
export type Verdict = 'used' | 'unused' | 'through' | 'fails' | 'unknown'

/** What the answers to one question say. */
export interface Reading {
  readonly verdict: Verdict
  /** What the store did, in few words. */
  readonly seen: string
  /** What that means for the gateway and its clients; '' where the verdict says it all. */
  readonly means?: string
  /** Without it the gateway cannot do its work with this configuration. */
  readonly needed?: boolean
  /** What the configuration should have. */
  readonly settings?: Settings
  /** In place of the fact of the check, where that has several. */
  readonly fact?: string
}

export interface Fact extends Reading {
  readonly id: string
  readonly fact: string
  readonly bucket: BucketKind
  readonly settings: Settings
}

/** Where a check asks, and what it may know. */
export interface Questions {
  readonly place: ProbePlace
  readonly kind: BucketKind
  readonly upstream: Upstream
  /** The same store, asked with the other way of sending streams: in signed chunks where `upstream` leaves them unsigned. */
  readonly chunked: Upstream
  readonly config: UpstreamConfig
  /** Rules of the gateway's own take the place of those of buckets. */
  readonly ownCors: boolean
  /** The bucket was made for this run. */
  readonly ownBucket: boolean
  /** Parts of the upload that counts them; 0: it is not made. */
  readonly parts: number
  /** Another bucket of this run, with another name; null: there is none. */
  readonly second: ProbePlace | null
}

/** One question, or a few that share their requests. */
export interface Check {
  /** Stable: programs read it. */
  readonly id: string
  readonly fact: string
  /** Requests at most, without those that clean up. */
  readonly requests: number
  /** Bytes that are sent, at most. */
  readonly bytes?: number
  /** Kinds of bucket it is asked in. Default: the first that there is. */
  readonly kinds?: readonly BucketKind[]
  ask(at: Questions): Promise<Reading | readonly Reading[]>
}

/** An answer as checks read it. A request never throws for what the store did. */
export interface Seen {
  /** A success without an error inside. */
  readonly ok: boolean
  /** HTTP status; 0: there was no usable answer. */
  readonly status: number
  /** The store's code of the error, or the system's of a failed exchange; ''. */
  readonly code: string
  readonly headers: HeaderList
  readonly body: Buffer
  readonly text: string
  /** `403 AccessDenied`. */
  readonly said: string
}

/** `stream`: sent as a stream, so in chunks or unsigned, as object data is. */
type Question = Sent & { readonly stream?: Buffer }

const PAUSES_MS = [250, 1000] as const

/**
 * Asks, and once or twice more where the store was only busy or away, as long as the place has repeats left.
 * @throws the reason of the place's signal, and nothing else
 */
export async function ask(place: ProbePlace, question: Question, maxBytes = 1024 * 1024): Promise<Seen> {
  for (const pause of PAUSES_MS) {
    const seen = await askOnce(place, question, maxBytes)
    if (!isPassing(seen.status) || !mayRepeat(place, question)) return seen
    await sleep(pause, undefined, { signal: place.signal })
  }
  return askOnce(place, question, maxBytes)
}

function mayRepeat({ repeats }: ProbePlace, { stream, body }: Question): boolean {
  const bytes = stream?.length ?? (body instanceof Buffer ? body.length : 0)
  if (repeats.requests < 1 || repeats.bytes < bytes) return false
  repeats.requests -= 1
  repeats.bytes -= bytes
  return true
}

async function askOnce(place: ProbePlace, { stream, ...sent }: Question, maxBytes: number): Promise<Seen> {
  const body = stream === undefined ? {} : { body: Readable.from([stream.subarray(0, 10), stream.subarray(10)]), contentLength: stream.length }
  try {
    return seenOf(await place.answer({ ...sent, ...body }, maxBytes))
  } catch (error) {
    return unanswered(place, error)
  }
}

/** CreateMultipartUpload; `id` is null where it was refused. */
export async function begin(place: ProbePlace, key: string): Promise<{ readonly seen: Seen; readonly id: string | null }> {
  try {
    const { answer, id } = await place.createUpload(key)
    return { seen: seenOf(answer), id }
  } catch (error) {
    return { seen: unanswered(place, error), id: null }
  }
}

interface Part {
  readonly number: number
  readonly etag: string
}

/** A whole upload of parts of these sizes: the answer that refused it, or that of its Complete. */
export async function upload(place: ProbePlace, name: string, sizes: readonly number[]): Promise<Seen> {
  const key = place.key(name)
  const { seen, id } = await begin(place, key)
  if (id === null) return seen
  const { parts, refused } = await sendParts(place, key, id, sizes)
  return refused ?? complete(place, key, id, parts)
}

interface Parts {
  readonly parts: readonly Part[]
  /** The answer to the first that was refused; no more were sent then. */
  readonly refused: Seen | null
}

export async function sendParts(place: ProbePlace, key: string, id: string, sizes: readonly number[]): Promise<Parts> {
  const parts: Part[] = []
  for (const [i, size] of sizes.entries()) {
    const seen = await sendPart(place, key, id, i + 1, size)
    if (!seen.ok) return { parts, refused: seen }
    parts.push({ number: i + 1, etag: seen.headers.get('etag') ?? '' })
  }
  return { parts, refused: null }
}

export function sendPart(place: ProbePlace, key: string, id: string, number: number, size: number): Promise<Seen> {
  return ask(place, { method: 'PUT', key, query: [['partNumber', String(number)], ['uploadId', id]], body: Buffer.alloc(size, number) })
}

/** CompleteMultipartUpload. */
export async function complete(place: ProbePlace, key: string, id: string, parts: readonly Part[]): Promise<Seen> {
  const rows = parts.map(({ number, etag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag></Part>`).join('')
  const body = Buffer.from(`<CompleteMultipartUpload>${rows}</CompleteMultipartUpload>`)
  const seen = await ask(place, { method: 'POST', key, query: [['uploadId', id]], headers: [['content-type', 'application/xml']], body })
  if (seen.ok) place.ended(id)
  return seen
}

/** An exchange that failed, or an answer that is of no use. @throws the reason of the place's signal */
function unanswered(place: ProbePlace, error: unknown): Seen {
  place.signal.throwIfAborted()
  const found = diagnosisOf(error)
  const status = found?.status ?? 0
  const code = found?.errorName ?? found?.system ?? (error instanceof S3Error ? error.code : 'unknown error')
  return { ok: false, status: status < 400 ? 0 : status, code, headers: new HeaderList([]), body: Buffer.alloc(0), text: '', said: said(status, code) }
}

function seenOf({ status, headers, body, error }: Answer): Seen {
  const code = error?.code ?? ''
  return { ok: status >= 200 && status < 300 && error === null, status, code, headers, body, text: body.toString('utf8'), said: said(status, code) }
}

function said(status: number, code: string): string {
  return [...status === 0 ? ['no usable answer'] : [String(status)], ...code === '' ? [] : [code]].join(' ')
}

export function used(seen: string, means = ''): Reading {
  return { verdict: 'used', seen, means }
}

export function unused(seen: string, means = ''): Reading {
  return { verdict: 'unused', seen, means }
}

/** @param means by what it works. */
export function through(seen: string, means: string, settings: Settings = {}): Reading {
  return { verdict: 'through', seen, means, settings }
}

/** Something that clients will miss. */
export function fails(seen: string, means: string, settings: Settings = {}): Reading {
  return { verdict: 'fails', seen, means, settings }
}

/** Something without which the gateway cannot work, unless the settings help. */
export function broken(seen: string, means: string, settings: Settings = {}): Reading {
  return { verdict: 'fails', seen, means, settings, needed: true }
}

/** The reading of an answer that shows nothing about the question, or null. @param right that the request needs, as AWS names it. */
export function unread(seen: Seen, place: ProbePlace, right: string): Reading | null {
  if (isPassing(seen.status)) return { verdict: 'unknown', seen: seen.said, means: 'ask again when the store answers' }
  return seen.code === 'AccessDenied' ? { verdict: 'unknown', seen: seen.said, means: `allow ${right} on ${place.name}` } : null
}

/**
 * A feature that is missing. 501 is an answer that the gateway understands; any other is spared by `upstream.lacks`. Only what the store itself says of
 * the request is such an answer: a refusal (401, 403), or a page of a proxy, may come from anything.
 */
export function lack(seen: Seen, feature: StoreFeature): Settings {
  return seen.status !== 501 && isUnknown(seen) ? { 'upstream.lacks': [feature] } : {}
}

/** The store does not know the request: it says so, or did something else. */
export function isUnknown({ ok, status, code }: Seen): boolean {
  if (ok || status === 501) return true
  return code !== '' && code !== 'NoSuchBucket' && [400, 404, 405].includes(status)
}

/** A feature that is there. */
export function present(seen: string, { lacks }: { readonly lacks: readonly StoreFeature[] }, feature: StoreFeature): Reading {
  return used(seen, lacks.includes(feature) ? `upstream.lacks: ${feature} is not needed` : '')
}

/** A small object. */
export function put(place: ProbePlace, name: string, headers: Sent['headers'] = [], body = 'probe'): Promise<Seen> {
  return ask(place, { method: 'PUT', key: place.key(name), headers, body: Buffer.from(body) })
}

/** Rows of a listing; none where it is no listing. */
export function rowsOf(seen: Seen): readonly ListingRow[] {
  try {
    return seen.ok ? readListing(seen.body) : []
  } catch {
    // Not a document: the missing rows say so.
    return []
  }
}
