import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { parseConfig } from '../../src/config/load.ts'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

interface Compose {
  readonly services: Record<
    string,
    { readonly environment?: Record<string, string>; readonly volumes?: string[]; readonly depends_on?: Record<string, unknown> }
  >
  readonly volumes: Record<string, unknown>
}

await t.test('the configuration of docker-compose.yml is valid with the environment it is given there', (t) => {
  const compose = parse(read('docker-compose.yml')) as Compose
  const config = parseConfig(read('docker/sealgate.yaml'), { file: '/etc/sealgate/sealgate.yaml', env: compose.services['gateway']?.environment ?? {} })
  const client = config.clients[0]
  t.match(compose.services['demo']?.environment, { AWS_ACCESS_KEY_ID: client?.accessKeyId, AWS_SECRET_ACCESS_KEY: client?.secretAccessKey })
  const store = compose.services['store']?.environment
  t.match(config.upstreams['default']?.credentials, { accessKeyId: store?.['MINIO_ROOT_USER'], secretAccessKey: store?.['MINIO_ROOT_PASSWORD'] })
  t.equal(config.keys['main']?.type === 'local' && config.keys['main'].keyring, '/var/lib/sealgate/keyring.json')
  for (const service of Object.values(compose.services)) {
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':')
      if (source.startsWith('./')) t.ok(read(source.slice(2)).length > 0, source)
      else t.ok(Object.hasOwn(compose.volumes, source), source)
    }
    for (const other of Object.keys(service.depends_on ?? {})) t.ok(Object.hasOwn(compose.services, other), other)
  }
  t.end()
})

await t.test('the image is built from the Node that package.json pins, and copies only what is there', (t) => {
  const manifest = JSON.parse(read('package.json')) as { devDependencies: Record<string, string> }
  const dockerfile = read('Dockerfile')
  t.match(dockerfile, `FROM node:${manifest.devDependencies['node'] ?? ''}-`)
  t.match(dockerfile, /^USER 65532/m)
  for (const [, source = ''] of dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)) {
    for (const path of source.split(' ')) t.match(read('.dockerignore'), new RegExp(`^!${path}$`, 'm'), `${path} is not ignored`)
  }
  t.end()
})

await t.test('the image, the scripts and the benchmarks give Node the same young generation', (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const sizeIn = (text = ''): string | undefined => /--max-semi-space-size=\d+/.exec(text)?.[0]
  const image = sizeIn(read('Dockerfile'))
  t.ok(image)
  for (const text of [scripts['start'], scripts['sealgate'], read('bench/rig.ts'), read('docs/OPERATIONS.md')]) t.equal(sizeIn(text), image)
  t.end()
})
