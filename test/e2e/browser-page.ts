// What test/e2e/recipes/chromium.sh has a page do. Bundled for the browser with the SDK; what it needs is in the global `given`; each step is reported to
// the server that the page came from.
import { S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'

export interface Given {
  readonly endpoint: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  readonly bucket: string
  /** Addresses for a GET and a PUT of each object. */
  readonly presigned: Readonly<Record<'put' | 'form' | 'upload', { readonly get: string; readonly put: string }>>
  readonly form: { readonly url: string; readonly fields: Readonly<Record<string, string>> }
  readonly uploadBytes: number
}

type Bytes = Uint8Array<ArrayBuffer>

const { endpoint, credentials, bucket, presigned, form, uploadBytes } = Reflect.get(globalThis, 'given') as Given
const report = async (name: string, error: string): Promise<unknown> => fetch(`/step?${new URLSearchParams({ name, error }).toString()}`)

async function hash(bytes: Bytes): Promise<string> {
  return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

function random(length: number): Bytes {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536))
  return bytes
}

async function answered(response: Response): Promise<Response> {
  if (!response.ok) throw new Error(`${response.status} ${(await response.text()).slice(0, 200)}`)
  return response
}

/** @throws when what comes back under the name differs */
async function compare(key: keyof Given['presigned'], bytes: Bytes): Promise<void> {
  const got = new Uint8Array(await (await answered(await fetch(presigned[key].get))).arrayBuffer())
  if (await hash(got) !== await hash(bytes)) throw new Error(`${got.length} bytes came back, not the ${bytes.length} that were sent`)
}

const small = random(100_000)
const large = random(uploadBytes)
const steps: Readonly<Record<string, () => Promise<void>>> = {
  'presigned PUT': async () => {
    const { headers } = await answered(await fetch(presigned.put.put, { method: 'PUT', body: small, headers: { 'content-type': 'image/png' } }))
    if (!headers.has('etag')) throw new Error('the page may not read the ETag')
  },
  'presigned GET': async () => compare('put', small),
  'presigned POST form': async () => {
    const data = new FormData()
    for (const [name, value] of Object.entries(form.fields)) data.append(name, value)
    data.append('file', new Blob([small]), 'a file.bin')
    await answered(await fetch(form.url, { method: 'POST', body: data }))
    await compare('form', small)
  },
  [`SDK Upload of ${uploadBytes} bytes`]: async () => {
    const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials })
    const { ETag } = await new Upload({ client, params: { Bucket: bucket, Key: 'upload', Body: new Blob([large]) } }).done()
    if (!/-\d+"$/.test(ETag ?? '')) throw new Error(`the ETag ${ETag ?? ''} is of no multipart upload`)
    await compare('upload', large)
  }
}

for (const [name, step] of Object.entries(steps)) {
  const error = await step().then(() => '', (thrown: unknown) => String(thrown))
  await report(name, error)
}
await report('', '')
