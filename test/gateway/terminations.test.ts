// Every way a request ends, made to happen, and what its access line says of it: who, in which phase, and which object.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { FakeKms } from '../support/fake-kms.ts'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { RawConnection, rawRequest } from '../support/raw-client.ts'
import type { Fault } from '../support/faults.ts'
import { upload } from '../support/uploads.ts'
import { headerSigned, headOf } from '../support/wire.ts'

const Bucket = 'endings'
process.env['AWS_ACCESS_KEY_ID'] = 'x'
process.env['AWS_SECRET_ACCESS_KEY'] = 'y'

interface Line {
  readonly msg: string
  readonly key: string | null
  readonly status: number | null
  readonly code: string | null
  readonly termination: string
}

class Rig {
  readonly store: TestStore
  readonly gateway: TestGateway
  readonly #lines: Line[]

  constructor(store: TestStore, gateway: TestGateway, lines: Line[]) {
    this.store = store
    this.gateway = gateway
    this.#lines = lines
  }

  /** The next access line about this key. */
  async line(key: string | null): Promise<Line> {
    for (;;) {
      const at = this.#lines.findIndex((line) => line.msg === 'request' && line.key === key)
      if (at >= 0) return this.#lines.splice(at, 1)[0]!
      await sleep(5)
    }
  }

  get(key: string, bucket = Bucket): Buffer {
    return headOf(headerSigned(this.gateway, { method: 'GET', target: `/${bucket}/${key}`, headers: [['Connection', 'close']] }))
  }

  put(key: string, size = 1000, bucket = Bucket): Buffer {
    const { head, body } = upload(this.gateway, `/${bucket}/${key}`, 'hash', randomBytes(size))
    return Buffer.concat([head, body])
  }

  async sent(bytes: Buffer): Promise<RawConnection> {
    const connection = await RawConnection.open(this.gateway.endpoint)
    await connection.send(bytes)
    return connection
  }

  /** Resolves when the gateway has begun with this many requests. */
  async underWay(requests = 1): Promise<void> {
    while (this.gateway.listener.counts().requestsInFlight < requests) await sleep(5)
  }

  /** Sends a request that meets a fault of the store. */
  async meet(key: string, method: string, fault: Fault, bytes: Buffer): Promise<Line> {
    const rule = this.store.rules.add({ when: { key, method }, times: 10, fault })
    const connection = await this.sent(bytes)
    const line = await this.line(key)
    connection.close()
    rule.remove()
    return line
  }
}

async function rig(t: Test, options: TestGatewayOptions = {}): Promise<Rig> {
  const store = await startTestStore({ buckets: [Bucket, 'kms'], keepBodies: false })
  const lines: Line[] = []
  const gateway = await startTestGateway(store, {
    ...options,
    log: (line) => {
      lines.push(JSON.parse(line) as Line)
    }
  })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  return new Rig(store, gateway, lines)
}

const refusal = (status: number, code: string): Fault => ({ type: 'error', status, code })

await t.test('by the client, the store, or the gateway', async (t) => {
  const r = await rig(t, { sections: { buckets: { '*': { etag: 'opaque' } }, limits: { minRate: 1024, minRateWindowSeconds: 0.3 } } })
  const s3 = r.gateway.client()
  for (const Key of ['object', 'flip', 'first']) await s3.send(new PutObjectCommand({ Bucket, Key, Body: randomBytes(400_000) }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'large', Body: randomBytes(20_000_000) }))
  s3.destroy()
  for (const key of ['object', 'flip', 'first', 'large']) t.match(await r.line(key), { termination: '--', status: 200, code: null }, key)

  await rawRequest(r.gateway.endpoint, r.get('none'))
  t.match(await r.line('none'), { termination: '--', status: 404, code: 'NoSuchKey' }, 'an ordinary answer')
  await rawRequest(r.gateway.endpoint, 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n')
  t.match(await r.line(null), { termination: 'PR', status: 400 })
  await rawRequest(r.gateway.endpoint, `GET /${Bucket}/object HTTP/1.1\r\nHost: h\r\n\r\n`)
  t.match(await r.line(null), { termination: 'PA', status: 403, code: 'AccessDenied' })

  const leaver = await r.sent(r.put('left', 300_000).subarray(0, 200_000))
  await r.underWay()
  leaver.reset()
  t.match(await r.line('left'), { termination: 'CU', status: null })
  const crawler = await r.sent(r.put('crawls', 300_000).subarray(0, 200_000))
  t.match(await r.line('crawls'), { termination: 'CU', status: 400, code: 'RequestTimeout' })
  crawler.close()
  r.store.rules.add({ when: { key: 'object' }, fault: { type: 'stall', at: 'before' } })
  const impatient = await r.sent(r.get('object'))
  await r.underWay()
  impatient.reset()
  t.match(await r.line('object'), { termination: 'CH', status: null })
  const satisfied = await r.sent(r.get('large'))
  await satisfied.began()
  satisfied.pause()
  satisfied.reset()
  t.match(await r.line('large'), { termination: 'CD', status: 200 })

  for (const [status, code] of [[500, 'InternalError'], [503, 'SlowDown'], [403, 'AccessDenied'], [500, 'OwnWords']] as const) {
    t.match(await r.meet('object', 'GET', refusal(status, code), r.get('object')), { termination: 'SH', status, code }, `${code} of the store`)
  }
  t.match(await r.meet('up', 'PUT', { type: 'mid-upload', bytes: 70_000, then: 'reset' }, r.put('up', 300_000)), { termination: /^S[UH]$/, status: 503 })
  t.match(await r.meet('large', 'GET', { type: 'truncate', bytes: 2_000_000 }, r.get('large')), { termination: 'SD', status: 200 })
  t.match(await r.meet('flip', 'GET', { type: 'flip', offset: 200_000 }, r.get('flip')), { termination: 'SD', status: 200 })
  t.match(await r.meet('first', 'GET', { type: 'flip', offset: 100 }, r.get('first')), { termination: 'SH', status: 500, code: 'SealgateIntegrityError' })

  const { head } = upload(r.gateway, `/${Bucket}/digest`, 'hash', Buffer.from('right'))
  await rawRequest(r.gateway.endpoint, Buffer.concat([head, Buffer.from('wrong')]))
  t.match(await r.line('digest'), { termination: 'PH', status: 400, code: 'XAmzContentSHA256Mismatch' })

  const last = await r.sent(r.get('large'))
  await last.began()
  last.pause()
  t.equal(await r.gateway.listener.stop(1), 'cut')
  t.match(await r.line('large'), { termination: 'PD', status: 200 })
  last.close()
})

await t.test('by a key service', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const r = await rig(t, {
    sections: {
      keys: { cloud: { type: 'aws-kms', arn, endpoint: kms.endpoint } },
      buckets: { '*': { bucketKeys: false, etag: 'opaque' } },
      keyCache: { maxAgeSeconds: 0 }
    }
  })
  const ask = async (key: string, bytes: Buffer): Promise<Line> => {
    const connection = await r.sent(bytes)
    const line = await r.line(key)
    connection.close()
    return line
  }
  // A refusal is remembered for a while: one object for each.
  for (const key of ['disabled', 'AccessDeniedException', 'ThrottlingException', 'KMSInternalException']) {
    t.match(await ask(key, r.put(key)), { termination: '--' })
  }
  kms.setState(arn, 'disabled')
  t.match(await ask('disabled', r.get('disabled')), { termination: 'KH', code: 'KMS.DisabledException' })
  kms.setState(arn, 'enabled')
  const fails = (status: number, name: string): void => {
    kms.misbehave = (_call, response) => {
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify({ __type: name, message: 'm' }))
      return true
    }
  }
  for (
    const [name, code] of [['AccessDeniedException', 'AccessDenied'], ['ThrottlingException', 'SlowDown'], [
      'KMSInternalException',
      'ServiceUnavailable'
    ]] as const
  ) {
    fails(name === 'KMSInternalException' ? 500 : 400, name)
    t.match(await ask(name, r.get(name)), { termination: 'KH', code }, name)
  }
  for (let i = 0; i < 5; i += 1) await ask('new', r.put('new'))
  t.match(await ask('new', r.put('new')), { termination: /^K[UH]$/, status: 503, code: 'ServiceUnavailable' }, 'calls that are held back')
})

await t.test('by a limit, and by the audit file', async (t) => {
  const narrow = await rig(t)
  const { endpoint, region, accessKeyId, secretAccessKey } = narrow.store
  const one = await rig(t, { sections: { upstream: { endpoint, region, accessKeyId, secretAccessKey, connections: 1 } } })
  narrow.store.rules.add({ when: { key: 'stalled' }, times: 100, fault: { type: 'stall', at: 'before' } })
  // One at work and four in line.
  const busy = await Promise.all([1, 2, 3, 4, 5].map(() => one.sent(one.get('stalled'))))
  await one.underWay(5)
  const turnedAway = await rawRequest(one.gateway.endpoint, one.get('stalled'))
  t.match([turnedAway.status, turnedAway.headers['retry-after']], [503, '1'])
  t.match(await one.line('stalled'), { termination: 'LQ', status: 503, code: 'SlowDown' })
  for (const connection of busy) connection.reset()
  for (let left = busy.length; left > 0; left -= 1) t.match(await one.line('stalled'), { termination: 'CH', status: null })

  const full = await rig(t, { sections: { audit: { file: '/dev/full' } } })
  await rawRequest(full.gateway.endpoint, full.put('unaudited'))
  t.match(await full.line('unaudited'), { termination: /^P[UH]$/, status: 503, code: 'ServiceUnavailable' })
})
