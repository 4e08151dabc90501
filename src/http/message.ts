// HTTP messages as all rooms pass them on, the request target (target.ts), streams of bytes that end or fail as a whole (stage.ts), and
// checksums (checksums.ts, crc.ts). No input or output.
import type { Readable } from 'node:stream'
import type { RequestTarget } from './target.ts'

/** One header field, as received or sent. */
export type Header = readonly [name: string, value: string]

/** A request that has passed only the validation of the listener: it is not authenticated. */
export interface HttpRequest {
  /** S3-style request id, also sent to the client and written to the log. */
  readonly id: string
  readonly method: string
  readonly target: RequestTarget
  readonly headers: HeaderList
  /** The Host header as received (or the :authority of the connection). */
  readonly host: string
  /** Body bytes without the HTTP framing. Ends early with an error when the client disconnects. */
  readonly body: Readable
  /** Declared Content-Length in bytes; null when the request is chunked; 0 when it has no body. */
  readonly contentLength: number | null
  readonly remoteAddress: string
  /** True when the client used TLS (to the gateway or to a trusted front end). */
  readonly secure: boolean
  /** Aborts when the client disconnects. */
  readonly signal: AbortSignal
  /** Sends "100 Continue" if the client waits for it. Call only after the signature has verified. Idempotent. */
  readonly sendContinue: () => void
  /**
   * Adds to the access-log line of this request. Write-only: no stage can read what another wrote, so nothing can depend on it. Absent where there is
   * no access log.
   */
  readonly annotate?: (note: RequestNote) => void
  /**
   * To be called before anything slow is done for the request, once its kind is known: gives it one of the places of its kind, in exchange for the
   * one it has. A place at a store is held in addition. Absent where nothing is limited.
   * Throws S3Error SlowDown when there is none.
   */
  readonly admit?: (as: Admittance) => void
}

/** On whose behalf a request is served. Only requests of the kind `client` are signed. */
export type Admittance =
  | { readonly kind: 'form' | 'preflight' | 'anonymous' }
  | { readonly kind: 'client'; readonly id: string; readonly limits: ClientLimits }
  /** What waits for one store must not use up what requests to others need: at most `most` of this id at once. */
  | { readonly kind: 'store'; readonly id: string; readonly most: number }

/** Limits of one client; null: none. */
export interface ClientLimits {
  /** Requests at once. */
  readonly requests: number | null
  readonly requestsPerSecond: number | null
  /** Bytes per second of bodies, both ways together. Counted when they have passed: a request is admitted unless earlier ones have used too much. */
  readonly bytesPerSecond: number | null
}

/** Fields of the access log beyond method, target and status. Each stage adds those that it knows. */
export interface RequestNote {
  /** S3 operation name. */
  readonly operation?: string
  /** Name of the store of the bucket. */
  readonly upstream?: string
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
   * A stream is read only when the answer begins: the listener waits for its first chunk (or end, or error) before it writes the head, so that a body
   * that fails at once becomes an error status.
   */
  readonly body: Readable | Buffer | null
  /**
   * Set for XML answers that may take long (CompleteMultipartUpload and CopyObject, AWS API reference). If it settles soon it is an ordinary answer,
   * errors with their own status. Otherwise the head is sent, white space keeps the client waiting, and the document (or an error document inside the
   * 200) follows, in chunked framing. `body` is null then.
   */
  readonly pending?: Pending
}

export interface Pending {
  /** Further headers of the response that are known when the head is sent. */
  readonly headers: () => HttpResponse['headers']
  readonly document: Promise<Buffer>
}

/**
 * Header fields as received: order, repetition and bytes kept (Node returns header bytes as latin1 characters). Names are compared without case (RFC
 * 9110 5.1).
 */
export class HeaderList {
  readonly entries: readonly (readonly [name: string, value: string])[]
  readonly #joined = new Map<string, string>()
  /** Fields that came more than once: usually none, so that most lists need no arrays of values. */
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
