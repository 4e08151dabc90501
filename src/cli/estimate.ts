// What `encrypt --estimate` says: bytes, requests, time and cost.
import { openBody } from '../maintenance/verify-object.ts'
import { HELD_COPY_BYTES } from '../operations/copy/by-upload.ts'
import { HELD_BYTES } from '../operations/objects/put-object.ts'
import type { Finding, Limits, Totals } from '../maintenance/engine.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'

/** Objects that are read to measure how fast the store delivers, and most bytes of each. */
const SAMPLES = 16
const SAMPLE_BYTES = 8 * 1024 ** 2
/**
 * Requests to the store for one object without tags, as gateway and command send them: measured by a test. `small`: of one segment, held with its digests.
 * `large`: above 1 MiB up to 5 GiB, where the store enforces conditions on CompleteMultipartUpload; with the note in the state bucket. Its removal costs
 * nothing.
 */
export const requestsOf = {
  small: { reads: 8, writes: 1, readsToVerify: 1 },
  medium: { reads: 8, writes: 1, readsToVerify: 2 },
  large: { reads: 8, writes: 4, readsToVerify: 2 }
} as const
type Kind = keyof typeof requestsOf
type Requests = (typeof requestsOf)[Kind]

function kindOf(size: number): Kind {
  return size <= HELD_BYTES ? 'small' : size <= HELD_COPY_BYTES ? 'medium' : 'large'
}

/** US dollars per 1,000 requests of S3 Standard in us-east-1 (AWS, "Amazon S3 pricing", 2026). */
const PRICE = { reads: 0.0004, writes: 0.005 }
/** Transfers side by side that are taken to be as fast as one alone. */
const SIDE_BY_SIDE = 4

/** Measures how fast the store delivers bodies. */
export class Meter {
  readonly started = performance.now()
  #left = SAMPLES
  readonly counts: Record<Kind, number> = { small: 0, medium: 0, large: 0 }
  #bytes = 0
  #ms = 0

  async measure(bucket: BucketClient, { key, size }: Finding): Promise<void> {
    this.counts[kindOf(size ?? 0)] += 1
    if (this.#left === 0 || size === null || size === 0) return
    this.#left -= 1
    const began = performance.now()
    const { body } = await openBody(bucket, { key, versionId: null }, `bytes=0-${Math.min(size, SAMPLE_BYTES) - 1}`)
    for await (const chunk of body as AsyncIterable<Buffer>) this.#bytes += chunk.length
    this.#ms += performance.now() - began
  }

  /** Bytes per second of one transfer; null: nothing was read. */
  get rate(): number | null {
    return this.#bytes === 0 ? null : this.#bytes / this.#ms * 1000
  }
}

/** null: nothing is to be measured. */
export function readMeter(wanted: boolean): Meter | null {
  return wanted ? new Meter() : null
}

export function estimateText(meter: Meter, { outcomes, rows }: Totals, { concurrency, perSecond, bytesPerSecond }: Limits, verify: boolean): string {
  const due = outcomes.get('would be encrypted')
  const [objects, bytes] = [due?.objects ?? 0, due?.bytes ?? 0]
  const all = (count: (of: Requests) => number): number =>
    Object.entries(meter.counts).reduce((sum, [kind, number]) => sum + number * count(requestsOf[kind as Kind]), 0)
  const readsOf = ({ reads, readsToVerify }: Requests): number => reads + (verify ? readsToVerify : 0)
  const [reads, writes] = [all(readsOf), all((of) => of.writes)]
  const requests = reads + writes
  // The requests of this run have been a HEAD for each row and a GET for each plaintext object.
  const requestsPerSecond = (rows + objects) / Math.max(0.001, (performance.now() - meter.started) / 1000)
  const transfer = meter.rate === null ? 0 : bytes * (verify ? 3 : 2) / (meter.rate * Math.min(concurrency, SIDE_BY_SIDE))
  const seconds = Math.max(
    requests / requestsPerSecond + transfer,
    perSecond === null ? 0 : objects / perSecond,
    bytesPerSecond === null ? 0 : bytes / bytesPerSecond
  )
  const dollars = (reads * PRICE.reads + writes * PRICE.writes) / 1000
  const many = (value: number): string => Math.ceil(value).toLocaleString('en')
  return [
    `To encrypt: ${many(objects)} objects, ${many(bytes)} bytes, which are read ${verify ? 'twice' : 'once'} and written once.`,
    `Requests: about ${many(requests)}: ${readsOf(requestsOf.small)} reads and ${requestsOf.small.writes} write for each object, ${
      readsOf(requestsOf.large)
    } and ${requestsOf.large.writes} above 1 MiB, as measured; tags and parts cost more. Time: about ${many(seconds / 60)} min at the rate measured now${
      meter.rate === null ? '' : ` (${(meter.rate / 1024 ** 2).toFixed(1)} MiB/s for one object)`
    } and with these limits, if ${SIDE_BY_SIDE} transfers are as fast as one.`,
    `Cost of the requests, with assumed prices of $${PRICE.reads} and $${PRICE.writes} for 1,000 reads and writes (S3 Standard, us-east-1): about $${
      dollars.toFixed(2)
    }.`,
    'Traffic to another region or out of AWS, and early deletion',
    'in classes with a least duration, cost extra. A bucket that keeps versions keeps the old ones as well.',
    ''
  ].join('\n')
}
