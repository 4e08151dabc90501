import type { Config } from './config.ts'
import type { HttpRequest, HttpResponse } from './http/message.ts'
import type { AccessRecord } from './observe/access-log.ts'

/** The gateway without its listeners. */
export interface Gateway {
  /** Throws S3Error for every answer that is an error; anything else it throws becomes InternalError. */
  handle(request: HttpRequest): Promise<HttpResponse>
  /** True when it can serve: store, state bucket and keys reachable, self-tests passed. */
  ready(): Promise<{ readonly ok: boolean; readonly checks: Readonly<Record<string, string>> }>
  /** Prometheus text. */
  metrics(): string
  /** Told of every request that is over, for the metrics. */
  observe?(record: AccessRecord): void
  /** Takes over credentials, keys and policies. Transfers under way go on. */
  reload(config: Config): Promise<void>
  close(): Promise<void>
}

export type CreateGateway = (config: Config) => Promise<Gateway>
