import type { HeaderList } from '../../http/message.ts'

/** What the store says of an object. */
export interface InStore {
  /** Bytes in the store, as the store states them; `size` of a sealed object follows from it by the size law. */
  readonly storedSize: number
  /** Plaintext bytes. Authenticated for sealed objects: for singles at once, for multipart objects by their manifest. */
  readonly size: number
  /** The bucket of the request; the object may be bound to another one (the source of a replica). */
  readonly bucket: string
  readonly key: string
  readonly upstreamEtag: string
  readonly versionId: string | null
  readonly headers: HeaderList
}
