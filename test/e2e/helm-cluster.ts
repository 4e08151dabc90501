// The Helm chart against a real kube-apiserver on etcd, with kube-controller-manager and the CustomResourceDefinitions of the operators: a server-side dry
// run of every file of values, helm install, upgrade, rollback and uninstall, server-side apply of docker/kubernetes, and the pods that controllers
// make of it, under the pod security standard "restricted". There is no kubelet: no container starts, and pods stay Pending. Without the controllers the
// steps that need them are left out.
//
//   HELM=helm KUBE=DIR node test/e2e/helm-cluster.ts CRD_YAML…        DIR has etcd, kube-apiserver, kube-controller-manager and kubectl
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { chart, end, examples, helm as helmAlone, helmProgram, podOf, type Ran, type Resource, resourcesOf, root, run, step } from './helm-chart.ts'
import { freePort } from '../support/free-port.ts'

const programs = process.env['KUBE'] ?? ''
const crds = process.argv.slice(2)
const controllers = existsSync(join(programs, 'kube-controller-manager'))
const work = mkdtempSync(join(tmpdir(), 'sealgate-cluster-'))
const children: ChildProcess[] = []
const kubeconfig = join(work, 'kubeconfig')

function start(program: string, args: readonly string[]): void {
  const log = openSync(join(work, `${program}.log`), 'w')
  children.push(spawn(join(programs, program), args, { stdio: ['ignore', log, log] }))
}

async function startCluster(): Promise<void> {
  const [client, peer, secure] = await Promise.all([freePort(), freePort(), freePort()])
  const token = randomBytes(16).toString('hex')
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' }
  })
  writeFileSync(join(work, 'sa.key'), privateKey, { mode: 0o600 })
  writeFileSync(join(work, 'tokens.csv'), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 })
  const cluster = { server: `https://127.0.0.1:${secure}`, 'insecure-skip-tls-verify': true }
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x'
    }),
    { mode: 0o600 }
  )
  const [at, beside] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  start('etcd', [
    ...['--data-dir', join(work, 'etcd'), '--listen-client-urls', at, '--advertise-client-urls', at],
    ...['--listen-peer-urls', beside, '--initial-advertise-peer-urls', beside, '--initial-cluster', `default=${beside}`, '--unsafe-no-fsync']
  ])
  start('kube-apiserver', [
    ...['--etcd-servers', at, '--bind-address', '127.0.0.1', '--secure-port', String(secure), '--cert-dir', join(work, 'certs')],
    ...['--service-account-issuer', 'https://kubernetes.default.svc', '--service-account-key-file', join(work, 'sa.key')],
    ...['--service-account-signing-key-file', join(work, 'sa.key'), '--service-cluster-ip-range', '10.96.0.0/16'],
    ...['--token-auth-file', join(work, 'tokens.csv'), '--authorization-mode', 'RBAC', '--endpoint-reconciler-type', 'none']
  ])
  for (let tries = 0; tries < 240 && kubectl('get', '--raw', '/readyz').code !== 0; tries += 1) await sleep(500)
  if (!controllers) return
  start('kube-controller-manager', [
    ...['--kubeconfig', kubeconfig, '--leader-elect=false', '--service-account-private-key-file', join(work, 'sa.key')],
    ...['--secure-port', '0', '--cluster-cidr', '10.244.0.0/16']
  ])
}

function kubectl(...args: readonly string[]): Ran {
  return run(join(programs, 'kubectl'), ['--kubeconfig', kubeconfig, ...args])
}

/** Server-side apply of a text. */
function apply(text: string, ...args: readonly string[]): Ran {
  return run(join(programs, 'kubectl'), ['--kubeconfig', kubeconfig, 'apply', '--server-side', ...args, '-f', '-'], text)
}

function get<T>(...args: readonly string[]): T[] {
  const { code, stdout, stderr } = kubectl('get', '-o', 'json', ...args)
  if (code !== 0) throw new Error(stderr)
  return (JSON.parse(stdout) as { readonly items: T[] }).items
}

function helm(...args: readonly string[]): Ran {
  return run(helmProgram, ['--kubeconfig', kubeconfig, ...args])
}

async function until(condition: () => boolean, seconds = 120): Promise<boolean> {
  for (let tries = 0; tries < seconds * 4; tries += 1) {
    if (condition()) return true
    await sleep(250)
  }
  return false
}

interface Live extends Resource {
  readonly status?: Readonly<Record<string, unknown>>
  readonly metadata: Resource['metadata'] & { readonly ownerReferences?: readonly { readonly name: string }[]; readonly generation?: number }
}

function createNamespace(name: string): Ran {
  // With `warn` the server also says of a Deployment what its pods would be refused for.
  const labels = Object.fromEntries(['enforce', 'warn'].map((mode) => [`pod-security.kubernetes.io/${mode}`, 'restricted']))
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
  return apply(JSON.stringify(namespace))
}

/** The admission that a pod would meet, without a controller between: a test hook and the template of a job are seen only this way. */
function admit(what: string, resource: Resource, namespace: string): void {
  const pod = podOf(resource)
  if (pod === undefined) return
  const named = { apiVersion: 'v1', kind: 'Pod', metadata: { ...pod.metadata, name: 'admitted', namespace }, spec: pod.spec }
  const { code, stderr } = run(join(programs, 'kubectl'), ['--kubeconfig', kubeconfig, 'create', '--dry-run=server', '-f', '-'], JSON.stringify(named))
  step(what, code === 0, stderr)
}

async function main(): Promise<void> {
  const began = performance.now()
  await startCluster()
  const version = kubectl('version', '-o', 'json')
  const { serverVersion } = JSON.parse(version.stdout || '{}') as { readonly serverVersion?: { readonly gitVersion: string } }
  step(
    `kube-apiserver ${serverVersion?.gitVersion ?? '?'} is ready after ${Math.round((performance.now() - began) / 1000)} s`,
    serverVersion !== undefined,
    version.stderr
  )
  const installed = kubectl('apply', '--server-side', ...crds.flatMap((file) => ['-f', file]))
  step(`${crds.length} CustomResourceDefinitions`, installed.code === 0, installed.stderr)
  const names = ['servicemonitors.monitoring.coreos.com', 'certificates.cert-manager.io']
  step('they are served', kubectl('wait', '--for=condition=Established', '--timeout=60s', ...names.map((name) => `crd/${name}`)).code === 0)

  dryRuns()
  await plainManifests()
  await helmItself()
  testHooks()
}

/** A step that needs what a controller does. */
async function controlled(what: string, condition: () => boolean): Promise<void> {
  if (controllers) step(what, await until(condition))
  else process.stdout.write(`left out, there is no kube-controller-manager: ${what}\n`)
}

function dryRuns(): void {
  for (const { name, path } of examples) {
    const namespace = `dry-${name}`
    createNamespace(namespace)
    const text = helmAlone('template', 'sealgate', chart, '--namespace', namespace, '--values', path, '--skip-tests').stdout
    const dry = apply(text, '--dry-run=server')
    const warnings = dry.stderr.split('\n').filter((line) => line.startsWith('Warning:'))
    // A volume of the host is what an HSM's client may need; it is not "restricted".
    const others = warnings.filter((line) => name !== 'pkcs11' || !line.includes('hostPath'))
    const count = dry.stdout.trim().split('\n').length
    step(`${name}: server-side dry run of ${count} resources, ${warnings.length} warnings`, dry.code === 0 && others.length === 0, dry.stderr)
  }
}

/** The plain manifests, as their reader would apply them. */
async function plainManifests(): Promise<void> {
  const folder = join(root, 'docker/kubernetes')
  createNamespace('backup')
  const [sealgate, backup] = [['namespace', 'config', 'network-policy', 'deployment', 'cronjobs'], ['sidecar']].map((names) =>
    names.map((name) => readFileSync(join(folder, `${name}.yaml`), 'utf8')).join('\n---\n')
  ) as [string, string]
  for (const [namespace, text] of [['sealgate', sealgate], ['backup', backup]] as const) {
    const applied = apply(text)
    step(`docker/kubernetes: ${applied.stdout.trim().split('\n').length} resources applied in ${namespace}`, applied.code === 0, applied.stderr)
    // As its controller does for every namespace.
    if (!controllers) kubectl('create', 'serviceaccount', 'default', '-n', namespace)
    for (const resource of resourcesOf(text)) admit(`${resource.kind} ${resource.metadata.name}: its pod is admitted under "restricted"`, resource, namespace)
  }
  const podsOf = (namespace: string, component = ''): Live[] =>
    get<Live>('pods', '-n', namespace, ...component === '' ? [] : ['-l', `app.kubernetes.io/component=${component}`])
  await controlled('the controllers make pods of the deployment', () => podsOf('sealgate', 'gateway').length >= 1)
  await controlled('and of the one with the sidecar', () => podsOf('backup').length >= 1)
  await controlled('they have no token of the API, and are Pending: there is no kubelet', () => {
    const [pod] = podsOf('sealgate', 'gateway')
    return pod?.status?.['phase'] === 'Pending' && !JSON.stringify(pod).includes('kube-api-access')
  })
  for (const { metadata } of get<Live>('cronjobs', '-n', 'sealgate')) {
    const job = kubectl('create', 'job', '-n', 'sealgate', `now-${metadata.name}`, `--from=cronjob/${metadata.name}`)
    step(`${metadata.name}: a job of it`, job.code === 0, job.stderr)
  }
  await controlled('the controller makes a pod of each job', () => podsOf('sealgate', 'job').length === 4)

  const generation = (): number | undefined => get<Live>('deployments', '-n', 'sealgate')[0]?.metadata.generation
  const before = generation()
  const changed = apply(readFileSync(join(folder, 'config.yaml'), 'utf8').replace('workers: 2', 'workers: 2\n    log: { level: warn }'))
  step('a change of config.yaml by hand replaces no pod: kubectl rollout restart does', changed.code === 0 && generation() === before, changed.stderr)
  const restarted = kubectl('rollout', 'restart', 'deployment/sealgate', '-n', 'sealgate')
  step('which makes another template', restarted.code === 0 && generation() !== before, restarted.stderr)
}

/** helm itself, with everything. */
async function helmItself(): Promise<void> {
  createNamespace('live')
  const values = join(chart, 'ci/everything-values.yaml')
  const upgrade = (...set: readonly string[]): Ran =>
    helm('upgrade', '--install', 'sealgate', chart, '-n', 'live', '--values', values, ...set.flatMap((each) => ['--set', each]))
  const install = upgrade()
  step('helm install of everything', install.code === 0, install.stderr)
  step('its notes name the service', /sealing\.live\.svc/.test(install.stdout), install.stdout)
  const deployment = (): Live | undefined => get<Live>('deployments', '-n', 'live')[0]
  const template = (): string => JSON.stringify(deployment()?.spec['template'])
  const sets = (): Live[] => get<Live>('replicasets', '-n', 'live')
  const hashes = (): string[] => sets().map(({ metadata }) => metadata.labels?.['pod-template-hash'] ?? '')
  // Its class of runtime and of priority are not there: pods are refused, and the ReplicaSet is made.
  await controlled('the deployment has a ReplicaSet', () => sets().length === 1)
  const [first, firstHashes] = [template(), hashes()]
  const same = upgrade('autoscaling.maxReplicas=7')
  step('an upgrade that changes the autoscaler leaves the template of the pods as it is', same.code === 0 && template() === first, same.stderr)
  const other = upgrade('config.limits.connections=2048')
  step('one that changes the configuration makes another', other.code === 0 && template() !== first, other.stderr)
  await controlled('and so a second ReplicaSet', () => sets().length === 2)
  if (controllers) process.stdout.write(`        pod-template-hash ${firstHashes.join()} -> ${hashes().filter((each) => !firstHashes.includes(each)).join()}\n`)
  const live = deployment()
  step('the number of replicas is not helm\'s: the autoscaler keeps it', live !== undefined && !('f:replicas' in managed(live)))
  const back = helm('rollback', 'sealgate', '1', '-n', 'live')
  step('rollback brings the template before', back.code === 0 && template() === first, back.stderr)
  const gone = helm('uninstall', 'sealgate', '-n', 'live')
  step('uninstall leaves nothing', gone.code === 0 && await until(() => leftovers() === '', 30), gone.stderr + leftovers())
}

/** The pods of helm test. */
function testHooks(): void {
  createNamespace('hooks')
  for (const name of ['default', 'sealgate']) kubectl('create', 'serviceaccount', name, '-n', 'hooks')
  const minimal = join(chart, 'ci/minimal-values.yaml')
  const hooks = helmAlone('template', 'sealgate', chart, '-n', 'hooks', '--values', minimal, '--show-only', 'templates/tests/*.yaml')
  for (const resource of resourcesOf(hooks.stdout)) admit(`${resource.metadata.name} is admitted`, resource, 'hooks')
}

function managed(live: Live): Record<string, unknown> {
  const { managedFields = [] } = live.metadata as {
    readonly managedFields?: readonly { readonly manager: string; readonly fieldsV1: { readonly 'f:spec'?: Record<string, unknown> } }[]
  }
  return Object.assign({}, ...managedFields.filter(({ manager }) => manager === 'helm').map(({ fieldsV1 }) => fieldsV1['f:spec'] ?? {})) as Record<
    string,
    unknown
  >
}

function leftovers(): string {
  const kinds =
    'deployments,services,configmaps,serviceaccounts,cronjobs,networkpolicies,horizontalpodautoscalers,poddisruptionbudgets,servicemonitors,prometheusrules,certificates'
  return kubectl('get', kinds, '-n', 'live', '-o', 'name').stdout.split('\n').filter((name) =>
    name !== '' && !/kube-root-ca|serviceaccount\/default/.test(name)
  ).join(' ')
}

try {
  mkdirSync(join(work, 'certs'))
  await main()
} catch (error) {
  step(String((error as Error).stack).slice(0, 2000), false)
} finally {
  for (const child of children.reverse()) {
    if (child.exitCode !== null) continue
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  if (process.env['KEEP'] === undefined) rmSync(work, { recursive: true, force: true })
}
end()
