// The files under docker/: that they parse, fit each other, and name metrics and options that exist.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments, parse } from 'yaml'
import t from 'tap'
import type { Config } from '../../src/config/config.ts'
import { ConfigError, parseConfig } from '../../src/config/load.ts'
import { createMetrics, measureProcess } from '../../src/observe/metrics.ts'

const root = join(import.meta.dirname, '..', '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

const metrics = createMetrics()
t.teardown(measureProcess(metrics.registry))
const families = new Map(metrics.snapshot().map((family) => [family.name, family]))

/** Checks names and labels of metrics in a PromQL expression. @returns how many metrics it names. */
function checkExpression(t: { ok(value: unknown, message: string): unknown }, expression: string): number {
  const names = [...expression.matchAll(/\b((?:sealgate|process|nodejs)_[a-z0-9_]+)(?:\{([^}]*)\})?/g)]
  for (const [, name = '', matchers = ''] of names) {
    const histogram = name.replace(/_(bucket|sum|count)$/, '')
    const family = families.get(name) ?? families.get(histogram)
    t.ok(family !== undefined && (family.type === 'histogram') === (histogram !== name), `${name} is a metric`)
    const labels = [...(family?.labelNames ?? []), 'le', 'job', 'instance']
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*[=!]~?/g)) t.ok(labels.includes(label), `${name} has a label ${label}`)
  }
  for (const [, list = ''] of expression.matchAll(/\bby \(([^)]*)\)/g)) {
    const known = names.flatMap(([, name = '']) => [...(families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, '')))?.labelNames ?? []])
    for (const label of list.split(',').map((each) => each.trim())) t.ok([...known, 'le', 'job', 'instance'].includes(label), `by ${label}`)
  }
  for (const [aggregated] of expression.matchAll(/\babs ?\((?:max|min|avg|sum)\b/g)) t.ok(false, `${aggregated}: the largest may be the smallest in amount`)
  return names.length
}

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string }[]
}

await t.test('dashboard', async (t) => {
  const dashboard = JSON.parse(read('docker/grafana-dashboard.json')) as { panels: Panel[] }
  const panels = dashboard.panels.filter(({ type }) => type !== 'row')
  t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
  let named = 0
  for (const panel of panels) {
    t.ok(panel.targets?.length, panel.title)
    for (const { expr } of panel.targets ?? []) named += checkExpression(t, expr)
    const { x, y, w, h } = panel.gridPos
    t.ok(x + w <= 24, panel.title)
    for (const other of panels) {
      const o = other.gridPos
      if (other !== panel) t.notOk(x < o.x + o.w && o.x < x + w && y < o.y + o.h && o.y < y + h, `${panel.title} beside ${other.title}`)
    }
  }
  const shown = JSON.stringify(panels)
  for (const name of families.keys()) if (name.startsWith('sealgate_')) t.ok(shown.includes(name), `${name} is on the dashboard`)
  t.comment(`${panels.length} panels name ${named} metrics, all known`)
})

await t.test('the job for Prometheus reads the admin port and the alerts', (t) => {
  const { scrape_configs: jobs, rule_files: rules } = parse(read('docker/prometheus.yml')) as {
    readonly scrape_configs: readonly { readonly job_name: string; readonly static_configs: readonly { readonly targets: readonly string[] }[] }[]
    readonly rule_files: readonly string[]
  }
  t.ok(rules.length > 0 && rules.every((name) => readdirSync(join(root, 'docker')).includes(name)))
  const { admin } = parse(read('config/sealgate.example.yaml')) as { readonly admin: { readonly host: string; readonly port: number } }
  t.strictSame(jobs.flatMap((job) => job.static_configs.flatMap(({ targets }) => targets)), [`${admin.host}:${admin.port}`])
  t.end()
})

interface Alerts {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string
      readonly expr: string
      readonly labels: { readonly severity: string }
      readonly annotations: { readonly summary: string }
    }[]
  }[]
}

await t.test('alerts', async (t) => {
  const { groups } = parse(read('docker/prometheus-alerts.yaml')) as Alerts
  const rules = groups.flatMap((group) => group.rules)
  const alerts = read('docs/OPERATIONS.md').split('## Alerts')[1]?.split('\n## ')[0] ?? ''
  for (const { alert, expr, labels, annotations } of rules) {
    t.ok(checkExpression(t, expr) > 0, alert)
    for (const [, name = ''] of expr.matchAll(/\b(sealgate_[a-z_]+?)(?:_bucket)?\b/g)) {
      if (families.get(name)?.labelNames.includes('upstream') !== true) continue
      for (const [, by = ''] of expr.matchAll(/\bby \(([^)]*)\)/g)) t.match(by, /\bupstream\b/, `${alert} names the store`)
      t.match(annotations.summary, '$labels.upstream', alert)
    }
    t.notMatch(expr, /job[=!]/, `${alert} does not depend on what the job is called`)
    t.match(labels.severity, /^(critical|warning)$/)
    t.ok(annotations.summary)
    t.match(alerts, `\`${alert}\``, `${alert} is explained`)
  }
  t.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length)
})

interface Container {
  readonly name: string
  readonly args?: readonly string[]
  readonly securityContext: Record<string, unknown>
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly resources: { readonly requests?: { readonly cpu: string } }
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } }
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[]
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } } | undefined
}
interface PodSpec {
  readonly securityContext: Record<string, unknown>
  readonly automountServiceAccountToken: boolean
  readonly terminationGracePeriodSeconds: number
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly volumes: readonly Record<string, unknown>[]
}
interface Resource {
  readonly kind: string
  readonly apiVersion: string
  readonly metadata: { readonly name: string }
  readonly data?: Record<string, string>
  readonly spec?: Record<string, unknown>
}

const manifests = readdirSync(join(root, 'docker/kubernetes')).filter((name) => name.endsWith('.yaml')).map((name) => {
  const parsed = parseAllDocuments(read(join('docker/kubernetes', name)))
  return {
    name,
    resources: (Array.isArray(parsed) ? parsed : []).map((document) => {
      if (document.errors.length > 0) throw document.errors[0]!
      return document.toJS() as Resource
    })
  }
})
const resources = manifests.flatMap((manifest) => manifest.resources)

await t.test('Kubernetes: what there is', async (t) => {
  t.same([...new Set(resources.map(({ kind }) => kind))].sort(), [
    'ConfigMap',
    'CronJob',
    'Deployment',
    'HorizontalPodAutoscaler',
    'Namespace',
    'NetworkPolicy',
    'PodDisruptionBudget',
    'Service',
    'ServiceAccount'
  ])
  for (const { kind, apiVersion, metadata } of resources) t.ok(apiVersion && metadata.name, kind)
})

await t.test('Kubernetes: no root, nothing writable, probes on the admin port, every mount has its volume', async (t) => {
  const deployments = resources.filter(({ kind }) => kind === 'Deployment')
  t.equal(deployments.length, 2)
  for (const { spec, metadata } of deployments) {
    const pod = (spec!['template'] as { spec: PodSpec }).spec
    t.match(pod.securityContext, { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } }, metadata.name)
    t.equal(pod.automountServiceAccountToken, false)
    const containers = [...pod.containers, ...pod.initContainers ?? []]
    for (const container of containers) {
      t.match(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }, container.name)
      for (const { name } of container.volumeMounts ?? []) t.ok(pod.volumes.some((volume) => volume['name'] === name), name)
    }
    const gateway = containers.find(({ name }) => name === 'sealgate')!
    for (const probe of ['startupProbe', 'livenessProbe'] as const) t.match(gateway[probe]?.httpGet, { path: /^\/(livez|readyz)$/, port: 'admin' })
    for (const mount of gateway.volumeMounts ?? []) t.equal(mount.readOnly, true, mount.name)
  }
})

/** The configuration that a pod mounts, as it would be with its secrets. */
function configOf(pod: PodSpec): Config {
  const map = pod.volumes.flatMap((volume) => volume['configMap'] === undefined ? [] : [(volume['configMap'] as { name: string }).name])[0]
  const text = resources.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === map)?.data?.['sealgate.yaml'] ?? ''
  return parseConfig(text.replaceAll(/:\s+file: \/etc\/sealgate\/credentials\/(\w+)/g, ': $1'), { file: '/etc/sealgate/config/sealgate.yaml', env: {} })
}

await t.test('Kubernetes: ports, cores and times are those of the configuration', async (t) => {
  for (const { spec, metadata } of resources.filter(({ kind }) => kind === 'Deployment')) {
    const pod = (spec!['template'] as { spec: PodSpec }).spec
    const config = configOf(pod)
    const gateway = [...pod.containers, ...pod.initContainers ?? []].find(({ name }) => name === 'sealgate')!
    const ports = { s3: config.listen.port, admin: config.admin?.port }
    for (const { name, containerPort } of gateway.ports ?? []) t.equal(containerPort, ports[name as 's3' | 'admin'], `${metadata.name}: ${name}`)
    if (config.workers !== 1) t.ok(Number(gateway.resources.requests?.cpu) >= Number(config.workers), 'the autoscaler measures against a core per worker')
    const needed = (gateway.lifecycle?.preStop.sleep.seconds ?? 0) + config.limits.drainSeconds + config.limits.graceSeconds + (config.workers === 1 ? 0 : 10)
    t.ok(pod.terminationGracePeriodSeconds >= needed + 5, `${metadata.name}: ${needed} s to stop in`)
  }
  const allowed = resources.filter(({ kind }) => kind === 'NetworkPolicy')
    .flatMap(({ spec }) => (spec!['ingress'] as { ports: { port: number }[] }[] | undefined ?? []).flatMap((rule) => rule.ports.map(({ port }) => port)))
  t.same(allowed, [9000, 9001, 9001])
})

await t.test('Kubernetes and compose: configurations are valid but for the secrets that are not there', async (t) => {
  const maps = resources.filter(({ kind }) => kind === 'ConfigMap')
  t.equal(maps.length, 2)
  for (const { data, metadata } of maps) {
    try {
      parseConfig(data?.['sealgate.yaml'] ?? '', { file: '/etc/sealgate/config/sealgate.yaml', env: {} })
      t.fail(`${metadata.name}: the secrets cannot be here`)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const { path, message } of error.faults) {
        t.match(message, /^cannot read \/etc\/sealgate\/credentials\/\w+: no such file or directory \(ENOENT\)$/, `${metadata.name}: ${path}`)
      }
    }
  }
})

await t.test('Kubernetes: the network policy and the autoscaler mean the deployment', async (t) => {
  const byKind = (kind: string): Resource => resources.find((resource) => resource.kind === kind)!
  t.match(byKind('HorizontalPodAutoscaler').spec, { scaleTargetRef: { kind: 'Deployment', name: 'sealgate' } })
  const labels = { 'app.kubernetes.io/name': 'sealgate', 'app.kubernetes.io/component': 'gateway' }
  t.match(byKind('NetworkPolicy').spec, { podSelector: { matchLabels: labels }, policyTypes: ['Ingress', 'Egress'] })
  t.match(byKind('Service').spec, { selector: labels })
  t.match(byKind('PodDisruptionBudget').spec, { selector: { matchLabels: labels } })
})

await t.test('systemd and compose: no core files, exit codes as documented, no debugger by signal', async (t) => {
  const unit = read('docker/systemd/sealgate.service').split('\n')
  for (const line of ['LimitCORE=0', 'RestartPreventExitStatus=2', 'SuccessExitStatus=3', 'UMask=0077']) t.ok(unit.includes(line), line)
  t.ok(unit.find((line) => line.startsWith('ExecStart='))?.includes(' --disable-sigusr1 '))
  const { services } = parse(read('docker-compose.yml')) as { services: Record<string, { ulimits?: unknown }> }
  for (const name of ['gateway', 'keys']) t.same(services[name]?.ulimits, { core: 0 }, name)
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const name of ['start', 'sealgate', 'bench']) t.match(scripts[name], / --disable-sigusr1 /, name)
})
