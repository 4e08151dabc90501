/** One use of a key, written as one line of JSON. Holds no secret: contexts and key ids are public by definition. */
export interface AuditEvent {
  /** ISO 8601, UTC. */
  readonly time: string
  readonly requestId: string
  /** Access key id of the client, or a name such as `cli`. */
  readonly principal: string
  readonly sourceAddress: string
  /** S3 operation name, or the command. */
  readonly operation: string
  readonly bucket: string
  readonly objectKey: string | null
  readonly versionId: string | null
  /**
   * `generate`: a bucket key was made and wrapped by the master key. `wrap`: an object is sealed under a bucket key made
   * before, or under a customer's key. `unwrap`, `rewrap`: as named. `refuse`: the client may not use the key it asked for.
   */
  readonly action: 'generate' | 'wrap' | 'unwrap' | 'rewrap' | 'refuse'
  /** A KMS key ARN, `local:<keyring>:<version>`, or `ssec`. null when none was reached. */
  readonly masterKeyId: string | null
  /** What the wrap is bound to: names as in KeyContext, the client's own context last. */
  readonly context: AuditContext | null
  /** Answered from memory; the key service was not asked. */
  readonly cached: boolean
  /** `ok`, an S3 error code, or `Aborted` when the client went away. */
  readonly outcome: string
}

export interface AuditContext {
  readonly realm: string
  readonly bucket: string
  readonly objectKey: string | null
  readonly requestContext: Readonly<Record<string, string>>
}

/** Takes an event at once; writing it may come later. Must not throw: a key use has happened whether or not it is told. */
export type AuditSink = (event: AuditEvent) => void
