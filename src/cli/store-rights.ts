import { randomBytes } from 'node:crypto'
import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { errorCode } from '../upstream/response-checks.ts'
import type { Upstream, UpstreamIdentity, UpstreamRequest } from '../upstream/types.ts'

/** What became of one check; null: not tried, and `detail` says why. */
export interface Checked {
  readonly check: string
  readonly ok: boolean | null
  readonly detail: string
}

export interface Reply {
  readonly status: number
  readonly code: string | null
  /** The `Date` of the answer; null where there is none that can be read. */
  readonly date: Date | null
  readonly body: Buffer
}

/** Where rights are tried. */
export interface Place {
  readonly upstream: Upstream
  readonly bucket: string
  /** undefined: the gateway's own. */
  readonly identity: UpstreamIdentity | undefined
  readonly signal: AbortSignal
}

type Sent = Pick<UpstreamRequest, 'method'> & Partial<Pick<UpstreamRequest, 'key' | 'query'>> & { readonly body?: Buffer }

/** One request of a check. @throws S3Error where there is no usable answer. */
export async function ask({ upstream, bucket, identity, signal }: Place, { method, key = null, query = [], body }: Sent): Promise<Reply> {
  const { status, headers, body: answer } = await upstream.request({
    method, bucket, key, query, headers: [], body: body ?? null, contentLength: body?.length ?? 0,
    ...identity === undefined ? {} : { identity }, signal, retry: false, pool: 'control'
  })
  const read = await readAll(answer, 65_536, () => new S3Error('SealgateBadUpstream'))
  const date = new Date(headers.get('date') ?? '')
  return { status, code: errorCode(read), date: Number.isNaN(date.getTime()) ? null : date, body: read }
}

/** One right: the action's name, the requests that need it, and the answers that show it to be there. */
interface Right {
  readonly action: string
  readonly sent: Sent
  readonly granted: readonly number[]
}

/**
 * Tries one by one the rights that reading and writing objects of clients need (docs/OPERATIONS.md, "Permissions at the store"). Leaves
 * nothing behind: an upload is begun and aborted, and a name that does not exist is asked for.
 */
export async function tryClientRights(place: Place): Promise<Checked[]> {
  const key = `sealgate-probe-${randomBytes(12).toString('hex')}`
  const list = await tryRight(place, { action: 's3:ListBucket', sent: { method: 'GET', query: [['list-type', '2'], ['max-keys', '1']] }, granted: [200] })
  if (list.detail.endsWith('NoSuchBucket')) return [{ ...list, detail: 'there is no such bucket' }]
  const versioning = await ask(place, { method: 'GET', query: [['versioning', null]] })
  // Where versions are kept, the removal of what is not there leaves a marker.
  const unversioned = versioning.status === 200 && !versioning.body.includes('<Status>')
  return [
    list,
    verdict('s3:GetBucketVersioning', place, versioning, [200, 501]),
    await tryRight(place, { action: 's3:GetBucketCORS', sent: { method: 'GET', query: [['cors', null]] }, granted: [200, 404, 501] }),
    await tryRight(place, { action: 's3:GetObject', sent: { method: 'HEAD', key }, granted: [404] }),
    ...await tryUpload(place, key),
    unversioned
      ? await tryRight(place, { action: 's3:DeleteObject', sent: { method: 'DELETE', key }, granted: [200, 204, 404] })
      : { check: 's3:DeleteObject', ok: null, detail: 'not tried: it would leave a marker in a bucket that keeps versions' }
  ]
}

/** Tries one by one the rights on the state bucket, with a small object that is removed again. */
export async function tryStateRights(place: Place): Promise<Checked[]> {
  const key = `probe/${randomBytes(12).toString('hex')}/check`
  const rows = [await tryRight(place, { action: 's3:PutObject', sent: { method: 'PUT', key, body: Buffer.from('check') }, granted: [200] })]
  if (rows[0]?.ok !== true) return rows
  rows.push(await tryRight(place, { action: 's3:GetObject', sent: { method: 'GET', key }, granted: [200] }))
  rows.push(...(await tryUpload(place, key)).slice(1))
  rows.push(await tryRight(place, { action: 's3:DeleteObject', sent: { method: 'DELETE', key }, granted: [200, 204] }))
  return rows
}

async function tryUpload(place: Place, key: string): Promise<Checked[]> {
  const begun = await ask(place, { method: 'POST', key, query: [['uploads', null]], body: Buffer.alloc(0) })
  const put = verdict('s3:PutObject', place, begun, [200])
  const id = /<UploadId>([^<]+)<\/UploadId>/.exec(begun.body.toString('utf8'))?.[1]
  if (put.ok !== true || id === undefined) return [put]
  const upload = { key, query: [['uploadId', id]] } as const
  return [
    put,
    await tryRight(place, { action: 's3:ListMultipartUploadParts', sent: { method: 'GET', ...upload }, granted: [200] }),
    await tryRight(place, { action: 's3:AbortMultipartUpload', sent: { method: 'DELETE', ...upload }, granted: [200, 204] })
  ]
}

async function tryRight(place: Place, { action, sent, granted }: Right): Promise<Checked> {
  return verdict(action, place, await ask(place, sent), granted)
}

function verdict(check: string, { bucket }: Place, { status, code }: Reply, granted: readonly number[]): Checked {
  if (granted.includes(status)) return { check, ok: true, detail: '' }
  const answer = code === null ? String(status) : `${status} ${code}`
  return { check, ok: false, detail: status === 403 ? `${answer}: allow ${check} on ${bucket}` : `the store answers ${answer}` }
}
