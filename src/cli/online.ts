import type { StoreUpstream } from '../upstream/upstream.ts'
import { policyFor, upstreamsOfKey, type Config, type UpstreamConfig } from '../config/config.ts'
import { S3Error } from '../errors.ts'
import { openKeyRegistry } from '../keys/registry.ts'
import { probeConditions } from '../store-client/probe-conditions.ts'
import { probeTrailers } from '../store-client/probe-trailers.ts'
import { checkAudit } from './online-audit.ts'
import { exitCodes, type Platform } from './platform.ts'
import { openStore, storeOfBucket } from './store-command.ts'
import { BucketClient, versioningStatus, type Answer } from '../store-client/bucket-client.ts'
import { ask, tryClientRights, tryStateRights, type Checked, type RightsPlace } from '../store-client/rights.ts'

const PATIENCE_MS = 30_000
/** S3 refuses signatures that are 15 minutes off (AWS, "Authenticating Requests"); at a third of that it is time to act. */
const SKEW_ALLOWED_SECONDS = 300

/**
 * `sealgate config check --online`: checks with the stores and the keys everything that a start needs, one row per check.
 * @param bucket a bucket of clients whose rights are checked as well; null: none.
 * @param stores to be asked. @returns the exit code: 0 every check passed, 1 one failed.
 */
export async function checkOnline(config: Config, stores: readonly UpstreamConfig[], bucket: string | null, platform: Platform): Promise<number> {
  const [keys, audit, ...found] = await Promise.all([checkKeys(config), checkAudit(config), ...stores.map((settings) => checkStore(config, settings, bucket))])
  const rows = [...found.flat(), ...keys, ...audit]
  platform.stdout.write(`\n${tableOf(rows)}`)
  const failed = rows.filter(({ ok }) => ok === false).length
  platform.stdout.write(failed === 0 ? '\nEvery check passed.\n' : `\n${failed} of ${rows.length} checks failed.\n`)
  return failed === 0 ? exitCodes.done : exitCodes.failed
}

/** Rows of one store, named with it where there are several. */
async function checkStore(config: Config, settings: UpstreamConfig, bucket: string | null): Promise<Checked[]> {
  const refused: string[] = []
  const upstream = openStore(settings, config, {
    onRefused: (code) => {
      refused.push(code)
    }
  })
  try {
    const here = bucket !== null && storeOfBucket(config, bucket) === settings
    const rows = await new Online(config, settings, upstream, refused).store(here ? bucket : null)
    return Object.keys(config.upstreams).length === 1 ? rows : rows.map((row) => ({ ...row, check: `${settings.name}: ${row.check}` }))
  } finally {
    await upstream.close()
  }
}

/** Each key by itself: the failure of one does not affect the others. */
async function checkKeys(config: Config): Promise<Checked[]> {
  const { keys, keyCache } = config
  return Promise.all(
    Object.entries(keys).map(async ([name, key]) => {
      const check = `key ${name}`
      try {
        const registry = await openKeyRegistry({
          keys: { [name]: key },
          cache: keyCache,
          usedAt: (used) => upstreamsOfKey(config, used),
          audit: () => undefined
        })
        try {
          await registry.selfTest()
          return { check, ok: true, detail: ['wraps and unwraps', ...registry.warningsOf(name)].join('; ') }
        } finally {
          await registry.close()
        }
      } catch (error) {
        return { check, ok: false, detail: causeOf(error) }
      }
    })
  )
}

class Online {
  readonly #config: Config
  readonly #settings: UpstreamConfig
  readonly #upstream: StoreUpstream
  /** Codes with which the store refused the gateway's own credentials. */
  readonly #refused: readonly string[]
  readonly #signal = AbortSignal.timeout(PATIENCE_MS)

  constructor(config: Config, settings: UpstreamConfig, upstream: StoreUpstream, refused: readonly string[]) {
    this.#config = config
    this.#settings = settings
    this.#upstream = upstream
    this.#refused = refused
  }

  async store(bucket: string | null): Promise<Checked[]> {
    const place = this.#place(this.#settings.stateBucket)
    let head: Answer
    try {
      head = await ask(place, { method: 'GET', query: [['versioning', null]] })
    } catch (error) {
      return this.#unreached(error)
    }
    const rows: Checked[] = [{ check: 'store answers', ok: head.status < 500 || head.status === 501, detail: this.#settings.endpoint }, clock(head)]
    const state = await this.#group('state bucket', () => this.#stateBucket(place, head))
    rows.push(...state)
    // The capabilities are probed in the state bucket.
    if (state.every(({ ok }) => ok === true)) rows.push(...await this.#group('', () => this.#capabilities()))
    if (bucket !== null) rows.push(...await this.#clientBucket(bucket))
    return rows
  }

  #place(bucket: string, identity?: RightsPlace['identity']): RightsPlace {
    return { bucket: new BucketClient(this.#upstream, bucket, this.#signal), identity }
  }

  /** The store gave no usable answer to the first request, so the other checks are not possible. */
  #unreached(error: unknown): Checked[] {
    const code = this.#refused[0]
    const rest = { check: 'state bucket, rights, conditions', ok: null, detail: 'not tried' } as const
    if (code === undefined) return [{ check: 'store answers', ok: false, detail: causeOf(error) }, rest]
    const off = code === 'RequestTimeTooSkewed'
    return [
      { check: 'store answers', ok: true, detail: this.#settings.endpoint },
      {
        check: off ? 'clock' : 'credentials',
        ok: false,
        detail: `the store answers ${code}: ${off ? 'set the clock of this machine' : adviceFor(code, this.#settings.section)}`
      },
      rest
    ]
  }

  async #stateBucket(place: RightsPlace, head: Answer): Promise<Checked[]> {
    const check = place.bucket.name
    if (head.status === 404) {
      return [{ check, ok: null, detail: 'is not there: the gateway makes it at start, with s3:CreateBucket. Its rights are not tried' }]
    }
    // Ceph answers AccessDenied also for an access key that it does not know.
    if (head.status === 403) {
      return [{ check, ok: false, detail: `403 ${head.error?.code ?? ''}: the credentials are not good for this bucket, or the store does not know them` }]
    }
    const status = versioningStatus(head.body)
    if (status === 'Enabled') return [{ check, ok: false, detail: 'keeps versions: the records of every upload would stay. Name a bucket without' }]
    return [{ check, ok: true, detail: status === undefined ? '' : 'versioning is suspended: each delete leaves a marker' }, ...await tryStateRights(place)]
  }

  /** How the store handles conditions and checksums; a different claim in the configuration is a fault. */
  async #capabilities(): Promise<Checked[]> {
    const { stateBucket, checksum, conditions: claimed, section } = this.#settings
    const found = await probeConditions(this.#upstream, stateBucket, this.#signal)
    const rows = (['put', 'complete', 'copy', 'delete'] as const).map((name): Checked => {
      const check = `conditions: ${name}`
      if (claimed[name] === true && !found[name]) return { check, ok: false, detail: `${section}.conditions.${name} is true, but the store ignores them` }
      return { check, ok: true, detail: found[name] ? 'enforced by the store' : 'ignored by the store: such requests are refused' }
    })
    if (checksum === null) return rows
    await probeTrailers(this.#upstream, stateBucket, checksum, this.#signal)
    return [...rows, { check: `checksum ${checksum}`, ok: true, detail: 'taken by the store' }]
  }

  /** As the gateway, and as each client that has an identity of its own at the store and may use the bucket. */
  async #clientBucket(bucket: string): Promise<Checked[]> {
    const rows = await this.#group(bucket, async () => {
      policyFor(this.#config, bucket)
      return tryClientRights(this.#place(bucket), this.#config.listen.cors.length === 0)
    })
    for (const { accessKeyId, identities, buckets } of this.#config.clients) {
      const identity = identities[this.#settings.name]
      const may = buckets.some((pattern) => pattern.endsWith('*') ? bucket.startsWith(pattern.slice(0, -1)) : pattern === bucket)
      if (identity !== undefined && may) {
        rows.push(...await this.#group(`${bucket} as ${accessKeyId}`, () => tryClientRights(this.#place(bucket, identity), false)))
      }
    }
    return rows
  }

  /** Rows under a common name; a failure of the exchange becomes a row. */
  async #group(name: string, work: () => Promise<Checked[]>, whole = name): Promise<Checked[]> {
    try {
      const rows = await work()
      return name === '' ? rows : rows.map((row) => ({ ...row, check: `${name}: ${row.check}` }))
    } catch (error) {
      return [{ check: whole === '' ? 'conditions and checksums' : whole, ok: false, detail: causeOf(error) }]
    }
  }
}

function clock({ headers }: Answer): Checked {
  const check = 'clock'
  const date = new Date(headers.get('date') ?? '')
  if (Number.isNaN(date.getTime())) return { check, ok: null, detail: 'the store does not say its time' }
  const seconds = Math.round((Date.now() - date.getTime()) / 1000)
  const off = Math.abs(seconds) <= 1 ? 'the same as the store\'s' : `${Math.abs(seconds)} s ${seconds > 0 ? 'ahead of' : 'behind'} the store's`
  return { check, ok: Math.abs(seconds) <= SKEW_ALLOWED_SECONDS, detail: off }
}

function adviceFor(code: string, section: string): string {
  if (code === 'SignatureDoesNotMatch') return `${section}.secretAccessKey is wrong`
  if (code === 'InvalidAccessKeyId') return `${section}.accessKeyId is not known to it`
  if (code === 'AuthorizationHeaderMalformed') return `${section}.region is wrong`
  return `${section}.sessionToken or the credential has expired or is not valid`
}

/** The cause in messages of the gateway, with codes of the system or the service. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const { cause } = error
  const message = error instanceof S3Error || error.name !== 'TimeoutError' ? error.message : `no answer within ${PATIENCE_MS / 1000} s`
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? ` (${cause.code})` : ''
  return message + code
}

function tableOf(rows: readonly Checked[]): string {
  const width = Math.max(...rows.map(({ check }) => check.length))
  return rows.map(({ check, ok, detail }) => `${check.padEnd(width)}  ${ok === null ? '-     ' : ok ? 'ok    ' : 'FAILED'}  ${detail}`.trimEnd() + '\n').join(
    ''
  )
}
