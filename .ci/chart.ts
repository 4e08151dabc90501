// What `npm run chart` does: writes values.schema.json of the Helm chart from the configuration's schema, and with helm (HELM, or on the PATH) the manifests in
// docker/kubernetes, with the digests by which a test sees that they are those of the chart. `--schema` writes the first alone.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { chartSchema } from '../docs/generate/chart-values.ts'
import { chart, digests, manifests, renderManifests } from '../docs/generate/chart-manifests.ts'

const root = join(import.meta.dirname, '..')
writeFileSync(join(root, chart, 'values.schema.json'), chartSchema())

if (!process.argv.includes('--schema')) {
  const helm = process.env['HELM'] ?? 'helm'
  const texts = renderManifests(helm)
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(root, manifests, name), text)
  const version = execFileSync(helm, ['version', '--template', '{{ .Version }}'], { encoding: 'utf8' }).trim()
  writeFileSync(join(root, manifests, 'rendered.json'), `${JSON.stringify({ helm: version, ...digests(texts) }, null, 2)}\n`)
}
