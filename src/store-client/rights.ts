// The rights that the gateway needs on a bucket, tried one by one with real requests.
import { randomBytes } from 'node:crypto'
import type { UpstreamIdentity } from '../upstream/types.ts'
import { fieldOf, type BucketClient, type Answer, type Sent } from './bucket-client.ts'

/** The result of one check; null: not tried, `detail` has the reason. */
export interface Checked {
  readonly check: string
  readonly ok: boolean | null
  readonly detail: string
}

/** Where rights are tried, and as whom; undefined: as the gateway. */
export interface RightsPlace {
  readonly bucket: BucketClient
  readonly identity: UpstreamIdentity | undefined
}

/** One request of a check. @throws S3Error where there is no usable answer. */
export function ask({ bucket, identity }: RightsPlace, sent: Sent): Promise<Answer> {
  return bucket.answer({ ...sent, ...identity === undefined ? {} : { identity } })
}

/** One right: the action's name, the requests that need it, and the answers that show it to be there. */
interface Right {
  readonly action: string
  readonly sent: Sent
  readonly granted: readonly number[]
}

/**
 * Tries one by one the rights that reading and writing objects of clients need (docs/PERMISSIONS.md). Leaves nothing behind: an upload is
 * started and aborted, and a name that does not exist is read. @param cors whether preflights read the rules of buckets under this identity
 */
export async function tryClientRights(place: RightsPlace, cors: boolean): Promise<Checked[]> {
  const key = `sealgate-probe-${randomBytes(12).toString('hex')}`
  const list = await tryRight(place, { action: 's3:ListBucket', sent: { method: 'GET', query: [['list-type', '2'], ['max-keys', '1']] }, granted: [200] })
  if (list.detail.endsWith('NoSuchBucket')) return [{ ...list, detail: 'there is no such bucket' }]
  const versioning = await ask(place, { method: 'GET', query: [['versioning', null]] })
  // Where versions are kept, the removal of what is not there leaves a marker.
  const unversioned = versioning.status === 501 || (versioning.status === 200 && !versioning.body.includes('<Status>'))
  return [
    list,
    classify('s3:GetBucketVersioning', place, versioning, [200, 501]),
    ...!cors ? [] : [await tryRight(place, { action: 's3:GetBucketCORS', sent: { method: 'GET', query: [['cors', null]] }, granted: [200, 404, 501] })],
    await tryRight(place, { action: 's3:GetObject', sent: { method: 'HEAD', key }, granted: [404] }),
    ...await tryUpload(place, key),
    unversioned
      ? await tryRight(place, { action: 's3:DeleteObject', sent: { method: 'DELETE', key }, granted: [200, 204, 404] })
      : { check: 's3:DeleteObject', ok: null, detail: 'not tried: it would leave a marker in a bucket that keeps versions' }
  ]
}

/** Tries one by one the rights on the state bucket, with a small object that is removed again. */
export async function tryStateRights(place: RightsPlace): Promise<Checked[]> {
  const key = `probe/${randomBytes(12).toString('hex')}/check`
  const rows = [await tryRight(place, { action: 's3:PutObject', sent: { method: 'PUT', key, body: Buffer.from('check') }, granted: [200] })]
  if (rows[0]?.ok !== true) return rows
  rows.push(await tryRight(place, { action: 's3:GetObject', sent: { method: 'GET', key }, granted: [200] }))
  rows.push(...(await tryUpload(place, key)).slice(1))
  rows.push(await tryRight(place, { action: 's3:DeleteObject', sent: { method: 'DELETE', key }, granted: [200, 204] }))
  return rows
}

async function tryUpload(place: RightsPlace, key: string): Promise<Checked[]> {
  const created = await ask(place, { method: 'POST', key, query: [['uploads', null]], body: Buffer.alloc(0) })
  const put = classify('s3:PutObject', place, created, [200])
  if (put.ok !== true) return [put]
  const upload = { key, query: [['uploadId', fieldOf(created.body, 'UploadId')]] } as const
  return [
    put,
    await tryRight(place, { action: 's3:ListMultipartUploadParts', sent: { method: 'GET', ...upload }, granted: [200] }),
    await tryRight(place, { action: 's3:AbortMultipartUpload', sent: { method: 'DELETE', ...upload }, granted: [200, 204] })
  ]
}

async function tryRight(place: RightsPlace, { action, sent, granted }: Right): Promise<Checked> {
  return classify(action, place, await ask(place, sent), granted)
}

function classify(check: string, { bucket }: RightsPlace, { status, error }: Answer, granted: readonly number[]): Checked {
  if (granted.includes(status)) return { check, ok: true, detail: '' }
  const answer = error === null ? String(status) : `${status} ${error.code}`
  return { check, ok: false, detail: status === 403 ? `${answer}: allow ${check} on ${bucket.name}` : `the store answers ${answer}` }
}
