// The manifests in docker/kubernetes, for those who have no helm: what the chart renders with two files of values. `npm run chart` writes them, and beside
// them rendered.json: digests of what they were made from and of themselves, so that a test without helm sees a change of either.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
export const chart = 'docker/helm/sealgate'
export const manifests = 'docker/kubernetes'
/** The oldest that the chart takes; helm itself may have been built without knowing any. */
export const kubeVersion = ['--kube-version', '1.30.0']

interface Rendering {
  readonly release: string
  readonly namespace: string
  readonly values: string
  /** Templates by the file that they go to. */
  readonly files: Readonly<Record<string, readonly string[]>>
}

const renderings: readonly Rendering[] = [{
  release: 'sealgate',
  namespace: 'sealgate',
  values: 'ci/plain-values.yaml',
  files: {
    'config.yaml': ['serviceaccount.yaml', 'configmap.yaml'],
    'deployment.yaml': ['deployment.yaml', 'service.yaml', 'disruption-budget.yaml', 'autoscaler.yaml'],
    'network-policy.yaml': ['network-policy.yaml'],
    'cronjobs.yaml': ['cronjobs.yaml']
  }
}, {
  release: 'backup',
  namespace: 'backup',
  values: 'ci/sidecar-values.yaml',
  files: { 'sidecar.yaml': ['serviceaccount.yaml', 'configmap.yaml', 'sidecar.yaml', 'network-policy.yaml'] }
}]

/** Names of the files that are rendered; others of the folder are written by hand. */
export const renderedFiles: readonly string[] = renderings.flatMap(({ files }) => Object.keys(files))

/** @returns the text of each file. */
export function renderManifests(helm: string): Readonly<Record<string, string>> {
  const made: Record<string, string> = {}
  for (const rendering of renderings) {
    const documents = documentsOf(helm, rendering)
    for (const [file, templates] of Object.entries(rendering.files)) {
      const texts = templates.flatMap((template) => documents.get(template) ?? [])
      for (const template of templates) documents.delete(template)
      made[file] = `${header(rendering)}\n${texts.join('\n---\n')}\n`
    }
    if (documents.size > 0) throw new Error(`no file of ${manifests} takes what these templates make: ${[...documents.keys()].join(', ')}`)
  }
  return made
}

function header({ release, namespace, values }: Rendering): string {
  return `# Rendered by: npm run chart
# from ${chart} as: helm template ${release} ${chart} --namespace ${namespace} --values ${chart}/${values}
# Do not edit: change the values or the chart.`
}

/** Documents by their template, each without the lines that helm adds. */
function documentsOf(helm: string, { release, namespace, values }: Rendering): Map<string, string[]> {
  const args = ['template', release, join(root, chart), '--namespace', namespace, '--values', join(root, chart, values), '--skip-tests', ...kubeVersion]
  const text = execFileSync(helm, args, { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024, stdio: ['ignore', 'pipe', 'pipe'] })
  const documents = new Map<string, string[]>()
  for (const document of text.split(/^---\n/m)) {
    const [, template = ''] = /^# Source: sealgate\/templates\/(\S+)$/m.exec(document) ?? []
    const content = document.replace(/^# Source: .*\n/m, '').replaceAll(/^\s*\n/gm, '').trimEnd()
    if (content !== '') documents.set(template, [...documents.get(template) ?? [], content])
  }
  return documents
}

export interface Rendered {
  readonly helm: string
  readonly chart: string
  readonly files: Readonly<Record<string, string>>
}

/** Digests of what is rendered from and of these texts. */
export function digests(texts: Readonly<Record<string, string>>): Omit<Rendered, 'helm'> {
  return { chart: chartDigest(), files: Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, sha256(text)])) }
}

/** Of every file of the chart that has a part in the manifests. */
function chartDigest(): string {
  const at = join(root, chart)
  const names = globSync(['Chart.yaml', 'values.yaml', 'templates/*.{yaml,tpl}'], { cwd: at }).concat(renderings.map(({ values }) => values)).sort()
  return sha256(names.map((name) => `${sha256(readFileSync(join(at, name), 'utf8'))}  ${name}\n`).join(''))
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
