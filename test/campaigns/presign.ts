import { createHash, createHmac } from 'node:crypto'

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** Path and query of a presigned request for an hour, with an unsigned payload (AWS, "Authenticating requests: using query parameters"). */
export function getSignedUrl(
  method: string,
  path: string,
  endpoint: string,
  { accessKeyId, secretAccessKey }: { readonly accessKeyId: string; readonly secretAccessKey: string }
): string {
  const date = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const scope = `${date.slice(0, 8)}/us-east-1/s3/aws4_request`
  const query = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${
    encodeURIComponent(`${accessKeyId}/${scope}`)
  }&X-Amz-Date=${date}&X-Amz-Expires=3600&X-Amz-SignedHeaders=host`
  const canonical = `${method}\n${path}\n${query}\nhost:${new URL(endpoint).host}\n\nhost\nUNSIGNED-PAYLOAD`
  const key = ['us-east-1', 's3', 'aws4_request'].reduce<Buffer>(hmac, hmac(`AWS4${secretAccessKey}`, date.slice(0, 8)))
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${createHash('sha256').update(canonical).digest('hex')}`).toString('hex')
  return `${path}?${query}&X-Amz-Signature=${signature}`
}
