// The values that the Helm chart takes, as docker/helm/sealgate/values.schema.json says them to helm: those of the chart, here, and under `config`
// every option of the program (src/config/schema.ts), with two differences. A secret is a reference and never the text itself, because values lie in
// release records and repositories; and `listen.tls` is the chart's, which mounts the files.
import { z } from 'zod'
import { configSections } from '../../src/config/schema.ts'

/** Options of the configuration that are secrets. */
const secretOptions = new Set(['secretAccessKey', 'sessionToken', 'token', 'secretId', 'clientSecret', 'pin', 'masterKey', 'privateKey'])

const count = z.int().min(1)
const label = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$/)
const texts = z.record(z.string(), z.string())
/** What Kubernetes itself defines and checks. */
const kubernetes = z.looseObject({})
const listOfKubernetes = z.array(kubernetes).optional()
const resources = z.strictObject({ requests: texts.optional(), limits: texts.optional(), claims: listOfKubernetes }).optional()
const enabled = z.boolean().optional()
const absolutePath = z.string().regex(/^\/.+$/)
const duration = z.string().regex(/^([0-9]+(h|m|s|ms))+$/)
const openTemplate = z.string()

const items = z.array(z.strictObject({ key: z.string().min(1), path: z.string().min(1), mode: z.int().optional() })).min(1).optional()
const fromSecret = z.strictObject({ secret: z.string().min(1), items, optional: z.boolean().optional() })
const fromConfigMap = z.strictObject({ configMap: z.string().min(1), items, optional: z.boolean().optional() })
const files = z.record(label, z.union([fromSecret, fromConfigMap])).optional()

const job = {
  schedule: z.string().regex(/^(@[a-z]+|(\S+ ){4}\S+)$/),
  args: z.array(z.string()).optional(),
  timeZone: z.string().min(1).optional(),
  suspend: z.boolean().optional(),
  resources,
  activeDeadlineSeconds: count.optional(),
  startingDeadlineSeconds: z.int().min(10).optional(),
  retries: z.int().min(0).max(10).optional(),
  files,
  extraVolumes: listOfKubernetes,
  extraVolumeMounts: listOfKubernetes
}
const checkBackup = { ...job, command: z.literal('check-backup'), backup: absolutePath, keyring: absolutePath }
const cronJob = z.union([
  z.strictObject({ ...job, command: z.enum(['scan', 'verify']), bucket: z.string().min(3).max(63) }),
  z.strictObject({ ...job, command: z.literal('gc') }),
  z.strictObject({ ...checkBackup, ageIdentity: absolutePath }),
  z.strictObject({ ...checkBackup, passphraseFile: absolutePath })
])

const valueFrom = z.strictObject({ secretKeyRef: kubernetes.optional(), configMapKeyRef: kubernetes.optional(), fieldRef: kubernetes.optional() })
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/)

const chartValues = z.strictObject({
  // What helm itself gives to every dependency.
  global: kubernetes.optional(),
  mode: z.enum(['deployment', 'sidecar']).optional(),
  nameOverride: openTemplate.optional(),
  fullnameOverride: openTemplate.optional(),
  image: z.strictObject({
    repository: z.string().min(1).optional(),
    tag: openTemplate.optional(),
    digest: z.string().regex(/^(sha256:[0-9a-f]{64})?$/).optional(),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional()
  }).optional(),
  imagePullSecrets: z.array(z.strictObject({ name: z.string().min(1) })).optional(),
  config: z.strictObject(configSections({ file: '/etc/sealgate/config/sealgate.yaml', env: {} })),
  files,
  tls: z.strictObject({
    secretName: openTemplate.optional(),
    certManager: z.strictObject({
      enabled,
      issuerRef: z.strictObject({ name: z.string().min(1).optional(), kind: z.string().optional(), group: z.string().optional() }).optional(),
      dnsNames: z.array(z.string().min(1)).optional(),
      duration: duration.optional(),
      renewBefore: duration.optional()
    }).optional(),
    clientCa: z.union([
      z.strictObject({ ...fromSecret.shape, key: openTemplate.optional() }),
      z.strictObject({
        ...fromConfigMap.shape,
        key: openTemplate.optional()
      }),
      z.strictObject({})
    ]).optional()
  }).optional(),
  replicas: z.int().min(0).optional(),
  autoscaling: z.strictObject({
    enabled,
    minReplicas: count.optional(),
    maxReplicas: count.optional(),
    targetCPUUtilizationPercentage: z.int().min(1).max(100).optional(),
    scaleDownStabilizationSeconds: z.int().min(0).max(3600).optional()
  }).optional(),
  podDisruptionBudget: z.strictObject({ enabled, maxUnavailable: z.union([count, z.string().regex(/^[1-9][0-9]?%$/)]).optional() }).optional(),
  resources,
  preStopSeconds: z.int().min(0).max(600).optional(),
  service: z.strictObject({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer']).optional(),
    port: z.int().min(1).max(65_535).nullable().optional(),
    annotations: texts.optional(),
    loadBalancerClass: openTemplate.optional(),
    loadBalancerSourceRanges: z.array(z.string().min(1)).optional(),
    externalTrafficPolicy: z.enum(['', 'Cluster', 'Local']).optional(),
    trafficDistribution: z.enum(['', 'PreferClose', 'PreferSameZone', 'PreferSameNode']).optional()
  }).optional(),
  serviceAccount: z.strictObject({
    create: z.boolean().optional(),
    name: openTemplate.optional(),
    annotations: texts.optional(),
    token: z.strictObject({ enabled, audience: z.string().min(1).optional(), expirationSeconds: z.int().min(600).optional() }).optional()
  }).optional(),
  networkPolicy: z.strictObject({
    enabled,
    clients: listOfKubernetes,
    monitoring: listOfKubernetes,
    dns: listOfKubernetes,
    servers: listOfKubernetes,
    extraEgress: listOfKubernetes
  }).optional(),
  monitoring: z.strictObject({
    scrapeAnnotations: z.boolean().optional(),
    serviceMonitor: z.strictObject({ enabled, labels: texts.optional(), interval: duration.optional(), scrapeTimeout: duration.optional() }).optional(),
    prometheusRule: z.strictObject({ enabled, labels: texts.optional(), without: z.array(z.string()).optional() }).optional(),
    dashboard: z.strictObject({ enabled, labels: texts.optional(), annotations: texts.optional() }).optional()
  }).optional(),
  cronJobs: z.record(label, cronJob).optional(),
  sidecar: z.strictObject({
    kind: z.enum(['Deployment', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob']).optional(),
    name: openTemplate.optional(),
    spec: kubernetes.optional(),
    resources
  }).optional(),
  env: z.array(z.union([z.strictObject({ name: variable, value: z.string() }), z.strictObject({ name: variable, valueFrom })])).optional(),
  envFrom: listOfKubernetes,
  extraVolumes: listOfKubernetes,
  extraVolumeMounts: listOfKubernetes,
  podAnnotations: texts.optional(),
  podLabels: texts.optional(),
  priorityClassName: openTemplate.optional(),
  runtimeClassName: openTemplate.optional(),
  nodeSelector: texts.optional(),
  tolerations: listOfKubernetes,
  affinity: kubernetes.optional(),
  topologySpreadConstraints: listOfKubernetes
})

interface Schema {
  readonly type?: unknown
  default?: unknown
  pattern?: string
  anyOf?: Schema[]
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
}

/** `values.schema.json` of the chart. */
export function chartSchema(): string {
  // Every helm 3 reads draft 7. The copy has no part that stands in two places.
  const schema = JSON.parse(JSON.stringify(z.toJSONSchema(chartValues, { io: 'input', target: 'draft-7' }))) as Schema
  const { config } = schema.properties as { readonly config: Schema }
  // Defaults are the program's and those of values.yaml.
  everySchema(schema, (each) => {
    delete each.default
    // Go's expressions count to 1,000. The program checks the length.
    if (each.pattern !== undefined) each.pattern = each.pattern.replace(/\{1,\d{4,}\}/, '+')
  })
  everySchema(config, ({ properties = {} }) => {
    for (const [option, value] of Object.entries(properties)) if (secretOptions.has(option)) value.anyOf = references(value)
  })
  const { listen } = config.properties as { readonly listen: { readonly properties: { tls?: Schema } } }
  delete listen.properties.tls
  return `${JSON.stringify(schema, null, 1)}\n`
}

/** Calls `change` with every schema below. The names in `properties` are options, which may be called as a word of schemas is. */
function everySchema(node: unknown, change: (schema: Schema) => unknown): void {
  if (typeof node !== 'object' || node === null) return
  if (!Array.isArray(node)) change(node)
  for (const [word, child] of Object.entries(node)) {
    if (word === 'properties') { for (const option of Object.values(child as object)) everySchema(option, change) }
    else everySchema(child, change)
  }
}

/** The alternatives without the text itself. */
function references({ anyOf = [] }: Schema): Schema[] {
  return anyOf.flatMap((each) => each.anyOf === undefined ? [each] : references(each)).filter(({ type }) => type === 'object')
}
