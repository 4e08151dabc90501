// Secrets and plaintext go in everywhere; everything that comes out is searched for them.
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import t from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { byTurns } from '../support/by-turns.ts'
import { signingKey, type Draft, type Headers } from '../support/signing.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { operationRequests } from './operation-requests.ts'
import { forEach, headerSigned, headOf, querySigned, signOptions, timestampOf, Wire } from '../support/wire.ts'
import { RawConnection } from '../support/raw-client.ts'

const Bucket = 'secrets'

/** A secret in every spelling it could be written out in. */
function spellings(secret: Buffer): readonly Buffer[] {
  const hex = secret.toString('hex')
  const texts = [
    hex,
    hex.toUpperCase(),
    hex.replace(/..(?=.)/g, '$& '),
    secret.toString('base64').replace(/=+$/, ''),
    secret.toString('base64url'),
    [...secret].join(','),
    encodeURIComponent(secret.toString('base64'))
  ]
  return [secret, ...texts.map((text) => Buffer.from(text))]
}

void t.test('no secret and no plaintext in logs, metrics, the audit trail, errors, or in anything the store gets', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'sealgate-secrets-'))
  const audit = join(folder, 'audit.jsonl')
  const log: string[] = []
  const outputs = new Map<string, Buffer[]>([['answers with errors', []], ['heads of answers', []]])
  const store = await startTestStore({ buckets: [Bucket, 'plain'] })
  const gateway = await startTestGateway(store, {
    log: (line) => log.push(line),
    sections: { audit: { file: audit }, auth: { ssecOverHttp: true, v2Header: true, v2Query: true } }
  })
  const wire = new Wire(gateway.endpoint)
  const s3 = gateway.client()
  t.teardown(async () => {
    wire.close()
    s3.destroy()
    await gateway.close()
    await store.close()
    await rm(folder, { recursive: true })
  })

  const canaries = new Map<string, readonly Buffer[]>()
  const canary = (name: string, secret: Buffer | string): void => {
    canaries.set(name, spellings(Buffer.from(secret)))
  }
  canary('the client\'s secret', gateway.secretAccessKey)
  canary('the store\'s secret', store.secretAccessKey)
  const day = timestampOf(new Date()).slice(0, 8)
  canary('the client\'s signing key', signingKey(gateway.secretAccessKey, day, 'us-east-1'))
  canary('the store\'s signing key', signingKey(store.secretAccessKey, day, 'us-east-1'))
  const keyring = await readFile(gateway.keyring, 'utf8')
  const masterKeys = [...keyring.matchAll(/[A-Za-z0-9+/_-]{43}/g)].map(([text]) => Buffer.from(text, 'base64'))
  t.ok(masterKeys.length > 0, 'the keyring has been read')
  for (const [i, key] of masterKeys.entries()) canary(`master key ${i}`, key)
  const customerKey = randomBytes(32)
  canary('a customer\'s key', customerKey)
  const token = `SESSION${randomBytes(24).toString('base64url')}`
  canary('a session token', token)

  const keep = (name: string, bytes: Buffer): void => {
    outputs.get(name)?.push(bytes)
  }
  const send = async (draft: Draft, body: string | Buffer = ''): Promise<number> => {
    for (const [name, value] of draft.headers) {
      // A signature that is valid where it stands: whoever finds it can use it.
      if (name === 'Authorization' && !draft.headers.some(([n]) => n === 'x-spoilt')) {
        canary(`a signature of ${draft.method} ${draft.target}`, /Signature=([0-9a-f]{64})/.exec(value)?.[1] ?? token)
      }
    }
    const answer = await wire.send({ ...draft, headers: draft.headers.filter(([n]) => n !== 'x-spoilt') }, body)
    keep('heads of answers', Buffer.from(JSON.stringify(answer.headers)))
    if (answer.status >= 300) keep('answers with errors', answer.body)
    return answer.status
  }

  const customer: Headers = [
    ['x-amz-server-side-encryption-customer-algorithm', 'AES256'],
    ['x-amz-server-side-encryption-customer-key', customerKey.toString('base64')],
    ['x-amz-server-side-encryption-customer-key-md5', createHash('md5').update(customerKey).digest('base64')]
  ]
  const asSource: Headers = customer.map(([name, value]) => [name.replace('x-amz-', 'x-amz-copy-source-'), value])
  const inQuery = customer.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
  const plaintexts = [randomBytes(100), randomBytes(40_000), randomBytes(200_000)]

  // All goes well.
  for (const [i, Body] of plaintexts.entries()) {
    await s3.send(new PutObjectCommand({ Bucket, Key: `good/${i}`, Body, ContentMD5: createHash('md5').update(Body).digest('base64') }))
    await s3.send(new PutObjectCommand({ Bucket, Key: `sha/${i}`, Body, ChecksumAlgorithm: 'SHA256' }))
    t.equal(await send(headerSigned(gateway, { method: 'PUT', target: `/${Bucket}/ssec/${i}`, headers: customer }, Body), Body), 200)
    t.equal(await send(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/ssec/${i}`, headers: customer })), 200)
    t.equal(await send(querySigned(gateway, { method: 'PUT', target: `/${Bucket}/presigned/${i}`, headers: [] }, Body), Body), 200)
    t.equal(await send(querySigned(gateway, { method: 'PUT', target: `/${Bucket}/presigned-ssec/${i}?${inQuery}`, headers: [] }, Body), Body), 200)
    await s3.send(new GetObjectCommand({ Bucket, Key: `good/${i}`, ChecksumMode: 'ENABLED' })).then(({ Body: body }) => body?.transformToByteArray())
    await s3.send(new HeadObjectCommand({ Bucket, Key: `sha/${i}`, ChecksumMode: 'ENABLED' }))
    await s3.send(new CopyObjectCommand({ Bucket, Key: `copy/${i}`, CopySource: `${Bucket}/good/${i}` }))
    t.equal(
      await send(
        headerSigned(gateway, {
          method: 'PUT',
          target: `/${Bucket}/ssec-copy/${i}`,
          headers: [['x-amz-copy-source', `/${Bucket}/ssec/${i}`], ...asSource, ...customer]
        })
      ),
      200
    )
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: `parts/${i}` }))
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key: `parts/${i}`, UploadId, PartNumber: 1, Body }))
    await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: `parts/${i}`, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }))
  }
  await s3.send(new ListObjectsV2Command({ Bucket }))

  // Nothing does.
  const host: Headers = [['Host', new URL(gateway.endpoint).host]]
  const spoilt = (draft: Draft): Draft => ({ ...draft, headers: [...draft.headers, ['x-spoilt', '']] })
  const wrong = { ...gateway, secretAccessKey: 'wrong' }
  await forEach([...operationRequests(Bucket, 'good/0').entries()], 8, async ([nth, { draft, body }]) => {
    if (draft.method === 'DELETE' || draft.target === `/${Bucket}` || draft.target.includes('lifecycle')) return
    const withKey = { ...draft, headers: [...draft.headers, ...customer, ...asSource] }
    const withToken: Draft = { ...draft, headers: [...draft.headers, ['x-amz-security-token', token]] }
    const asked = (query: string): Draft => ({ ...draft, target: `${draft.target}${draft.target.includes('?') ? '&' : '?'}${query}` })
    await send(headerSigned(gateway, withKey, body), body)
    await send(querySigned(gateway, asked(inQuery), body), body)
    await send(headerSigned(gateway, withToken, body), body)
    const sourceKey = `x-amz-copy-source-server-side-encryption-customer-key=${encodeURIComponent(customerKey.toString('base64'))}`
    const late = signOptions(gateway, { time: timestampOf(new Date(Date.now() - 7_200_000)) })
    // What is refused before its operation matters: every operation with a third of these by turns.
    const refused = [
      () => spoilt(headerSigned(wrong, withKey, body)),
      () => spoilt(querySigned(wrong, asked(`${inQuery}&${sourceKey}`), body)),
      () => spoilt(headerSigned(wrong, withToken, body)),
      () => spoilt(querySigned(wrong, asked(`X-Amz-Security-Token=${token}`), body)),
      () => headerSigned(gateway, withKey, body, late),
      () => querySigned(gateway, draft, body, late)
    ]
    for (const sign of refused.filter((_, i) => byTurns((i + nth) % 3 === 0))) await send(sign(), body)
  })
  for (
    const authorization of [
      `Basic ${Buffer.from(`${gateway.accessKeyId}:${gateway.secretAccessKey}`).toString('base64')}`,
      `Bearer ${token}`,
      `AWS ${gateway.accessKeyId}:${gateway.secretAccessKey}`,
      `AWS4-HMAC-SHA256 Credential=${gateway.accessKeyId}/${day}/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=${token}`,
      token,
      `${gateway.secretAccessKey} x`
    ]
  ) {
    await send({
      method: 'GET',
      target: `/${Bucket}/good/0`,
      headers: [...host, ['Authorization', authorization], ['x-amz-date', timestampOf(new Date())], ['x-amz-content-sha256', 'UNSIGNED-PAYLOAD'], [
        'x-spoilt',
        ''
      ]]
    })
  }
  const short: Headers = [customer[0]!, ['x-amz-server-side-encryption-customer-key', customerKey.subarray(0, 31).toString('base64')], customer[2]!]
  const otherMd5: Headers = [customer[0]!, customer[1]!, ['x-amz-server-side-encryption-customer-key-md5', createHash('md5').digest('base64')]]
  for (const headers of [short, otherMd5, [customer[1]!], [customer[0]!, customer[1]!], customer]) {
    await send(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/good/0`, headers }))
    await send(headerSigned(gateway, { method: 'PUT', target: `/${Bucket}/never`, headers }, 'x'), 'y')
  }
  const connection = await RawConnection.open(gateway.endpoint)
  await connection.send(`GET /${Bucket}?Signature=${token} HTTP/1.1\r\nHost: x\r\nAuthorization ${gateway.secretAccessKey}\r\n\r\n`)
  keep('answers with errors', (await connection.response()).raw)
  connection.close()

  // Damage and faults on the way of plaintext.
  for (const i of [0, 1, 2]) {
    const stored = store.object(Bucket, `good/${i}`)
    const body = await stored.body()
    body[body.length - 400]! ^= 1
    await stored.set({ body })
    await send(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/good/${i}`, headers: [] })).catch(() => 0)
  }
  for (const code of ['SignatureDoesNotMatch', 'InvalidAccessKeyId', 'AuthorizationHeaderMalformed', 'XAmzContentSHA256Mismatch']) {
    // Stores put the canonical request, and so what the gateway sent, into such errors.
    store.rules.add({ when: { key: 'sha/0' }, fault: { type: 'error', status: 403, code, message: `${store.secretAccessKey} is what signed` } })
    await send(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/sha/0`, headers: [] }))
  }
  store.rules.add({ when: { key: 'sha/1' }, fault: { type: 'garbage' } })
  await send(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/sha/1`, headers: [] }))
  const whole = headerSigned(gateway, { method: 'PUT', target: `/${Bucket}/cut`, headers: customer }, plaintexts[2])
  const cut = await RawConnection.open(gateway.endpoint)
  await cut.send(Buffer.concat([headOf(whole), plaintexts[2]!.subarray(0, 100_000)]))
  cut.reset()

  const events = await readFile(audit)
  t.ok(log.length > 500 && events.length > 1000, `${log.length} lines of log, ${events.length} bytes of audit trail`)
  outputs.set('the log', log.map((line) => Buffer.from(line)))
  outputs.set('the audit trail', [events])
  outputs.set('metrics', [Buffer.from(gateway.gateway.metrics())])
  const upstream = store.requests.flatMap((
    { path, headers, body }
  ) => [Buffer.from(`${path}\n${headers.entries.map((field) => field.join(': ')).join('\n')}`, 'latin1'), body ?? Buffer.alloc(0)])
  outputs.set('requests to the store', upstream)

  // What would tell of the plaintext.
  for (const [i, plaintext] of plaintexts.entries()) {
    for (const at of [0, 1000, plaintext.length - 16].filter((offset) => offset + 16 <= plaintext.length)) {
      canaries.set(`plaintext ${i} at ${at}`, [plaintext.subarray(at, at + 16)])
    }
    canary(`SHA-256 of plaintext ${i}`, createHash('sha256').update(plaintext).digest())
    canary(`MD5 of plaintext ${i}`, createHash('md5').update(plaintext).digest())
    const crc = Buffer.alloc(4)
    crc.writeUInt32BE(crc32(plaintext))
    canaries.set(`CRC-32 of plaintext ${i}`, [Buffer.from(crc.toString('base64'))])
  }
  let searched = 0
  const hits: string[] = []
  for (const [where, pieces] of outputs) {
    const all = Buffer.concat(pieces.flatMap((piece) => [piece, Buffer.from('\n')]))
    searched += all.length
    for (const [name, forms] of canaries) {
      // A client is told the digests of its own objects.
      if (where === 'heads of answers' && /^(MD5|CRC-32|SHA-256)/.test(name)) continue
      if (forms.some((form) => form.length >= 4 && all.includes(form))) hits.push(`${name} in ${where}`)
    }
  }
  t.same(hits, [])
  t.ok(Buffer.concat(outputs.get('requests to the store') ?? []).length > 1_000_000, 'bodies were searched too')
  t.comment(
    `${canaries.size} secrets in ${[...canaries.values()].flat().length} spellings, ${searched.toLocaleString('en')} bytes of output, ${hits.length} hits`
  )
})
