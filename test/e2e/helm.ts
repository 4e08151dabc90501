// The Helm chart with the real helm: lint, every file of values rendered and held against the schemas of Kubernetes, wrong values refused, the manifests of
// docker/kubernetes compared, the chart as a dependency, the package.
//
//   HELM=helm KUBECONFORM=kubeconform SCHEMAS=DIR node test/e2e/helm.ts        SCHEMAS as test/e2e/helm-schemas.ts makes it; without both no kubeconform
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parse } from 'yaml'
import { manifests, renderManifests } from '../../docs/generate/chart-manifests.ts'
import type { Config } from '../../src/config/config.ts'
import { ConfigError, parseConfig } from '../../src/config/load.ts'
import { chart, end, examples, gatewayOf, helm, helmProgram, podOf, rendered, resourcesOf, root, run, step } from './helm-chart.ts'
import type { Container, PodTemplate, Resource } from './helm-chart.ts'

const work = mkdtempSync(join(tmpdir(), 'sealgate-helm-'))
const { KUBECONFORM: kubeconform, SCHEMAS: schemas } = process.env
const minimal = join(chart, 'ci/minimal-values.yaml')

process.stdout.write(`helm ${run(helmProgram, ['version', '--short']).stdout}`)

const kinds = new Set<string>()
let documents = 0
for (const { name, path } of examples) {
  const lint = helm('lint', '--strict', chart, '--values', path, '--quiet')
  step(`${name}: helm lint --strict`, lint.code === 0, lint.stdout + lint.stderr)
  const { code, stdout, stderr } = helm('template', 'sealgate', chart, '--namespace', 'sealgate', '--values', path)
  step(`${name}: helm template`, code === 0, stderr)
  if (code !== 0) continue
  const resources = resourcesOf(stdout)
  for (const { kind } of resources) kinds.add(kind)
  documents += resources.length
  if (kubeconform !== undefined && schemas !== undefined) {
    const args = ['-strict', '-summary', '-schema-location', join(schemas, '{{ .ResourceKind }}{{ .KindSuffix }}.json')]
    const checked = run(kubeconform, args, stdout)
    step(`${name}: kubeconform -strict: ${checked.stdout.trim().split('\n').at(-1) ?? ''}`, checked.code === 0, checked.stdout + checked.stderr)
  }
  const faults = faultsOf(resources)
  step(`${name}: ${resources.length} resources, which fit each other and the configuration`, faults.length === 0, faults.join('\n'))
}
process.stdout.write(`        ${documents} resources of ${kinds.size} kinds: ${[...kinds].sort().join(', ')}\n`)
if (kubeconform === undefined || schemas === undefined) process.stdout.write('        no kubeconform: KUBECONFORM and SCHEMAS are not set\n')

/** What does not fit. */
function faultsOf(resources: readonly Resource[]): string[] {
  const faults: string[] = []
  const check = (good: boolean, fault: string): void => {
    if (!good) faults.push(fault)
  }
  check(!resources.some(({ kind }) => kind === 'Secret'), 'there is a Secret')
  const texts = resources.filter(({ kind, data }) => kind === 'ConfigMap' && data?.['sealgate.yaml'] !== undefined)
  check(texts.length === 1, 'there is not one configuration')
  const config = configOf(texts[0]?.data?.['sealgate.yaml'] ?? '')
  if (typeof config === 'string') return [...faults, config]
  for (const resource of resources) {
    const pod = podOf(resource)
    if (pod !== undefined) faults.push(...podFaults(`${resource.kind} ${resource.metadata.name}`, pod, config))
  }
  const gateways = resources.filter(({ kind }) => !['Pod', 'Job', 'CronJob'].includes(kind)).flatMap((resource) => podOf(resource) ?? [])
  for (const { kind, metadata, spec } of resources) {
    if (!['Service', 'PodDisruptionBudget'].includes(kind)) continue
    const selector = (kind === 'Service' ? spec['selector'] : (spec['selector'] as Record<string, unknown>)['matchLabels']) as Record<string, string>
    check(
      gateways.some(({ metadata: { labels } }) => Object.entries(selector).every(([name, value]) => labels[name] === value)),
      `${metadata.name} selects nothing`
    )
  }
  for (const { spec } of resources.filter(({ kind }) => kind === 'HorizontalPodAutoscaler')) {
    const { name } = spec['scaleTargetRef'] as { readonly name: string }
    const target = resources.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === name)
    check(target !== undefined && target.spec['replicas'] === undefined, 'the autoscaler and the deployment do not agree')
  }
  const egress = resources.flatMap(({ kind, spec }) =>
    kind === 'NetworkPolicy' ? (spec['egress'] ?? []) as { readonly ports?: { readonly port: number }[] }[] : []
  )
  const open = new Set(egress.flatMap(({ ports = [] }) => ports.map(({ port }) => port)))
  const limited = resources.some(({ kind, spec }) => kind === 'NetworkPolicy' && (spec['policyTypes'] as string[]).includes('Egress'))
  for (const { endpoint } of limited ? Object.values(config.upstreams) : []) {
    const { port, protocol } = new URL(endpoint)
    check(open.has(Number(port === '' ? protocol === 'https:' ? 443 : 80 : port)), `the network policy closes the way to ${endpoint}`)
  }
  return faults
}

/** The configuration as the gateway reads it, with any text for the secrets; or what is wrong with it. */
function configOf(text: string): Config | string {
  const folder = mkdtempSync(join(work, 'config-'))
  const named = text.replaceAll(/\/etc\/sealgate\/[\w./-]+/g, (path) => {
    const at = join(folder, path)
    mkdirSync(join(at, '..'), { recursive: true })
    if (!existsSync(at)) writeFileSync(at, 'AAAAAAAAAAAAAAAAAAAAAA==')
    return at
  })
  const env = Object.fromEntries([...text.matchAll(/env: (\w+)/g)].map(([, name = '']) => [name, 'x']))
  const unsealed = Object.fromEntries([...text.matchAll(/sealed: (\S+)/g)].map(([, sealed = '']) => [sealed, 'x']))
  try {
    return parseConfig(named, { file: '/etc/sealgate/config/sealgate.yaml', env, unsealed })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.faults.map(({ path, message }) => `${path}: ${message}`).join('\n')
  }
}

function podFaults(name: string, pod: PodTemplate, config: Config): string[] {
  const { spec } = pod
  const containers = [...spec.initContainers ?? [], ...spec.containers]
  const faults = containers.flatMap((container) => containerFaults(container, pod)).map((fault) => `${name}: ${fault}`)
  const check = (good: boolean, fault: string): void => {
    if (!good) faults.push(`${name}: ${fault}`)
  }
  check(spec.automountServiceAccountToken === false, 'has a token of the Kubernetes API')
  check((spec.securityContext['seccompProfile'] as { readonly type?: string } | undefined)?.type === 'RuntimeDefault', 'has no seccomp profile')
  check(spec.securityContext['runAsNonRoot'] === true && spec.securityContext['runAsUser'] === 65_532, 'runs as another user')
  const gateway = gatewayOf(pod)
  if (gateway === undefined) return [...faults, `${name}: no gateway`]
  if (gateway.args?.[0] !== 'serve') return faults
  const ports = new Map(gateway.ports?.map((port) => [port.name, port.containerPort]))
  check(ports.get('admin') === config.admin?.port, 'the admin port is another')
  check((ports.get('s3') ?? config.listen.port) === config.listen.port, 'the port is another')
  const needed = (gateway.lifecycle?.preStop.sleep.seconds ?? 0) + config.limits.graceSeconds + (config.workers === 1 ? 0 : 10)
  check(spec.terminationGracePeriodSeconds >= needed + 5, `needs ${needed} s to stop in, and has ${spec.terminationGracePeriodSeconds}`)
  if (gateway.restartPolicy === undefined && config.workers !== 'auto') {
    check(Number(gateway.resources.requests?.['cpu']) >= config.workers, 'the autoscaler measures against a core per worker')
  }
  return faults
}

function containerFaults({ name, securityContext: context, volumeMounts = [], resources, args = [] }: Container, { spec }: PodTemplate): string[] {
  const faults: string[] = []
  if (context['allowPrivilegeEscalation'] !== false) faults.push(`${name} may gain privileges`)
  if (!(context['capabilities'] as { readonly drop?: readonly string[] } | undefined)?.drop?.includes('ALL')) faults.push(`${name} has capabilities`)
  for (const mount of volumeMounts) if (!spec.volumes?.some((volume) => volume.name === mount.name)) faults.push(`${name}: no volume ${mount.name}`)
  const places = volumeMounts.map(({ mountPath }) => mountPath)
  if (new Set(places).size !== places.length) faults.push(`${name}: two volumes in one place`)
  if (name !== 'sealgate') return faults
  if (context['readOnlyRootFilesystem'] !== true) faults.push('its root can be written')
  if (resources.limits?.['memory'] === undefined) faults.push('it has no limit of memory')
  for (const path of args.filter((argument) => argument.startsWith('/etc/'))) {
    if (!places.some((place) => path.startsWith(`${place}/`))) faults.push(`nothing is mounted for ${path}`)
  }
  for (const { mountPath, readOnly } of volumeMounts) if (mountPath.startsWith('/etc/sealgate') && readOnly !== true) faults.push(`${mountPath} can be written`)
  return faults
}

interface Wrong {
  readonly what: string
  readonly by: 'schema' | 'template'
  readonly says: string
  readonly values: unknown
}
for (const { what, by, says, values } of parse(readFileSync(join(root, 'test/docs/wrong-chart-values.yaml'), 'utf8')) as Wrong[]) {
  const file = join(work, 'wrong.json')
  writeFileSync(file, JSON.stringify(values))
  const { code, stderr } = helm('template', 'sealgate', chart, '--values', minimal, '--values', file)
  const source = /specifications of the schema/.test(stderr) ? 'schema' : 'template'
  step(`refused by a ${by}: ${what}`, code !== 0 && source === by && stderr.includes(says) && !stderr.includes('hunter2'), stderr)
}
const storeless = '{"clients":[{"accessKeyId":"a","secretAccessKey":{"env":"A"}}],"keys":{"main":{"type":"local","keyring":"/etc/sealgate/k/k"}}}'
step(
  'refused by a template: neither upstream nor upstreams',
  helm('template', 'sealgate', chart, '--set', 'tls.secretName=tls', '--set-json', `config=${storeless}`).stderr.includes('config.upstream or config.upstreams')
)
step('refused by the schema: no values at all', helm('template', 'sealgate', chart).stderr.includes('config'))

const annotation = (...args: readonly string[]): unknown => {
  const deployment = rendered('--values', minimal, ...args).find(({ kind }) => kind === 'Deployment')
  return deployment && podOf(deployment)?.metadata.annotations?.['checksum/config']
}
step('a change of the configuration is another pod', annotation() !== annotation('--set', 'config.limits.connections=99'))
step('a change of something else is not', annotation() === annotation('--set', 'autoscaling.maxReplicas=99'))
const stopIn = (...args: readonly string[]): number | undefined => {
  const deployment = rendered('--values', minimal, ...args).find(({ kind }) => kind === 'Deployment')
  return deployment && podOf(deployment)?.spec.terminationGracePeriodSeconds
}
const times = [
  ['', 40],
  ['config.limits.graceSeconds=0', 15],
  ['config.limits.graceSeconds=1ms', 16],
  ['config.limits.graceSeconds=1.5m', 105],
  ['config.limits.graceSeconds=2 H', 7215],
  ['config.limits.graceSeconds=1d,preStopSeconds=0', 86_405],
  ['config.workers=2', 50],
  ['preStopSeconds=30', 60]
] as const
for (const [values, seconds] of times) {
  step(`terminationGracePeriodSeconds with ${values || 'the defaults'}: ${seconds}`, stopIn('--set', values) === seconds, String(stopIn('--set', values)))
}

const differing = Object.entries(renderManifests(helmProgram)).filter(([name, text]) => {
  const path = join(root, manifests, name)
  return !existsSync(path) || readFileSync(path, 'utf8') !== text
})
step('docker/kubernetes is what the chart renders', differing.length === 0, differing.map(([name]) => name).join('\n'))

// As a dependency: the pod of another chart takes the container and the volumes.
const parent = join(work, 'parent')
mkdirSync(join(parent, 'templates'), { recursive: true })
cpSync(chart, join(parent, 'charts/sealgate'), { recursive: true, dereference: true })
writeFileSync(join(parent, 'Chart.yaml'), 'apiVersion: v2\nname: parent\nversion: 1.0.0\n')
const { sidecar, ...below } = parse(readFileSync(join(chart, 'ci/sidecar-values.yaml'), 'utf8')) as Record<string, unknown>
writeFileSync(join(parent, 'values.yaml'), JSON.stringify({ sealgate: { ...below, networkPolicy: { enabled: false } } }))
writeFileSync(
  join(parent, 'templates/pod.yaml'),
  `apiVersion: v1
kind: Pod
metadata:
  name: own
  labels: { app: own }
  annotations: {{- include "sealgate.podAnnotations" .Subcharts.sealgate | nindent 4 }}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ add 30 (include "sealgate.stopSeconds" .Subcharts.sealgate) }}
  securityContext: {{- include "sealgate.podSecurityContext" .Subcharts.sealgate | nindent 4 }}
  initContainers: {{- include "sealgate.gatewayContainer" .Subcharts.sealgate | nindent 4 }}
  containers:
    - { name: own, image: own, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }, resources: {} }
  volumes: {{- include "sealgate.volumes" .Subcharts.sealgate | nindent 4 }}
`
)
const own = helm('template', 'sealgate', parent)
const faults = own.code === 0 ? faultsOf(resourcesOf(own.stdout)) : [own.stderr]
step(`a chart of one's own takes the container and the volumes${sidecar === undefined ? '?' : ''}`, faults.length === 0, faults.join('\n'))

// helm writes the present time into a package, so the release packs the chart itself (.ci/release.ts).
const made = run(helmProgram, ['package', chart, '--destination', work])
step('helm package', made.code === 0, made.stderr)
const packed = ['first', 'second'].map((name) => {
  const file = join(work, `${name}.tgz`)
  const { code, stderr } = run(process.execPath, [join(root, '.ci/pack-chart.ts'), file])
  step(`the release packs the chart, ${name} time`, code === 0, stderr)
  return file
})
const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')
step('twice the same bytes', packed.map(digest).every((each, _, all) => each === all[0]))
const fromPackage = helm('template', 'sealgate', packed[0] ?? '', '--namespace', 'sealgate', '--values', join(chart, 'ci/everything-values.yaml'))
const fromFolder = helm('template', 'sealgate', chart, '--namespace', 'sealgate', '--values', join(chart, 'ci/everything-values.yaml'))
step('the package renders what the folder does, alerts and dashboard included', fromPackage.stdout === fromFolder.stdout, fromPackage.stderr)
step('the package has no links and no test values', !/^l|\/ci\//m.test(run('tar', ['-tvzf', packed[0] ?? '']).stdout))

rmSync(work, { recursive: true, force: true })
end()
