import type { Readable } from 'node:stream'
import type { PayloadPromise } from '../auth/types.ts'
import type { UpstreamResponse } from '../upstream/types.ts'
import type { OperationContext } from './context.ts'
import { BodyVerifier } from '../auth/body-verifier.ts'
import { S3Error } from '../errors.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'
import { readThrough, StagedReadable, type ByteStage } from '../http/stage.ts'

/** The source of the plaintext of a write: the request itself, or the file of a browser form. */
export interface BodySource {
  readonly stream: Readable
  readonly payload: PayloadPromise
  /** To be computed on the way where the payload declares none; absent or null: none. */
  readonly computeChecksum?: ChecksumAlgorithm | null
}

export function requestBody(ctx: OperationContext): BodySource {
  return { stream: ctx.request.http.body, payload: ctx.request.payload }
}

/** A verified body in memory: documents, and object data of at most one segment. */
export async function readVerified(ctx: OperationContext, source: BodySource, verifier: BodyVerifier, limit: number): Promise<Buffer> {
  if (source.payload.length > limit) throw new S3Error('MaxMessageLengthExceeded')
  ctx.request.http.sendContinue()
  return readThrough(source.stream, verifier, limit, () => new S3Error('MaxMessageLengthExceeded'))
}

/** The verified document of a request (XML, JSON policies); empty when there is none. */
export function readDocument(ctx: OperationContext): Promise<Buffer> {
  const source = requestBody(ctx)
  return readVerified(ctx, source, new BodyVerifier(source.payload, { computeMd5: false }), ctx.services.config.limits.xmlBytes)
}

/**
 * Sends a body through stages to the store. When a stage fails, the store sees an aborted message (its Content-Length is not met), and the client
 * gets the error of the stage, not of the store.
 * @throws S3Error of the stages; SealgateBadUpstream when the store reports success before it has taken the whole body.
 */
export async function streamUpstream(
  ctx: OperationContext,
  source: BodySource,
  stages: readonly ByteStage[],
  submit: (body: Readable) => Promise<UpstreamResponse>
): Promise<UpstreamResponse> {
  const body = new StagedReadable(source.stream, stages, { destroySource: false })
  const failures: Error[] = []
  body.on('error', (error) => {
    failures.push(error)
  })
  ctx.request.http.sendContinue()
  let response: UpstreamResponse
  try {
    response = await submit(body)
  } catch (error) {
    throw failures[0] instanceof S3Error ? failures[0] : error
  }
  if (response.status < 300 && !body.readableEnded) {
    response.body.destroy()
    throw failures[0] ?? new S3Error('SealgateBadUpstream')
  }
  return response
}

/** Holds back the end of a body until everything before it has verified, for bodies that pass through unsealed. */
export class HoldLast implements ByteStage {
  #held: Buffer | null = null

  update(chunk: Buffer): readonly Buffer[] {
    if (chunk.length === 0) return []
    const before = this.#held
    this.#held = chunk
    return before === null ? [] : [before]
  }

  final(): readonly Buffer[] {
    return this.#held === null ? [] : [this.#held]
  }
}
