// The Helm chart as far as it can be tested without helm: its schema, its values, and that the manifests in docker/kubernetes are what it renders.
// test/e2e/helm.sh has the rest.
import { lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import { chart, digests, manifests, renderedFiles, type Rendered } from '../../docs/generate/chart-manifests.ts'
import { chartSchema } from '../../docs/generate/chart-values.ts'

const root = join(import.meta.dirname, '..', '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

interface Values {
  readonly [name: string]: unknown
}
const isValues = (value: unknown): value is Values => typeof value === 'object' && value !== null && !Array.isArray(value)

/** As helm lays files of values over each other. */
function merged(below: unknown, above: unknown): unknown {
  if (!isValues(below) || !isValues(above)) return above
  const names = Object.keys({ ...below, ...above })
  return Object.fromEntries(names.map((name) => [name, Object.hasOwn(above, name) ? merged(below[name], above[name]) : below[name]]))
}

const schemaText = read(`${chart}/values.schema.json`)
const schema = z.fromJSONSchema(JSON.parse(schemaText) as z.core.JSONSchema.JSONSchema)
const defaults = parse(read(`${chart}/values.yaml`)) as Values
const fault = (values: unknown): string => {
  const { error } = schema.safeParse(values)
  return error === undefined ? '' : z.prettifyError(error)
}

await t.test('values.schema.json is printed from the schema of the configuration', (t) => {
  t.ok(schemaText === chartSchema(), 'print it anew: npm run chart -- --schema')
  t.end()
})

await t.test('the chart has the version of the program', (t) => {
  const { version } = JSON.parse(read('package.json')) as { readonly version: string }
  t.match(parse(read(`${chart}/Chart.yaml`)), { version, appVersion: version })
  t.end()
})

const examples = readdirSync(join(root, chart, 'ci')).map((name) => ({ name, values: parse(read(`${chart}/ci/${name}`)) as Values }))

await t.test('the schema takes every example', (t) => {
  t.ok(examples.length >= 10)
  for (const { name, values } of examples) t.equal(fault(merged(defaults, values)), '', name)
  t.end()
})

await t.test('the schema refuses what is wrong', (t) => {
  interface Wrong {
    readonly what: string
    readonly by: 'schema' | 'template'
    readonly says: string
    readonly values: Values
  }
  const minimal = merged(defaults, parse(read(`${chart}/ci/minimal-values.yaml`)))
  const table = parse(read('test/docs/wrong-chart-values.yaml')) as Wrong[]
  for (const { what, by, says, values } of table) {
    const found = fault(merged(minimal, values))
    if (by === 'schema') t.ok(found.includes(says), `${what}: ${found}`)
    else t.equal(found, '', `${what}: is for a template to find`)
  }
  t.end()
})

await t.test('every value of the schema is in values.yaml, with its explanation, and the other way round', (t) => {
  interface Schema {
    readonly properties?: Readonly<Record<string, Schema>>
  }
  const compare = (path: string, { properties = {} }: Schema, values: unknown): void => {
    if (!isValues(values) || Object.keys(values).length === 0) return
    t.same(Object.keys(properties).filter((name) => name !== 'global' && !Object.hasOwn(values, name)), [], `${path}: not in values.yaml`)
    for (const [name, value] of Object.entries(values)) {
      t.ok(properties[name], `${path}${name} is in the schema`)
      if (properties[name]?.properties !== undefined) compare(`${path}${name}.`, properties[name], value)
    }
  }
  compare('', JSON.parse(schemaText) as Schema, { ...defaults, sidecar: undefined, resources: undefined })
  t.end()
})

await t.test('docker/kubernetes is what the chart renders', (t) => {
  const { helm, ...recorded } = JSON.parse(read(`${manifests}/rendered.json`)) as Rendered
  t.match(helm, /^v\d/)
  const now = digests(Object.fromEntries(renderedFiles.map((name) => [name, read(`${manifests}/${name}`)])))
  t.equal(now.chart, recorded.chart, 'the chart has changed since: npm run chart')
  t.same(now.files, recorded.files, 'a rendered file was changed by hand')
  t.same(readdirSync(join(root, manifests)).sort(), [...renderedFiles, 'namespace.yaml', 'rendered.json'].sort())
  t.end()
})

await t.test('alerts and dashboard are one file each: that of the chart, which helm reads only where it is no link', (t) => {
  for (const name of ['prometheus-alerts.yaml', 'grafana-dashboard.json']) {
    t.ok(lstatSync(join(root, chart, 'files', name)).isFile(), name)
    t.equal(readlinkSync(join(root, 'docker', name)), `helm/sealgate/files/${name}`)
  }
  t.end()
})
