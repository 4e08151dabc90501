// JSON schemas for kubeconform from what Kubernetes and the operators themselves publish: the OpenAPI of a Kubernetes version and files of
// CustomResourceDefinitions. Objects take no other fields than theirs.
//
//   node test/e2e/helm-schemas.ts OUT SWAGGER_JSON CRD_YAML…
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { parseAllDocuments } from 'yaml'

interface Schema {
  readonly [word: string]: unknown
}
interface Kind {
  readonly group: string
  readonly kind: string
  readonly version: string
}

const [out = '', swagger = '', ...crds] = process.argv.slice(2)
mkdirSync(out, { recursive: true })
const { definitions } = JSON.parse(readFileSync(swagger, 'utf8')) as { readonly definitions: Readonly<Record<string, Schema>> }
let written = 0

/** References are resolved, and an object with properties is closed. `above`: the references on the way here, of which none may come again. */
function strict(schema: Schema, above: readonly string[]): Schema {
  const reference = schema['$ref']
  if (typeof reference === 'string') {
    const name = reference.replace('#/definitions/', '')
    return above.includes(name) ? {} : strict(definitions[name] ?? {}, [...above, name])
  }
  if (schema['format'] === 'int-or-string' || schema['x-kubernetes-int-or-string'] === true) return { type: ['integer', 'string', 'null'] }
  const made: Record<string, unknown> = {}
  for (const word of ['enum', 'pattern', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'required']) {
    if (schema[word] !== undefined) made[word] = schema[word]
  }
  // What is left out may be written as null.
  if (typeof schema['type'] === 'string' && made['enum'] === undefined) made['type'] = [schema['type'], 'null']
  if (schema['items'] !== undefined) made['items'] = strict(schema['items'] as Schema, above)
  if (typeof schema['additionalProperties'] === 'object') made['additionalProperties'] = strict(schema['additionalProperties'] as Schema, above)
  const { properties } = schema as { readonly properties?: Readonly<Record<string, Schema>> }
  if (properties !== undefined) {
    made['properties'] = Object.fromEntries(Object.entries(properties).map(([name, each]) => [name, strict(each, above)]))
    if (schema['x-kubernetes-preserve-unknown-fields'] !== true) made['additionalProperties'] = false
  }
  return made
}

/** The name by which kubeconform looks for it. */
function write({ group, kind, version }: Kind, schema: Schema): void {
  const suffix = group === '' ? version : `${group.split('.')[0] ?? ''}-${version}`
  writeFileSync(join(out, `${kind}-${suffix}.json`.toLowerCase()), JSON.stringify({ ...schema, $schema: 'http://json-schema.org/draft-07/schema#' }))
  written += 1
}

for (const [name, schema] of Object.entries(definitions)) {
  const kinds = (schema['x-kubernetes-group-version-kind'] ?? []) as Kind[]
  for (const kind of kinds.length === 1 ? kinds : []) write(kind, strict(schema, [name]))
}
for (const file of crds) {
  for (const document of parseAllDocuments(readFileSync(file, 'utf8')) as { toJS(): unknown }[]) {
    const { spec } = document.toJS() as {
      readonly spec: {
        readonly group: string
        readonly names: { readonly kind: string }
        readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[]
      }
    }
    for (const { name, schema } of spec.versions) write({ group: spec.group, kind: spec.names.kind, version: name }, strict(schema.openAPIV3Schema, []))
  }
}
process.stdout.write(`${written} schemas in ${out}\n`)
