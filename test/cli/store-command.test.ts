// Commands on a configuration of several stores: each works on the store that it is asked for, and one store that is down stops no other.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { CreateMultipartUploadCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { parseConfig } from '../../src/config/load.ts'
import { editKeyring } from '../../src/keys/keyring-file.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { runCli, type Ran } from '../support/run-cli.ts'

const folder = await mkdtemp(join(tmpdir(), 'sealgate-stores-'))
const near = await startTestStore({ buckets: ['data'] })
const far = await startTestStore({ accessKeyId: 'FAR', secretAccessKey: 'far-secret', buckets: ['far-data'] })
const at = ({ endpoint, region, accessKeyId, secretAccessKey }: TestStore, realm: string) => ({ endpoint, region, accessKeyId, secretAccessKey, realm })
const upstreams = { near: { ...at(near, 'test'), default: true }, far: { ...at(far, 'far'), stateBucket: 'far-state' } }
const buckets = { '*': { key: 'main' }, 'far-*': { key: 'main', upstream: 'far' } }
const gateway = await startTestGateway(near, { sections: { upstream: undefined, upstreams, buckets } })
const s3 = gateway.client()
t.teardown(async () => {
  s3.destroy()
  await gateway.close()
  await near.close()
  await far.close()
  await rm(folder, { recursive: true })
})
const file = join(folder, 'sealgate.yaml')
const document = (more: object = {}): string =>
  JSON.stringify({
    upstreams,
    buckets,
    listen: { port: 0 },
    clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }],
    keys: { main: { type: 'local', keyring: gateway.keyring } },
    ...more
  })
await writeFile(file, document(), { mode: 0o600 })

/** Runs a command. @returns what it did, and how many requests each store got of it. */
async function run(command: string, ...args: string[]): Promise<Ran & { readonly asked: readonly [near: boolean, far: boolean] }> {
  const [n, f] = [near.requests.length, far.requests.length]
  const ran = await runCli([...command.split(' '), '--config', file, ...args], folder)
  return { ...ran, asked: [near.requests.length > n, far.requests.length > f] }
}

await t.test('rewrap and keys usage work on the store of the bucket', async (t) => {
  for (const Bucket of ['data', 'far-data']) await s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: Bucket }))
  await editKeyring(gateway.keyring, (keyring) => keyring.rotate(new Date()))
  await gateway.gateway.reload(parseConfig(document(), { file, env: {} }))
  const usage = async (bucket: string): Promise<string> => {
    const { out, asked } = await run('keys usage', '--bucket', bucket)
    t.same(asked, bucket === 'data' ? [true, false] : [false, true])
    t.match(out, /^local:\S+ +1 objects +\d+ bytes\n$/)
    return out
  }
  const before = [await usage('data'), await usage('far-data')]
  t.match(await run('rewrap', '--bucket', 'far-data'), { code: 0, asked: [false, true] })
  const after = [await usage('data'), await usage('far-data')]
  t.equal(after[0], before[0])
  t.not(after[1], before[1])
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'far-data', Key: 'o' }))
  t.equal(await Body?.transformToString(), 'far-data', 'it opens in its realm')
})

await t.test('gc works on every store, also while another is down', async (t) => {
  await s3.send(new CreateMultipartUploadCommand({ Bucket: 'far-data', Key: 'parts' }))
  const line = (live: number): string => `uploads: ${live} live or recent, 0 kept because their state is not known, 0 over`
  t.match(await run('gc'), { code: 0, out: new RegExp(`^near:\n${line(0)}\n.*\nfar:\n${line(1)}\n`), asked: [true, true] })
  t.match(await run('gc', '--upstream', 'far', '--dry-run'), { code: 0, out: new RegExp(`^far:\n${line(1)}\n`), asked: [false, true] })
  t.match(await run('gc', '--upstream', 'nowhere'), { code: 2, err: /there are near, far\./, asked: [false, false] })
  near.refuse()
  t.match(await run('gc'), { code: 1, out: new RegExp(`^near:\n${line(0)}\n.*\nfar:\n${line(1)}\n`), err: /^sealgate gc: near: .+\n$/ })
  await near.listen()
})

await t.test('config check shows where buckets are, and --online asks each store', async (t) => {
  t.match(await run('config check'), {
    code: 0,
    asked: [false, false],
    out: new RegExp(`^store +near +${near.endpoint}, [^]*^ +far +${far.endpoint}, [^]*^buckets +\\* +at near, [^]*^ +far-\\* +at far, `, 'm')
  })
  t.match(await run('config check', '--online', '--upstream', 'far', '--bucket', 'far-data'), {
    code: 0,
    asked: [false, true],
    out: /^far: state bucket: far-state +ok[^]*^far: far-data: s3:PutObject +ok/m
  })
  await writeFile(file, document({ upstreams: { ...upstreams, far: { ...upstreams.far, secretAccessKey: 'wrong' } } }))
  const { code, out } = await run('config check', '--online')
  t.equal(code, 1)
  t.match(out, /^far: credentials +FAILED .*: upstreams\.far\.secretAccessKey is wrong$/m)
  t.match(out, /^near: state bucket: sealgate-state +ok/m)
  t.notMatch(out, /^near: .*FAILED/m)
  await writeFile(file, document())
})

await t.test('store check asks one store, and names the settings as they are in the file', async (t) => {
  t.match(await run('store check'), { code: 2, err: /--upstream must say which store: near, far\./, asked: [false, false] })
  await writeFile(file, document({ upstreams: { ...upstreams, far: { ...upstreams.far, region: 'eu-north-9' } } }))
  const { code, out, err, asked } = await run('store check', '--bucket', 'far-data', '--json')
  t.match([code, err], [3, new RegExp(`^Asking ${far.endpoint} `)])
  t.same(asked, [false, true])
  t.same((JSON.parse(out) as { settings: unknown }).settings, { 'upstreams.far.region': 'us-east-1' })
})
