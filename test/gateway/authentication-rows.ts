// The product of which the gateway's authentication test sends a sample and the campaign everything.
import { signHeader, signHeaderV2, signQuery, signQueryV2, type Draft, type Headers, type SignOptions } from '../support/signing.ts'
import { operationRequests, type OperationRequest } from './operation-requests.ts'
import { framed, headerSigned, policyForm, querySigned, sha256, signOptions, timestampOf, type Answer, type Wire } from '../support/wire.ts'
import type { TestGateway } from '../support/gateway.ts'

const places = ['none', 'header', 'query', 'v2-header', 'v2-query', 'header+query', 'header+v2-query', 'query+v2-query', 'header+stray', 'form'] as const
const payloads = [
  'absent',
  'hash',
  'wrong hash',
  'UNSIGNED-PAYLOAD',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'UNKNOWN-WORD'
] as const
const states = [
  'valid',
  'last digit',
  'empty',
  'one short',
  'one long',
  'upper case',
  'missing',
  'other secret',
  'other key id',
  'other method',
  'other target',
  'stale',
  'from the future'
] as const
type Place = typeof places[number]
type Payload = typeof payloads[number]
export type State = typeof states[number]

export interface Row {
  readonly name: string
  readonly place: Place
  readonly payload: Payload
  readonly state: State
  readonly request: OperationRequest
  readonly valid: boolean
}

/** Without the preflight, which browsers send unsigned: it is no request for data. */
function requests(bucket: string, key: string): readonly OperationRequest[] {
  return operationRequests(bucket, key).filter(({ name }) => name !== 'Preflight')
}

/** How many rows there are in all. */
export function productRows(): number {
  return requests('b', 'k').length * places.length * payloads.length * states.length
}

/** The expected result according to the documentation, written without reading the code. */
function isValid(place: Place, payload: Payload, state: State, { name, row, draft }: OperationRequest): boolean {
  const says = payload.startsWith('STREAMING') ? 'framed' : 'plain'
  // A form is signed by its policy, wherever it is posted to, and heard only as an upload; headers beside it say nothing. Its
  // policy says when it ends and not when it begins.
  if (place === 'form') return name === 'PostObject' && ['valid', 'other method', 'other target', 'from the future'].includes(state) && says === 'plain'
  if (!['header', 'query', 'v2-header', 'v2-query'].includes(place)) return false
  // Version 2 queries say when they end and not when they begin.
  if (state !== 'valid' && !(place === 'v2-query' && state === 'from the future')) return false
  if (payload === 'UNKNOWN-WORD' || payload === 'wrong hash') return false
  if (payload === 'absent' && place === 'header') return false
  // A form brings its credentials inside.
  if (name === 'PostObject') return false
  if (says === 'framed') return place === 'header' && row.mayStream && draft.method === 'PUT'
  return true
}

function rowOf(place: Place, payload: Payload, state: State, request: OperationRequest): Row {
  return { name: `${request.name} / ${place} / ${payload} / ${state}`, place, payload, state, request, valid: isValid(place, payload, state, request) }
}

export function* allRows(bucket: string, key: string): Generator<Row> {
  for (const request of requests(bucket, key)) {
    for (const place of places) {
      for (const payload of payloads) {
        for (const state of states) {
          yield rowOf(place, payload, state, request)
        }
      }
    }
  }
}

/**
 * Every pair of operation and place, of operation and payload, of place and payload, and of state with place and payload. Every operation
 * meets a third of the states in a header or in a query, and is sent validly in both; every group of three operations that follow each
 * other, which are alike, meets all states.
 */
export function* sampledRows(bucket: string, key: string): Generator<Row> {
  let turn = 0
  for (const [nth, request] of requests(bucket, key).entries()) {
    for (const place of places) {
      for (const payload of payloads) {
        // No common divisor with the number of places, payloads or states.
        if (turn % 7 === 0) yield rowOf(place, payload, states[turn % states.length]!, request)
        turn += 1
      }
    }
    for (const [i, state] of states.entries()) {
      if (state !== 'valid' && (nth + i) % 3 !== 0) continue
      const inHeader = (turn + i) % 2 === 0
      if (inHeader || state === 'valid') yield rowOf('header', 'hash', state, request)
      if (!inHeader || state === 'valid') yield rowOf('query', 'UNSIGNED-PAYLOAD', state, request)
    }
    turn += 1
  }
}

/** Whether everything that chooses the operation is covered by a Version 2 signature as the tests' own signer makes it. */
export function v2Covers({ request }: Row): boolean {
  return request.row.select.every((text) => ['acl', 'delete', 'partNumber', 'tagging', 'uploadId', 'uploads', 'versionId'].includes(text))
}

const damages: Readonly<Partial<Record<State, (value: string) => string>>> = {
  'last digit': (value) => value.replace(/(.)(=?)$/, (_, digit: string, pad: string) => `${digit === '0' ? '1' : '0'}${pad}`),
  'empty': () => '',
  'one short': (value) => value.slice(0, -1),
  'one long': (value) => `${value}0`,
  'upper case': (value) => value.toUpperCase() === value ? value.toLowerCase() : value.toUpperCase()
}

function damaged(draft: Draft, state: State): Draft {
  if (state === 'missing') {
    return {
      ...draft,
      headers: draft.headers.map(([name, value]) => [name, name === 'Authorization' ? value.replace(/(, )?Signature=.*$|:.*$/, '') : value]),
      target: draft.target.replace(/[&?](X-Amz-)?Signature=[^&]*/, '')
    }
  }
  const damage = damages[state] ?? ((value: string) => value)
  return {
    ...draft,
    headers: draft.headers.map(([name, value]) => [name, name === 'Authorization' ? value.replace(/(?<=Signature=|^AWS [^:]+:).*$/, damage) : value]),
    target: draft.target.replace(/(?<=[&?](?:X-Amz-)?Signature=)[^&]*/, (text) => encodeURIComponent(damage(decodeURIComponent(text))))
  }
}

function signed(place: Place, draft: Draft, options: SignOptions, word: Headers): Draft {
  const plain = { ...draft, headers: [...draft.headers, ...word] }
  switch (place) {
    case 'none':
    case 'form':
      return plain
    case 'header':
      return signHeader(draft, options)
    case 'query':
      return signQuery(plain, options)
    case 'v2-header':
      return signHeaderV2(plain, options)
    case 'v2-query':
      return signQueryV2(plain, options)
    case 'header+query':
      return signHeader(signQuery(draft, options), options)
    case 'header+v2-query':
      return signHeader(signQueryV2(draft, options), options)
    case 'query+v2-query':
      return signQueryV2(signQuery(plain, options), options)
    case 'header+stray':
      return signHeader({ ...draft, target: `${draft.target}${draft.target.includes('?') ? '&' : '?'}X-Amz-Credential=x` }, options)
  }
}

const hour = 3_600_000
const clocks: Readonly<Partial<Record<State, number>>> = { 'stale': -2 * hour, 'from the future': 2 * hour }

function optionsOf(gateway: TestGateway, payload: Payload, state: State, body: string): SignOptions {
  const clock = new Date(Date.now() + (clocks[state] ?? 0))
  return signOptions(gateway, {
    payloadHash: payload === 'hash' ? sha256(body) : payload === 'wrong hash' ? sha256(`${body}x`) : payload === 'absent' ? 'UNSIGNED-PAYLOAD' : payload,
    time: timestampOf(clock),
    clock,
    // Two hours ago with a life of one.
    expires: 3600,
    ...(state === 'other secret' ? { secret: `${gateway.secretAccessKey}x` } : {}),
    ...(state === 'other key id' ? { id: 'AKIAI44QH8DHBEXAMPLE' } : {})
  })
}

/**
 * A form with a policy that allows it, or does not; posted to whatever the operation's address is.
 * @param bucket what the policy says of the bucket
 * @param file its name in the bucket, and what is in it
 * @param more further fields, which the policy allows
 */
export function form(
  gateway: TestGateway,
  state: State,
  bucket: readonly unknown[],
  file = { key: 'posted', text: 'file' },
  more: Readonly<Record<string, string>> = {}
): string {
  const time = timestampOf(new Date(Date.now() + (clocks[state] ?? 0)))
  return policyForm({
    id: state === 'other key id' ? 'AKIAI44QH8DHBEXAMPLE' : gateway.accessKeyId,
    secret: state === 'other secret' ? `${gateway.secretAccessKey}x` : gateway.secretAccessKey,
    time,
    expires: new Date(Date.now() + (state === 'stale' ? -hour : hour)),
    conditions: bucket,
    fields: more,
    file,
    signed: (signature) => state === 'missing' ? null : (damages[state] ?? ((value: string) => value))(signature)
  })
}

/** Builds a row's request and sends it. */
export async function sendRow(wire: Wire, gateway: TestGateway, { place, payload, state, request }: Row): Promise<Answer> {
  const { draft } = request
  const body = place === 'form' ? form(gateway, state, [{ bucket: /^\/([^/?]*)/.exec(draft.target)?.[1] ?? '' }]) : request.body
  const takesBody = draft.method === 'PUT' || draft.method === 'POST'
  const streaming = payload.startsWith('STREAMING')
  const word = payload === 'hash' ? sha256(body) : payload === 'wrong hash' ? sha256(`${body}x`) : payload
  const options = optionsOf(gateway, payload, state, body)
  const base: Draft = {
    method: state === 'other method' ? 'OPTIONS' : draft.method,
    target: state === 'other target' ? draft.target.replace(/^\/[^/?]*/, '/theirs') : draft.target,
    headers: [
      ['Host', new URL(gateway.endpoint).host],
      ...draft.headers.filter(([name]) => !(place === 'form' && name === 'Content-Type')),
      ...place === 'form' ? [['Content-Type', 'multipart/form-data; boundary=b'] as const] : [],
      ...streaming ? [['x-amz-decoded-content-length', '4'] as const] : [],
      ...streaming && payload.endsWith('TRAILER') ? [['x-amz-trailer', 'x-amz-checksum-crc32'] as const] : [],
      ...takesBody && !streaming ? [['Content-Length', String(Buffer.byteLength(body))] as const] : []
    ]
  }
  const head = damaged(signed(place, base, options, payload === 'absent' ? [] : [['x-amz-content-sha256', word]]), state)
  const sent: Draft = {
    method: draft.method,
    target: state === 'other target' ? head.target.replace(/^\/theirs/, /^\/[^/?]*/.exec(draft.target)?.[0] ?? '/') : head.target,
    headers: head.headers.filter(([name]) => !(payload === 'absent' && name === 'x-amz-content-sha256'))
  }
  if (!streaming || !takesBody) return wire.send(sent, takesBody ? body : '')
  const chunks = framed(gateway, sent, [Buffer.from('data')], {
    signed: payload.includes('HMAC'),
    ...payload.endsWith('TRAILER') ? { trailer: 'x-amz-checksum-crc32:rfPzYw==' } : {}
  })
  return wire.send({ ...sent, headers: [...sent.headers, ['Content-Length', String(chunks.length)]] }, chunks)
}

const injected = [
  'acl',
  'bucket-object-lock-enabled',
  'bypass-governance-retention',
  'checksum-crc32',
  'checksum-crc32c',
  'checksum-crc64nvme',
  'checksum-sha1',
  'checksum-sha256',
  'checksum-algorithm',
  'checksum-mode',
  'checksum-type',
  'copy-source',
  'copy-source-if-match',
  'copy-source-if-modified-since',
  'copy-source-if-none-match',
  'copy-source-if-unmodified-since',
  'copy-source-range',
  'copy-source-server-side-encryption-customer-algorithm',
  'copy-source-server-side-encryption-customer-key',
  'copy-source-server-side-encryption-customer-key-md5',
  'date',
  'decoded-content-length',
  'expected-bucket-owner',
  'source-expected-bucket-owner',
  'grant-full-control',
  'grant-read',
  'grant-read-acp',
  'grant-write',
  'grant-write-acp',
  'id-2',
  'if-match-initiated-time',
  'if-match-last-modified-time',
  'if-match-size',
  'meta-colour',
  'meta-sealgate',
  'metadata-directive',
  'mfa',
  'mp-object-size',
  'object-attributes',
  'object-lock-legal-hold',
  'object-lock-mode',
  'object-lock-retain-until-date',
  'object-ownership',
  'optional-object-attributes',
  'request-payer',
  'request-route',
  'sdk-checksum-algorithm',
  'security-token',
  'server-side-encryption',
  'server-side-encryption-aws-kms-key-id',
  'server-side-encryption-bucket-key-enabled',
  'server-side-encryption-context',
  'server-side-encryption-customer-algorithm',
  'server-side-encryption-customer-key',
  'server-side-encryption-customer-key-md5',
  'storage-class',
  'tagging',
  'tagging-directive',
  'trailer',
  'transition-default-minimum-object-size',
  'website-redirect-location',
  'write-offset-bytes',
  'unheard-of'
].map((name) => `x-amz-${name}`)

export interface UnsignedHeaderRow {
  readonly name: string
  readonly request: OperationRequest
  readonly header: string
  readonly sign: typeof headerSigned
}

/** Operations with one header that the signature leaves out: every `step`th of the pairs, every fourth of these presigned. */
export function unsignedHeaderRows(bucket: string, key: string, step: number): UnsignedHeaderRow[] {
  return requests(bucket, key).flatMap((request, i) =>
    injected.flatMap((header, j) => {
      const sign = Math.floor((i + j) / step) % 4 === 0 ? querySigned : headerSigned
      const given = request.draft.headers.some(([name]) => name.toLowerCase() === header) || (header === 'x-amz-date' && sign === headerSigned)
      return given || (i + j) % step > 0 ? [] : [{ name: `${sign.name} ${request.name} ${header}`, request, header, sign }]
    })
  )
}

export function sendUnsignedHeader(wire: Wire, gateway: TestGateway, { request, header, sign }: UnsignedHeaderRow): Promise<Answer> {
  const draft = sign(gateway, request.draft, request.body)
  return wire.send({ ...draft, headers: [...draft.headers, [header, '/theirs/key']] }, request.body)
}
