// The operator's log when the gateway cannot use its store: every wording of a store × wrong id, secret, clock, region and protocol.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, Server as HttpServer } from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import { connect, createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { diagnosisOf, fieldsOf } from '../../src/diagnosis.ts'
import { S3Error } from '../../src/errors.ts'
import { StoreChecks } from '../../src/gateway/status.ts'
import { speaksTls } from '../../src/upstream/diagnose.ts'
import type { UpstreamSettings } from '../../src/upstream/upstream.ts'
import { startTestStore } from '../support/hostile.ts'
import { upstreamTo } from '../support/raw-store.ts'

const never = new AbortController().signal
const credentials = { accessKeyId: 'id', secretAccessKey: 'secret', sessionToken: null }

/** @returns what the readiness check of the store says, and the codes by which the store has refused the credentials. */
async function told(t: Test, endpoint: string, settings: Partial<UpstreamSettings> = {}, now: () => Date = () => new Date()) {
  const refused: string[] = []
  const skews: number[] = []
  const upstream = upstreamTo(
    t,
    endpoint,
    {
      now,
      onRefused: (code) => {
        refused.push(code)
      },
      onSkew: (seconds) => {
        skews.push(seconds)
      }
    },
    {},
    { credentials, ...settings }
  )
  const url = new URL(endpoint)
  const checks = new StoreChecks(upstream, {
    stateBucket: 'state',
    region: 'us-east-1',
    markers: () => undefined,
    refused: (code) => {
      refused.push(code)
    },
    speaksTls: url.protocol === 'http:' ? (signal) => speaksTls(url, signal) : null
  })
  const error = await checks.store(never).then(() => null, (failure: unknown) => failure)
  return {
    code: error instanceof S3Error ? error.code : null,
    message: error instanceof S3Error ? error.message : null,
    fields: fieldsOf(diagnosisOf(error)),
    refused,
    skews
  }
}

async function listening(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    if (server instanceof HttpServer || server instanceof TlsServer) server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

interface Wording {
  readonly status: number
  readonly code: string
  readonly region?: string
  /** How far the store's clock is behind, in seconds. */
  readonly behind?: number
}

/** As AWS documents them ("Error responses"), MinIO (cmd/api-errors.go) and radosgw 16.2 were seen to word them. */
const wordings: Readonly<Record<string, Readonly<Record<string, Wording>>>> = {
  aws: {
    id: { status: 403, code: 'InvalidAccessKeyId' },
    secret: { status: 403, code: 'SignatureDoesNotMatch' },
    clock: { status: 403, code: 'RequestTimeTooSkewed', behind: 1200 },
    region: { status: 400, code: 'AuthorizationHeaderMalformed', region: 'eu-west-1' }
  },
  minio: {
    id: { status: 403, code: 'InvalidAccessKeyId' },
    secret: { status: 403, code: 'SignatureDoesNotMatch' },
    clock: { status: 403, code: 'RequestTimeTooSkewed', behind: -1200 },
    region: { status: 400, code: 'AuthorizationHeaderMalformed', region: 'eu-west-1' }
  },
  ceph: {
    id: { status: 403, code: 'AccessDenied' },
    secret: { status: 403, code: 'AccessDenied' },
    clock: { status: 403, code: 'RequestTimeTooSkewed', behind: 1200 }
  },
  unworded: {
    clock: { status: 403, code: 'AccessDenied', behind: 1200 }
  }
}
const troubles: Readonly<Record<string, readonly string[]>> = {
  id: ['credentials', 'denied'],
  secret: ['credentials', 'denied'],
  clock: ['clock'],
  region: ['region']
}

for (const [store, faults] of Object.entries(wordings)) {
  for (const [fault, { status, code, region, behind = 0 }] of Object.entries(faults)) {
    await t.test(`${store}: wrong ${fault}`, async (t) => {
      const server = createServer((request, response) => {
        request.resume()
        response.writeHead(status, {
          'x-amz-request-id': 'REQ-1',
          'date': new Date(Date.now() - behind * 1000).toUTCString(),
          'content-type': 'application/xml'
        })
        const extra = region === undefined ? '' : `<Region>${region}</Region>`
        response.end(
          request.method === 'HEAD'
            ? undefined
            : `<Error><Code>${code}</Code><Message>secret words of AKIAID</Message>${extra}<RequestId>REQ-1</RequestId></Error>`
        )
      })
      const found = await told(t, `http://127.0.0.1:${await listening(t, server)}`)
      t.equal(found.code, 'SealgateBadUpstream', 'not ready')
      const { clockSkewSeconds, trouble, ...fields } = found.fields
      t.same(fields, {
        service: 'store',
        operation: 'GET bucket ?versioning',
        status,
        errorName: code,
        remoteRequestId: 'REQ-1',
        ...region === undefined ? {} : { expectedRegion: region }
      })
      t.ok(troubles[fault]?.includes(String(trouble)), String(trouble))
      t.ok(Math.abs(Number(clockSkewSeconds) - behind) <= 2, `${clockSkewSeconds ?? ''} s`)
      t.same(found.refused, [code], 'the alarm')
      t.ok(Math.abs((found.skews[0] ?? NaN) - behind) <= 2)
      t.notMatch(JSON.stringify(found), /secret words|AKIAID/)
    })
  }
}

await t.test('the embedded store', async (t) => {
  const store = await startTestStore({ buckets: ['state'] })
  t.teardown(() => store.close())
  const good = { accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey, sessionToken: null }
  t.match(await told(t, store.endpoint, { credentials: good }), { code: null, refused: [], fields: {} })
  t.match(await told(t, store.endpoint, { credentials: { ...good, accessKeyId: 'nobody' } }), {
    refused: ['InvalidAccessKeyId'],
    fields: { trouble: 'credentials' }
  })
  t.match(await told(t, store.endpoint, { credentials: { ...good, secretAccessKey: 'wrong' } }), {
    refused: ['SignatureDoesNotMatch'],
    fields: { trouble: 'credentials' }
  })
  t.match(await told(t, store.endpoint, { credentials: good, region: 'eu-west-1' }), {
    refused: ['AuthorizationHeaderMalformed'],
    fields: { trouble: 'region' }
  })
  for (const seconds of [1200, -1200]) {
    const found = await told(t, store.endpoint, { credentials: good }, () => new Date(Date.now() + seconds * 1000))
    t.match(found, { refused: ['RequestTimeTooSkewed'], fields: { trouble: 'clock', errorName: 'RequestTimeTooSkewed' } })
    t.ok(Math.abs(Number(found.fields['clockSkewSeconds']) - seconds) <= 2)
    t.match(found.message, /clocks/)
  }
  const tls = await told(t, store.endpoint.replace('http:', 'https:'))
  t.match(tls, { code: 'SealgateBadUpstream', message: /does not speak TLS/, fields: { trouble: 'protocol', system: 'ERR_SSL_WRONG_VERSION_NUMBER' } })
})

await t.test('plain HTTP to a port that speaks TLS', async (t) => {
  const pem = (name: string) => readFileSync(new URL(`../support/tls/localhost-${name}.pem`, import.meta.url), 'utf8')
  const secure = createTlsServer({ key: pem('key'), cert: pem('cert') }, (_request, response) => {
    response.end()
  })
  const expected = { code: 'SealgateBadUpstream', message: /speaks TLS.*must say https/, fields: { trouble: 'protocol', system: 'ERR_PLAIN_TO_TLS' } }
  t.match(await told(t, `http://127.0.0.1:${await listening(t, secure)}`), expected, 'one that closes')
  // As Go's net/http and nginx do.
  const polite = createTlsServer({ key: pem('key'), cert: pem('cert') })
  const port = await listening(t, polite)
  const front = createTcpServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (first) => {
      if (first[0] !== 0x16) {
        socket.end('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n')
        return
      }
      const behind = connect(port, '127.0.0.1')
      behind.write(first)
      void Promise.all([pipeline(socket, behind), pipeline(behind, socket)]).catch(() => undefined)
    })
  })
  t.match(await told(t, `http://127.0.0.1:${await listening(t, front)}`), expected, 'one that answers in words')
  const silent = createTcpServer((socket) => {
    socket.destroy()
  })
  t.match(await told(t, `http://127.0.0.1:${await listening(t, silent)}`), { code: 'ServiceUnavailable', fields: { trouble: 'unreachable' } }, 'no TLS either')
})
