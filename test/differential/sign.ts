import { createHash, createHmac } from 'node:crypto'

// A signer of its own, from the AWS documents alone: what both sides are sent must not depend on the gateway's code.

/** A request before it is signed: header names in lower case, query parts percent-encoded. */
export interface Draft {
  readonly method: string
  readonly path: string
  readonly query: readonly string[]
  readonly headers: readonly (readonly [name: string, value: string])[]
}

interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

const region = 'us-east-1'

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest()
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(typeof data === 'string' ? Buffer.from(data, 'latin1') : data).digest('hex')
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function isoNow(): string {
  return new Date().toISOString().replace(/[-:]|\.\d{3}/g, '')
}

/** By secret and date: four HMACs that many requests share. */
const signingKeys = new Map<string, Buffer>()

function signingKey(secret: string, date: string): Buffer {
  const name = `${date}/${secret}`
  const key = signingKeys.get(name) ?? [region, 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${secret}`, date))
  signingKeys.set(name, key)
  return key
}

function signature(draft: Draft, names: readonly string[], payloadHash: string, time: string, secret: string): string {
  const query = draft.query.map((part) => part.includes('=') ? part : `${part}=`).toSorted((a, b) => {
    const [x = '', y = ''] = [a.split('=', 1)[0], b.split('=', 1)[0]]
    return x < y ? -1 : x > y ? 1 : a < b ? -1 : a > b ? 1 : 0
  })
  const lines = names.map((name) => {
    const values = draft.headers.filter(([n]) => n === name).map(([, value]) => value.trim().replace(/ +/g, ' '))
    return `${name}:${values.join(',')}\n`
  })
  const canonical = [draft.method, draft.path, query.join('&'), lines.join(''), names.join(';'), payloadHash].join('\n')
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`
  return hmac(signingKey(secret, time.slice(0, 8)), `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`).toString('hex')
}

/** Signature Version 4 in the Authorization header, over a hashed body. An `x-amz-content-sha256` that is there stays. */
export function signV4(draft: Draft, user: Credentials, body: Buffer): Draft {
  const time = draft.headers.find(([name]) => name === 'x-amz-date')?.[1] ?? isoNow()
  const payloadHash = draft.headers.find(([name]) => name === 'x-amz-content-sha256')?.[1] ?? sha256(body)
  const given = draft.headers.filter(([name]) => name !== 'x-amz-date' && name !== 'x-amz-content-sha256')
  const headers: [string, string][] = [...given.map(([n, v]): [string, string] => [n, v]), ['x-amz-date', time], ['x-amz-content-sha256', payloadHash]]
  const unsigned = new Set(['content-length', 'transfer-encoding', 'expect', 'user-agent'])
  const names = [...new Set(headers.map(([name]) => name))].filter((name) => !unsigned.has(name)).sort()
  const value = signature({ ...draft, headers }, names, payloadHash, time, user.secretAccessKey)
  headers.push([
    'authorization',
    `AWS4-HMAC-SHA256 Credential=${user.accessKeyId}/${time.slice(0, 8)}/${region}/s3/aws4_request, SignedHeaders=${names.join(';')}, Signature=${value}`
  ])
  return { ...draft, headers }
}

/** Signature Version 4 in the query. */
export function presignV4(draft: Draft, user: Credentials, expires: number): Draft {
  const time = isoNow()
  const names = [...new Set(draft.headers.map(([name]) => name))].filter((name) => name === 'host' || name.startsWith('x-amz-')).sort()
  const query = [
    ...draft.query,
    'X-Amz-Algorithm=AWS4-HMAC-SHA256',
    `X-Amz-Credential=${encode(`${user.accessKeyId}/${time.slice(0, 8)}/${region}/s3/aws4_request`)}`,
    `X-Amz-Date=${time}`,
    `X-Amz-Expires=${expires}`,
    `X-Amz-SignedHeaders=${encode(names.join(';'))}`
  ]
  return { ...draft, query: [...query, `X-Amz-Signature=${signature({ ...draft, query }, names, 'UNSIGNED-PAYLOAD', time, user.secretAccessKey)}`] }
}

const subResources = new Set([
  'accelerate',
  'acl',
  'cors',
  'delete',
  'encryption',
  'lifecycle',
  'location',
  'logging',
  'notification',
  'object-lock',
  'partNumber',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'legal-hold',
  'requestPayment',
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires',
  'restore',
  'retention',
  'tagging',
  'torrent',
  'uploadId',
  'uploads',
  'versionId',
  'versioning',
  'versions',
  'website'
])

function signatureV2(draft: Draft, user: Credentials, date: string): string {
  const one = (name: string): string => draft.headers.find(([n]) => n === name)?.[1] ?? ''
  const amz = [...new Set(draft.headers.map(([n]) => n).filter((n) => n.startsWith('x-amz-')))].sort()
    .map((name) => `${name}:${draft.headers.filter(([n]) => n === name).map(([, v]) => v).join(',')}\n`)
  const own = draft.query.filter((part) => subResources.has(part.split('=', 1)[0] ?? '')).map((part) => decodeURIComponent(part)).sort()
  const resource = `${draft.path}${own.length > 0 ? `?${own.join('&')}` : ''}`
  const text = [draft.method, one('content-md5'), one('content-type'), date, `${amz.join('')}${resource}`].join('\n')
  return createHmac('sha1', user.secretAccessKey).update(text, 'utf8').digest('base64')
}

/** Signature Version 2 in the Authorization header. */
export function signV2(draft: Draft, user: Credentials): Draft {
  const date = new Date().toUTCString()
  return { ...draft, headers: [...draft.headers, ['date', date], ['authorization', `AWS ${user.accessKeyId}:${signatureV2(draft, user, date)}`]] }
}

/** Signature Version 2 in the query. */
export function presignV2(draft: Draft, user: Credentials, expires: number): Draft {
  const until = String(Math.floor(Date.now() / 1000) + expires)
  const value = encode(signatureV2(draft, user, until))
  return { ...draft, query: [...draft.query, `AWSAccessKeyId=${user.accessKeyId}`, `Expires=${until}`, `Signature=${value}`] }
}
