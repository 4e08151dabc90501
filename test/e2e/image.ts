// Acts out the Dockerfile and docker-compose.yml without a container engine: the build stage in a mount namespace over this machine's Debian, the last
// stage as a root file system, and each service as a process of its own user in mount, process and network namespaces, with the limits of compose in
// control groups. A real MinIO and a real aws CLI are the other services. What this does not show: the base images themselves, and any engine.
//
//   sudo node test/e2e/image.ts        MINIO=/path/to/minio AWS=/path/to/aws
//
// Needs root, unshare and setpriv (util-linux), ip, npm, MinIO and the aws CLI. Ends by itself and removes what it made; the last line counts.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { imageRoot, inImage, innermost, json, last, run } from './image-root.ts'

const root = join(import.meta.dirname, '..', '..')
const work = mkdtempSync(join(tmpdir(), 'sealgate-image-'))
chmodSync(work, 0o755)
const minio = process.env['MINIO'] ?? 'minio'
const aws = process.env['AWS'] ?? 'aws'
const tag = `sg${process.pid}`
let [passed, failed] = [0, 0]

function step(what: string, good: boolean): void {
  if (good) passed += 1
  else failed += 1
  process.stdout.write(`${good ? 'ok     ' : 'FAILED '} ${what}\n`)
}

interface Service {
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly mem_limit?: string
  readonly network_mode?: string
  readonly healthcheck?: { readonly test?: readonly string[] }
}

const { services } = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8')) as { readonly services: Readonly<Record<string, Service>> }
const addresses: Readonly<Record<string, string>> = { store: '10.213.0.2', gateway: '10.213.0.3', demo: '10.213.0.4' }
const hosts = ['127.0.0.1 localhost', ...Object.entries(addresses).map(([name, address]) => `${address} ${name}`)].join('\n')

function network(): void {
  run('ip', ['link', 'add', tag, 'type', 'bridge'])
  run('ip', ['link', 'set', tag, 'up'])
  for (const [name, address] of Object.entries(addresses)) {
    const space = `${tag}-${name}`
    const short = `${tag}${name.slice(0, 1)}`
    run('ip', ['netns', 'add', space])
    run('ip', ['link', 'add', short, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space])
    run('ip', ['link', 'set', short, 'master', tag, 'up'])
    run('ip', ['-n', space, 'addr', 'add', `${address}/24`, 'dev', 'eth0'])
    for (const device of ['eth0', 'lo']) run('ip', ['-n', space, 'link', 'set', device, 'up'])
  }
}

function limits(name: string, memory: string | undefined, pids: number): string[] {
  const groups: string[] = []
  for (const [controller, file, value] of [['memory', 'memory.limit_in_bytes', memory], ['pids', 'pids.max', String(pids)]] as const) {
    const group = `/sys/fs/cgroup/${controller}/${tag}-${name}`
    if (value === undefined || !existsSync(`/sys/fs/cgroup/${controller}`)) continue
    mkdirSync(group)
    writeFileSync(join(group, file), value)
    groups.push(group)
  }
  return groups
}

/** Starts the image as a service of compose: as its user, first process of its namespace, read-only root, no capability, no new privileges. */
function container(rootfs: string, name: string, args: readonly string[], more: { readonly pids?: number } = {}): ChildProcess {
  const service = services[name] ?? {}
  const at = join(work, `${name}-root`)
  mkdirSync(at, { recursive: true })
  const mounts = (service.volumes ?? []).map((volume) => {
    const [source = '', target = '', mode] = volume.split(':')
    return { from: source.startsWith('./') ? join(root, source) : join(work, 'volumes', source), to: target, readOnly: mode === 'ro' }
  })
  writeFileSync(join(work, 'hosts'), hosts)
  const groups = limits(name, service.mem_limit?.replace('m', 'M'), more.pids ?? 64)
  const net = service.network_mode === 'none' ? ['unshare', '--net'] : ['ip', 'netns', 'exec', `${tag}-${name}`]
  // Into its groups first: a network namespace has a /sys of its own.
  const grouped = [...groups.map((group) => `echo $$ >${group}/tasks`), 'exec "$@"'].join('\n')
  const inside = inImage({ rootfs, at, mounts: [...mounts, { from: join(work, 'hosts'), to: '/etc/hosts' }], environment: service.environment ?? {}, args })
  return spawn('sh', ['-ec', grouped, 'sh', ...net, ...inside])
}

function output(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8')
    })
  }
  return () => text
}

async function until(condition: () => boolean | Promise<boolean>, seconds = 60): Promise<boolean> {
  for (let tries = 0; tries < seconds * 20; tries += 1) {
    if (await condition()) return true
    await sleep(50)
  }
  return false
}

function succeeds(program: string, args: readonly string[]): boolean {
  try {
    run(program, args)
    return true
  } catch {
    return false
  }
}

const children: ChildProcess[] = []
function track(child: ChildProcess): ChildProcess {
  children.push(child)
  return child
}

async function main(): Promise<void> {
  const rootfs = imageRoot(work)
  const size = (path: string): number => Number(run('du', ['-sm', path]).split('\t')[0])
  step(
    `the image's files: ${size(rootfs)} MB, of these Node ${size(join(rootfs, 'usr/local/bin/node'))}, /app ${size(join(rootfs, 'app'))}`,
    existsSync(join(rootfs, 'app/node_modules/sealgate/dist/main.js'))
  )
  const programs = run('find', [rootfs, '-type', 'f', '-perm', '/111', '-not', '-path', '*/node_modules/*', '-not', '-name', '*.so*', '-not', '-name', '*.js'])
    .trim().split('\n').map((path) => path.slice(rootfs.length))
  step(`no shell, no npm: the only program is ${programs.join(' ')}`, programs.join(' ') === '/usr/local/bin/node')
  step('no sources and no tests', ['src', 'test'].every((folder) => !existsSync(join(rootfs, 'app/node_modules/sealgate', folder))))

  network()
  mkdirSync(join(work, 'volumes/store'), { recursive: true })
  // A new volume takes the owner of the folder that it is mounted on.
  run('cp', ['-a', join(rootfs, 'var/lib/sealgate'), join(work, 'volumes/keys')])

  const [store, demo] = [services['store'], services['demo']]
  track(
    spawn('ip', ['netns', 'exec', `${tag}-store`, minio, 'server', join(work, 'volumes/store')], {
      stdio: 'ignore',
      env: { ...process.env, ...store?.environment, MINIO_BROWSER: 'off' }
    })
  )
  const live = (): boolean => succeeds('ip', ['netns', 'exec', `${tag}-store`, 'curl', '-sf', 'http://127.0.0.1:9000/minio/health/live'])
  step('store: MinIO is up', await until(live))

  for (const time of ['first', 'second']) {
    const keys = container(rootfs, 'keys', services['keys']?.entrypoint?.map((word) => word) ?? [])
    const said = output(keys)
    const [code] = await once(keys, 'close') as [number]
    step(`keys, ${time} time: ends with ${code} ${code === 0 ? '' : said()}`, code === 0)
    limitsEnd('keys')
  }
  const ring = join(work, 'volumes/keys/keyring.json')
  step(
    'keys: one keyring of the user, mode 600',
    run('stat', ['-c', '%u %a', ring]).trim() === '65532 600' && readdirSync(join(work, 'volumes/keys')).length === 1
  )

  const began = performance.now()
  const gateway = track(container(rootfs, 'gateway', [...json(last('ENTRYPOINT')), ...services['gateway']?.command ?? []]))
  const told = output(gateway)
  const health = services['gateway']?.healthcheck?.test?.slice(1) ?? []
  const inside = (args: readonly string[]): boolean => {
    const pid = innermost(gateway.pid ?? 0)
    return succeeds('nsenter', ['--target', String(pid), '--net', '--mount', '--root', '--setuid', '65532', '--setgid', '65532', '--', ...args])
  }
  const ready = await until(() => gateway.exitCode === null && inside(health))
  step(`gateway: the health check of compose passes after ${Math.round(performance.now() - began)} ms`, ready)
  if (!ready) process.stdout.write(told())
  step('gateway: HEALTHCHECK of the Dockerfile passes', inside(json(/CMD (\[.*\])/.exec(last('HEALTHCHECK'))?.[1] ?? '[]')))
  const pid = innermost(gateway.pid ?? 0)
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string): string => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1] ?? ''
  step(
    `gateway: user ${field('Uid').split('\t')[0] ?? ''}, first process of its namespace, ${
      Math.round(Number.parseInt(field('VmRSS'), 10) / 1024)
    } MiB resident`,
    field('Uid').startsWith('65532') && field('NSpid').endsWith('\t1')
  )
  step('gateway: no capability, no new privileges', /^0+$/.test(field('CapEff')) && /^0+$/.test(field('CapPrm')) && field('NoNewPrivs') === '1')
  step(
    'gateway: cannot write to its root file system nor to the keys',
    ['/app/x', '/tmp/x', '/etc/x', '/var/lib/sealgate/x'].every((path) =>
      inside(['/usr/local/bin/node', '-e', `try { require('node:fs').writeFileSync('${path}', ''); process.exit(1) } catch { process.exit(0) }`])
    )
  )
  step('gateway: there is no shell to start', !inside(['/bin/sh', '-c', 'true']))

  const demoEnv = Object.entries(demo?.environment ?? {}).map(([key, value]) => `${key}=${value}`)
  const path = `PATH=${dirname(aws)}:/usr/local/bin:/usr/bin:/bin`
  for (const time of ['first', 'second']) {
    const script = `mount --bind ${join(work, 'hosts')} /etc/hosts && exec env -i ${path} HOME=${work} ${demoEnv.join(' ')} sh ${join(root, 'docker/demo.sh')}`
    const shown = run('ip', ['netns', 'exec', `${tag}-demo`, 'unshare', '--mount', 'sh', '-ec', script])
    step(
      `demo, ${time} time: the object comes back through the gateway, and the store has ciphertext`,
      /through the gateway[^]*hello, sealed world[^]*as the store has it/.test(shown) && !/as the store has it[^]*sealed world/.test(shown)
    )
  }
  step('no plaintext among the files of the store', !succeeds('grep', ['-rq', 'sealed world', join(work, 'volumes/store')]))

  const big = join(work, 'big')
  run('sh', ['-c', `head -c 209715200 /dev/urandom >${big}`])
  const s3 = (...args: readonly string[]): string =>
    run('ip', [
      'netns',
      'exec',
      `${tag}-demo`,
      'env',
      path,
      `HOME=${work}`,
      ...demoEnv,
      aws,
      '--endpoint-url',
      `http://${addresses['gateway'] ?? ''}:9000`,
      's3',
      ...args
    ])
  for (let at = 0; at < 4; at += 1) s3('cp', '--quiet', big, `s3://demo/big-${at}`)
  s3('cp', '--quiet', 's3://demo/big-3', `${big}.back`)
  step('4 × 200 MiB in parts, and back, with compose\'s limit of 512 MB and 64 processes and threads', succeeds('cmp', [big, `${big}.back`]))
  const highest = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  const used = `/sys/fs/cgroup/pids/${tag}-gateway/pids.current`
  step(
    `gateway: at most ${Math.round(Number(highest) / 1024)} MiB resident, ${existsSync(used) ? readFileSync(used, 'utf8').trim() : '?'} threads`,
    Number(highest) < 512 * 1024
  )

  const stopping = performance.now()
  process.kill(pid, 'SIGTERM')
  const closed = gateway.exitCode === null ? await once(gateway, 'exit') : [gateway.exitCode]
  step(`gateway: SIGTERM to process 1 ends it with ${String(closed[0])} after ${Math.round(performance.now() - stopping)} ms`, closed[0] === 0)
  step(
    'gateway: its log is JSON on standard output, without a secret',
    told().trim().split('\n').every((line) => line.startsWith('{')) && !/store-admin-secret|demo-client-secret/.test(told())
  )
  limitsEnd('gateway')

  // More than one process: what a limit of processes must leave room for.
  const tight = track(container(rootfs, 'gateway', [...json(last('ENTRYPOINT')), ...services['gateway']?.command ?? []], { pids: 16 }))
  step(
    'with a limit of 16 processes and threads it serves as well',
    await until(() => {
      const inner = tight.exitCode === null ? innermost(tight.pid ?? 0) : 0
      return inner !== 0 && succeeds('nsenter', ['--target', String(inner), '--net', 'curl', '-sf', 'http://127.0.0.1:9001/readyz'])
    })
  )
  process.kill(innermost(tight.pid ?? 0), 'SIGTERM')
  if (tight.exitCode === null) await once(tight, 'exit')
  limitsEnd('gateway')
}

function limitsEnd(name: string): void {
  for (const controller of ['memory', 'pids']) {
    if (existsSync(`/sys/fs/cgroup/${controller}/${tag}-${name}`)) succeeds('rmdir', [`/sys/fs/cgroup/${controller}/${tag}-${name}`])
  }
}

try {
  await main()
} catch (error) {
  const { message, stderr } = error as { readonly message: string; readonly stderr?: string }
  step(`${message.slice(0, 500)}\n${(stderr ?? '').slice(0, 2000)}`, false)
} finally {
  for (const child of children) if (child.exitCode === null && child.pid !== undefined) process.kill(child.pid, 'SIGKILL')
  for (const name of Object.keys(addresses)) succeeds('ip', ['netns', 'del', `${tag}-${name}`])
  succeeds('ip', ['link', 'del', tag])
  await sleep(300)
  for (const name of Object.keys(services)) limitsEnd(name)
  rmSync(work, { recursive: true, force: true })
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
