// The yardstick for small objects: Fastify and undici with the cryptography a gateway cannot do without. For every request it
// verifies one signature and makes another; for every answer it opens one AES-256-GCM ciphertext of the body's size.
import { createCipheriv, createDecipheriv, createHash, createHmac, createSecretKey, randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import process from 'node:process'
import { SignatureV4 } from '@aws-sdk/signature-v4'
import { fastify } from 'fastify'
import { Pool } from 'undici'
import { Sha256 } from './sha256.ts'
import { clientAccount, storeAccount } from './rig.ts'

const [upstream = ''] = process.argv.slice(2)
const pool = new Pool(upstream, { connections: 128, pipelining: 1 })
const { host } = new URL(upstream)
const signer = new SignatureV4({ credentials: storeAccount, region: 'us-east-1', service: 's3', sha256: Sha256, uriEscapePath: false, applyChecksum: false })
const key = createSecretKey(randomBytes(32))
const nonce = Buffer.alloc(12)
const sealed = new Map<number, { readonly bytes: Buffer; readonly tag: Buffer }>()

function sealedOf(size: number): { readonly bytes: Buffer; readonly tag: Buffer } {
  const known = sealed.get(size)
  if (known !== undefined) return known
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  const bytes = Buffer.concat([cipher.update(Buffer.alloc(size)), cipher.final()])
  const made = { bytes, tag: cipher.getAuthTag() }
  sealed.set(size, made)
  return made
}

const signingKey = ['20260101', 'us-east-1', 's3', 'aws4_request'].reduce<Buffer>(
  (last, part) => createHmac('sha256', last).update(part).digest(),
  Buffer.from(`AWS4${clientAccount.secretAccessKey}`)
)

/** The work of verifying, whatever comes of it: the yardstick is no gateway. */
function verify(method: string, path: string, headers: NodeJS.Dict<string | string[]>): void {
  const canonical = [method, path, '', ...Object.entries(headers).map(([name, value]) => `${name}:${String(value)}`), '', 'UNSIGNED-PAYLOAD'].join('\n')
  createHmac('sha256', signingKey).update(createHash('sha256').update(canonical).digest('hex')).digest('hex')
}

const app = fastify({ logger: false })
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
  done(null, body)
})
app.route({
  method: ['GET', 'PUT'],
  url: '/*',
  handler: async (request, reply) => {
    const method = request.method as 'GET' | 'PUT'
    verify(method, request.url, request.headers)
    const body = Buffer.isBuffer(request.body) ? request.body : null
    const signed = await signer.sign({
      method,
      protocol: 'http:',
      hostname: host,
      path: request.url,
      query: {},
      headers: { host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
    })
    const answer = await pool.request({ method, path: request.url, headers: signed.headers, body })
    const bytes = Buffer.from(await answer.body.arrayBuffer())
    const { bytes: ciphertext, tag } = sealedOf(method === 'GET' ? bytes.length : body?.length ?? 0)
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 }).setAuthTag(tag)
    decipher.update(ciphertext)
    decipher.final()
    return reply.code(answer.statusCode).header('etag', answer.headers['etag']).send(bytes)
  }
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.stdout.write(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}\n`)
