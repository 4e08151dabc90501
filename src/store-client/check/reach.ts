// The first questions of `sealgate store check`: who answers, under which address, in which region, at what time, over which TLS.
import { isIP } from 'node:net'
import type { UpstreamConfig } from '../../config/config.ts'
import { clockSkewSeconds, diagnosisOf } from '../../diagnosis.ts'
import { S3Error } from '../../errors.ts'
import type { TlsFacts } from '../../upstream/tls-facts.ts'
import type { Upstream } from '../../upstream/types.ts'
import { BucketClient, type Answer } from '../bucket-client.ts'
import { broken, fails, unused, used, type Reading } from './check.ts'

export interface Reached {
  readonly facts: readonly (Reading & { readonly id: string; readonly fact: string })[]
  /** As configured, with what had to change for an answer. */
  readonly config: UpstreamConfig
}

export interface Reach {
  readonly config: UpstreamConfig
  readonly open: (config: UpstreamConfig) => Upstream
  /** @param host the name that the certificate must have */
  readonly tls: (host: string) => Promise<TlsFacts | null>
  readonly signal: AbortSignal
}

/** @throws S3Error when the store cannot be reached or does not know the credentials; the reason of the signal. */
export async function reachStore(reach: Reach): Promise<Reached> {
  const { config: asConfigured } = reach
  const region = await inItsRegion(reach)
  const { config, answer, facts } = await atItsAddress(reach, region)
  const server = answer.headers.get('server') ?? ''
  return {
    config,
    facts: [
      ...region.facts,
      ...facts,
      { id: 'store', fact: 'who answers', ...unused(/^[\x20-\x7e]{1,60}$/.test(server) ? server : 'does not say', asConfigured.endpoint) },
      { id: 'clock', fact: 'difference of the clocks', ...clockReading(clockSkewSeconds(answer.headers.get('date'), Date.now())) },
      { id: 'tls', fact: 'TLS', ...await tlsReading(reach, config) }
    ]
  }
}

interface Asked {
  readonly config: UpstreamConfig
  readonly facts: Reached['facts']
  /** An error that only another address may cure. */
  readonly answer: Answer | S3Error
}

/** No HEAD: only a document says why a signature is refused. */
function ask({ open, signal }: Reach, config: UpstreamConfig): Promise<Answer> {
  return new BucketClient(open(config), config.stateBucket, signal).answer({ method: 'GET', query: [['versioning', null]], retry: true })
}

async function inItsRegion(reach: Reach): Promise<Asked> {
  const { config, signal } = reach
  try {
    return { config, facts: [], answer: await ask(reach, config) }
  } catch (error) {
    if (signal.aborted || !(error instanceof S3Error)) throw error
    const expected = diagnosisOf(error)?.expectedRegion ?? null
    if (expected === null || expected === config.region) return { config, facts: [], answer: error }
    const fact = broken(`signed for ${config.region}, it is ${expected}`, 'every request is refused', { 'upstream.region': expected })
    const right = { ...config, region: expected }
    return { config: right, facts: [{ id: 'region', fact: 'region', ...fact }], answer: await ask(reach, right) }
  }
}

/** Asks in the other style where the store gives no document in the one that is configured. */
async function atItsAddress(reach: Reach, { config, answer }: Asked): Promise<Asked & { readonly answer: Answer }> {
  const name = { id: 'style', fact: 'address of buckets' }
  if (isOfBucket(answer)) return { config, answer, facts: [{ ...name, ...used(config.style) }] }
  const other = { ...config, style: config.style === 'path' ? 'virtual-host' as const : 'path' as const }
  // An address has no names below it.
  const second = isIP(hostOf(config)) === 0 ? await ask(reach, other).catch(() => null) : null
  reach.signal.throwIfAborted()
  if (second !== null && isOfBucket(second)) {
    const seen = `${config.style}: ${said(answer)}; ${other.style}: ${said(second)}`
    return { config: other, answer: second, facts: [{ ...name, ...broken(seen, 'no bucket is found', { 'upstream.style': other.style }) }] }
  }
  if (answer instanceof S3Error) throw answer
  return { config, answer, facts: [{ ...name, verdict: 'unknown', seen: `${config.style}: ${said(answer)}` }] }
}

function hostOf({ endpoint }: Pick<UpstreamConfig, 'endpoint'>): string {
  return new URL(endpoint).hostname.replace(/^\[|\]$/g, '')
}

/** Whether the store has understood which bucket is meant: it answers for it, or says that there is none. */
function isOfBucket(answer: Answer | S3Error): answer is Answer {
  if (answer instanceof S3Error) return false
  return answer.status === 200 ? answer.body.includes('VersioningConfiguration') : answer.error?.code === 'NoSuchBucket'
}

function said(answer: Answer | S3Error): string {
  if (answer instanceof S3Error) return diagnosisOf(answer)?.system ?? answer.code
  return answer.status === 200 ? isOfBucket(answer) ? 'works' : 'answers for something else' : answer.error?.code ?? String(answer.status)
}

/** S3 refuses signatures that are 15 minutes off (AWS, "Authenticating Requests"). */
function clockReading(skew: number | null): Reading {
  if (skew === null) return { verdict: 'unknown', seen: 'the store does not say its time' }
  return Math.abs(skew) < 300
    ? used(`${Math.abs(skew)} s`)
    : broken(`${Math.abs(skew)} s`, 'signatures are refused from 900 s on: set the clock of this machine')
}

const DAY_MS = 86_400_000
/** Certificates of 90 days are renewed 30 days before their end, those of 6 days after half of it. */
const SHORT_DAYS = 3

/** A certificate that is not accepted has ended the run before, unless only that of buckets in virtual-host style is not. */
async function tlsReading({ tls }: Reach, { endpoint, style, stateBucket }: UpstreamConfig): Promise<Reading> {
  if (new URL(endpoint).protocol === 'http:') return unused('none: plain HTTP', 'objects are sealed; names, sizes and times of requests can be read on the way')
  const host = style === 'path' ? hostOf({ endpoint }) : `${stateBucket}.${hostOf({ endpoint })}`
  const found = await tls(host)
  if (found === null) return { verdict: 'unknown', seen: 'no answer to a greeting' }
  if (found.fault !== null) {
    return broken(`${found.protocol}, ${found.fault} for ${host}`, 'every request is refused here: see upstream.ca and the name in the certificate')
  }
  const days = Math.floor((found.expires.getTime() - Date.now()) / DAY_MS)
  const seen = `${found.protocol}, a certificate for ${host} until ${found.expires.toISOString().slice(0, 10)}`
  return days < SHORT_DAYS ? fails(`${seen}: ${days} days`, 'every request will fail then: renew it') : used(seen)
}
