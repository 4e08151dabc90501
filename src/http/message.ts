// HTTP messages as all rooms pass them on, the request target (target.ts), streams of bytes that end or fail as a whole (stage.ts), and
// checksums (checksums.ts, crc.ts). No input or output.
import type { Readable } from 'node:stream'
import type { RequestTarget } from './target.ts'

/** One header field, as it is on the wire. */
export type Header = readonly [name: string, value: string]

/** A request that has passed the request validation of the listener and nothing else: not yet authenticated. */
export interface HttpRequest {
  /** S3-style request id, also sent to the client and written to the log. */
  readonly id: string
  readonly method: string
  readonly target: RequestTarget
  readonly headers: HeaderList
  /** The Host header as received (or the :authority of the connection). */
  readonly host: string
  /** Body bytes as they come off the wire, HTTP framing removed. Ends early with an error when the client goes away. */
  readonly body: Readable
  /** Declared Content-Length in bytes; null when the request is chunked; 0 when it has no body. */
  readonly contentLength: number | null
  readonly remoteAddress: string
  /** True when the bytes from the client travelled over TLS (to us or to a trusted front end). */
  readonly secure: boolean
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
  /** Sends "100 Continue" if the client waits for it. Call only after the signature has verified. Idempotent. */
  readonly sendContinue: () => void
  /**
   * Adds to the access line of this request. Write-only: no stage can read back what another noted, so nothing can come to
   * depend on it. Absent where there is no access log.
   */
  readonly annotate?: (note: RequestNote) => void
  /**
   * To be called before anything is done for the request that takes time, once it is known for whom: gives it one of the places there
   * are for its kind, in exchange for the one it has. Absent where nothing is limited.
   * Throws S3Error SlowDown when there is none.
   */
  readonly admit?: (as: Admittance) => void
}

/** For whom a request is served. Only requests of the kind `client` are signed. */
export type Admittance =
  | { readonly kind: 'form' | 'preflight' | 'anonymous' }
  | { readonly kind: 'client'; readonly id: string; readonly limits: ClientLimits }

/** What one client may use; null: no limit. */
export interface ClientLimits {
  /** At once. */
  readonly requests: number | null
  readonly requestsPerSecond: number | null
  /** Of bodies, both ways together. Counted when they have passed: a request is let in unless earlier ones have used too much. */
  readonly bytesPerSecond: number | null
}

/** What the access line has in addition to method, target and status, noted by each stage that finds it out. */
export interface RequestNote {
  /** S3 operation name. */
  readonly operation?: string
  readonly bucket?: string
  /** Object key. */
  readonly key?: string
  /** Access key id of the client, once its signature has verified. */
  readonly client?: string
}

export interface HttpResponse {
  readonly status: number
  /** In the order sent; a latin1 character is a byte. Content-Length included wherever a body has one. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /**
   * A stream is read only after the status line is due: the listener waits for its first chunk (or end, or error) before
   * it writes the head, so that a body that fails at once becomes an error status.
   */
  readonly body: Readable | Buffer | null
  /**
   * Set for XML answers that may take long (CompleteMultipartUpload and CopyObject, AWS API reference). If it settles soon
   * it is an ordinary answer, errors with their own status. Otherwise the head goes out, white space keeps the client
   * waiting, and the document (or an error document inside the 200) follows; chunked on the wire. `body` is null then.
   */
  readonly pending?: Pending
}

export interface Pending {
  /** Further headers of the response that are known when the head is sent. */
  readonly headers: () => HttpResponse['headers']
  readonly document: Promise<Buffer>
}

/**
 * Header fields as they came: order, repetition and bytes kept (Node hands header bytes over as latin1 characters).
 * Names compare without case (RFC 9110 5.1).
 */
export class HeaderList {
  readonly entries: readonly (readonly [name: string, value: string])[]
  readonly #joined = new Map<string, string>()
  /** Fields that came more than once: almost always none, so that most lists need no arrays of values. */
  readonly #repeated = new Map<string, string[]>()

  /** @param entries an array is kept, not copied. */
  constructor(entries: Iterable<readonly [name: string, value: string]>) {
    this.entries = Array.isArray(entries) ? entries : [...entries]
    for (const [name, value] of this.entries) {
      const lower = name.toLowerCase()
      const before = this.#joined.get(lower)
      this.#joined.set(lower, before === undefined ? value : `${before},${value}`)
      if (before === undefined) continue
      const values = this.#repeated.get(lower)
      if (values === undefined) this.#repeated.set(lower, [before, value])
      else values.push(value)
    }
  }

  /** From Node's flat `rawHeaders` array: name, value, name, value, … */
  static fromRaw(raw: readonly string[]): HeaderList {
    const entries: [string, string][] = []
    for (let i = 0; i + 1 < raw.length; i += 2) entries.push([raw[i] ?? '', raw[i + 1] ?? ''])
    return new HeaderList(entries)
  }

  /** All values of a field joined with "," as SigV4 joins them; undefined when absent. */
  get(name: string): string | undefined {
    return this.#joined.get(name.toLowerCase())
  }

  /** Every value of a field in the order received. */
  all(name: string): readonly string[] {
    const lower = name.toLowerCase()
    const value = this.#joined.get(lower)
    return value === undefined ? [] : this.#repeated.get(lower) ?? [value]
  }

  /** Distinct lower-case names of the fields that came more than once. */
  repeatedNames(): IterableIterator<string> {
    return this.#repeated.keys()
  }

  has(name: string): boolean {
    return this.#joined.has(name.toLowerCase())
  }

  /** Distinct lower-case names in the order first seen. */
  names(): IterableIterator<string> {
    return this.#joined.keys()
  }
}
