import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DeleteBucketCommand, ListBucketsCommand, ListMultipartUploadsCommand, ListObjectVersionsCommand, S3Client } from '@aws-sdk/client-s3'
import t from 'tap'
import { runCli, type Ran } from '../support/run-cli.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { startTestStore } from '../support/hostile.ts'
import { notImplemented, startNarrowStore, type Limits } from '../support/narrow-store.ts'
import type { StoreAccess } from '../support/gateway.ts'

const directory = await mkdtemp(join(tmpdir(), 'sealgate-store-check-'))
const file = join(directory, 'sealgate.yaml')
t.teardown(async () => {
  await rm(directory, { recursive: true })
})
await createKeyring(join(directory, 'keyring.json'), 'main', new Date())

const store = await startTestStore({ keepBodies: false, buckets: ['data'] })
/** Demands encryption, as some policies do. */
const encrypting = await startTestStore({ keepBodies: false, demandsSse: true, buckets: ['data'] })
const [s3, s3OfEncrypting] = [clientOf(store), clientOf(encrypting)]
t.teardown(async () => {
  s3.destroy()
  s3OfEncrypting.destroy()
  await store.close()
  await encrypting.close()
})

function clientOf({ endpoint, region, accessKeyId, secretAccessKey }: StoreAccess): S3Client {
  return new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true })
}

const access: StoreAccess = { endpoint: store.endpoint, region: store.region, accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey }

async function configure({ endpoint, region, accessKeyId, secretAccessKey }: StoreAccess, lines: readonly string[] = []): Promise<void> {
  const text = [
    '# Of this host.',
    'upstream:',
    `  endpoint: ${endpoint} # the store`,
    `  region: ${region}`,
    `  accessKeyId: ${accessKeyId}`,
    `  secretAccessKey: ${secretAccessKey}`,
    ...lines.map((line) => `  ${line}`),
    '',
    '# Who may come.',
    'clients: [{ accessKeyId: client, secretAccessKey: a-long-secret-of-a-client }]',
    'keys: { main: { type: local, keyring: ./keyring.json } }',
    ''
  ]
  await writeFile(file, text.join('\n'), { mode: 0o600 })
}

/** @param started gets a function that interrupts the command as Ctrl-C does. */
async function check(args: readonly string[] = [], started: (interrupt: () => void) => void = () => undefined): Promise<Ran> {
  return runCli(['store', 'check', '--config', file, ...args], directory, {
    onSignal: (signal, action) => {
      if (signal === 'SIGINT') started(action)
    }
  })
}

/** What is in the store: nothing but the one bucket, empty. */
async function remains(client = s3): Promise<readonly string[]> {
  const { Buckets = [] } = await client.send(new ListBucketsCommand({}))
  const { Versions = [], DeleteMarkers = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: 'data' }))
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: 'data' }))
  return [...Buckets.map(({ Name = '' }) => Name).filter((name) => name !== 'data'), ...[...Versions, ...DeleteMarkers, ...Uploads].map(({ Key = '' }) => Key)]
}

interface Facts {
  readonly facts: readonly { readonly id: string; readonly fact: string; readonly bucket: string; readonly verdict: string; readonly seen: string }[]
  readonly settings: Readonly<Record<string, unknown>>
  readonly left: readonly string[]
}

await t.test('a store that has everything: exit code 0, all kinds of bucket asked, nothing left', async (t) => {
  await configure(store)
  const before = store.requests.length
  const { code, out, err } = await check()
  t.equal(code, 0)
  const [, requests = '0'] = /at most (\d+) requests and \d+ MiB of bodies/.exec(err) ?? []
  const sent = store.requests.length - before
  t.ok(sent <= Number(requests), `${sent} requests, ${requests} announced`)
  for (
    const row of [
      /^CreateBucket +made +used$/m,
      /^buckets with versioning suspended \[suspended\] +made +used$/m,
      /^right s3:PutObject +granted +used$/m,
      /^conditions on PutObject +enforced +used$/m,
      /^bytes of user metadata +2048 +used$/m,
      /^parts of different sizes +taken +used$/m,
      /^order of keys +UTF-8 bytes, as S3 +used$/m,
      /^No setting needs to change\.$/m
    ]
  ) t.match(out, row)
  t.same(await remains(), [])
})

await t.test('in a bucket that is there, and no other; as JSON, with an upload of many parts; signed for the wrong region', async (t) => {
  await configure({ ...access, region: 'eu-north-9' })
  const { code, out, err } = await check(['--bucket', 'data', '--json', '--parts', '2'])
  t.equal(code, 3)
  t.match(err, /at most \d+ requests and 41 MiB/)
  const { facts, settings, left } = JSON.parse(out) as Facts
  t.same([settings, left], [{ 'upstream.region': 'us-east-1' }, []])
  t.same([...new Set(facts.map(({ bucket }) => bucket))], ['unversioned'])
  t.match(facts.find(({ id }) => id === 'copy'), { verdict: 'used', seen: 'taken' })
  t.match(facts.find(({ id }) => id === 'parts.count'), { verdict: 'used', seen: '2 taken' })
  t.same(await remains(), [])
})

await t.test('stopped by a signal: cleaned up all the same, and what the store does not remove is named', async (t) => {
  await configure(store)
  for (const refuses of [false, true]) {
    const before = store.requests.length
    const { promise: started, resolve } = Promise.withResolvers<() => void>()
    const ended = check([], resolve)
    const interrupt = await started
    while (store.requests.length < before + 60) await sleep(5)
    if (refuses) store.rules.add({ when: { method: 'DELETE', key: '' }, times: Infinity, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
    interrupt()
    const { code, err } = await ended
    store.rules.clear()
    t.equal(code, 1)
    t.match(err, /stopped by a signal/)
    t.equal(/could not be removed: sealgate-state-check-\w{8}-unversioned$/m.test(err), refuses)
    const left = await remains()
    t.equal(left.length > 0, refuses)
    for (const Bucket of left) await s3.send(new DeleteBucketCommand({ Bucket }))
  }
})

await t.test('stopped while an object has a legal hold: it is taken off, and nothing is left', async (t) => {
  await configure(store)
  const { promise: started, resolve } = Promise.withResolvers<() => void>()
  store.rules.add({
    when: { method: 'PUT', test: ({ headers }) => headers.has('x-amz-object-lock-legal-hold') },
    fault: {
      type: 'transform',
      change: (answer) => {
        void started.then((interrupt) => {
          interrupt()
        })
        return answer
      }
    }
  })
  const { code, err } = await check([], resolve)
  store.rules.clear()
  t.equal(code, 1)
  t.notMatch(err, /could not be removed/)
  t.same(await remains(), [])
})

await t.test('a store that lists without end makes the run no longer than announced, and one that writes on the terminal writes nothing there', async (t) => {
  await configure(store)
  const before = store.requests.length
  const rows = (key: string): string =>
    Array.from({ length: 3000 }, (_, i) => `<Version><Key>${key}</Key><VersionId>v${i}&#10;used</VersionId><IsLatest>false</IsLatest></Version>`).join('')
  store.rules.add({
    when: { method: 'GET', query: { versions: true } },
    times: Infinity,
    fault: {
      type: 'transform',
      change: (answer, { target }) => ({
        ...answer,
        body: Buffer.from(`<ListVersionsResult>${rows(`${target.query.get('prefix') ?? ''}x`)}</ListVersionsResult>`)
      })
    }
  })
  store.rules.add({ when: { method: 'GET', query: { acl: true } }, fault: { type: 'error', status: 400, code: 'A\nright s3:All  granted  used', message: '' } })
  const { out, err } = await check()
  store.rules.clear()
  const [, requests = '0'] = /at most (\d+) requests/.exec(err) ?? []
  const sent = store.requests.length - before
  t.ok(sent <= Number(requests), `${sent} requests, ${requests} announced`)
  t.notMatch(out, /^right s3:All/m)
  t.match(out, /^ACLs of objects +400 UnreadableCode/m)
  t.notMatch(err, /\nused/)
  for (const Bucket of await remains()) await s3.send(new DeleteBucketCommand({ Bucket }))
})

await t.test('a refusal, or a page of a proxy, proposes no setting', async (t) => {
  for (const fault of [{ type: 'error', status: 403, code: 'InvalidObjectState' }, { type: 'answer', status: 400, body: '<html>no</html>' }] as const) {
    await configure(store, ['checksum: crc32'])
    for (
      const when of [
        { query: { acl: true } },
        { query: { tagging: true } },
        { query: { cors: true } },
        { query: { delete: true } },
        { method: 'PUT', test: ({ headers, query }) => headers.has('x-amz-copy-source') && query.get('partNumber') !== undefined },
        { method: 'PUT', test: ({ headers }) => headers.has('x-amz-object-lock-legal-hold') },
        { method: 'PUT', key: /\/trailer$/ }
      ] satisfies Parameters<typeof store.rules.add>[0]['when'][]
    ) store.rules.add({ when, times: Infinity, fault })
    const { out } = await check(['--json'])
    store.rules.clear()
    t.same((JSON.parse(out) as Facts).settings, {})
  }
  t.same(await remains(), [])
})

/** Switches of the narrow store, what each has to be found as, and the setting that fits. */
const narrow: readonly (readonly [limits: Limits, findings: Readonly<Record<string, RegExp>>, settings: Readonly<Record<string, unknown>>])[] = [
  [
    {
      emptyTagging: notImplemented,
      trailers: notImplemented,
      checksums: notImplemented,
      maxParts: 1000,
      equalParts: true,
      conditions: { PutObject: 'ignored', CompleteMultipartUpload: notImplemented, CopyObject: 'ignored', DeleteObject: notImplemented },
      headWithoutLength: 'always',
      acceptEncoding: 'gzip',
      listV2: 'noToken',
      metadataBytes: 1024
    },
    {
      'an empty x-amz-tagging': /works through leaving it out/,
      'crc32 behind a body (x-amz-trailer)': /501 NotImplemented +will not work/,
      'x-amz-checksum-sha256 before a body': /501 NotImplemented +not used/,
      'highest part number': /1000 \(400 InvalidArgument\) +will not work/,
      'parts of different sizes': /refused \(400 InvalidPart\); equal ones are taken +will not work/,
      'conditions on PutObject': /will not work; such requests are answered 501/,
      'HeadObject says the length': /no Content-Length +works through the sealed envelope/,
      'Accept-Encoding arrives as it was signed': /changed on the way +works through/,
      'ListObjectsV2': /a page that goes on and does not say where +will not work/,
      'bytes of user metadata': /1024 +will not work/,
      'PutObject and GetObject': /403 AccessDenied without x-amz-server-side-encryption +will not work/
    },
    { maxParts: 1000, equalParts: true, metadataBytes: 1024, sse: 'AES256', checksum: 'none', lacks: '\\[listV2\\]' }
  ],
  [
    {
      lacks: ['acl', 'cors', 'lock', 'multiDelete', 'partCopy', 'tagging', 'versioning'],
      chunkedBodies: notImplemented,
      htmlErrors: 'all'
    },
    {
      'buckets with versioning enabled [versioned]': /will not work/,
      'tags of objects': /will not work/,
      'ACLs of objects': /will not work/,
      'CORS rules of buckets': /works through listen.cors/,
      'Object Lock [versioned]': /will not work/,
      'DeleteObjects': /will not work/,
      'UploadPartCopy with a range': /not used; rewrap of objects above 5 GiB/,
      'bodies framed the other way': /signed chunks \(aws-chunked\): 501 +not used/,
      'errors are S3 documents': /404 with HTML +will not work/
    },
    { sse: 'AES256', checksum: 'none', lacks: '\\[multiDelete\\]' }
  ]
]

await t.test('each limit of a narrow store is found, with the setting that fits; --write puts it into the file, and nothing else changes', async (t) => {
  for (const [limits, findings, settings] of narrow) {
    const front = await startNarrowStore(encrypting, limits)
    await configure(front, ['checksum: crc32'])
    // Readable to the gateway's group, whatever the umask of who runs the command.
    await chmod(file, 0o660)
    const before = await readFile(file, 'utf8')
    const { out, err } = await check(['--write'])
    await front.close()
    for (const [fact, finding] of Object.entries(findings)) {
      const row = out.split('\n').find((line) => line.startsWith(`${fact}  `)) ?? ''
      t.match(row, finding, fact)
    }
    for (const [name, value] of Object.entries(settings)) t.match(out, new RegExp(`^  upstream\\.${name}: ${String(value)}$`, 'm'))
    t.match(err, /^Written into .*sealgate\.yaml: .*upstream\.checksum/m)
    t.equal((await stat(file)).mode & 0o777, 0o660)
    const after = await readFile(file, 'utf8')
    const kept = (text: string): string[] => text.split('\n').filter((line) => !Object.keys(settings).some((name) => line.startsWith(`  ${name}: `)))
    t.same(kept(after), kept(before))
  }
  t.same(await remains(s3OfEncrypting), [])
})

await t.test('a store that cannot be asked is said in the words of the diagnosis', async (t) => {
  await configure({ ...access, secretAccessKey: 'wrong' })
  t.match(await check(), { code: 1, err: /errorName SignatureDoesNotMatch.*trouble credentials/ })
  await configure({ ...access, endpoint: 'http://127.0.0.1:9' })
  t.match(await check(), { code: 1, err: /system ECONNREFUSED.*trouble unreachable/ })
  t.match(await check(['--deep', '--parts', '5']), { code: 2, err: /--deep is --parts 1001/ })
})
