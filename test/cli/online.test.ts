import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import t from 'tap'
import { createKeyring, editKeyring } from '../../src/keys/keyring-file.ts'
import { startTestStore } from '../support/hostile.ts'
import { runCli, type Ran } from '../support/run-cli.ts'

const directory = await mkdtemp(join(tmpdir(), 'sealgate-online-'))
t.teardown(async () => {
  await rm(directory, { recursive: true })
})
await createKeyring(join(directory, 'keyring.json'), 'main', new Date())
await writeFile(join(directory, 'secret'), 'secret-canary-of-the-client', { mode: 0o600 })

const pem = (name: string): string => join(import.meta.dirname, '../support/tls', name)

async function check(sections: object, ...args: string[]): Promise<Ran> {
  const file = join(directory, 'sealgate.yaml')
  await writeFile(
    file,
    JSON.stringify({
      clients: [{ accessKeyId: 'client-id', secretAccessKey: { file: './secret' } }],
      keys: { main: { type: 'local', keyring: './keyring.json' } },
      ...sections
    })
  )
  await chmod(file, 0o600)
  return runCli(['config', 'check', '--config', file, ...args], directory)
}

await t.test('--online: a row for each check, exit code 0 only when all have passed, and nothing is left behind', async (t) => {
  const store = await startTestStore({ buckets: ['data', 'sealgate-state'] })
  t.teardown(() => store.close())
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const upstream = { endpoint, region, accessKeyId, secretAccessKey }
  const good = await check({ upstream }, '--online', '--bucket', 'data')
  t.match(good, { code: 0, err: '' })
  const rights = ['s3:PutObject', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:AbortMultipartUpload', 's3:DeleteObject']
  const names = [
    'store answers',
    'clock',
    'state bucket: sealgate-state',
    ...rights.map((right) => `state bucket: ${right}`),
    'conditions: put',
    'data: s3:ListBucket',
    ...rights.map((right) => `data: ${right}`),
    'key main'
  ]
  for (const name of names) t.match(good.out, new RegExp(`^${name} +ok`, 'm'), name)
  t.match(good.out, /\nEvery check passed\.\n$/)
  t.match(good.out, /^data: s3:GetBucketCORS +ok/m)
  const cors = [{ origins: ['*'], methods: ['GET'] }]
  t.notMatch((await check({ upstream, listen: { cors } }, '--online', '--bucket', 'data')).out, /GetBucketCORS/, 'own rules: those of buckets are not read')
  const s3 = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true })
  t.teardown(() => {
    s3.destroy()
  })
  for (const Bucket of ['data', 'sealgate-state']) {
    t.same((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents ?? [], [], Bucket)
    t.same((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? [], [], Bucket)
  }

  for (
    const [change, row, args] of [
      [{ secretAccessKey: 'wrong' }, /^credentials +FAILED +the store answers SignatureDoesNotMatch: upstream\.secretAccessKey is wrong$/m, []],
      [{ accessKeyId: 'nobody' }, /^credentials +FAILED +the store answers InvalidAccessKeyId: upstream\.accessKeyId is not known to it$/m, []],
      [{ endpoint: endpoint.replace('http:', 'https:') }, /^store answers +FAILED .*TLS/m, []],
      [{ endpoint: 'http://127.0.0.1:9' }, /^store answers +FAILED .*\(ECONNREFUSED\)$/m, []],
      [{}, /^none: s3:ListBucket +FAILED +there is no such bucket$/m, ['--bucket', 'none']]
    ] as const
  ) {
    const { code, out } = await check({ upstream: { ...upstream, ...change } }, '--online', ...args)
    t.equal(code, 1)
    t.match(out, row, JSON.stringify(change))
    t.match(out, /\n1 of \d+ checks failed\.\n$/)
    t.match(out, /^key main +ok/m, 'the keys are asked whatever the store says')
  }
  const absent = await check({ upstream: { ...upstream, stateBucket: 'not-there' } }, '--online')
  t.match(absent, { code: 0, out: /^state bucket: not-there +- +is not there: the gateway makes it at start/m }, 'what is not tried is no failure')
})

await t.test('--online: the key of the audit trail, and whether each sink would take lines, without one', async (t) => {
  const store = await startTestStore({ buckets: ['sealgate-state'] })
  t.teardown(() => store.close())
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const upstream = { endpoint, region, accessKeyId, secretAccessKey }
  await createKeyring(join(directory, 'audit-keyring.json'), 'trail', new Date())
  await writeFile(join(directory, 'token'), 'token-canary', { mode: 0o600 })
  const keys = { main: { type: 'local', keyring: './keyring.json' }, trail: { type: 'local', keyring: './audit-keyring.json' } }
  const posts: { readonly body: string; readonly token: string | undefined }[] = []
  const servers: Server[] = []
  const listening = async (server: Server, where: { port: number; host: string } | { path: string }): Promise<number> => {
    servers.push(server)
    server.listen(where)
    await once(server, 'listening')
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }
  const here = { port: 0, host: '127.0.0.1' }
  const http = (status: number) =>
    createHttpServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => body += String(chunk)).on('end', () => {
        posts.push({ body, token: request.headers.authorization })
        response.writeHead(status).end()
      })
    })
  const received: Buffer[] = []
  const silent = (): Server => createServer((socket) => socket.on('data', (chunk) => received.push(chunk)).on('error', () => undefined))
  const tls = createTlsServer({ cert: readFileSync(pem('localhost-cert.pem')), key: readFileSync(pem('localhost-key.pem')) })
  tls.on('tlsClientError', () => undefined)
  const [ok, refused, picky, tcp, secure] = [
    await listening(http(204), here),
    await listening(http(403), here),
    await listening(http(400), here),
    await listening(silent(), here),
    await listening(tls, here)
  ]
  await listening(silent(), { path: join(directory, 'log') })
  const run = (...sinks: object[]) => check({ upstream, keys, buckets: { '*': { key: 'main' } }, audit: { key: 'trail', sinks } }, '--online')
  const good = await run(
    { url: `http://127.0.0.1:${ok}/lines?secret=canary`, tokenFile: './token' },
    { url: `tcp://127.0.0.1:${tcp}` },
    { url: `tls://localhost:${secure}`, ca: pem('localhost-cert.pem') },
    { url: `unix://${directory}/log` }
  )
  t.match(good, { code: 0, err: '' })
  for (
    const row of [
      /^audit key trail +ok +a start chains its lines under local:trail:\d{8}-[0-9a-f]{8}$/m,
      /^audit sink http:\/\/127\.0\.0\.1:\d+\/lines +ok +answers 204 to a request without lines$/m,
      /^audit sink tcp:\/\/127\.0\.0\.1:\d+ +ok +takes a connection$/m,
      /^audit sink tls:\/\/localhost:\d+ +ok +takes a connection, and its certificate is good$/m,
      /^audit sink unix:\/\S+\/log +ok +takes a connection$/m
    ]
  ) t.match(good.out, row, String(row))
  t.notMatch(good.out, /canary/)
  t.same(posts, [{ body: '', token: 'Bearer token-canary' }])
  t.same(received, [], 'no line, and no byte')

  const bad = await run(
    { url: `http://127.0.0.1:${refused}/` },
    { url: 'tcp://127.0.0.1:9', whenDown: 'refuse' },
    { url: `tls://localhost:${secure}` },
    { url: `http://127.0.0.1:${picky}/` }
  )
  t.equal(bad.code, 1)
  for (
    const row of [
      /^audit sink http:\/\/127\.0\.0\.1:\d+\/ +FAILED +answers 403 to a request without lines$/m,
      /^audit sink tcp:\/\/127\.0\.0\.1:9 +FAILED +takes no lines \(ECONNREFUSED\): no key would be used \(whenDown: refuse\)$/m,
      /^audit sink tls:\/\/localhost:\d+ +FAILED +takes no lines \(DEPTH_ZERO_SELF_SIGNED_CERT\): lines would wait, up to 16777216 bytes$/m,
      /^audit sink http:\/\/127\.0\.0\.1:\d+\/ +- +answers 400 to a request without lines$/m,
      /\n3 of \d+ checks failed\.\n$/
    ]
  ) t.match(bad.out, row, String(row))
  const datagrams = await run({ url: 'udp://127.0.0.1:9' })
  t.match(datagrams, { code: 0, out: /^audit sink udp:\/\/127\.0\.0\.1:9 +- +the name is known/m })
  await editKeyring(join(directory, 'audit-keyring.json'), (ring) => ring.withState(ring.versions[0]!.id, 'disabled'))
  t.match(await run(), { code: 1, out: /^audit key trail +FAILED .*no version is enabled, and audit\.key needs one\.$/m })
  for (const server of servers) server.close()
})

await t.test('what a configuration means is printed, and no secret', async (t) => {
  const { code, out } = await check({
    upstream: { endpoint: 'https://s3.example.org', accessKeyId: 'store-id', secretAccessKey: { file: './secret' }, realm: 'there' },
    listen: { host: '10.0.0.1', allowPlainBeyondLoopback: true, port: 0 },
    admin: {},
    buckets: { 'a-*': { publicRead: 'store', requireSse: ['SSE-C'] }, 'b': { encryption: 'off' } },
    clients: [{ accessKeyId: 'reader', secretAccessKey: 'short-canary', readOnly: true, buckets: ['a-1', 'c'] }],
    limits: { graceSeconds: '90s', xmlBytes: '8MiB' },
    auth: { ssecOverHttp: true },
    log: { level: 'silent' }
  })
  t.equal(code, 0)
  for (
    const line of [
      /^listen +http:\/\/10\.0\.0\.1:\(any free port\), plain HTTP$/m,
      /^admin +http:\/\/127\.0\.0\.1:9001 /m,
      /^store +https:\/\/s3\.example\.org, .*access key store-id$/m,
      /^realm +there$/m,
      /^keys +main +keyring .*: \d{8}-[0-9a-f]{8} enabled; seals with local:main:/m,
      /^buckets +a-\* +sealed with main, .*public as the store decides, demands SSE-C$/m,
      /^ +b +not encrypted$/m,
      /^clients +reader +a-1, c; reads$/m,
      /limits\.graceSeconds 90s \(default 25s\)$/m,
      /limits\.xmlBytes 8MiB \(default 4MiB\)$/m,
      /auth\.ssecOverHttp true \(default false\)$/m,
      /^ {2}listen\.host: plain HTTP beyond this machine/m,
      /^ {2}clients\.0\.secretAccessKey: has fewer than 16 letters/m,
      /^ {2}buckets\.a-\*\.publicRead: the store decides/m,
      /^ {2}clients\.0\.buckets\.1: buckets has no policy for c/m,
      /^ {2}auth\.ssecOverHttp: /m,
      /^ {2}log\.level: silent/m
    ]
  ) t.match(out, line, String(line))
  t.notMatch(out, /canary/)
})

await t.test('files with secrets that every user can read are reported', async (t) => {
  const upstream = { endpoint: 'http://127.0.0.1:9', accessKeyId: 'a', secretAccessKey: { file: './secret' } }
  t.notMatch((await check({ upstream })).out, /Warnings/)
  await chmod(join(directory, 'secret'), 0o644)
  t.match((await check({ upstream })).out, /^ {2}upstream\.secretAccessKey: every user of this machine can read .*\/secret, which holds a secret: chmod o-r$/m)
  await chmod(join(directory, 'secret'), 0o640)
  t.notMatch((await check({ upstream })).out, /Warnings/, 'a group that may read is a choice')
})
