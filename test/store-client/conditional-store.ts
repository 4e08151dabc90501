import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type t from 'tap'

/** Which conditions this store enforces; what it does not, it ignores, as stores do. */
export interface Enforced {
  readonly put: boolean
  readonly putEtags: 'quoted' | 'bare'
  readonly complete: boolean
  readonly copy: boolean
  readonly delete: boolean
  readonly copySource: 'x-amz-copy-source-if-match' | 'x-amz-copy-if-match' | null
}

export interface ConditionalStore {
  readonly endpoint: string
  readonly objects: Map<string, string>
  readonly uploads: Set<string>
}

/** Just enough of S3 for conditional requests: objects are their ETags. */
export async function conditionalStore(test: Pick<typeof t, 'teardown'>, enforced: Enforced): Promise<ConditionalStore> {
  const objects = new Map<string, string>()
  const uploads = new Set<string>()
  const server = createServer((request, response) => {
    void answer(request, response)
  })
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = Buffer.concat(await request.toArray() as Buffer[])
    const url = new URL(request.url ?? '/', 'http://store')
    const key = url.pathname
    const { status, etag, text } = run(request.method ?? '', key, url.searchParams, header(request), body)
    response.writeHead(status, { ...(etag === undefined ? {} : { etag: `"${etag}"` }), 'content-length': Buffer.byteLength(text ?? '') }).end(text)
  }
  const run = (method: string, key: string, query: URLSearchParams, get: (name: string) => string | null, body: Buffer): Reply => {
    const upload = query.get('uploadId')
    const source = get('x-amz-copy-source')
    const old = objects.get(key)
    if (method === 'POST' && query.has('uploads')) {
      const id = randomUUID()
      uploads.add(id)
      return { status: 200, text: `<R><UploadId>${id}</UploadId></R>` }
    }
    if (method === 'PUT' && upload !== null) return { status: 200, etag: 'part' }
    if (method === 'POST' && upload !== null) {
      if (enforced.complete && fails(old, get, 'quoted')) return failed
      if (!uploads.delete(upload)) return { status: 404, text: '<Error><Code>NoSuchUpload</Code></Error>' }
      objects.set(key, `${upload}-1`)
      return { status: 200, text: '<R/>' }
    }
    if (method === 'DELETE') {
      if (upload !== null) uploads.delete(upload)
      else if (enforced.delete && fails(old, get, 'quoted')) return failed
      else objects.delete(key)
      return { status: 204 }
    }
    if (method === 'PUT' && source !== null) {
      const from = objects.get(source.startsWith('/') ? source : `/${source}`)
      const wanted = enforced.copySource === null ? null : get(enforced.copySource)
      if (wanted !== null && wanted !== `"${from ?? ''}"`) return failed
      if (enforced.copy && fails(old, get, 'quoted')) return failed
      objects.set(key, from ?? '')
      return { status: 200, text: '<R/>' }
    }
    if (method === 'PUT') {
      if (enforced.put && fails(old, get, enforced.putEtags)) return failed
      const etag = createHash('md5').update(body).digest('hex')
      objects.set(key, etag)
      return { status: 200, etag }
    }
    return { status: 501 }
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, objects, uploads }
}

interface Reply {
  readonly status: number
  readonly etag?: string
  readonly text?: string
}

const failed: Reply = { status: 412, text: '<Error><Code>PreconditionFailed</Code></Error>' }

function header(request: IncomingMessage): (name: string) => string | null {
  return (name) => {
    const value = request.headers[name]
    return typeof value === 'string' ? value : null
  }
}

function fails(etag: string | undefined, get: (name: string) => string | null, form: 'quoted' | 'bare'): boolean {
  const match = get('if-match')
  if (get('if-none-match') === '*' && etag !== undefined) return true
  return match !== null && match !== (form === 'quoted' ? `"${etag ?? ''}"` : etag)
}
