// What a peer that has proved nothing can send over HTTP, with constructs that do not end: the cost of each and the size of its answer.
import { connect } from 'node:net'
import { endless, placesOf, units } from './endless.ts'
import { judgeGrowth, type GrowthReport } from './growth.ts'
import { errorAllowance } from './parsers.ts'

/** Bytes of a head, with room for what Node counts to it. */
const headBytes = 15 * 1024
const formBytes = 60 * 1024
/** Times of its request that an answer may be, besides what any error document may have. */
const mostAmplification = 4

interface Path {
  readonly name: string
  readonly length: number
  /** § marks the places. Without the framing of a body, which is added. */
  readonly seed: string
  readonly body: string | null
}

const scope = 'TESTCLIENT/20261128/us-east-1/s3/aws4_request'
const signed = `x-amz-date: 20261128T000000Z\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n`
const head = (line: string, headers: string): string => `${line} HTTP/1.1\r\nHost: gateway\r\n${headers}`
const field = (name: string, value: string): string => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`

const heads: readonly (readonly [name: string, seed: string])[] = [
  ['target', head('GET /bucket/k§?versionId=§&§', '')],
  ['list', head('GET /bucket?list-type=2&prefix=§', '')],
  [
    'presigned query',
    head(
      `GET /bucket/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${
        scope.replaceAll('/', '%2F')
      }&X-Amz-Date=20261128T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&x-amz-meta-a=§&X-Amz-Signature=${'0'.repeat(64)}`,
      ''
    )
  ],
  ['presigned query, Version 2', head(`GET /bucket/k§?AWSAccessKeyId=TESTCLIENT&Expires=1999999999&versionId=§&Signature=AAAA`, '')],
  [
    'authorization',
    head('GET /bucket/k', `${signed}Authorization: AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date§, Signature=§\r\n`)
  ],
  [
    'signed headers',
    head(
      'PUT /bucket/k',
      `${signed}x-amz-meta-a: §\r\nAuthorization: AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a, Signature=0\r\n`
    )
  ],
  ['other headers', head('HEAD /bucket/k', 'Range: §\r\nIf-Match: §\r\nCookie: §\r\nDate: §\r\n')],
  ['headers of the connection', head('GET /', 'Connection: §\r\nContent-Type: §\r\n')],
  ['preflight', head('OPTIONS /bucket/k', 'Origin: https://a§\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: §\r\n')]
]

const bodies: readonly (readonly [name: string, head: string, body: string])[] = [
  [
    'form',
    head('POST /bucket', 'Content-Type: multipart/form-data; boundary=b\r\n'),
    `${field('key', '§')}${field('policy', '§')}${field('x-amz-credential', scope)}${field('x-amz-date', '20261128T000000Z')}${
      field('x-amz-algorithm', 'AWS4-HMAC-SHA256')
    }${field('x-amz-signature', '0'.repeat(64))}--b\r\nContent-Disposition: form-data; name="file"; filename="§"\r\n\r\nx\r\n--b--\r\n`
  ],
  [
    'form, Version 2',
    head('POST /bucket', 'Content-Type: multipart/form-data; boundary=b\r\n'),
    `${field('AWSAccessKeyId', 'TESTCLIENT')}${field('signature', 'AAAA')}${
      field('policy', '§')
    }--b\r\nContent-Disposition: form-data; name="file"§\r\n\r\nx\r\n--b--\r\n`
  ],
  ['document that is not signed', head('POST /bucket?delete', ''), '<Delete>§</Delete>']
]

const paths: readonly Path[] = [
  ...heads.map(([name, seed]) => ({ name, seed, body: null, length: headBytes })),
  ...bodies.map(([name, seed, body]) => ({ name, seed, body, length: formBytes }))
]

/** What a client sends for a path; a head cannot have line ends within. */
function requestOf({ seed, body }: Path, place: number, unit: string, length: number): Buffer {
  if (body !== null) {
    const bytes = endless(body, place, unit, length, unit.startsWith('${') ? 'filled' : 'empty')
    return Buffer.concat([Buffer.from(`${seed}Connection: close\r\nContent-Length: ${bytes.length}\r\n\r\n`), bytes])
  }
  const inTarget = seed.split('§', place + 1).join('§').split('\r\n').length === 1
  const clean = inTarget ? encodeURI(unit.replaceAll(/[\r\n]/g, ' ')).replaceAll('%25', '%') : unit.replaceAll(/[\r\n\0]/g, ' ')
  return Buffer.concat([endless(seed.replace(/\r\n$/, ''), place, clean, length), Buffer.from('\r\nConnection: close\r\n\r\n')])
}

async function answerBytes(port: number, request: Buffer): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  let bytes = 0
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  return new Promise((resolve) => {
    // A reset is an answer, too: what counts is how many bytes came.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      resolve(bytes)
    })
    socket.write(request)
  })
}

/** Sends every path with every construct to a gateway in this process. @param share as for `growthOf`. */
export async function httpGrowth(port: number, share = 1): Promise<GrowthReport & { readonly largest: number }> {
  const faults: string[] = []
  let cases = 0
  let largest = 0
  let slowest = { what: '', bytes: 1, microseconds: 0 }
  let turn = 0
  for (const path of paths) {
    for (let place = 0; place < placesOf(path.body ?? path.seed); place += 1, turn += 1) {
      for (const unit of units.filter((_, i) => (i + turn) % share === 0)) {
        const what = `${path.name}, ${JSON.stringify(unit)} at place ${place + 1}`
        const { fault, cost } = await judgeGrowth(what, path.length, async (length) => {
          const request = requestOf(path, place, unit, length)
          const answer = await answerBytes(port, request)
          largest = Math.max(largest, answer)
          if (answer > mostAmplification * request.length + errorAllowance) faults.push(`${what}: ${answer} bytes for ${request.length}`)
        })
        cases += 1
        if (fault !== null) {
          faults.push(fault)
        }
        if (cost / path.length > slowest.microseconds / slowest.bytes) slowest = { what, bytes: path.length, microseconds: cost }
      }
    }
  }
  return { cases, slowest, faults, largest }
}
