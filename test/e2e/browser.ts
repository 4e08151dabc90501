// A page in a headless browser that talks to a gateway, for test/e2e/recipes/chromium.sh.
//   node test/e2e/browser.ts BUNDLE.js CHROMIUM RIG_LINE BUCKET
// Serves the page on a port of its own, which is another origin to the browser than the gateway, and prints a line per step that the page
// reports. The bucket gets CORS rules, where the store keeps such. Ends with 1 when a step failed or the page did not come to its end.
import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PutBucketCorsCommand, S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '../campaigns/presign.ts'
import type { Given } from './browser-page.ts'

interface Said {
  readonly https: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

const uploadBytes = 11_000_000
/** For all steps together. */
const patienceMs = 120_000
const [bundle = '', chromium = '', line = '', bucket = ''] = process.argv.slice(2)
const { https: endpoint, ...credentials } = JSON.parse(line) as Said
const s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials })
const tally = { passed: 0, failed: 0 }

function told(name: string, error: string): void {
  console.log(`${name.padEnd(34)} ${error === '' ? 'ok' : `FAIL ${error}`}`)
  tally[error === '' ? 'passed' : 'failed'] += 1
}

/** A form that AWS calls "browser-based upload": a policy, signed as a string (Signature Version 4). */
function signedForm(key: string): { readonly url: string; readonly fields: Readonly<Record<string, string>> } {
  const date = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const scope = [date.slice(0, 8), 'us-east-1', 's3', 'aws4_request']
  const fields = { key, 'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-credential': [credentials.accessKeyId, ...scope].join('/'), 'x-amz-date': date }
  const conditions = Object.entries({ bucket, ...fields }).map(([name, value]) => ({ [name]: value }))
  const policy = Buffer.from(JSON.stringify({ expiration: new Date(Date.now() + 3_600_000).toISOString(), conditions })).toString('base64')
  const hmac = (secret: string | Buffer, text: string): Buffer => createHmac('sha256', secret).update(text).digest()
  const signature = hmac(scope.reduce<Buffer | string>(hmac, `AWS4${credentials.secretAccessKey}`), policy).toString('hex')
  return { url: `${endpoint}/${bucket}`, fields: { ...fields, policy, 'x-amz-signature': signature } }
}

const rules = { AllowedOrigins: ['*'], AllowedMethods: ['GET', 'PUT', 'POST', 'DELETE'], AllowedHeaders: ['*'], ExposeHeaders: ['ETag'] }
const kept = await s3.send(new PutBucketCorsCommand({ Bucket: bucket, CORSConfiguration: { CORSRules: [rules] } })).then(
  () => 'the rules of the bucket',
  (error: unknown) => `no rules of the bucket (${error instanceof Error ? error.name : 'unknown error'})`
)
console.log(`${'CORS'.padEnd(34)} ${kept}`)

const sign = (method: string, key: string): string => endpoint + getSignedUrl(method, `/${bucket}/${key}`, endpoint, credentials)
const presign = (key: string): { get: string; put: string } => ({ get: sign('GET', key), put: sign('PUT', key) })
const presigned = { put: presign('put'), form: presign('form'), upload: presign('upload') }
const given: Given = { endpoint, credentials, bucket, presigned, form: signedForm('form'), uploadBytes }
const script = await readFile(bundle)
const ended = Promise.withResolvers<string>()
const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://page')
  if (url.pathname === '/bundle.js') response.setHeader('content-type', 'text/javascript').end(script)
  else if (url.pathname === '/step') {
    response.end()
    const name = url.searchParams.get('name') ?? ''
    if (name === '') ended.resolve('')
    else told(name, url.searchParams.get('error') ?? '')
  } else {response.setHeader('content-type', 'text/html').end(
      `<!doctype html><script>given=${JSON.stringify(given)}</script><script type="module" src="/bundle.js"></script>`
    )}
}).listen(0, '127.0.0.1')
await once(server, 'listening')

const profile = await mkdtemp(join(tmpdir(), 'sealgate-browser-'))
const browser = spawn(chromium, [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0',
  `--user-data-dir=${profile}`,
  `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
], { stdio: 'ignore' })
const exited = once(browser, 'exit')
const timer = setTimeout(() => {
  ended.resolve(`not within ${patienceMs / 1000} s`)
}, patienceMs)
void exited.then(() => {
  ended.resolve('the browser has ended')
})
const fault = await ended.promise
clearTimeout(timer)
if (fault !== '') told('the end of the page', fault)
browser.kill()
await exited
server.close()
server.closeAllConnections()
await rm(profile, { recursive: true, force: true, maxRetries: 5 })
console.log(`${tally.passed} passed, ${tally.failed} failed`)
process.exit(tally.failed === 0 ? 0 : 1)
