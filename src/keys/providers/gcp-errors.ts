import { nameOf } from '../../diagnosis.ts'
import type { ServiceFailure } from '../service/errors.ts'
import { isRecord, type Data } from '../service/http.ts'
import { restErrors, type RefusalMeaning, type RestRefusal } from '../service/rest-client.ts'

/** Types of violations of a precondition, as Cloud KMS gives them for a version that is not enabled. */
const byViolation: Readonly<Record<string, ServiceFailure>> = {
  KEY_DISABLED: 'disabled',
  KEY_DESTROYED: 'invalid-state',
  KEY_DESTROY_SCHEDULED: 'invalid-state'
}

/** google.rpc.Code, by the names that `error.status` has (Google API design guide, "Errors"). */
const byStatus: Readonly<Record<string, ServiceFailure>> = {
  RESOURCE_EXHAUSTED: 'throttled',
  UNAUTHENTICATED: 'denied',
  PERMISSION_DENIED: 'denied',
  NOT_FOUND: 'gone',
  FAILED_PRECONDITION: 'invalid-state',
  ABORTED: 'unavailable',
  CANCELLED: 'unavailable',
  DEADLINE_EXCEEDED: 'unavailable',
  UNAVAILABLE: 'unavailable',
  INTERNAL: 'unavailable'
}

export const gcpErrors = restErrors('Cloud KMS', meaningOf)

function meaningOf({ body }: RestRefusal): RefusalMeaning {
  const error = isRecord(body['error']) ? body['error'] : {}
  const [status, message] = [textIn(error, 'status'), textIn(error, 'message')]
  const reason = nameOf(violationIn(error, message) ?? status)
  const failure = byViolation[reason ?? ''] ?? byMessage(status, message) ?? byStatus[status] ?? 'rejected'
  return { failure, reason, message }
}

/** INVALID_ARGUMENT stands for several things, which only its message tells apart. */
function byMessage(status: string, message: string): ServiceFailure | undefined {
  if (status !== 'INVALID_ARGUMENT') return undefined
  if (/^Decryption failed/i.test(message)) return 'wrong-context'
  return /checksum|crc32c/i.test(message) ? 'unavailable' : undefined
}

/** From the details; answers that lack them have the state in their message. */
function violationIn(error: Data, message: string): string | null {
  const details = Array.isArray(error['details']) ? error['details'].filter(isRecord) : []
  const violations = details.flatMap((detail) => Array.isArray(detail['violations']) ? detail['violations'].filter(isRecord) : [])
  const found = violations.map((violation) => textIn(violation, 'type')).find((type) => Object.hasOwn(byViolation, type))
  const state = /current state is: (DISABLED|DESTROYED|DESTROY_SCHEDULED)\b/.exec(message)?.[1]
  return found ?? (state === undefined ? null : `KEY_${state}`)
}

function textIn(data: Data, name: string): string {
  const value = data[name]
  return typeof value === 'string' ? value : ''
}
