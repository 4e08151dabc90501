import { buildConnector, Pool } from '../../http/undici.ts'
import { WrongServiceAnswer } from './errors.ts'

/** Longest answer in bytes that is read. The longest of those that are asked for describe the versions of a key, some 100 bytes for each. */
const MAX_ANSWER_BYTES = 256 * 1024
/** Connections to one server. Key requests are few: the cache of bucket keys stands before them. */
const CONNECTIONS = 16

/** An object in JSON of an answer. */
export type Data = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is Data {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export interface ServerTrust {
  /** PEM of the certificates that are trusted exclusively; null: those that Node trusts. */
  readonly ca: string | null
  /** Certificate and private key of the client, PEM. */
  readonly client: { readonly cert: string; readonly key: string } | null
  /** Name that the certificate must have; null: that of the header Host, else of the address. */
  readonly serverName: string | null
}

/** Connections to one server of a key service. @param connectMs longest time to make one, in milliseconds */
export function openPool(address: string, { ca, client, serverName }: ServerTrust, connectMs: number): Pool {
  const connect = {
    timeout: connectMs,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2' as const,
    ...ca === null ? {} : { ca },
    ...client
  }
  return new Pool(address, {
    connections: CONNECTIONS,
    allowH2: false,
    strictContentLength: true,
    maxHeaderSize: 32_768,
    // Shorter than the idle time of servers and proxies, so that the gateway closes first.
    keepAliveTimeout: 4000,
    connect: serverName === null ? connect : namedConnector(serverName, connect)
  })
}

/** undici takes the name from the header Host where a request has one, whatever its options say. */
function namedConnector(servername: string, options: buildConnector.BuildOptions): buildConnector.connector {
  const connector = buildConnector(options)
  return (wanted, done) => {
    connector({ ...wanted, servername }, done)
  }
}

/** The whole answer. @param service its name, for the error. @throws WrongServiceAnswer for one that is too long. */
export async function wholeText(stream: AsyncIterable<Buffer> & { destroy(): unknown }, service: string): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) {
      stream.destroy()
      throw new WrongServiceAnswer(`${service} answered with more than ${MAX_ANSWER_BYTES} bytes.`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** null: it is no JSON object. The message of a parser can quote the text, which may be a key. */
export function objectIn(text: string): Data | null {
  try {
    const value = JSON.parse(text) as unknown
    return isRecord(value) ? value : null
  } catch {
    return null
  }
}

/** The object of a good answer. @throws WrongServiceAnswer when there is none. */
export function answeredObject(text: string, service: string): Data {
  const value = objectIn(text)
  if (value === null) throw new WrongServiceAnswer(`${service} answered with no JSON object.`)
  return value
}

/** The start of a text of a server, without runs that could be a key or a token. */
export function shownText(text: string): string {
  return text.slice(0, 200).replace(/[A-Za-z0-9+/=_.-]{20,}/g, '…').replace(/[^\x20-\x7e…]+/g, ' ').trim()
}
