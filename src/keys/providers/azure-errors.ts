import { nameOf } from '../../diagnosis.ts'
import { WrongServiceAnswer, type ServiceFailure } from '../service/errors.ts'
import { isRecord, type Data } from '../service/http.ts'
import { restErrors, type RefusalMeaning, type RestRefusal } from '../service/rest-client.ts'

/** Codes of Key Vault, the inner one where there is one (Key Vault, "REST API error codes"). */
const byCode: Readonly<Record<string, ServiceFailure>> = {
  KeyDisabled: 'disabled',
  KeyExpired: 'invalid-state',
  KeyNotYetValid: 'invalid-state',
  ObjectIsBeingDeleted: 'invalid-state',
  ObjectIsBeingRecovered: 'invalid-state',
  ObjectIsDeletedButRecoverable: 'invalid-state',
  KeyNotFound: 'gone',
  Throttled: 'throttled'
}

const byStatus: Readonly<Record<number, ServiceFailure>> = { 403: 'denied', 404: 'gone', 408: 'unavailable', 409: 'invalid-state' }

/** The texts by which answers say it that lack the inner code. */
const byMessage: readonly (readonly [code: string, pattern: RegExp])[] = [
  ['KeyDisabled', /\bdisabled key\b/],
  ['KeyExpired', /\bexpired\b/],
  ['KeyNotYetValid', /\bnot yet valid\b/]
]

export const azureErrors = restErrors('Key Vault', meaningOf)

function meaningOf({ status, path, body }: RestRefusal): RefusalMeaning {
  const error = isRecord(body['error']) ? body['error'] : {}
  const message = textIn(error, 'message')
  const inner = [error['innererror'], error['innerError']].find(isRecord)
  const said = nameOf(inner === undefined ? null : textIn(inner, 'code')) ?? nameOf(textIn(error, 'code'))
  const code = status === 403 && byCode[said ?? ''] === undefined ? byMessage.find(([, pattern]) => pattern.test(message))?.[0] ?? said : said
  // What was wrapped by another key, or was changed. Anywhere else it is a fault of the request.
  const refused = status === 400 && path.includes('/unwrapkey') ? 'wrong-context' : undefined
  return { failure: byCode[code ?? ''] ?? byStatus[status] ?? refused ?? 'rejected', reason: code, message }
}

function textIn(data: Data, name: string): string {
  const value = data[name]
  return typeof value === 'string' ? value : ''
}

/**
 * What the answer to a refused token asks the next one to have (RFC 6750, and claims of Microsoft Entra's continuous access evaluation).
 * @param resource what the gateway's tokens are for.
 * @throws WrongServiceAnswer when the server wants tokens for something else: it is another vault than the configuration says, or none.
 */
export function claimsIn(challenge: string, resource: string): string | null {
  const wanted = parameter(challenge, 'resource') ?? parameter(challenge, 'scope')?.replace(/\/\.default$/, '') ?? null
  if (wanted !== null && wanted.replace(/\/$/, '') !== resource) {
    throw new WrongServiceAnswer('Key Vault asks for tokens of another resource than the address of the vault says: vault, resource.')
  }
  const claims = parameter(challenge, 'claims')
  return claims === null ? null : Buffer.from(claims, 'base64').toString('utf8')
}

function parameter(challenge: string, name: string): string | null {
  return new RegExp(`\\b${name}="([^"]{1,4096})"`).exec(challenge)?.[1] ?? null
}
