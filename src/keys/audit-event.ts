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
  readonly key: string | null
  readonly versionId: string | null
  /** A KMS key ARN, `local:<keyring>:<version>`, `ssec`, or what the client asked for. null when none was chosen. */
  readonly masterKeyId: string | null
  /** What the wrap is bound to, as a key service is told it. Empty when none was made. */
  readonly context: Readonly<Record<string, string>>
  /**
   * `generate`: a bucket key was made and wrapped by the master key. `wrap`: an object is sealed under a bucket key made
   * before, or under a customer's key. `unwrap`, `rewrap`: as named. `refused`: the client may not use the key it asked for.
   */
  readonly action: 'generate' | 'wrap' | 'unwrap' | 'rewrap' | 'refused'
  /** The key service was not asked for this use: it was answered from memory or by another request's call. */
  readonly cached: boolean
  readonly outcome: 'ok' | 'failed'
  /** An S3 error code, or `Aborted` when the client went away; null when it went well. */
  readonly error: string | null
}

/**
 * Takes an event before the key is handed out. May throw an S3Error when it cannot be written: the key use then fails with
 * that error, so that none goes untold.
 */
export type AuditSink = (event: AuditEvent) => void
