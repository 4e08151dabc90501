import type { HeaderList } from '../http/headers.ts'
import type { HttpRequest } from '../http/message.ts'
import type { Query } from '../http/target.ts'
import type { Catalog } from './catalog.ts'
import type { Payload } from './verify.ts'

/** A request whose signature has verified, or which is anonymous. */
export interface StoreRequest {
  readonly http: HttpRequest
  readonly method: string
  /** '' for operations on the service. */
  readonly bucket: string
  /** '' for operations on a bucket. */
  readonly key: string
  readonly query: Query
  /** As received, plus the `x-amz-*` parameters of a presigned query. */
  readonly headers: HeaderList
  readonly payload: Payload
  readonly anonymous: boolean
}

export interface StoreSettings {
  readonly region: string
  /** Whether objects written without a checksum get a CRC-64/NVME, as AWS does. Costs CPU time per byte. */
  readonly defaultChecksum: boolean
}

/** What operations work on. */
export interface StoreContext extends StoreSettings {
  readonly catalog: Catalog
}

/** Canonical user id of everybody who may sign: the store has one owner. */
export const owner = { id: '5ea1ca7e0f51a9e0d1e5c0de0b1ec7505ea1ca7e0f51a9e0d1e5c0de0b1ec750', displayName: 'owner' } as const
