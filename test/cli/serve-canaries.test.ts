// Every output of `sealgate serve`, traces and admin port included, searched for secrets that were planted before. What goes to the
// store is searched in test/gateway/secrets.test.ts.
import { spawn } from 'node:child_process'
import { createHash, createSecretKey, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, get, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import t from 'tap'
import { runCommand } from '../../src/cli/commands.ts'
import type { Platform } from '../../src/cli/platform.ts'
import { serve } from '../../src/cli/serve.ts'
import { createGateway } from '../../src/gateway/gateway.ts'
import { createKeyring, readKeyring } from '../../src/keys/keyring-file.ts'
import { startTestStore } from '../support/hostile.ts'
import { freePort } from '../support/free-port.ts'

const directory = mkdtempSync(join(tmpdir(), 'sealgate-canaries-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})

const canary = (name: string): string => `canary-${name}-${randomBytes(12).toString('hex')}`
const clientSecret = canary('client-secret')
const storeSecret = canary('store-secret')
const unknownSecret = canary('unknown-secret')
const plaintext = canary('plaintext')
const customerKey = randomBytes(32)
const queryCanary = canary('query')

/** A secret in every form in which it might be written down. */
function forms(secret: Buffer | string): string[] {
  const bytes = Buffer.from(secret)
  return [
    bytes.toString('latin1'),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    bytes.toString('base64'),
    bytes.toString('base64url'),
    JSON.stringify(bytes.toString('latin1')).slice(1, -1)
  ]
}

interface Running {
  readonly port: number
  readonly admin: number
  readonly outputs: () => string
  stop(): Promise<number>
}

async function run(storeEndpoint: string, collector: string): Promise<Running> {
  const admin = await freePort()
  writeFileSync(
    join(directory, 'sealgate.yaml'),
    JSON.stringify({
      listen: { port: 0 },
      admin: { port: admin, page: true },
      upstream: { endpoint: storeEndpoint, accessKeyId: 'AKIDTESTSTORE', secretAccessKey: storeSecret },
      clients: [{ accessKeyId: 'client', secretAccessKey: clientSecret }],
      keys: { main: { type: 'local', keyring: './keyring.json' } },
      buckets: { '*': { etag: 'opaque' } },
      auth: { ssecOverHttp: true },
      audit: { file: './audit.jsonl' },
      log: { level: 'debug' },
      limits: { graceSeconds: 1 }
    })
  )
  const actions = new Map<string, () => void>()
  let text = ''
  let found: (port: number) => void = () => undefined
  const listening = new Promise<number>((resolve) => {
    found = resolve
  })
  const write = (written: string): void => {
    text += written
    const event = written.startsWith('{') ? JSON.parse(written) as { msg: string; port: number } : null
    if (event?.msg === 'listening') found(event.port)
  }
  const platform: Platform = {
    args: [],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector },
    cwd: directory,
    stdout: { write },
    stderr: { write },
    writeLog: write,
    onSignal: (signal, action) => {
      actions.set(signal, action)
    }
  }
  const code = serve({ config: join(directory, 'sealgate.yaml'), trial: false }, platform, createGateway)
  return {
    port: await listening,
    admin,
    outputs: () => text,
    stop: () => {
      actions.get('SIGTERM')?.()
      return code
    }
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = JSON.stringify(response.rawHeaders)
  for await (const chunk of response) text += String(chunk)
  return text
}

/** What clients do, well and badly. @returns everything they were answered when it was an error. */
async function traffic(endpoint: string): Promise<string> {
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: 'client', secretAccessKey: clientSecret }
  })
  const customer = {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: customerKey.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(customerKey).digest('base64')
  }
  const Bucket = 'opaque'
  await client.send(new CreateBucketCommand({ Bucket }))
  await client.send(new PutObjectCommand({ Bucket, Key: 'small', Body: plaintext, ChecksumAlgorithm: 'SHA256' }))
  await client.send(new PutObjectCommand({ Bucket, Key: 'customer', Body: plaintext, ...customer }))
  await (await client.send(new GetObjectCommand({ Bucket, Key: 'small' }))).Body?.transformToByteArray()
  await client.send(new HeadObjectCommand({ Bucket, Key: 'customer', ...customer }))
  await client.send(new ListObjectsV2Command({ Bucket }))
  const errors: string[] = []
  const stranger = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: 'client', secretAccessKey: unknownSecret }
  })
  for (
    const failing of [
      stranger.send(new GetObjectCommand({ Bucket: 'opaque', Key: 'small' })),
      client.send(new GetObjectCommand({ Bucket: 'opaque', Key: 'none' }))
    ]
  ) {
    await failing.then(() => {
      errors.push('no error')
    }, (error: unknown) => {
      errors.push(JSON.stringify(error))
    })
  }
  const { hostname, port } = new URL(endpoint)
  for (
    const [path, headers] of [
      [`/opaque/small?X-Amz-Signature=${queryCanary}&X-Amz-Algorithm=AWS4-HMAC-SHA256`, {}],
      ['/opaque/small', {
        authorization: `AWS4-HMAC-SHA256 Credential=client/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=${queryCanary}`
      }]
    ] as const
  ) {
    const sent = request({ host: hostname, port, path, headers, agent: false }).end()
    errors.push(await textOf((await once(sent, 'response') as [IncomingMessage])[0]))
  }
  client.destroy()
  stranger.destroy()
  return errors.join('\n')
}

await t.test('secrets and plaintext turn up in no output', { timeout: 60_000 }, async (t) => {
  await createKeyring(join(directory, 'keyring.json'), 'main', new Date())
  const master = (await readKeyring(join(directory, 'keyring.json'))).live.map(({ key }) => createSecretKey(key.export()).export())
  const store = await startTestStore({ secretAccessKey: storeSecret })
  t.teardown(() => store.close())
  let traces = ''
  const collector = createServer((req, res) => {
    req.on('data', (chunk: Buffer) => {
      traces += chunk.toString()
    })
    req.on('end', () => {
      res.end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(collector, 'listening')
  t.teardown(() => {
    collector.close()
  })
  const running = await run(store.endpoint, `http://127.0.0.1:${(collector.address() as AddressInfo).port}`)
  const errors = await traffic(`http://127.0.0.1:${running.port}`)
  const admin = []
  for (const path of ['/metrics', '/readyz', '/livez', '/status', '/', '/status.json']) {
    admin.push(await textOf((await once(get({ host: '127.0.0.1', port: running.admin, path, agent: false }), 'response') as [IncomingMessage])[0]))
  }
  const scraped = [...admin[0]!.matchAll(/^(?:.*")?# TYPE (\w+) /gm)].map(([, name]) => name)
  const documented = readFileSync(new URL('../../docs/REFERENCE.md', import.meta.url), 'utf8').split('## Metrics')[1]!.split('\n## ')[0]!
  t.same(
    [...new Set(documented.match(/(?<=`)(?:sealgate|process|nodejs)_[a-z0-9_]+(?=`)/g))].sort(),
    scraped.sort(),
    'a live scrape has exactly the metrics documented'
  )
  t.equal(await running.stop(), 0)

  const outputs = { log: running.outputs(), audit: readFileSync(join(directory, 'audit.jsonl'), 'utf8'), admin: admin.join('\n'), traces, errors }
  t.match(outputs.log, /"msg":"request"/)
  t.match(outputs.admin, /<h1>Sealgate<\/h1>/)
  t.match(outputs.audit, /"action":"unwrap"/)
  t.match(outputs.traces, /store PUT/)
  const secrets = [clientSecret, storeSecret, unknownSecret, customerKey, ...master].flatMap(forms)
  let searched = 0
  for (const [name, text] of Object.entries(outputs)) {
    t.ok(text.length > 100, `${name} says something`)
    for (const secret of [...secrets, ...forms(plaintext), queryCanary]) {
      searched += 1
      if (text.includes(secret)) t.fail(`${name} holds ${secret}`)
    }
  }
  t.comment(`${searched} searches for secrets and plaintext in ${Object.keys(outputs).length} outputs, 0 found`)
})

await t.test('what a crash and a bad configuration say holds no secret', async (t) => {
  const main = new URL('../../src/main.ts', import.meta.url).pathname
  /** Runs the process with a command that does nothing, and then a statement that nobody expects: the handler is there before any command. */
  const crash = async (statement: string): Promise<{ code: number; out: string }> => {
    const commands = `data:text/javascript,${encodeURIComponent(`export const runCommand = () => new Promise(() => setImmediate(() => { ${statement} }))`)}`
    const script = `import { registerHooks } from 'node:module'
registerHooks({ resolve: (name, context, next) => name === './cli/commands.ts' ? { url: ${
      JSON.stringify(commands)
    }, shortCircuit: true } : next(name, context) })`
    const child = spawn(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(script)}`, main, 'serve'], {
      cwd: directory,
      env: { ...process.env, CANARY: clientSecret },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    let out = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        out += chunk.toString()
      })
    }
    const [code] = await once(child, 'close') as [number]
    return { code, out }
  }
  const secret = 'process.env.CANARY'
  const crashes = await Promise.all([
    `throw Object.assign(new Error(${secret}, { cause: new Error(${secret}) }), { code: 'E_CODE', secret: ${secret} })`,
    `Promise.reject({ secret: ${secret} })`,
    'throw null'
  ].map(crash))
  for (const [i, { code, out }] of crashes.entries()) {
    t.match({ code, out }, { code: 1, out: i === 0 ? /"level":"fatal".*"code":"E_CODE","at":\["at / : /"level":"fatal"/ })
  }

  let out = crashes.map((each) => each.out).join('\n')
  const write = (text: string): void => {
    out += text
  }
  const platform = { env: {}, cwd: directory, stdout: { write }, stderr: { write }, onSignal: () => undefined }
  writeFileSync(
    join(directory, 'bad.yaml'),
    `clients: [{ accessKeyId: ${clientSecret}, secretAccessKey: ${clientSecret}, oops: ${clientSecret} }]
upstream: { endpoint: "http://u:${storeSecret}@h", secretAccessKey: [${storeSecret}] }\nkeys: { main: { type: ${storeSecret} } }\nlog: { level: ${clientSecret} }\n`
  )
  writeFileSync(join(directory, 'broken.yaml'), `clients: [{ secretAccessKey: ${clientSecret}\n  : ${storeSecret}: [\n`)
  for (const file of ['bad.yaml', 'broken.yaml']) {
    for (const command of [['config', 'check'], ['serve']]) t.equal(await runCommand({ ...platform, args: [...command, '--config', file] }), 2)
  }
  t.match(out, /clients\.0\.oops: no such option/)
  for (const form of [clientSecret, storeSecret].flatMap(forms)) if (out.includes(form)) t.fail(`${out} holds ${form}`)
})
