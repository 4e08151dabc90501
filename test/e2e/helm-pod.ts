// Acts out the pods of the Helm chart without a kubelet: the command lines, users, volumes and environments that it renders, in the image's file system
// (image-root.ts), in front of a real store. Volumes are laid out as the kubelet does, with its links and modes. A pod is ended as the kubelet
// ends one: preStop, SIGTERM, and never SIGKILL before terminationGracePeriodSeconds. CronJobs are run, and so is what helm test starts.
//
//   sudo HELM=helm MINIO=minio test/e2e/stores/minio.sh node test/e2e/helm-pod.ts      ROOTFS: one that image-root.ts has made before
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { get as httpGet } from 'node:http'
import { Agent } from 'node:https'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { parseArgs } from 'node:util'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import { chart, end, gatewayOf, podOf, type PodSpec, rendered, type Resource, root, run, step } from './helm-chart.ts'
import { imageRoot, inImage, json, last } from './image-root.ts'
import { freePort } from '../support/free-port.ts'

const { store = '', 'access-key': storeId = '', 'secret-key': storeSecret = '' } =
  parseArgs({ options: { store: { type: 'string' }, 'access-key': { type: 'string' }, 'secret-key': { type: 'string' } } }).values
const work = mkdtempSync(join(tmpdir(), 'sealgate-pod-'))
chmodSync(work, 0o755)
const running: ChildProcess[] = []
const MIB = 1024 * 1024

/** What the Secrets hold that the chart only names. */
type Contents = Readonly<Record<string, Readonly<Record<string, Buffer | string>>>>

/** A volume as the kubelet writes it: files in a folder with a time in its name, a link to that, and links to the files through it. */
function writeVolume(at: string, files: Readonly<Record<string, Buffer | string>>, mode: number): void {
  const dated = `..${new Date().toISOString().replaceAll(/[^0-9]/g, '_')}${randomBytes(4).toString('hex')}`
  mkdirSync(join(at, dated), { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(at, dated, name), content)
    chmodSync(join(at, dated, name), mode)
    chownSync(join(at, dated, name), 0, 65_532)
  }
  for (const folder of [at, join(at, dated)]) {
    chownSync(folder, 0, 65_532)
    chmodSync(folder, 0o3777)
  }
  symlinkSync(dated, join(at, '..data_tmp'))
  renameSync(join(at, '..data_tmp'), join(at, '..data'))
  for (const name of Object.keys(files)) {
    try {
      readlinkSync(join(at, name))
    } catch {
      symlinkSync(join('..data', name), join(at, name))
    }
  }
}

let pods = 0

/** A running container of a pod. */
class Pod {
  readonly child: ChildProcess
  readonly ended: Promise<number>
  readonly volumes = new Map<string, string>()
  readonly began = performance.now()
  output = ''

  constructor(rootfs: string, spec: PodSpec, secrets: Contents, resources: readonly Resource[], changed: (args: string[]) => string[] = (args) => args) {
    pods += 1
    const at = join(work, `pod-${pods}`)
    const container = gatewayOf({ spec, metadata: { labels: {} } })
    if (container === undefined) throw new Error('no container')
    mkdirSync(join(at, 'root'), { recursive: true })
    for (
      const { name, secret, configMap } of (spec.volumes ?? []) as readonly {
        name: string
        secret?: { secretName: string; defaultMode: number }
        configMap?: { name: string }
      }[]
    ) {
      const map = resources.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === configMap?.name)?.data
      const files = secret === undefined ? map : secrets[secret.secretName]
      if (files === undefined) throw new Error(`what is in volume ${name} is not known`)
      writeVolume(join(at, name), files, secret?.defaultMode ?? 0o644)
      this.volumes.set(name, join(at, name))
    }
    const mounts = (container.volumeMounts ?? []).map(({ name, mountPath, readOnly }) => {
      // An engine makes the folder that a volume is mounted on.
      mkdirSync(join(rootfs, mountPath), { recursive: true })
      return { from: this.volumes.get(name) ?? '', to: mountPath, readOnly: readOnly === true }
    })
    const args = changed([...container.command ?? json(last('ENTRYPOINT')), ...container.args ?? []])
    const [program = '', ...rest] = inImage({ rootfs, at: join(at, 'root'), mounts, environment: {}, args })
    this.child = spawn(program, rest)
    running.push(this.child)
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString('utf8')
      })
    }
    this.ended = once(this.child, 'exit').then(([code]) => Number(code))
  }

  /** The first process of the container, which gets the signals. */
  get pid(): number {
    let pid = this.child.pid ?? 0
    while (!readlinkSync(`/proc/${pid}/exe`).endsWith('/usr/local/bin/node')) {
      pid = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0])
    }
    return pid
  }
}

async function statusOf(url: string): Promise<number> {
  return new Promise((resolve) => {
    httpGet(url, { agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    }).on('error', () => {
      resolve(0)
    })
  })
}

async function until(condition: () => boolean | Promise<boolean>, seconds = 60): Promise<boolean> {
  for (let tries = 0; tries < seconds * 20; tries += 1) {
    if (await condition()) return true
    await sleep(50)
  }
  return false
}

function certificate(name: string): { readonly cert: Buffer; readonly key: Buffer } {
  const [key, cert] = [join(work, `${name}.key`), join(work, `${name}.crt`)]
  run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    key,
    '-out',
    cert,
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-addext',
    'subjectAltName=DNS:localhost,IP:127.0.0.1'
  ])
  return { cert: readFileSync(cert), key: readFileSync(key) }
}

async function servedName(port: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const name = String(socket.getPeerCertificate().subject.CN)
  socket.destroy()
  return name
}

/** Bytes that come slowly, so that a stop falls into the transfer. */
async function* slowly(bytes: Buffer, seconds: number): AsyncGenerator<Buffer> {
  const steps = seconds * 10
  const size = Math.ceil(bytes.length / steps)
  for (let at = 0; at < bytes.length; at += size) {
    yield bytes.subarray(at, at + size)
    await sleep(100)
  }
}

async function main(): Promise<void> {
  const rootfs = process.env['ROOTFS'] ?? imageRoot(work)
  const [port, admin] = [await freePort(), await freePort()]
  const tls = certificate('first')
  const ring = join(work, 'keyring.json')
  const [backup, identityFile, passphraseFile] = ['keyring.age', 'identity.txt', 'passphrase'].map((name) => join(work, name)) as [string, string, string]
  const sealgate = (...args: string[]): void => {
    const { code, stderr } = run(process.execPath, [join(root, 'src/main.ts'), ...args])
    if (code !== 0) throw new Error(stderr)
  }
  const identity = await generateIdentity()
  writeFileSync(identityFile, `${identity}\n`)
  writeFileSync(passphraseFile, 'correct horse battery staple, and some more of it\n', { mode: 0o600 })
  sealgate('keys', 'create', '--keyring', ring, '--name', 'main', '--realm', 'default')
  sealgate('keys', 'export', '--keyring', ring, '--backup', backup, '--age', await identityToRecipient(identity))
  sealgate('keys', 'export', '--keyring', ring, '--backup', `${backup}.old`, '--passphrase-file', passphraseFile)
  const secrets: Contents = {
    'sealgate-credentials': {
      storeAccessKeyId: storeId,
      storeSecretAccessKey: storeSecret,
      appSecretAccessKey: 'app-secret-app-secret',
      readerSecretAccessKey: 'reader-secret-reader-secret'
    },
    'sealgate-keyring': { 'keyring.json': readFileSync(ring) },
    'sealgate-tls': { 'tls.crt': tls.cert, 'tls.key': tls.key },
    'sealgate-backup': { 'keyring.age': readFileSync(backup), 'identity.txt': readFileSync(identityFile), 'keyring.backup': readFileSync(`${backup}.old`) },
    'sealgate-passphrase': { passphrase: readFileSync(passphraseFile) },
    'other-passphrase': { passphrase: 'another one, which opens nothing at all' }
  }
  // Long enough for transfers that take some 9 s on a machine that has time.
  const LONG = 120
  const given = (workers: number, graceSeconds: number): string => {
    const file = join(work, `values-${workers}-${graceSeconds}.json`)
    const secret = (name: string): object => ({ file: `/etc/sealgate/credentials/${name}` })
    writeFileSync(
      file,
      JSON.stringify({
        preStopSeconds: 3,
        config: {
          listen: { port },
          admin: { port: admin },
          upstream: { endpoint: store, region: 'us-east-1' },
          clients: [{ accessKeyId: 'app', secretAccessKey: secret('appSecretAccessKey') }, {
            accessKeyId: 'reader',
            secretAccessKey: secret('readerSecretAccessKey'),
            readOnly: true
          }],
          limits: { graceSeconds },
          workers
        },
        cronJobs: {
          scan: { command: 'scan', bucket: 'pod-sealed', schedule: '@daily' },
          'scan-mixed': { command: 'scan', bucket: 'pod-mixed', schedule: '@daily' },
          'scan-slow': { command: 'scan', bucket: 'pod-sealed', schedule: '@daily', args: ['--rate', '1/s'] },
          verify: { command: 'verify', bucket: 'pod-sealed', schedule: '@daily', args: ['--deep'] },
          'verify-damaged': { command: 'verify', bucket: 'pod-damaged', schedule: '@daily', args: ['--deep'] },
          gc: { command: 'gc', schedule: '@daily' },
          'backup-age': { command: 'check-backup', schedule: '@daily', ...checkBackup('keyring.age'), ageIdentity: '/etc/sealgate/backup/identity.txt' },
          'backup-passphrase': checkByPassphrase('sealgate-passphrase'),
          'backup-wrong': checkByPassphrase('other-passphrase')
        }
      })
    )
    return file
  }
  const resourcesWith = (workers: number, graceSeconds = LONG): Resource[] =>
    rendered('--values', join(chart, 'ci/minimal-values.yaml'), '--values', given(workers, graceSeconds))
  const deploymentOf = (resources: readonly Resource[]): PodSpec => {
    const found = resources.find(({ kind }) => kind === 'Deployment')
    const pod = found && podOf(found)
    if (pod === undefined) throw new Error('no deployment')
    return pod.spec
  }
  const client = (ca: Buffer, accessKeyId = 'app', secretAccessKey = 'app-secret-app-secret'): S3Client =>
    new S3Client({
      endpoint: `https://127.0.0.1:${port}`,
      region: 'us-east-1',
      forcePathStyle: true,
      maxAttempts: 1,
      credentials: { accessKeyId, secretAccessKey },
      // An agent, not its options: for bodies that wait for 100 Continue the SDK would make another one without them.
      requestHandler: { httpsAgent: new Agent({ ca, keepAlive: false }) }
    })
  const direct = new S3Client({
    endpoint: store,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: storeId, secretAccessKey: storeSecret }
  })
  const answer = async (promise: Promise<unknown>): Promise<string> => promise.then(() => 'ok', (error: unknown) => (error as Error).name)

  for (const workers of [1, 2]) {
    const resources = resourcesWith(workers)
    const spec = deploymentOf(resources)
    const container = gatewayOf({ spec, metadata: { labels: {} } })
    const preStop = container?.lifecycle?.preStop.sleep.seconds ?? 0
    const ready = (): Promise<number> => statusOf(`http://127.0.0.1:${admin}${container?.readinessProbe?.httpGet.path ?? ''}`)
    const pod = new Pod(rootfs, spec, secrets, resources)
    const up = await until(async () => pod.child.exitCode === null && await ready() === 200)
    step(`workers ${workers}: ready after ${Math.round(performance.now() - pod.began)} ms, as user 65532 with the volumes' modes`, up, pod.output)
    if (!up) return
    const s3 = client(tls.cert)

    if (workers === 1) {
      for (const Bucket of ['pod-sealed', 'pod-mixed', 'pod-damaged']) await s3.send(new CreateBucketCommand({ Bucket }))
      for (let at = 0; at < 20; at += 1) await s3.send(new PutObjectCommand({ Bucket: 'pod-sealed', Key: `object-${at}`, Body: randomBytes(at * 1000) }))
      await s3.send(new PutObjectCommand({ Bucket: 'pod-damaged', Key: 'damaged', Body: randomBytes(1000) }))
      const reader = client(tls.cert, 'reader', 'reader-secret-reader-secret')
      const got = await answer(reader.send(new GetObjectCommand({ Bucket: 'pod-sealed', Key: 'object-1' })))
      const put = await answer(reader.send(new PutObjectCommand({ Bucket: 'pod-sealed', Key: 'no', Body: 'x' })))
      step(`a client with readOnly reads (${got}) and cannot write (${put})`, got === 'ok' && put === 'AccessDenied')
      const proc = `/proc/${pod.pid}`
      const status = readFileSync(`${proc}/status`, 'utf8')
      step(
        'no capability, no new privileges, first process of its namespace',
        /^CapEff:\s+0+$/m.test(status) && /^NoNewPrivs:\s+1$/m.test(status) && /^NSpid:.*\t1$/m.test(status)
      )
      const writing = ['/x', '/tmp/x', '/etc/sealgate/config/x', '/etc/sealgate/keyring/x', '/var/lib/sealgate/x'].filter((path) =>
        run('nsenter', [
          '--target',
          String(pod.pid),
          '--mount',
          '--root',
          '--setuid',
          '65532',
          '--setgid',
          '65532',
          '--',
          '/usr/local/bin/node',
          '-e',
          `require('node:fs').writeFileSync('${path}', '')`
        ]).code === 0
      )
      step('nothing in it can be written', writing.length === 0, writing.join(' '))

      // As cert-manager and the kubelet renew it: another folder behind the link.
      const next = certificate('renewed')
      writeVolume(pod.volumes.get('tls') ?? '', { 'tls.crt': next.cert, 'tls.key': next.key }, 0o440)
      const began = performance.now()
      const taken = await until(async () => await servedName(port) === 'renewed')
      step(`a renewed Secret is served after ${Math.round((performance.now() - began) / 100) / 10} s, without a restart`, taken)
      writeVolume(pod.volumes.get('tls') ?? '', { 'tls.crt': tls.cert, 'tls.key': tls.key }, 0o440)
      step('and the one before again', await until(async () => await servedName(port) === 'first'), pod.output)

      for (const hook of resources.filter(({ kind }) => kind === 'Pod')) {
        const hooked = podOf(hook)
        if (hooked === undefined) continue
        // There is no DNS of a cluster here.
        const test = new Pod(
          rootfs,
          hooked.spec,
          secrets,
          resources,
          (args) => args.map((each) => each.startsWith('https:') ? `https://127.0.0.1:${port}/` : each)
        )
        const code = await test.ended
        step(`helm test: ${hook.metadata.name} ends with ${code}`, code === 0, test.output)
      }
    }

    // A download and an upload are under way when the pod is told to end.
    const body = randomBytes(48 * MIB)
    const digest = createHash('sha256').update(body).digest('hex')
    await s3.send(new PutObjectCommand({ Bucket: 'pod-sealed', Key: 'large', Body: body }))
    const down = await s3.send(new GetObjectCommand({ Bucket: 'pod-sealed', Key: 'large' }))
    const download = (async () => {
      const hash = createHash('sha256')
      let received = 0
      for await (const chunk of down.Body as Readable) {
        const bytes = chunk as Buffer
        hash.update(bytes)
        received += bytes.length
        await sleep(bytes.length / (48 * MIB) * 9000)
      }
      return received === body.length && hash.digest('hex') === digest
    })().catch(() => false)
    const upload = answer(
      s3.send(new PutObjectCommand({ Bucket: 'pod-sealed', Key: 'slow', Body: Readable.from(slowly(body.subarray(0, 4 * MIB), 9)), ContentLength: 4 * MIB }))
    )
    await sleep(500)
    const told = performance.now()
    const since = (): number => Math.round((performance.now() - told) / 100) / 10
    await sleep(preStop * 1000 - 500)
    const late = await answer(client(tls.cert).send(new GetObjectCommand({ Bucket: 'pod-sealed', Key: 'object-1' })))
    step(`workers ${workers}: during preStop new connections are served, and it is ready`, late === 'ok' && await ready() === 200, late)
    await sleep(Math.max(0, preStop * 1000 - (performance.now() - told)))
    process.kill(pod.pid, 'SIGTERM')
    let unready: number | null = null
    const delivered: number[] = []
    void Promise.all([download, upload]).then(() => {
      delivered.push(since())
    })
    const down503 = await until(async () => await ready() !== 200, 5)
    if (down503) unready = since()
    const refused = await answer(client(tls.cert).send(new GetObjectCommand({ Bucket: 'pod-sealed', Key: 'object-1' })))
    step(
      `workers ${workers}: not ready ${unready ?? '?'} s after the pod was told to end, while both transfers are under way`,
      down503 && delivered.length === 0
    )
    step(`workers ${workers}: a new connection is refused (${refused})`, refused !== 'ok')
    const code = await pod.ended
    const took = since()
    const [same, stored] = await Promise.all([download, upload])
    step(
      `workers ${workers}: the download of 48 MiB came to its end, byte for byte; the upload: ${stored}; both ${delivered.join()} s after`,
      same && stored === 'ok',
      pod.output
    )
    step(
      `workers ${workers}: exit code ${code} after ${took} s of terminationGracePeriodSeconds ${spec.terminationGracePeriodSeconds}`,
      code === 0 && took < spec.terminationGracePeriodSeconds,
      pod.output
    )

    // The same with a reader that does not read: it is cut, and the pod still ends in time.
    const short = resourcesWith(workers, 4)
    const shortSpec = deploymentOf(short)
    const again = new Pod(rootfs, shortSpec, secrets, short)
    await until(async () => again.child.exitCode === null && await ready() === 200)
    const stuck = await client(tls.cert).send(new GetObjectCommand({ Bucket: 'pod-sealed', Key: 'large' }))
    ;(stuck.Body as Readable).on('error', () => undefined)
    const ending = performance.now()
    await sleep(preStop * 1000)
    process.kill(again.pid, 'SIGTERM')
    const cut = await again.ended
    const seconds = Math.round((performance.now() - ending) / 100) / 10
    ;(stuck.Body as Readable).destroy()
    step(
      `workers ${workers}: a reader that has stopped is cut: exit code ${cut} after ${seconds} s of ${shortSpec.terminationGracePeriodSeconds}`,
      cut === 3 && seconds < shortSpec.terminationGracePeriodSeconds,
      again.output
    )
  }

  // What the CronJobs run.
  await direct.send(new PutObjectCommand({ Bucket: 'pod-mixed', Key: 'plain', Body: 'written past the gateway' }))
  const stored = await direct.send(new GetObjectCommand({ Bucket: 'pod-damaged', Key: 'damaged' }))
  const bytes = Buffer.from(await stored.Body?.transformToByteArray() ?? [])
  bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1
  await direct.send(
    new PutObjectCommand({
      Bucket: 'pod-damaged',
      Key: 'damaged',
      Body: bytes,
      Metadata: stored.Metadata ?? {},
      ...stored.ContentType === undefined ? {} : { ContentType: stored.ContentType }
    })
  )
  const resources = resourcesWith(1)
  const expected = { scan: 0, 'scan-mixed': 3, verify: 0, 'verify-damaged': 4, gc: 0, 'backup-age': 0, 'backup-passphrase': 0, 'backup-wrong': 1 }
  const jobOf = (name: string): PodSpec => {
    const found = resources.find(({ kind, metadata }) => kind === 'CronJob' && metadata.name === `sealgate-${name}`)
    const pod = found && podOf(found)
    if (pod === undefined) throw new Error(`no job ${name}`)
    return pod.spec
  }
  for (const [name, code] of Object.entries(expected)) {
    const job = new Pod(rootfs, jobOf(name), secrets, resources)
    const found = await job.ended
    step(`CronJob ${name}: exit code ${found} after ${Math.round(performance.now() - job.began)} ms`, found === code, job.output)
  }
  const slow = new Pod(rootfs, jobOf('scan-slow'), secrets, resources)
  // At work: its first line of progress. Before it listens for signals, the first process of a container gets none.
  await until(() => slow.output.includes('perSecond'))
  process.kill(slow.pid, 'SIGTERM')
  const stopped = await slow.ended
  step(`CronJob scan-slow, ended at its deadline: exit code ${stopped}`, stopped === 5, slow.output)

  // Beside an application: ready before it starts, and ended after it.
  const ownRing = join(work, 'sidecar.json')
  sealgate('keys', 'create', '--keyring', ownRing, '--name', 'backup', '--realm', 'backup')
  const ports = join(work, 'values-sidecar.json')
  writeFileSync(
    ports,
    JSON.stringify({ config: { listen: { port }, admin: { port: admin }, upstream: { endpoint: store, region: 'us-east-1', stateBucket: 'sidecar-state' } } })
  )
  const beside = rendered('--values', join(chart, 'ci/sidecar-values.yaml'), '--values', ports)
  const application = beside.flatMap((resource) => resource.kind === 'Deployment' ? podOf(resource)?.spec ?? [] : [])[0]
  if (application === undefined) throw new Error('no deployment')
  // The gateway's volumes alone: the others are the application's.
  const volumes = (application.volumes ?? []).filter(({ name }) => ['config', 'credentials', 'keyring'].includes(name))
  const sidecar = new Pod(rootfs, { ...application, volumes }, {
    'backup-sealgate-credentials': { storeAccessKeyId: storeId, storeSecretAccessKey: storeSecret, clientSecretAccessKey: 'backup-secret-backup-secret' },
    'backup-sealgate-keyring': { 'keyring.json': readFileSync(ownRing) }
  }, beside)
  const started = await until(async () => sidecar.child.exitCode === null && await statusOf(`http://127.0.0.1:${admin}/readyz`) === 200)
  step(`sidecar: its startup probe passes after ${Math.round(performance.now() - sidecar.began)} ms`, started, sidecar.output)
  const local = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'backup', secretAccessKey: 'backup-secret-backup-secret' }
  })
  await local.send(new CreateBucketCommand({ Bucket: 'change-me-backups' }))
  await local.send(new PutObjectCommand({ Bucket: 'change-me-backups', Key: 'data', Body: 'of the application' }))
  const read = await local.send(new GetObjectCommand({ Bucket: 'change-me-backups', Key: 'data' }))
  step('sidecar: the application writes and reads over loopback', await read.Body?.transformToString() === 'of the application')
  const outside = Object.values(networkInterfaces()).flat().find((each) => each?.family === 'IPv4' && !each.internal)?.address
  if (outside !== undefined) step(`sidecar: from another address nothing answers`, await statusOf(`http://${outside}:${port}/`) === 0)
  process.kill(sidecar.pid, 'SIGTERM')
  step('sidecar: ends with 0 when the application has ended', await sidecar.ended === 0, sidecar.output)
}

function checkBackup(file: string): object {
  return {
    backup: `/etc/sealgate/backup/${file}`,
    keyring: '/etc/sealgate/keyring/keyring.json',
    files: { keyring: { secret: 'sealgate-keyring' }, backup: { secret: 'sealgate-backup' } }
  }
}

function checkByPassphrase(secret: string): object {
  const { files, ...rest } = checkBackup('keyring.backup') as { readonly files: object }
  return {
    command: 'check-backup',
    schedule: '@daily',
    ...rest,
    passphraseFile: '/etc/sealgate/passphrase/passphrase',
    files: { ...files, passphrase: { secret } }
  }
}

try {
  await main()
} catch (error) {
  step(String((error as Error).stack).slice(0, 2000), false)
} finally {
  for (const child of running) if (child.exitCode === null) child.kill('SIGKILL')
  await sleep(500)
  rmSync(work, { recursive: true, force: true })
}
end()
