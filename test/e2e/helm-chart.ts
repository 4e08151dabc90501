// What the e2e scripts of the Helm chart share: helm itself, what it renders, and the count of steps.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { parseAllDocuments } from 'yaml'
import { kubeVersion } from '../../docs/generate/chart-manifests.ts'

export const root = join(import.meta.dirname, '..', '..')
export const chart = join(root, 'docker/helm/sealgate')
export const helmProgram = process.env['HELM'] ?? 'helm'
/** Files of values, by their name without the end. */
export const examples = readdirSync(join(chart, 'ci')).map((file) => ({ name: file.replace('-values.yaml', ''), path: join(chart, 'ci', file) }))

const counts = { passed: 0, failed: 0 }

export function step(what: string, good: boolean, found = ''): void {
  counts[good ? 'passed' : 'failed'] += 1
  process.stdout.write(`${good ? 'ok     ' : 'FAILED '} ${what}${good || found === '' ? '' : `\n${found.slice(0, 3000)}`}\n`)
}

export function end(): void {
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`)
  process.exitCode = counts.failed === 0 ? 0 : 1
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export function run(program: string, args: readonly string[], input = ''): Ran {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', input, maxBuffer: 256 * 1024 * 1024 })
  return { code: status, stdout, stderr: error === undefined ? stderr : error.message }
}

export interface Resource {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> }
  readonly data?: Readonly<Record<string, string>>
  readonly spec: Readonly<Record<string, unknown>>
}

export function resourcesOf(text: string): Resource[] {
  const documents = parseAllDocuments(text)
  return (Array.isArray(documents) ? documents : []).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0]
    return document.toJS() as Resource | null
  }).filter((resource) => resource !== null)
}

/** helm without a cluster: template, lint. */
export function helm(command: string, ...args: readonly string[]): Ran {
  return run(helmProgram, [command, ...args, ...kubeVersion])
}

/** What the chart renders for a release "sealgate" in the namespace "sealgate". */
export function rendered(...args: readonly string[]): Resource[] {
  const { code, stdout, stderr } = helm('template', 'sealgate', chart, '--namespace', 'sealgate', ...args)
  if (code !== 0) throw new Error(stderr)
  return resourcesOf(stdout)
}

export interface Container {
  readonly name: string
  readonly image: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly restartPolicy?: string
  readonly env?: readonly Readonly<Record<string, unknown>>[]
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } }
  readonly resources: { readonly requests?: Readonly<Record<string, string>>; readonly limits?: Readonly<Record<string, string>> }
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[]
  readonly readinessProbe?: { readonly httpGet: { readonly path: string }; readonly periodSeconds: number }
}

export interface PodSpec {
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly automountServiceAccountToken?: boolean
  readonly terminationGracePeriodSeconds: number
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly volumes?: readonly (Readonly<Record<string, unknown>> & { readonly name: string })[]
}

export interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> }
  readonly spec: PodSpec
}

/** The pods that a resource makes, if it makes any. */
export function podOf({ kind, metadata, spec }: Resource): PodTemplate | undefined {
  if (kind === 'Pod') return { metadata, spec } as unknown as PodTemplate
  if (kind === 'CronJob') return (spec['jobTemplate'] as { readonly spec: { readonly template: PodTemplate } }).spec.template
  return (spec as Resource['spec'] | undefined)?.['template'] as PodTemplate | undefined
}

/** The container of the gateway or of one of its commands. */
export function gatewayOf({ spec }: PodTemplate): Container | undefined {
  return [...spec.initContainers ?? [], ...spec.containers].find(({ name }) => name === 'sealgate')
}
