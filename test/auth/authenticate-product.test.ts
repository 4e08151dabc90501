// Credential place × payload mode × method × target × state of the signature: every row has one right answer.
import t from 'tap'
import { authenticate } from '../../src/auth/authenticate.ts'
import { admitPayload } from '../../src/auth/payload.ts'
import { S3Error } from '../../src/errors.ts'
import { byTurns } from '../support/by-turns.ts'
import {
  accessKeyId,
  context,
  emptyHash,
  httpRequest,
  secretAccessKey,
  signHeader,
  signHeaderV2,
  signQuery,
  signQueryV2,
  type Draft,
  type Headers,
  type SignOptions
} from '../support/signing.ts'

const places = [
  'none',
  'v4-header',
  'v4-query',
  'v2-header',
  'v2-query',
  'v4-header+v4-query',
  'v4-header+v2-query',
  'v2-header+v4-query',
  'v4-query+v2-query'
] as const
const payloads = [
  'absent',
  'hash',
  'UNSIGNED-PAYLOAD',
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD',
  'STREAMING-UNSIGNED-PAYLOAD',
  'garbage'
] as const
const methods = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'] as const
const targets = ['/bucket/key', '/bucket/a%20b/c?uploadId=x&partNumber=1', '/bucket?acl'] as const
const states = [
  'valid',
  'last digit',
  'empty',
  'one short',
  'one long',
  'upper case',
  'other secret',
  'other key id',
  'other method',
  'other target',
  'other payload'
] as const
type Place = typeof places[number]
type Payload = typeof payloads[number]
type State = typeof states[number]

/** What some states do to the text of a signature; the others change what is signed. */
const damages: Readonly<Partial<Record<State, (value: string) => string>>> = {
  'last digit': (value) => value.replace(/(.)(=?)$/, (_, digit: string, pad: string) => `${digit === '0' ? '1' : '0'}${pad}`),
  'empty': () => '',
  'one short': (value) => value.slice(0, -1),
  'one long': (value) => `${value}0`,
  'upper case': (value) => value.toUpperCase()
}

function damage(value: string, state: State): string {
  return damages[state]?.(value) ?? value
}

function damaged(draft: Draft, state: State): Draft {
  const headers = draft.headers.map(([name, value]) =>
    [
      name,
      name !== 'Authorization'
        ? value
        : value.replace(/(?<=Signature=|^AWS [A-Z0-9a-z]+:).*$/, (text) => damage(text, state))
    ] as const
  )
  const target = draft.target.replace(/(?<=[&?](?:X-Amz-)?Signature=)[^&]*/, (text) => encodeURIComponent(damage(decodeURIComponent(text), state)))
  return { ...draft, headers, target }
}

function signed(place: Place, draft: Draft, options: SignOptions, header: Headers): Draft {
  const plain = { ...draft, headers: [...draft.headers, ...header] }
  switch (place) {
    case 'none':
      return plain
    case 'v4-header':
      return signHeader(draft, options)
    case 'v4-query':
      return signQuery(plain, options)
    case 'v2-header':
      return signHeaderV2(plain, options)
    case 'v2-query':
      return signQueryV2(plain, options)
    case 'v4-header+v4-query':
      return signHeader(signQuery(draft, options), options)
    case 'v4-header+v2-query':
      return signHeader(signQueryV2(draft, options), options)
    case 'v2-header+v4-query':
      return signHeaderV2(signQuery(plain, options), options)
    case 'v4-query+v2-query':
      return signQueryV2(signQuery(plain, options), options)
  }
}

function build(place: Place, payload: Payload, method: string, target: string, state: State): Draft {
  const value = payload === 'hash' ? emptyHash : payload
  const header: Headers = payload === 'absent' ? [] : [['x-amz-content-sha256', value]]
  const streaming: Headers = payload.startsWith('STREAMING') ? [['x-amz-decoded-content-length', '0']] : []
  const draft: Draft = {
    method: state === 'other method' ? 'PATCH' : method,
    target: state === 'other target' ? target.replace('/bucket', '/market') : target,
    headers: [['Host', 'gateway.test'], ...streaming, ...(method === 'PUT' || method === 'POST' ? [['Content-Length', '0'] as const] : [])]
  }
  const options: SignOptions = {
    payloadHash: payload === 'absent' ? 'UNSIGNED-PAYLOAD' : value,
    ...(state === 'other secret' ? { secret: `${secretAccessKey}x` } : {}),
    ...(state === 'other key id' ? { id: 'AKIAI44QH8DHBEXAMPLE' } : {})
  }
  const out = damaged(signed(place, draft, options, header), state)
  const asPayload = (text: string): string => state === 'other payload' ? text === emptyHash ? 'UNSIGNED-PAYLOAD' : emptyHash : text
  return {
    method,
    target: state === 'other target' ? out.target.replace('/market', '/bucket') : out.target,
    headers: out.headers
      .filter(([name]) => !(payload === 'absent' && name === 'x-amz-content-sha256'))
      .map(([name, text]) => [name, name === 'x-amz-content-sha256' ? asPayload(text) : text])
  }
}

/** The expected result according to the documentation, written without reading the code. */
function mayPass(place: Place, payload: Payload, method: string, state: State): boolean {
  if (!['v4-header', 'v4-query', 'v2-header', 'v2-query'].includes(place)) return false
  if (state !== 'valid') return false
  if (['STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 'STREAMING-UNSIGNED-PAYLOAD', 'garbage'].includes(payload)) return false
  if (payload === 'absent' && place === 'v4-header') return false
  return !payload.startsWith('STREAMING') || (place === 'v4-header' && method === 'PUT')
}

await t.test('nothing invalid is accepted, everything valid is', async (t) => {
  let rows = 0
  let accepted = 0
  const wrong: string[] = []
  for (const [p, place] of places.entries()) {
    for (const [q, payload] of payloads.entries()) {
      for (const [m, method] of methods.entries()) {
        for (const [at, target] of targets.entries()) {
          for (const [s, state] of states.entries()) {
            // All that are valid, and of the others every pair of values.
            if (!byTurns(state === 'valid' || (p + q + m + s) % targets.length === at)) continue
            if (state === 'other payload' && payload === 'absent') continue
            const expected = mayPass(place, payload, method, state)
            rows += 1
            let outcome: string
            try {
              const result = authenticate(httpRequest(build(place, payload, method, target, state)), context())
              outcome = result.scheme === place && result.client?.accessKeyId === accessKeyId ? 'accepted' : 'accepted as another'
              accepted += 1
            } catch (error) {
              outcome = error instanceof S3Error && error.status >= 400 && error.status < 502 && error.status !== 500 ? 'refused' : String(error)
            }
            if (outcome !== (expected ? 'accepted' : 'refused')) wrong.push(`${place} ${payload} ${method} ${target} ${state}: ${outcome}`)
          }
        }
      }
    }
  }
  t.same(wrong, [])
  t.ok(accepted > 100, `${accepted} valid rows`)
  t.comment(`${rows.toLocaleString('en')} rows of the authentication product, ${accepted} valid and accepted, 0 invalid accepted`)
})

await t.test('streaming is for object data only', async (t) => {
  const draft = build('v4-header', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'PUT', '/bucket?acl', 'valid')
  const result = authenticate(httpRequest(draft), context())
  t.throws(() => admitPayload(result, 'other'), { code: 'InvalidRequest', message: 'The value of x-amz-content-sha256 header is invalid.' })
  t.doesNotThrow(() => admitPayload(result, 'object-data'))
})
