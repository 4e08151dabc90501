// Requests for the tests, and an independent signer written from the AWS documents alone.
import { createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { Readable } from 'node:stream'
import type { AuthContext } from '../../src/auth/types.ts'
import { credentialLookup } from '../../src/auth/types.ts'
import { HeaderList } from '../../src/http/message.ts'
import type { HttpRequest } from '../../src/http/message.ts'
import { parseTarget } from '../../src/http/target.ts'

export const accessKeyId = 'AKIAIOSFODNN7EXAMPLE'
export const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
export const now = new Date('2013-05-24T00:00:00Z')
export const timestamp = '20130524T000000Z'
export const day = '20130524'
export const emptyHash = createHash('sha256').digest('hex')

export type Headers = readonly (readonly [name: string, value: string])[]

export interface Draft {
  readonly method: string
  readonly target: string
  readonly headers: Headers
}

/** A request as the listener would hand it over. `host` is the Host header. */
export function httpRequest(draft: Draft): HttpRequest {
  const headers = new HeaderList(draft.headers)
  const length = headers.get('content-length')
  return {
    id: 'TEST',
    method: draft.method,
    target: parseTarget(draft.target),
    headers,
    host: headers.get('host') ?? '',
    body: Readable.from([]),
    contentLength: length !== undefined ? Number(length) : headers.has('transfer-encoding') ? null : 0,
    remoteAddress: '127.0.0.1',
    secure: false,
    signal: new AbortController().signal,
    sendContinue: () => undefined
  }
}

export function context(changes: Partial<AuthContext> = {}): AuthContext {
  return {
    credential: credentialLookup([{
      accessKeyId,
      secretAccessKey,
      buckets: ['*'],
      readOnly: false,
      identities: {},
      limits: { requests: null, requestsPerSecond: null, bytesPerSecond: null }
    }]),
    regions: [],
    v2Query: true,
    v2Header: true,
    now: () => now,
    virtualHostBucket: () => null,
    isPublicRead: () => false,
    ...changes
  }
}

function hmac(key: string | Buffer | KeyObject, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest()
}

function sha256(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex')
}

export interface SignOptions {
  readonly secret?: string
  readonly id?: string
  readonly region?: string
  readonly time?: string
  readonly payloadHash?: string
  readonly expires?: number
  /** The clock of Signature Version 2, which has no `time`. */
  readonly clock?: Date
  readonly signedHeaders?: readonly string[]
}

export function signingKey(secret: string, date: string, region: string): Buffer {
  return ['s3', 'aws4_request'].reduce(hmac, hmac(hmac(`AWS4${secret}`, date), region))
}

const signingKeys = new Map<string, KeyObject>()

/** Derived once: tests sign tens of thousands of requests, and Node takes 30 µs for each HMAC whose key is a Buffer. */
function keptSigningKey(secret: string, date: string, region: string): KeyObject {
  const name = JSON.stringify([secret, date, region])
  const key = signingKeys.get(name) ?? createSecretKey(signingKey(secret, date, region))
  signingKeys.set(name, key)
  return key
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function signature(draft: Draft, signed: readonly string[], payloadHash: string, time: string, region: string, secret: string): string {
  const [path, query = ''] = draft.target.split('?', 2) as [string, string?]
  const pairs = query.split('&').filter((p) => p !== '').map((p) => p.includes('=') ? p : `${p}=`)
    .sort((a, b) => {
      const [x, y] = [a.split('='), b.split('=')]
      return x[0]! < y[0]! ? -1 : x[0]! > y[0]! ? 1 : x[1]! < y[1]! ? -1 : 1
    })
  const lines = signed.map((name) =>
    `${name}:${draft.headers.filter(([n]) => n.toLowerCase() === name).map(([, v]) => v.trim().replace(/ +/g, ' ')).join(',')}\n`
  )
  const canonical = `${draft.method}\n${path}\n${pairs.join('&')}\n${lines.join('')}\n${signed.join(';')}\n${payloadHash}`
  const toSign = `AWS4-HMAC-SHA256\n${time}\n${time.slice(0, 8)}/${region}/s3/aws4_request\n${sha256(canonical)}`
  return hmac(keptSigningKey(secret, time.slice(0, 8), region), toSign).toString('hex')
}

/** Signs path and query as they stand: they must be encoded strictly. Every header but `user-agent` is signed. */
export function signHeader(draft: Draft, options: SignOptions = {}): Draft {
  const { secret = secretAccessKey, id = accessKeyId, region = 'us-east-1', time = timestamp, payloadHash = emptyHash } = options
  const headers: Headers = [...draft.headers, ['x-amz-date', time], ['x-amz-content-sha256', payloadHash]]
  const signed = options.signedHeaders ?? [...new Set(headers.map(([name]) => name.toLowerCase()))].filter((name) => name !== 'user-agent').sort()
  const value = signature({ ...draft, headers }, signed, payloadHash, time, region, secret)
  const authorization = `AWS4-HMAC-SHA256 Credential=${id}/${time.slice(0, 8)}/${region}/s3/aws4_request, SignedHeaders=${signed.join(';')}, Signature=${value}`
  return { ...draft, headers: [...headers, ['Authorization', authorization]] }
}

export function signQuery(draft: Draft, options: SignOptions = {}): Draft {
  const { secret = secretAccessKey, id = accessKeyId, region = 'us-east-1', time = timestamp, payloadHash = 'UNSIGNED-PAYLOAD', expires = 3600 } = options
  const signed = options.signedHeaders ?? [...new Set(draft.headers.map(([name]) => name.toLowerCase()))].sort()
  const credential = encode(`${id}/${time.slice(0, 8)}/${region}/s3/aws4_request`)
  const target = `${draft.target}${draft.target.includes('?') ? '&' : '?'}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}` +
    `&X-Amz-Date=${time}&X-Amz-Expires=${expires}&X-Amz-SignedHeaders=${encode(signed.join(';'))}`
  return { ...draft, target: `${target}&X-Amz-Signature=${signature({ ...draft, target }, signed, payloadHash, time, region, secret)}` }
}

const subResources = ['acl', 'delete', 'partNumber', 'tagging', 'uploadId', 'uploads', 'versionId']

function stringV2(draft: Draft, date: string): string {
  const [path, query = ''] = draft.target.split('?', 2) as [string, string?]
  const one = (name: string): string => draft.headers.find(([n]) => n.toLowerCase() === name)?.[1] ?? ''
  const amz = draft.headers.map(([n, v]) => `${n.toLowerCase()}:${v}`).filter((line) => line.startsWith('x-amz-')).sort().map((line) => `${line}\n`)
  const resource = query.split('&').filter((p) => subResources.includes(p.split('=')[0]!)).sort()
  return `${draft.method}\n${one('content-md5')}\n${one('content-type')}\n${date}\n${amz.join('')}${path}${resource.length > 0 ? `?${resource.join('&')}` : ''}`
}

function hmacV2(secret: string, text: string): string {
  return createHmac('sha1', secret).update(text).digest('base64')
}

export function signHeaderV2(draft: Draft, options: SignOptions = {}): Draft {
  const date = (options.clock ?? now).toUTCString()
  const headers: Headers = [...draft.headers, ['Date', date]]
  const value = hmacV2(options.secret ?? secretAccessKey, stringV2({ ...draft, headers }, date))
  return { ...draft, headers: [...headers, ['Authorization', `AWS ${options.id ?? accessKeyId}:${value}`]] }
}

export function signQueryV2(draft: Draft, options: SignOptions = {}): Draft {
  const expires = String(Math.trunc((options.clock ?? now).getTime() / 1000) + (options.expires ?? 3600))
  const value = hmacV2(options.secret ?? secretAccessKey, stringV2(draft, expires))
  const sign = draft.target.includes('?') ? '&' : '?'
  return { ...draft, target: `${draft.target}${sign}AWSAccessKeyId=${options.id ?? accessKeyId}&Expires=${expires}&Signature=${encode(value)}` }
}
