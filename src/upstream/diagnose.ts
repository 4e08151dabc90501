import { connect } from 'node:tls'
import { isIP } from 'node:net'
import type { HeaderList } from '../http/message.ts'
import type { UpstreamRequest } from './types.ts'
import { clockSkewSeconds, diagnosis, nameOf, regionOf, requestIdOf, systemCodeOf, troubleOf, type Diagnosis } from '../diagnosis.ts'
import { Finding, S3Error } from '../errors.ts'

/** Sub-resources that the log may name: the rest of a query may come from the client. */
const subresources: ReadonlySet<string> = new Set([
  'accelerate',
  'acl',
  'attributes',
  'cors',
  'delete',
  'encryption',
  'legal-hold',
  'lifecycle',
  'list-type',
  'location',
  'logging',
  'notification',
  'object-lock',
  'policy',
  'replication',
  'requestPayment',
  'restore',
  'retention',
  'tagging',
  'uploadId',
  'uploads',
  'versioning',
  'versions',
  'website'
])

/** A request to the store in words that name neither bucket nor key: `PUT object`, `GET bucket ?versioning`. */
export function operationOf({ method, bucket, key, query }: Pick<UpstreamRequest, 'method' | 'bucket' | 'key' | 'query'>): string {
  const place = bucket === null ? 'service' : key === null ? 'bucket' : 'object'
  const named = query.find(([name]) => subresources.has(name))
  return `${method} ${place}${named === undefined ? '' : ` ?${named[0]}`}`
}

/** In place of an error's name: what stands before the store has answered. */
const HTML_PAGE = 'HtmlErrorPage'

/**
 * The diagnosis of an answer of the store.
 * @param document of an error; null: none
 * @param now milliseconds since 1970, when the head of the answer came
 */
export function diagnoseAnswer(operation: string, status: number, headers: HeaderList, document: Buffer | null, now: number): Diagnosis {
  const text = document?.toString('latin1') ?? ''
  return diagnosis('store', operation, {
    status,
    errorName: elementOf(text, 'Code', nameOf) ?? (/^\s*<(!doctype html|html)\b/i.test(text) ? HTML_PAGE : null),
    remoteRequestId: requestIdOf(headers.get('x-amz-request-id')) ?? elementOf(text, 'RequestId', requestIdOf),
    clockSkewSeconds: clockSkewSeconds(headers.get('date'), now),
    expectedRegion: regionOf(headers.get('x-amz-bucket-region')) ?? elementOf(text, 'Region', regionOf)
  })
}

/** The diagnosis of a failure without an answer. */
export function diagnoseFailure(operation: string, error: unknown): Diagnosis {
  return diagnosis('store', operation, { system: systemCodeOf(error), errorName: error instanceof Error && error.name !== 'Error' ? nameOf(error.name) : null })
}

/** The gateway's own signature was refused. Clients see this as well, so that they do not look for the fault on their side. */
export function refusal(fault: string, diagnosed: Diagnosis): S3Error {
  const trouble = troubleOf(diagnosed)
  const message = trouble === 'clock' ?
    'The clocks of the gateway and of the store differ by more than the store accepts.'
    : trouble === 'region' ?
    'The store is in another region than the gateway signs for. The operator should check upstream.region.'
    : 'The store does not accept the credentials or the signature of the gateway.'
  return new S3Error('SealgateBadUpstream', { message, cause: new Finding(fault), diagnosis: diagnosed })
}

function elementOf(text: string, name: string, bounded: (value: unknown) => string | null): string | null {
  const open = text.indexOf(`<${name}>`)
  const from = open + name.length + 2
  const end = open < 0 ? -1 : text.indexOf('<', from)
  return end < 0 || end - from > 200 ? null : bounded(text.slice(from, end).trim())
}

const PATIENCE_MS = 2000

/**
 * Whether a server without a usable answer to plain HTTP speaks TLS. Sends a TLS greeting and nothing else; the name in its certificate does not
 * matter. Never rejects: no answer means no.
 * @param endpoint an http URL
 */
export function speaksTls(endpoint: URL, signal: AbortSignal): Promise<boolean> {
  const host = endpoint.hostname.replace(/^\[|\]$/g, '')
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({
    host,
    port: Number(endpoint.port === '' ? 80 : endpoint.port),
    rejectUnauthorized: false,
    ...isIP(host) === 0 ? { servername: host } : {}
  })
  const leave = (answer: boolean): void => {
    socket.destroy()
    resolve(answer)
  }
  socket.once('secureConnect', () => {
    leave(true)
  })
  // An alert is TLS as well: a server may demand a client certificate, or share no version.
  socket.on('error', (error: NodeJS.ErrnoException) => {
    leave(/^ERR_SSL_.*ALERT/.test(error.code ?? ''))
  })
  socket.once('close', () => {
    leave(false)
  })
  socket.setTimeout(PATIENCE_MS, () => {
    leave(false)
  })
  const onAbort = (): void => {
    leave(false)
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  return promise.finally(() => {
    signal.removeEventListener('abort', onAbort)
  })
}
