// The store of the benchmarks: the embedded server in memory, one that keeps no long bodies, or a sink that keeps nothing.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import process from 'node:process'
import type { BlobWriter } from '../src/embedded-store/backend.ts'
import type { Blob } from '../src/embedded-store/records.ts'
import { MemoryBackend } from '../src/embedded-store/memory.ts'
import { startStore } from '../src/embedded-store/server.ts'

const [kind = 'memory'] = process.argv.slice(2)

async function endpoint(): Promise<string> {
  if (kind === 'sink') return startSink()
  const store = await startStore({
    backend: kind === 'forgetful' ? new ForgetfulBackend() : new MemoryBackend(),
    credentials: [{ accessKeyId: 'store', secretAccessKey: 'store-secret' }],
    region: 'us-east-1',
    host: '127.0.0.1',
    port: 0,
    defaultChecksum: false
  })
  return store.endpoint
}

/** Bytes of a body that is kept. */
const KEPT = 256 * 1024

/** Keeps no more than the beginning of a body: for uploads whose parts nobody will read, and that no memory could hold. */
class ForgetfulBackend extends MemoryBackend {
  override async createBlob(): Promise<BlobWriter> {
    const writer = await super.createBlob()
    let size = 0
    return {
      ...writer,
      write: (chunk) => {
        size += chunk.length
        return size <= KEPT ? writer.write(chunk) : undefined
      },
      commit: async () => ({ ...await writer.commit(), size })
    }
  }

  override async linkBlob(blob: Blob): Promise<Blob> {
    return blob.size <= KEPT ? super.linkBlob(blob) : { id: randomUUID(), size: blob.size }
  }
}

/** Takes any body and forgets it, and has nothing to read: for uploads that no memory could hold. */
function startSink(): Promise<string> {
  const nothing = '<Error><Code>NoSuchKey</Code></Error>'
  const server = createServer({ requestTimeout: 0, highWaterMark: 1 << 20 }, (req, res) => {
    req.on('end', () => {
      if (req.method === 'GET') res.writeHead(404, { 'content-type': 'application/xml', 'content-length': nothing.length }).end(nothing)
      else res.writeHead(200, { 'etag': '"d41d8cd98f00b204e9800998ecf8427e"', 'content-length': 0 }).end()
    })
    req.resume()
  })
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(`http://127.0.0.1:${typeof address === 'object' ? address?.port ?? 0 : 0}`)
    })
  )
}

process.stdout.write(`${await endpoint()}\n`)
